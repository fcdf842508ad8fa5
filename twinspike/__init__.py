"""The command `twinspike`, and what its subcommands share."""

"""Models that live as Brian2's objects -> a Network: `from_brian2` (door: importer)."""

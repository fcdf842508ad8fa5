"""What must hold for every network. Each oracle is `check(case, programs) -> Outcome`."""

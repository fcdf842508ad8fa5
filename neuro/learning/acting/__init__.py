"""Networks that act: what comes next depends on what they did."""

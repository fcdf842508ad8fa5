"""Rules that go back through the whole run, and what they share with all that estimate a gradient."""

"""Real arrays as small integers, and what that loses."""

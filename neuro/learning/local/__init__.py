"""Rules that are text of a synapse, so that every backend that compiles plasticity runs them."""

"""Step as torch source, run under autograd."""

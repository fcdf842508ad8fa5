"""Brian2 gets the continuous equations and the name of the method, and integrates them with its own code."""

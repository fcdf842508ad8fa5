"""What learning rules share: free numbers for an optimiser, optimisers, names for what they add to a model."""

"""Rules that only run the program: evolution strategies, finite differences, perturbation."""

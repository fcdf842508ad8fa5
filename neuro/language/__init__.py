"""From text to formulas: units, syntax trees, names, dimensions, and what sympy makes of them."""

"""Renders the whole time loop, and its adjoint, as one C function each; nothing outside of this package knows that C exists."""

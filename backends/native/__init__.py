"""Renders each operation of a step, and its adjoint, as a C function; nothing outside of this package knows that C exists."""

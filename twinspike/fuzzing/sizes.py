"""Small networks as if they were large: what native does otherwise from a certain size on, it does for any size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from backends.native import arrangement, compiled, drives, executable
from neuro.compiler import parameters

LARGE: tuple[tuple[ModuleType, str, int], ...] = (
    (arrangement, "THICK", 0),  # synapses with delays of their own are looked up when they arrive
    (arrangement, "MANY", 2),  # what they were made of isn't kept
    (arrangement, "PART", 3),  # they are arranged in parts
    (compiled, "WORTH", 1),  # threads share a trial's cells
    (drives, "_TABLES", 0),  # means from which the guide to a table of counts is a coarse one
    (parameters, "KEPT", 0),  # bytes of numbers that are kept once they are drawn
    (executable, "TAPE", 7),  # versions are kept of a part of the steps, and computed again for the others
)

ANYWHERE = (arrangement, "EVEN", 1)  # threads' parts begin with any cell, where the compiler makes no vectors


@contextmanager
def as_if_large(large: bool = True) -> Iterator[None]:
    """Whatever is compiled and run within this block; nothing happens where `large` is false."""
    plain = "-O0" in os.environ.get("TWINSPIKE_NATIVE_FLAGS", "").split()
    chosen = (*LARGE, ANYWHERE) if plain else LARGE
    before = [(module, name, getattr(module, name)) for module, name, _ in chosen]
    try:
        for module, name, value in chosen if large else ():
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)

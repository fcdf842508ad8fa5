"""What a kernel is told about gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp

from backends.common.structure import Backward


@dataclass(frozen=True)
class Training:
    """What gradients are wanted. slope: surrogate derivative over the symbol x. scales: the surrogate's unit by population.

    wrt: parameters, by name. inputs: currents that get gradients. states: variables that do with which the run begins, by name.
    """

    slope: sp.Expr
    scales: Mapping[str, float]
    wrt: frozenset[str]
    inputs: frozenset[str]
    states: frozenset[str]
    backward: Backward

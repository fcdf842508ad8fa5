"""Subexpressions that are one value for all cells: numbers, and functions of time alone.

Brian2's numpy code indexes them in a synapse as if they were arrays, so they stand there as text.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from backends.brian.text import text, unit_text
from neuro.compiler.systems import ordered_subexpressions
from neuro.language.elementary import values_alone
from neuro.language.scope import NeuronScope, SynapseScope
from neuro.language.symbolic import substituted, symbol

_TIME = frozenset({symbol("t"), symbol("dt")})


@dataclass(frozen=True)
class Scalar:
    """value: over time alone. text: in Brian2's words, within parentheses."""

    value: sp.Expr
    text: str


Scalars = dict[str, Scalar]  # by the name in the text that reads them


def scalars(scope: NeuronScope | SynapseScope, ends: Scalars | None = None) -> Scalars:
    """Those of a neuron or synapse. ends: those of its cells, as a synapse names them."""
    expressions = {e.name: e.expression for e in scope.of_kind("subexpression")}
    known, found = dict(ends or {}), Scalars()
    for name, expr in ordered_subexpressions(scope.equations):
        value = values_alone(substituted(expr, {symbol(n): x.value for n, x in known.items()}))
        expression = expressions[name]
        if expression is None or not value.free_symbols <= _TIME:
            continue
        if value.is_number:
            form = f"{float(value)!r}*{unit_text(scope.dimensions[name])}"
        else:
            form = text(expression, {n: x.text for n, x in known.items()})
        known[name] = found[name] = Scalar(value, f"({form})")
    return found

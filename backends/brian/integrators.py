"""Brian2's integrators, asked as little as possible: sympy takes longer for them than for all the rest of a build."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from backends.brian.devices import SingleEquation, StateUpdateMethod, StringExpression, brian2, get_linear_system  # pyright: ignore[reportAttributeAccessIssue]
from neuro.language.scope import STRATONOVICH

Integrator = Callable[..., str]
_GIVEN = re.compile(r"\b(draw\d+) */ *sqrt\(dt\)")  # noise as Euler-Maruyama's method has it: a number that is given
_DRAWN = re.compile(r"\bxi_(draw\d+) = .*randn\(\)")  # noise as Brian2 draws it
_EXACT = {"simplify": False}  # sympy takes ten times as long to make the formula short as to find it


class Integrators:
    """Of one network, in which a name means the same for every batch size, so equations alone decide the statements.

    Linear systems are solved one by one: states that don't depend on each other would only enlarge the matrix.
    """

    def __init__(self) -> None:
        self._written: dict[tuple[str, str], str] = {}

    def __getitem__(self, method: str) -> Integrator:
        """What Brian2 takes as a group's method."""

        def integrate(equations: Any, variables: Any, _: Any = None) -> str:
            key = method, str(equations)
            if key not in self._written:
                self._written[key] = written(method, equations, variables)
            return self._written[key]

        return integrate


def written(method: str, equations: Any, variables: Any) -> str:
    """What Brian2's integrator makes of the equations."""
    integrator = StateUpdateMethod.stateupdaters[method]
    if method == "exact":
        return "\n".join(integrator(part, variables, _EXACT) for part in systems(equations, variables))
    if method in STRATONOVICH:
        code = integrator(brian2.Equations([_as_noise(e) for e in equations.values()]), variables, None)
        return _DRAWN.sub(r"xi_\1 = dt**.5 * \1", code)
    return str(integrator(equations, variables, None))


def _as_noise(item: Any) -> Any:
    """An equation in which numbers that are given stand as Brian2's noise."""
    if item.expr is None:
        return item
    expression = StringExpression(_GIVEN.sub(r"xi_\1", item.expr.code))
    return SingleEquation(item.type, item.varname, item.dim, item.var_type, expression, item.flags)


def systems(equations: Any, variables: Any) -> Iterator[Any]:
    """The equations of each set of states that depend on each other. Raises Brian2's UnsupportedEquationsException."""
    states, matrix, _ = get_linear_system(equations, variables)
    number, labels = connected_components(np.array(matrix.tolist()) != 0, directed=False)
    for system in range(number):
        others = {state for state, label in zip(states, labels, strict=True) if label != system}
        yield brian2.Equations([equation for name, equation in equations.items() if name not in others])

"""Rules of a definition that need its expressions as formulas: numbers alone, and how noise stands in them."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from neuro.language.equations import Equation, Expression, ModelError, Problem
from neuro.language.linear import affine, culprit, inlined
from neuro.language.scope import STRATONOVICH, NeuronScope, SynapseScope, is_noise
from neuro.language.symbolic import NumberError, part, symbol, to_sympy


def check_numbers(scope: NeuronScope | SynapseScope) -> Iterator[Problem]:
    """Numbers alone give real, finite numbers, also where subexpressions are put in."""
    single = [scope.threshold, scope.refractory] if isinstance(scope, NeuronScope) else [scope.transmits]
    problems: list[Problem] = []
    for expression in (*single, *(s.expression for s in scope.statements)):
        problems += unreadable(expression)
    for equation in scope.equations:
        problems += unreadable(equation.expression)
    if not problems:
        problems += [p for e in scope.equations for p in _impossible(e, scope)]
    yield from problems


def unreadable(expression: Expression | None) -> list[Problem]:
    """What keeps an expression from being a formula, such as the root of a negative number."""
    try:
        if expression is not None:
            to_sympy(expression)
    except ModelError as error:
        return error.problems
    return []


def _impossible(equation: Equation, scope: NeuronScope | SynapseScope) -> Iterator[Problem]:
    try:
        inlined(equation, scope)
    except NumberError:
        message = f"numbers alone give '{equation.name}' no real, finite value where subexpressions are put in"
        yield equation.source.problem(message, "look for divisors, roots and logarithms of numbers")


def check_noise(scope: NeuronScope, method: str) -> Iterator[Problem]:
    """Noise is linear; and additive, its factors numbers, parameters and time, unless the method says how else it is read."""
    noise = [symbol(n) for n in scope.white_noise]
    for equation in scope.of_kind("differential") if noise else ():
        expression = equation.expression
        if expression is None or not any(map(is_noise, expression.names)):
            continue
        found = affine(inlined(equation, scope), noise)
        if found is None:
            node = culprit(expression.tree, lambda n, e=expression: affine(part(e, n), noise) is None)  # type: ignore[misc]
            yield expression.source.problem(
                f"d{equation.name}/dt is not linear in noise: '{expression.piece(node)}' has no limit as dt goes to 0",
                "let each noise stand by itself, times numbers, parameters or time, such as sigma*xi/sqrt(tau)", node,
            )  # fmt: skip
            continue
        for name, slope in found[0].items() if method not in STRATONOVICH else ():
            yield from _multiplied(equation, expression, name, slope, scope)
    if method == "milstein":
        yield from _shared_noise(scope)


def _shared_noise(scope: NeuronScope) -> Iterator[Problem]:
    """Each noise stands in one equation, and each equation has one at most, subexpressions put in."""
    first: dict[sp.Symbol, str] = {}
    for equation in scope.of_kind("differential"):
        found = sorted((s for s in inlined(equation, scope).free_symbols if is_noise(s.name)), key=lambda s: s.name)
        other = next((first[s] for s in found if s in first), "")
        why = f"has {len(found)} noises" if len(found) > 1 else f"has the noise of d{other}/dt" if other else ""
        if why:
            message = f"d{equation.name}/dt {why}, and 'milstein' takes one noise for each equation, of its own"
            yield equation.source.problem(
                message, "use method='heun', or give noises that are independent names of their own"
            )
        first |= dict.fromkeys(found, equation.name)


def _multiplied(
    equation: Equation, expression: Expression, noise: sp.Symbol, slope: sp.Expr, scope: NeuronScope
) -> Iterator[Problem]:
    moving = sorted({s.name for s in slope.free_symbols} & {*scope.states, *scope.inputs})
    if moving:
        node = next(n for n in expression.name_nodes() if n.id == noise.name)
        yield expression.source.problem(
            f"noise '{noise.name}' is multiplied by {', '.join(moving)}, and d{equation.name}/dt doesn't say whether "
            "that is Ito's reading or Stratonovich's",
            f"use method='heun' for Stratonovich's, or let its factors be parameters or time: for noise that grows with "
            f"{moving[0]}, transform the variable so that its noise is additive (log(x) for x*xi), with the drift you mean", node,
        )  # fmt: skip

"""What doesn't change during a run is computed once, outside of the kernel: the kernel's own parameters.

A constant is an expression of parameters, one number or one per cell or synapse. Gradients with respect to constants come
from the kernel; those with respect to the parameters follow by the chain rule, outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from backends.common.structure import local
from neuro.compiler.evaluation import evaluate
from neuro.compiler.parameters import Parameter
from neuro.compiler.step import Cells, Couple, Step, Synapses
from neuro.language.mangling import mangled
from neuro.language.symbolic import closed, symbol

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Constant:
    """name: in C. owner: population or projection. one: a single number; otherwise one per cell or synapse.
    matrix: amounts of a coupling, 0 where there is no synapse.
    """

    name: str
    owner: str
    expr: sp.Expr
    one: bool
    matrix: bool = False


class Constants:
    """The constants of a kernel, in the order in which its text needs them. shapes: of the parameters."""

    def __init__(self, step: Step, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.step, self.shapes = step, shapes
        self.table: dict[str, Constant] = {}
        self._known: dict[tuple[str, sp.Expr], str] = {}
        self._matrices: dict[tuple[Couple, sp.Expr], str] = {}
        self._parameters: dict[str, frozenset[str]] = {}
        self._dt = {symbol("dt"): sp.Float(repr(step.dt), 17)}

    def cells(self, cells: Cells, expr: sp.Expr) -> sp.Expr:
        """A population's expression with its invariant parts as symbols of constants."""
        return self._hoist(cells.name, expr.xreplace(self._dt), lambda n: f"{cells.name}.{n}")

    def synapses(self, synapses: Synapses, expr: sp.Expr) -> sp.Expr:
        """The same for a projection's expression, in which x_pre and x_post are the cells'."""
        return self._hoist(synapses.name, expr.xreplace(self._dt), lambda n: parameter_of(synapses, n))

    def amounts(self, op: Couple, expr: sp.Expr) -> str:
        """Name of an invariant expression as one value per synapse, whatever its shape."""
        value = expr.xreplace(self._dt)
        if (op, value) not in self._matrices:
            name = mangled("amounts", op.projection, op.target, str(len(self._matrices)))
            self._matrices[op, value] = name
            self.table[name] = Constant(name, op.projection, value, one=False, matrix=True)
        return self._matrices[op, value]

    def fixed(self, synapses: Synapses, expr: sp.Expr) -> bool:
        """Whether a projection's expression is invariant."""
        return all(self._invariant(parameter_of(synapses, s.name)) for s in expr.xreplace(self._dt).free_symbols)

    def parameters_of(self, name: str) -> frozenset[str]:
        """Names of the parameters that a constant is made of."""
        if name not in self._parameters:
            constant = self.table[name]
            synapses = next((s for s in self.step.synapses if s.name == constant.owner), None)
            names = [s.name for s in constant.expr.free_symbols]
            self._parameters[name] = frozenset(
                f"{constant.owner}.{n}" if synapses is None else parameter_of(synapses, n) for n in names
            )
        return self._parameters[name]

    def _invariant(self, key: str) -> bool:
        owner, _, name = key.partition(".")
        plastic = any(s.name == owner and name in s.states for s in self.step.synapses)
        return key in self.shapes and not plastic

    def _hoist(self, owner: str, expr: sp.Expr, key: Callable[[str], str]) -> sp.Expr:
        if expr.is_number:
            return expr
        if all(self._invariant(key(s.name)) for s in expr.free_symbols):
            return symbol(self._name(owner, expr, key))
        if isinstance(expr, sp.Add | sp.Mul):
            fixed = [a for a in expr.args if all(self._invariant(key(s.name)) for s in a.free_symbols)]
            moving = [self._hoist(owner, a, key) for a in expr.args if a not in fixed]
            head = [self._hoist(owner, expr.func(*fixed), key)] if fixed else []
            return closed(expr.func(*head, *moving))
        return closed(expr.func(*(self._hoist(owner, a, key) for a in expr.args))) if expr.args else expr

    def _name(self, owner: str, expr: sp.Expr, key: Callable[[str], str]) -> str:
        if (owner, expr) not in self._known:
            one = all(self.shapes[key(s.name)] == () for s in expr.free_symbols)
            bare = expr.is_Symbol and key(expr.name).partition(".")[0] == owner
            name = local(owner, expr.name) if bare else mangled("hoisted", owner, str(len(self.table)))
            self._known[owner, expr] = name
            self.table[name] = Constant(name, owner, expr, one)
        return self._known[owner, expr]


def parameter_of(synapses: Synapses, name: str) -> str:
    """ "owner.name" of a symbol in a projection's expression."""
    for end in ("pre", "post"):
        if name.endswith(f"_{end}"):
            return f"{getattr(synapses, end)}.{name.removesuffix(f'_{end}')}"
    return f"{synapses.name}.{name}"


def shape_of(step: Step, constant: Constant) -> tuple[int, ...]:
    """() or one value per cell or synapse."""
    if constant.one:
        return ()
    synapses = next((s for s in step.synapses if s.name == constant.owner), None)
    return (step.population(constant.owner).size,) if synapses is None else synapses.shape


def lookup(
    step: Step, constant: Constant, parameters: Mapping[str, Any], held: Callable[[Any, Array], Any] = lambda key, array: array
) -> Callable[[str], Any]:  # fmt: skip
    """Parameters of one set by symbol, arrays or tensors, spread to the owner's layout. held: indices beside them, by a key."""
    synapses = next((s for s in step.synapses if s.name == constant.owner), None)
    if synapses is None:
        return lambda name: parameters[f"{constant.owner}.{name}"]

    def find(name: str) -> Any:
        value = parameters[parameter_of(synapses, name)]
        end = next((e for e in ("pre", "post") if name.endswith(f"_{e}")), None)
        if end is None or not value.ndim:
            return value
        if synapses.kind == "dense":
            return value[:, None] if end == "pre" else value[None, :]
        return value[held((end, synapses.name), getattr(synapses, f"{end}_index"))]

    return find


def values_of(step: Step, constant: Constant, parameters: Mapping[str, Array]) -> Array:
    """A constant as an array; its parts that don't exist are 0."""
    shape = shape_of(step, constant)
    found = evaluate(constant.expr, lookup(step, constant, parameters))
    found = np.array(found) if not shape else found if np.shape(found) == shape else np.broadcast_to(found, shape)
    synapses = next((s for s in step.synapses if s.name == constant.owner), None)
    mask = synapses.mask if synapses is not None and constant.matrix else None
    return found if mask is None else np.where(mask, found, 0)


def _own(synapses: Synapses, values: Mapping[str, Any]) -> Callable[[str], Any]:
    return lambda name: values[parameter_of(synapses, name)]


def in_parts(
    synapses: Synapses, constant: Constant, parameters: Iterable[Parameter], lengths: Sequence[int]
) -> Iterator[Array]:
    """A constant of a projection's own parameters and single numbers: so many of its values at once."""
    numbers = {p.name: p.value for p in parameters if p.shape == ()}
    many = {p.name: p.parts(lengths) for p in parameters if p.shape != ()}
    for length in lengths:
        values = numbers | {name: next(parts) for name, parts in many.items()}
        found = evaluate(constant.expr, _own(synapses, values))
        yield np.broadcast_to(found, (length,))

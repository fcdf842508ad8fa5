"""Brian2's closed form of an exact step, checked with the numbers that it will get.

Brian2 solves a linear system with symbols: the formula that it writes divides by rates, by differences of rates, by roots. With
numbers that make a divisor vanish, or nearly so, it gives NaN, 0 or few digits, without a word. So the formula in its code is
evaluated here with those numbers, and compared with the matrix exponential. Where two rates are equal in value, Brian2 gets
equations in which they are one symbol, and then finds the right form itself.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm, matrix_balance
from scipy.sparse.csgraph import connected_components
from scipy.special import exprel

from backends.brian.devices import DEFAULT_UNITS, StateUpdateMethod, get_linear_system, sympy_to_str  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.functions import FUNCTIONS

Array = npt.NDArray[Any]

_VARIABLES = 4  # that depend on each other: seconds for sympy, and minutes for one more
_EQUAL = 2e-10  # relative difference of two rates that are taken for one
_TOLERANCE = 1e-10  # relative error of a coefficient
_ADVICE = "use method='rk4'"
_SAME = (
    "exp",
    "log",
    "log10",
    "log1p",
    "expm1",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "arcsin",
    "arccos",
    "arctan",
)
_WORDS: Mapping[str, Any] = {
    **{name: float(value) for name, value in DEFAULT_UNITS.items()},
    **{name: getattr(np, name) for name in (*_SAME, "abs", "sqrt", "pi", "inf")},
    **{name: function.pyfunc for name, function in FUNCTIONS.items()},
    "exprel": exprel,
    "int": float,
}


@dataclass(frozen=True)
class Tie:
    """States whose rates are equal in value: one symbol to Brian2.

    rates: state -> number of its symbol. rest: what else changes each of them, a text, "0" where nothing does.
    """

    rates: tuple[tuple[str, int], ...]
    rest: tuple[tuple[str, str], ...]


class DegenerateError(Exception):
    """Brian2's formula is wrong with these numbers. The message says why. owner: whose formula."""

    def __init__(self, message: str, owner: str = "") -> None:
        self.owner = owner
        super().__init__(message)


@dataclass(frozen=True)
class Propagator:
    """The linear system of a group, and the formula that Brian2 wrote for it: the new value of each state. All texts."""

    states: tuple[str, ...]
    matrix: tuple[tuple[str, ...], ...]
    constants: tuple[str, ...]
    formula: tuple[str, ...]
    frozen: tuple[bool, ...]  # in refractory cells
    constant: frozenset[str]  # names that keep their values in a run

    @classmethod
    def of(cls, group: Any) -> Propagator:
        """Raises Brian2's UnsupportedEquationsException where it has no formula."""
        equations = getattr(group, "user_equations", group.equations)  # without Brian2's factors for refractory cells
        states, matrix, constants = get_linear_system(equations, group.variables)
        needs = np.array(matrix.tolist()) != 0
        if largest(needs, "strong") > 2:
            raise DegenerateError(
                "its formula needs the roots of a polynomial of degree 3 or more, since three or more of the variables depend on "
                f"each other in a loop; {_ADVICE}"
            )
        if largest(needs, "weak") > _VARIABLES:
            raise DegenerateError(
                f"its formula for more than {_VARIABLES} variables that depend on each other takes sympy minutes to find; {_ADVICE}"
            )
        updater = group.state_updater
        code = StateUpdateMethod.apply_stateupdater(
            group.equations, group.variables, updater.method_choice, updater.method_options, group_name=group.name
        )
        new = dict(line.split(" = ", 1) for line in code.splitlines())
        count = range(len(states))
        return cls(
            tuple(states),
            tuple(tuple(sympy_to_str(matrix[i, j]) for j in count) for i in count),
            tuple(map(sympy_to_str, constants)),
            tuple(new[f"_{s}"] for s in states),
            tuple("unless refractory" in equations[s].flags for s in states),
            frozenset(_names(code)) & {n for n, v in group.variables.items() if v.constant and not v.scalar},
        )

    def check(self, values: Mapping[str, Array], dt: float) -> None:
        """values: of variables, one number per cell or synapse. Raises DegenerateError."""
        known = self._known(values)
        self._check_rates_are_constant(known)
        wrong = self._wrong(known, dt)
        if wrong.any():
            raise DegenerateError(self._reason({n: v[wrong] for n, v in known.items()}, dt))

    def tie(self, values: Mapping[str, Array], dt: float) -> Tie | None:
        """The rates that must be one symbol, where the formula is wrong and that mends it; None elsewhere."""
        known = self._known(values)
        if not self._triangular() or self._open(known) or not self._wrong(known, dt).any():
            return None
        rates = [self._value(self.matrix[i][i], known) for i in range(len(self.states))]
        first = [next(j for j in range(i + 1) if _equal(rates[i], rates[j])) for i in range(len(rates))]
        tied = [i for i in range(len(rates)) if first.count(first[i]) > 1]
        if not tied:
            return None
        return Tie(
            tuple((self.states[i], first[i]) for i in tied), tuple((self.states[i], self._rest(i)) for i in tied)
        )

    def rates(self, tie: Tie, values: Mapping[str, Array]) -> dict[str, Array]:
        """Values of the symbols of a tie, by their names."""
        size = len(next(iter(values.values())))
        numbers = sorted({n for _, n in tie.rates})
        return {symbol_of(n): np.broadcast_to(self._value(self.matrix[n][n], values), size) for n in numbers}

    def _known(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Each combination of values of the constants in it once, [row]."""
        return _rows({n: values[n] for n in sorted(self.constant & set(values))})

    # -- texts ---------------------------------------------------------------------------------------------------------

    def _names(self, *texts: str) -> set[str]:
        return {n for text in texts for n in _names(text)} - set(self.states) - set(_WORDS) - {"dt", "not_refractory"}

    def _rest(self, row: int) -> str:
        others = [
            (self.matrix[row][j], s) for j, s in enumerate(self.states) if j != row and self.matrix[row][j] != "0"
        ]
        terms = [f"({entry})*{state}" for entry, state in others]
        return " + ".join(terms + [f"({self.constants[row]})"] * (self.constants[row] != "0")) or "0"

    def _open(self, known: Mapping[str, Array]) -> set[str]:
        """Names in the rates that have no value before the run: inputs, states that statements set."""
        return self._names(*(entry for row in self.matrix for entry in row)) - set(known)

    def _check_rates_are_constant(self, known: Mapping[str, Array]) -> None:
        if names := self._open(known):
            raise DegenerateError(
                f"the rates depend on {', '.join(sorted(names))}, which changes during a run, and its formula divides by them; "
                "use method='exponential_euler'"
            )

    # -- numbers -------------------------------------------------------------------------------------------------------

    def _value(self, text: str, table: Mapping[str, Any]) -> Array:
        with np.errstate(all="ignore"):
            words = {**_WORDS, "not_refractory": True, **table}
            found: Array = np.asarray(eval(text, {"__builtins__": {}}, words), np.float64)
        return found

    def _system(self, known: Mapping[str, Array], inputs: Mapping[str, float]) -> Array:
        """Matrix and constants [row, state, state + 1], inputs taken as given numbers."""
        rows = _length(known)
        entries = [[*self.matrix[i], self.constants[i]] for i in range(len(self.states))]
        table = {**inputs, **known}
        columns = [[np.broadcast_to(self._value(e, table), rows) for e in line] for line in entries]
        return np.moveaxis(np.array(columns), -1, 0)

    def _wrong(self, known: Mapping[str, Array], dt: float) -> Array:
        """Rows in which some coefficient of the formula is not the matrix exponential's, in refractory cells or others."""
        wrong = self._wrong_while(True, known, dt)
        texts = (*self.formula, *self.constants, *(entry for row in self.matrix for entry in row))
        return wrong | self._wrong_while(False, known, dt) if "not_refractory" in " ".join(texts) else wrong

    def _wrong_while(self, free: bool, known: Mapping[str, Array], dt: float) -> Array:
        names = self._names(*self.formula, *self.constants) - set(known)
        for value in (1.0, 0.0, 1e-9):  # what inputs may be is not known; some value has a finite effect
            inputs = {**dict.fromkeys(names, value), "not_refractory": free}
            system = self._system(known, inputs)
            if np.isfinite(system).all():
                break
        whole = np.zeros((len(system), len(self.states) + 1, len(self.states) + 1))
        whole[:, :-1] = np.where(np.isfinite(system), system, 0)
        bound = _exponential(np.where(np.eye(whole.shape[1], dtype=bool), whole, np.abs(whole)) * dt)[:, :-1]
        if not free:
            whole[:, :-1][:, np.array(self.frozen)] = 0
        wrong = self._differs(_exponential(whole * dt)[:, :-1], bound, {**inputs, **known, "dt": dt})
        return wrong | ~np.isfinite(system).all((1, 2))

    def _differs(self, right: Array, bound: Array, table: Mapping[str, Any]) -> Array:
        """right: coefficients of the new states, the constant's last. bound: what they would be, did nothing in them cancel."""
        count, rows = len(self.states), len(right)
        still = self._formula(table, rows)  # the new states, where all are 0 before
        good = np.isfinite(still).all(1)
        with np.errstate(all="ignore"):
            good &= (np.abs(still - right[..., count]) <= _TOLERANCE * bound[..., count]).all(1)
            for n, state in enumerate(self.states):
                # so large that its own effects stand out of the constants'
                large = 1 + np.where(bound[..., n] > 0, 1e6 * bound[..., count] / bound[..., n], 0).max(1)
                moved = (self._formula({**table, state: large}, rows) - still) / large[:, None]
                good &= (np.abs(moved - right[..., n]) <= _TOLERANCE * bound[..., n]).all(1)
        return np.asarray(~good)

    def _formula(self, table: Mapping[str, Any], rows: int) -> Array:
        """New states [row, state]."""
        states = dict.fromkeys(self.states, 0.0)
        return np.stack([np.broadcast_to(self._value(f, {**states, **table}), rows) for f in self.formula], 1)

    def _triangular(self) -> bool:
        """True if no states depend on each other in a loop: then the rates are the matrix's diagonal."""
        return largest(np.array([[entry != "0" for entry in row] for row in self.matrix]), "strong") == 1

    def _reason(self, known: Mapping[str, Array], dt: float) -> str:
        """Why the formula fails in the first of these rows."""
        rates = [float(np.ravel(self._value(self.matrix[i][i], known))[0]) for i in range(len(self.states))]
        times = [f"{1000 / abs(r):.12g} ms" if r else "infinite" for r in rates]
        if not self._triangular():
            return f"its formula fails with these numbers ({', '.join(self.states)} depend on each other); {_ADVICE}"
        if any(rate == 0 or not np.isfinite(rate) for rate in rates):
            place = next(i for i, rate in enumerate(rates) if rate == 0 or not np.isfinite(rate))
            return f"its formula divides by the rate of {self.states[place]}, which is {rates[place]:g}; {_ADVICE}"
        pairs = [(abs(a - b) / max(abs(a), abs(b)), j, i) for i, a in enumerate(rates) for j, b in enumerate(rates[:i])]
        if not pairs or min(pairs)[0] > 0.1:
            return f"its formula fails with these numbers (dt is {1000 * dt:g} ms, time constants {', '.join(times)}); {_ADVICE}"
        _, a, b = min(pairs)
        return (
            f"its formula divides by the difference of two rates, and the time constants of {self.states[a]} ({times[a]}) and "
            f"{self.states[b]} ({times[b]}) are too close; make them equal in all cells, or more different, or {_ADVICE}"
        )


def largest(needs: Array, connection: str) -> int:
    """Number of states in the largest set whose members depend on each other. needs: bool [state, state].

    connection: "strong" for sets in which each depends on each (loops), "weak" for sets that others don't touch.
    """
    _, labels = connected_components(needs, connection=connection)
    return int(np.bincount(labels).max())


def _exponential(matrices: Array) -> Array:
    """Of matrices [row, n, n] whose entries differ by units, each to its own precision."""
    size = np.abs(matrices).max(0)
    _, (scale, _) = matrix_balance(size, permute=False, separate=True)
    ratio = scale[:, None] / scale
    reached = np.linalg.matrix_power(np.eye(len(size)) + (size > 0), len(size)) > 0
    found: Array = np.where(reached, expm(matrices / ratio) * ratio, 0)
    return found


def symbol_of(rate: int) -> str:
    """Brian2's name of a rate that several states share."""
    return f"rate{rate}"


def _equal(a: Array, b: Array) -> bool:
    return bool((np.abs(a - b) <= _EQUAL * np.maximum(np.abs(a), np.abs(b))).all())


def _names(text: str) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}


def _length(known: Mapping[str, Array]) -> int:
    return len(next(iter(known.values()), [0]))


def _rows(values: Mapping[str, Array]) -> dict[str, Array]:
    varied = {name: v for name, v in values.items() if v.min() != v.max()}
    table = np.unique(np.stack(list(varied.values()), 1), axis=0) if varied else np.zeros((1, 0))
    same = {name: np.full(len(table), v[0]) for name, v in values.items()}
    return same | {name: table[:, n] for n, name in enumerate(varied)}

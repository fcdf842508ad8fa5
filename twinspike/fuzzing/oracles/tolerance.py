"""When two recordings are the same: spikes exactly, traces to a bound, and what rounding alone explains.

A difference beyond the bound may still be rounding: a margin within rounding of 0, a value at the jump of floor(), %, or a
condition, a difference of two ways to compute one number, or dynamics that let rounding grow. The reference runs again with parameters, initial values, what synapses send,
every operation within an expression, the numbers in its text and, after each step, all variables moved by a few units in the last place; where that moves its own numbers as far, the case is a
tie: counted, never passed in silence. A backend computes by formulas of its own, whose rounding no run of the reference shows: where it differs, it is asked too, with the numbers of its network
moved. Networks whose arithmetic is exact (Case.dyadic) have no such excuse, while their numbers fit into 53 bits.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np

import backends
from backends.reference import _Simulation
from neuro.compiler.evaluation import evaluate
from neuro.compiler.parameters import initial_state
from neuro.language.equations import CONSTANTS
from neuro.language.units import Quantity, is_unit_name
from neuro.model import Network
from twinspike.fuzzing.editing import blocks, mapped, models, with_blocks, with_model
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.oracles.outcome import attempt, compiled, limited, made, own_values

BOUND = 1e-9  # of a trace's scale: five digits above the rounding of some hundred operations a step over 40 steps
ROUNDING = 4e-16  # relative size of the perturbation, about two units in the last place
TRIES = 40  # one number at a jump, such as t % 0.7, may need many until the rounding of it falls to the other side
FEWER = 8  # of a backend's own runs: Brian2 needs a second for each
GROWTH = 100.0  # how much further than the perturbed reference another backend may be


@dataclass(frozen=True)
class Difference:
    """name: what differs. step: the first one where it does. size: relative to its scale, or the number of spikes; SI of a trace that should be 0, which has
    no scale (silent)."""

    name: str
    step: int
    size: float
    spikes: bool
    silent: bool = False

    def __str__(self) -> str:
        unit = "in SI, where 0 is right" if self.silent else "of its scale"
        what = f"{self.size:.0f} spikes" if self.spikes else f"{self.size:.2g} {unit}"
        return f"{self.name} from step {self.step} on, {what}"


def first_difference(a: Any, b: Any, bound: float = BOUND) -> Difference | None:
    """The earliest difference of two recordings; None where they agree."""
    found = []
    for name, raster in a.spikes.items():
        other = np.asarray(b.spikes[name])
        off = np.asarray(raster) != other
        if off.any():
            found.append(
                Difference(f"spikes of {name}", int(np.argwhere(off.any(axis=(0, 2)))[0, 0]), float(off.sum()), True)
            )
    found += [d for name, trace in a.traces.items() if (d := trace_difference(name, trace, b.traces[name], bound))]
    for name in sorted({*a.final, *b.final}):
        if name not in a.final or name not in b.final:
            found.append(Difference(f"{name}, which only one calls final", 10**6, np.inf, False))
            continue
        error = relative(a.final[name], b.final[name])
        if error.size and (error > bound).any():
            found.append(Difference(f"final {name}", 10**6, float(error.max()), False))
    return min(found, key=lambda d: (d.step, not d.spikes)) if found else None


def trace_difference(name: str, a: Any, b: Any, bound: float = BOUND) -> Difference | None:
    """The earliest difference of two traces [batch, time, ...]; None where they agree. Where all of a is 0, all of b must be."""
    silent = np.shape(a) == np.shape(b) and not np.any(a)
    error = np.nan_to_num(np.abs(b), nan=np.inf) if silent else relative(a, b)
    off = error > (0.0 if silent else bound)
    if not off.any():
        return None
    step = int(np.argwhere(off.any(axis=(0, *range(2, off.ndim))))[0, 0])
    return Difference(name, step, float(error.max()), False, silent)


def relative(a: Any, b: Any) -> np.ndarray[Any, Any]:
    """|a - b| over the largest finite number in a, or in b where a is 0; where both are not finite alike, 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        return np.full((1, 1, 1), np.inf)
    finite = np.abs(a[np.isfinite(a)])
    scale = float(finite.max()) if finite.size else 0.0
    scale = scale or float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(all="ignore"):
        error = np.abs(a - b) / (scale or 1e-300)
    return np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf))


SUMS = ("add", "subtract")
EXACT = ("minimum", "maximum", "floor", "ceil", "sign", "absolute", "negative", "positive", "remainder")
EXACT_FUNCTIONS = ("floor", "ceil", "sign", "abs", "relu", "clip", "int", "straight_through", "rand", "randn")


class Inexact(np.ndarray[Any, Any]):
    """An array whose every operation is off by rounding, but those that round nothing. A sum is off by that of its largest term: in another order, what cancels
    leaves a rest."""

    random: ClassVar[np.random.Generator]
    rounding: ClassVar[float]

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(x) if isinstance(x, Inexact) else x for x in inputs]
        found = np.asarray(getattr(ufunc, method)(*plain, **options))
        if found.dtype.kind == "f" and ufunc.__name__ not in EXACT:
            size = np.maximum(*map(np.abs, plain)) if ufunc.__name__ in SUMS else found
            found = found + (off(size, self.random, self.rounding) - size)
        return found.view(Inexact)


class Moved(ast.NodeTransformer):
    """Numbers of a text by their neighbours, but whole ones and exponents, and what operations on numbers alone give: that is computed before a run, in an order of
    each backend's own."""

    def __init__(self, random: np.random.Generator, rounding: float) -> None:
        self.random, self.rounding = random, rounding

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        rounds = not isinstance(node.op, ast.Mod) and of_numbers(node)
        node.left = self.visit(node.left)
        if not isinstance(node.op, ast.Pow):
            node.right = self.visit(node.right)
        return self.result(node) if rounds else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        rounds = ast.unparse(node.func) not in EXACT_FUNCTIONS and of_numbers(node)
        node.args = [self.visit(argument) for argument in node.args]
        return self.result(node) if rounds else node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Constant(self.moved(node.value)) if isinstance(node.value, float) else node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.moved(np.pi)) if node.id == "pi" else node

    def result(self, node: ast.expr) -> ast.expr:
        """What an operation gives, off by its rounding."""
        return ast.BinOp(node, ast.Mult(), ast.Constant(self.moved(1.0)))

    def moved(self, value: float) -> float:
        return float(off(value, self.random, self.rounding))


def of_numbers(node: ast.expr) -> bool:
    """Whether all that an operation is made of are numbers and units, not whole numbers alone."""
    functions = {id(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and id(n) not in functions}
    whole = all(isinstance(n.value, int) for n in ast.walk(node) if isinstance(n, ast.Constant))
    return all(n in CONSTANTS or is_unit_name(n) for n in names) and not (whole and not names and not functions)


def reworded(network: Network, random: np.random.Generator, rounding: float) -> Network:
    """The network with the numbers in its texts moved."""
    change = Moved(random, rounding).visit
    for model in models(network):
        lines = {
            block: [replace(line, text=line.text and mapped(line.text, change)) for line in lines]
            for block, lines in blocks(model).items()
        }
        network = with_model(network, model, with_blocks(model, lines))
    return network


class Sensitivity:
    """How far rounding moves a backend's own numbers, of which recording has some. rounding: the size of one."""

    def __init__(self, case: Case, recording: Any, rounding: float = ROUNDING, backend: str = "reference") -> None:
        self.case, self.recording, self.rounding, self.backend = case, recording, rounding, backend
        self._runs, self._more = list[Any](), self.moved(case.steps)

    def runs(self) -> Iterator[Any]:
        """Whole runs that rounding moves; each is made when it is asked for, and kept."""
        yield from self._runs
        for run in self._more:
            self._runs.append(run)
            yield run

    def moved(self, steps: int) -> Iterator[Any]:
        """The first steps of runs that rounding moves."""
        dt = self.case.network.dt
        run = self._within if self.backend == "reference" else self._moved
        for number in range(TRIES if self.backend == "reference" else FEWER):
            first = np.random.default_rng(number)
            moved = Quantity(float(off(dt.value, first, self.rounding)), dt.dimension, dt.unit)
            network = attempt(lambda q=moved, r=first: replace(reworded(self.case.network, r, self.rounding), dt=q))
            random = np.random.default_rng([self.case.seed, number])
            found = attempt(lambda n=network, r=random: run(n, r, steps))
            if not isinstance(found, Exception):
                yield found

    def _moved(self, network: Network, random: np.random.Generator, steps: int) -> Any:
        """A run of a network whose text and dt are off by rounding, with parameters and inputs that are."""
        given = {n: off(v, random, self.rounding) for n, v in own_values(self.case.network).items()}
        cut = {n: a[:, :steps] for n, a in self.case.inputs().items()}
        inputs = {n: off(a, random, self.rounding) if a.dtype != bool else a for n, a in cut.items()}
        with limited(self.backend):
            program = made(self.backend, network, self.case)
            found = self.case.run(program, parameters=given, inputs=inputs, steps=steps)
            _ = found.state  # computed while it is asked for
            return found

    def _within(self, network: Network, random: np.random.Generator, steps: int) -> Any:
        """The same of the reference, whose initial values, operations and variables after each step are off too."""
        starts = {n: off(v, random, self.rounding) for n, v in initial_state(self.case.network).items()}
        step, total, together = _Simulation.run_step, _Simulation.total, solved_together(self.case.network)

        def summed(simulation: _Simulation, op: Any) -> Any:
            return off(total(simulation, op), random, self.rounding)

        def inexact(expr: Any, lookup: Any) -> Any:
            Inexact.random, Inexact.rounding = random, self.rounding
            return np.asarray(evaluate(expr, lambda name: np.asarray(lookup(name)).view(Inexact)))[()]

        def rounded(simulation: _Simulation) -> None:
            step(simulation)
            simulation.values |= {n: off(v, random, self.rounding) for n, v in simulation.values.items()}
            for names in together:
                largest = np.max([np.abs(simulation.values[n]) for n in names], axis=0)
                simulation.values |= {
                    n: simulation.values[n] + (off(largest, random, self.rounding) - largest) for n in names
                }

        with (
            patch("backends.reference.initial_state", lambda network: starts),
            patch.object(_Simulation, "run_step", rounded),
            patch.object(_Simulation, "total", summed),
            patch("backends.reference.evaluate", inexact),
        ):
            return self._moved(network, random, steps)

    @cached_property
    def exact(self) -> bool:
        """Whether a run rounds nothing: a dyadic network's, where no value has more bits than a number holds, for with more of them it would be another one."""
        if not self.case.dyadic:
            return False
        found: list[bool] = []

        def compared(expr: Any, lookup: Any) -> Any:
            plain, wide = evaluate(expr, lookup), evaluate(expr, lambda name: np.asarray(lookup(name), np.longdouble))
            found.append(np.array_equal(np.asarray(plain, np.longdouble), wide, equal_nan=True))
            return plain

        with patch("backends.reference.evaluate", compared):
            attempt(lambda: self.case.run(backends.get("reference").compile(self.case.network)))
        return all(found)

    def explains(self, difference: Difference, bound: float = BOUND) -> bool:
        """True where rounding alone makes a difference as early and as large."""
        return not self.exact and any(self._as_far(run, difference, bound / GROWTH) for run in self.runs())

    def _as_far(self, run: Any, difference: Difference, bound: float) -> bool:
        if difference.silent:  # sizes in SI, which no other variable's says anything about
            apart = np.abs(run.traces[difference.name] - self.recording.traces[difference.name])
            own = trace_difference(difference.name, np.zeros_like(apart), apart)
        else:
            own = first_difference(self.recording, run, bound)
        return own is not None and own.step <= difference.step and (own.spikes or own.size * GROWTH >= difference.size)


def own_rounding(case: Case, backend: str, recording: Any, difference: Difference) -> bool:
    """Whether a backend's own numbers move as far where those of its network are off by rounding; they must be the same from run to run."""
    return steady(case, backend, recording) and Sensitivity(case, recording, backend=backend).explains(difference)


def steady(case: Case, backend: str, recording: Any) -> bool:
    """Whether a second run of a backend gives the same bits: what differs from run to run isn't rounding."""
    program = attempt(lambda: compiled(backend, case))
    again = attempt(lambda: case.run(program))
    if isinstance(again, Exception):
        return False
    return same_bits(recording.spikes, again.spikes) and same_bits(recording.traces, again.traces)


def solved_together(network: Network) -> list[list[str]]:
    """States of one unit that `exact` solves as one linear system. In a closed form of it terms cancel, so that each state is off by the rounding of the largest."""
    found: dict[Any, list[str]] = {}
    for population in network.populations:
        scope = population.neuron.scope
        for equation in scope.of_kind("differential") if population.neuron.method == "exact" else ():
            found.setdefault((population.name, equation.dimension), []).append(f"{population.name}.{equation.name}")
    return [names for names in found.values() if len(names) > 1]


def off(value: Any, random: np.random.Generator, rounding: float = ROUNDING) -> Any:
    """Off by a few units in the last place; what is 0 stays 0."""
    array = np.asarray(value, np.float64)
    return array * (1 + rounding * random.choice((-1.0, 1.0), array.shape))


def same_bits(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """True where all arrays are equal."""
    return all(np.array_equal(np.asarray(a[n]), np.asarray(b[n]), equal_nan=a[n].dtype.kind == "f") for n in a)

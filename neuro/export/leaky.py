"""Networks of leaky integrators, recognised in their Step: what snntorch's modules and NIR's LIF and CubaLIF can be.

With x what arrives in a step and u = (v - rest)/gain, such a cell computes

    i = alpha i + x,  u = beta u + i,  a spike where u > threshold,  then u = 0 or u -= threshold

and i = x where the input lives for one step only. Whatever else a network asks for is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt
import sympy as sp

from neuro.compiler.evaluation import compiled
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import initial_state
from neuro.compiler.step import Cells, Couple, Gather, Step, Synapses, Threshold, Update, composed
from neuro.export.profile import NeuronKind
from neuro.language.elementary import exprel
from neuro.language.scope import noise_text
from neuro.language.symbolic import symbol, within_functions
from neuro.model import Network
from neuro.protocols import Parameters

Array = npt.NDArray[Any]
Reset = Literal["none", "zero", "subtract"]
_Fail = Callable[[str, str], NoReturn]  # field, reason

_TOLERANCE = 1e-10  # of the distance between rest and threshold: rounding of the closed forms
_UNIT = sp.Integer(1)


class NotLeakyError(Exception):
    """A population or projection that is more than a leaky integrator. where: its name; field: what doesn't fit."""

    def __init__(self, where: str, field: str, why: str) -> None:
        self.where, self.field, self.why = where, field, why
        super().__init__(f"{where}, {field}: {why}")


@dataclass(frozen=True)
class LeakyCell:
    """A population as symbols of its parameters.

    voltage: the state that is v. driver: the input or current that moves it, None where nothing arrives. alpha: decay
    of the driver, None where it lives one step. strict: a spike where v > threshold, else v >= threshold. reset_to: the
    value of "zero", the step of "subtract".
    """

    cells: Cells
    voltage: str
    driver: str | None
    beta: sp.Expr
    alpha: sp.Expr | None
    gain: sp.Expr
    constant: sp.Expr
    threshold: sp.Expr | None
    strict: bool
    reset: Reset
    reset_to: sp.Expr
    initial: Mapping[str, Array]

    @property
    def name(self) -> str:
        return self.cells.name

    @property
    def kind(self) -> NeuronKind:
        if self.threshold is None:
            return "leaky_integrator"
        return "lif" if self.alpha is None else "cuba_lif"


@dataclass(frozen=True)
class LeakyNumbers:
    """The same as arrays [size], SI. threshold: of u, inf without spikes. u, i: initial values."""

    beta: Array
    alpha: Array | None
    gain: Array
    rest: Array
    threshold: Array
    u: Array
    i: Array


@dataclass(frozen=True)
class Link:
    """A projection whose spikes add `weight` to the driver of `post`."""

    synapses: Synapses
    weight: sp.Expr

    @property
    def name(self) -> str:
        return self.synapses.name


@dataclass(frozen=True)
class LeakyNetwork:
    """currents: population -> names of the current inputs that drive it."""

    step: Step
    cells: Mapping[str, LeakyCell]
    links: tuple[Link, ...]
    currents: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """All populations, also those that are no leaky integrators."""
        return tuple(c.name for c in self.step.cells)

    def numbers(self, parameters: Parameters) -> dict[str, LeakyNumbers]:
        """Values of all cells. parameters: all of the network's, SI. Raises NotLeakyError on values that don't fit."""
        return {name: self.numbers_of(name, parameters) for name in self.cells}

    def numbers_of(self, name: str, parameters: Parameters) -> LeakyNumbers:
        """Values of one population. Raises NotLeakyError."""
        return _numbers(self.cells[name], self.step.dt, parameters)

    def matrix(self, link: Link, parameters: Parameters) -> Array:
        """Weights [pre, post] in SI, zero where there is no synapse. To be read only: they may be the parameters."""
        synapses = link.synapses
        shape = (self._size(synapses.pre), self._size(synapses.post))
        value = _evaluate(link.weight, synapses.name, self.step.dt, parameters, synapses.shape)
        if synapses.kind == "dense":
            return value if synapses.mask is None else np.where(synapses.mask, value, 0.0)
        found = np.zeros(shape)
        np.add.at(found, (synapses.pre_index, synapses.post_index), value)
        return found

    def _size(self, name: str) -> int:
        return self.cells[name].cells.size if name in self.cells else self.step.sources[name]


def leaky_network(network: Network) -> LeakyNetwork:
    """Read a network as leaky integrators. Raises NotLeakyError naming population or projection, field and reason."""
    found, problems = leaky_parts(network)
    problems += [p for link in found.links for p in _delay_problems(link)]
    problems += [p for cell in found.cells.values() for p in _threshold_problems(cell)]
    if problems:
        raise problems[0]
    return found


def leaky_parts(network: Network) -> tuple[LeakyNetwork, list[NotLeakyError]]:
    """The populations and projections that are leaky integrators, and what is wrong with the others.

    Here projections may have delays, and thresholds may be ">=".
    """
    step = lower(network)
    initial = initial_state(network)
    problems = list(_graded(step))
    links: list[Link] = []
    for couple in _events(step):
        with _collected(problems):
            links.append(_link(step, couple))
    currents = {o.population: o.currents for o in step.operations if isinstance(o, Gather) and o.currents}
    cells: dict[str, LeakyCell] = {}
    for item in step.cells:
        start = {n: initial[f"{item.name}.{n}"] for n in item.states}
        driven = {c.target for c in _events(step) if c.population == item.name}
        driven |= {variable for variable, _ in currents.get(item.name, ())}
        with _collected(problems):
            cells[item.name] = _cell(step, item, driven, start)
    names = {p: tuple(name for _, name in pairs) for p, pairs in currents.items()}
    return LeakyNetwork(step, cells, tuple(links), names), problems


@contextmanager
def _collected(problems: list[NotLeakyError]) -> Iterator[None]:
    try:
        yield
    except NotLeakyError as error:
        problems.append(error)


# -- projections --------------------------------------------------------------------------------------------------


def _events(step: Step) -> Iterable[Couple]:
    return (o for o in step.operations if isinstance(o, Couple))


def _graded(step: Step) -> Iterable[NotLeakyError]:
    names = {s.name for s in step.synapses}
    for cells in step.cells:
        for _, drive in cells.counts:
            yield NotLeakyError(
                f"input '{drive}'", "drive", "it adds random counts to the cells; only given spikes reach them"
            )
    for operation in step.operations:
        if isinstance(operation, Gather):
            for coupling in operation.couplings:
                where = f"projection '{coupling.projection}'"
                yield NotLeakyError(where, "transmits", "graded transmission; only spikes are sent")
        if isinstance(operation, Update) and operation.owner in names:
            plastic = "w" in step.projection(operation.owner).states
            what = "plastic weights" if plastic else "state in each synapse"
            where = f"projection '{operation.owner}'"
            yield NotLeakyError(where, operation.phase, f"{what}; only constant weights fit")


def _link(step: Step, couple: Couple) -> Link:
    synapses, where = step.projection(couple.projection), f"projection '{couple.projection}'"
    if couple.when != "pre":
        raise NotLeakyError(where, "on_post", "a spike acts on its targets only")
    if couple.late is not None:
        raise NotLeakyError(where, "delay", "a pathway with a delay of its own; a projection has one")
    if synapses.noise:
        what = f"'{noise_text(synapses.noise[0])}' in its text; it must be deterministic"
        raise NotLeakyError(where, "noise", what)
    factors = couple.factors
    known = {symbol(n) for n in (*synapses.parameters, "w", "dt")}
    if factors is None or factors.pre != 1 or factors.post != 1 or not factors.synapse.free_symbols <= known:
        raise NotLeakyError(where, "on_pre", "a spike adds a weight and nothing that depends on the cells")
    return Link(synapses, factors.synapse)


def _delay_problems(link: Link) -> Iterable[NotLeakyError]:
    if link.synapses.max_delay:
        why = "spikes arrive in the step in which they are sent; use delay 0"
        yield NotLeakyError(f"projection '{link.name}'", "delay", why)


# -- populations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Linear:
    """slopes[name] * name + ... + constant."""

    slopes: Mapping[str, sp.Expr]
    constant: sp.Expr

    def only(self, *names: str) -> bool:
        return set(self.slopes) <= set(names)


def _linear(expr: sp.Expr, cells: Cells) -> _Linear | None:
    """An expression as a linear one of states and inputs; None where it is not, or depends on time or noise."""
    variables = {symbol(n) for n in (*cells.states, *cells.inputs)}
    if expr.free_symbols & {symbol(n) for n in (*cells.noise, "t")}:
        return None
    if within_functions(expr) & variables:
        return None
    slopes = {x.name: sp.diff(expr, x) for x in expr.free_symbols & variables}
    slopes = {n: s for n, s in slopes.items() if s != 0}
    if any(s.free_symbols & variables for s in slopes.values()):
        return None
    constant = expr.xreplace(dict.fromkeys(variables, sp.Integer(0)))
    unknown = {f.func for f in expr.atoms(sp.Function)} - {sp.exp, sp.log, exprel}
    return None if unknown else _Linear(slopes, constant)


def _cell(step: Step, cells: Cells, driven: set[str], initial: Mapping[str, Array]) -> LeakyCell:
    def fail(field: str, why: str) -> NoReturn:
        raise NotLeakyError(f"population '{cells.name}'", field, why)

    if cells.stages:
        fail("couplings", "'stages': it is integrated together with other cells")
    if cells.noise:
        fail("noise", f"'{noise_text(cells.noise[0])}' in its text; it must be deterministic")
    if cells.refractory > 1 or (cells.refractory and driven & set(cells.frozen)):  # one step freezes only arrivals
        fail("refractory", f"{cells.refractory} steps; it must be 0")
    if "not_refractory" in cells.states:
        fail("refractory", "its cells know of their spikes; it must be 0, and no text name lastspike or not_refractory")
    if step.update(cells.name, "every_step"):
        fail("every_step", "discrete updates; only linear differential equations fit")
    if step.update(cells.name, "event"):
        fail("events", "events of the cells' own beside their spikes, which alone are sent")
    if step.starting(cells.name):
        fail("regularly", "discrete updates at the start of a step; only linear differential equations fit")
    new = {n: _linear(e, cells) for n, e in step.next_state(cells.name).items()}
    for name, update in new.items():
        if update is None:
            fail("equations", f"d{name}/dt is not linear with constant coefficients")
    linear = {n: u for n, u in new.items() if u is not None}
    voltage, threshold = _voltage(step, cells, linear, fail)
    if voltage in driven:
        fail("on_pre", f"a spike moves '{voltage}' itself, and the reset of that step would erase it; send currents")
    active = driven | {n for n in cells.states if n != voltage and initial[n].any()}
    for name in active - set(linear[voltage].slopes):
        fail("inputs", f"'{name}' doesn't drive '{voltage}' directly")
    if len(active) > 1:
        fail("inputs", f"{' and '.join(sorted(active))} drive '{voltage}'; only one current can")
    driver = next(iter(active), None)
    for name in set(cells.states) - {voltage}:
        if name not in linear or not linear[name].only(name) or linear[name].constant != 0:
            fail("equations", f"'{name}' is not a current that decays by itself")
    reset, reset_to = _reset(step, cells, voltage, fail)
    comparison = _comparison(step, cells)
    slopes = linear[voltage].slopes
    return LeakyCell(
        cells=cells,
        voltage=voltage,
        driver=driver,
        beta=slopes.get(voltage, sp.Integer(0)),
        alpha=linear[driver].slopes.get(driver, sp.Integer(0)) if driver in linear else None,
        gain=slopes.get(driver, _UNIT) if driver else _UNIT,
        constant=linear[voltage].constant,
        threshold=threshold,
        strict=comparison is None or comparison.strict,
        reset=reset,
        reset_to=reset_to,
        initial=initial,
    )


def _threshold_problems(cell: LeakyCell) -> Iterable[NotLeakyError]:
    if not cell.strict:
        why = "'>=' counts equality as a spike; only '>' fits"
        yield NotLeakyError(f"population '{cell.name}'", "threshold", why)


def _voltage(step: Step, cells: Cells, linear: Mapping[str, _Linear], fail: _Fail) -> tuple[str, sp.Expr | None]:
    """The state that is compared with a threshold, or without one the state that no other needs; and the threshold."""
    found = _comparison(step, cells)
    if found is None:
        used = {n for name, u in linear.items() for n in u.slopes if n != name}
        last = [n for n in linear if n not in used]
        if len(last) != 1:
            fail("equations", "there must be one differential equation that the currents drive")
        return last[0], None
    margin = _linear(found.margin, cells)
    if margin is None or len(margin.slopes) != 1 or set(margin.slopes.values()) != {_UNIT}:
        fail("threshold", "it must compare one variable with a constant")
    voltage = next(iter(margin.slopes))
    if voltage not in linear:
        fail("threshold", f"'{voltage}' has no differential equation")
    return voltage, -margin.constant


def _comparison(step: Step, cells: Cells) -> Threshold | None:
    return next((o for o in step.operations if isinstance(o, Threshold) and o.population == cells.name), None)


def _reset(step: Step, cells: Cells, voltage: str, fail: _Fail) -> tuple[Reset, sp.Expr]:
    update = step.update(cells.name, "reset")
    if update is None:
        return "none", sp.Integer(0)
    after = composed(update.assigns)
    new = _linear(after.get(voltage, symbol(voltage)), cells)
    if set(after) == {voltage} and new is not None and new.only(voltage):
        slope = new.slopes.get(voltage, sp.Integer(0))
        if slope == 0:
            return "zero", new.constant
        if slope == 1:
            return "subtract", -new.constant
    fail("reset", f"only '{voltage} = constant' or '{voltage} -= constant' fits")


# -- values -------------------------------------------------------------------------------------------------------


def _evaluate(expr: sp.Expr, owner: str, dt: float, parameters: Parameters, shape: tuple[int, ...]) -> Array:
    names = tuple(sorted(s.name for s in expr.free_symbols))
    values = [np.float64(dt) if n == "dt" else np.asarray(parameters[f"{owner}.{n}"], np.float64) for n in names]
    found: Array = np.asarray(compiled(expr, names)(*values), dtype=np.float64)
    return found if found.shape == shape else np.broadcast_to(found, shape).copy()


def _numbers(cell: LeakyCell, dt: float, parameters: Parameters) -> LeakyNumbers:
    def fail(field: str, why: str) -> NoReturn:
        raise NotLeakyError(f"population '{cell.name}'", field, why)

    def value(expr: sp.Expr) -> Array:
        return _evaluate(expr, cell.name, dt, parameters, (cell.cells.size,))

    beta, gain, constant, reset_to = (value(e) for e in (cell.beta, cell.gain, cell.constant, cell.reset_to))
    alpha = None if cell.alpha is None else value(cell.alpha)
    for decay in (beta, alpha):
        if decay is not None and not ((decay >= 0) & (decay <= 1)).all():
            fail("equations", "a variable that grows or alternates; decay factors must be within 0 and 1")
    if not (gain > 0).all():
        fail("equations", f"a positive current must raise '{cell.voltage}'")
    leaky = beta < 1
    if constant[~leaky].any():
        fail("equations", f"'{cell.voltage}' has a drift but no leak, so no resting value")
    rest = np.divide(constant, 1 - beta, out=np.where(cell.reset == "zero", reset_to, 0.0), where=leaky)
    if cell.threshold is None:
        distance = np.full(rest.shape, np.inf)
    else:
        distance = value(cell.threshold) - rest
        if (distance < 0).any():
            fail("threshold", "it lies below the resting value")
    scale = _TOLERANCE * np.where(np.isfinite(distance), np.maximum(distance, np.abs(rest)), 1.0)
    if cell.reset == "zero":
        if (np.abs(reset_to - rest) > scale).any():
            fail("reset", "it leads to another value than the resting one; the shifted reset must be zero")
        distance, rest = distance + rest - reset_to, reset_to
    if cell.reset == "subtract" and (np.abs(reset_to - distance) > scale).any():
        fail("reset", "it must subtract the distance from rest to threshold")
    start = cell.initial[cell.driver] if alpha is not None and cell.driver else np.zeros_like(rest)
    return LeakyNumbers(beta, alpha, gain, rest, distance / gain, (cell.initial[cell.voltage] - rest) / gain, start)

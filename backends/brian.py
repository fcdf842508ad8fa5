"""Brian2: gets the continuous equations and the method's name, and integrates them with its own code.

Nothing here reads our discretised step. Inputs, noise and Poisson spikes are written into variables at the start of each
time step, so that one built simulation serves any parameters and inputs. Batches are tiled copies.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

import brian2
import numpy as np
import numpy.typing as npt

from backends.arrays import Feed, check_finite, check_inputs, check_parameters, check_record, draw_noise
from neuro.equations import Equation, Expression, Statement
from neuro.model import Input, Network, Population, Projection
from neuro.parameters import initial_state, steps_of, wiring
from neuro.protocols import Capabilities, Inputs, Parameters, Recording, UnsupportedError
from neuro.receptors import rename, without_receptors
from neuro.scope import is_noise
from neuro.semantics import Semantics, semantics
from neuro.units import BASE_UNITS, Dimension

Array = npt.NDArray[Any]

_OTHERS = ("reference", "torch")
_TARGETS = ("numpy", "cython")


class _Rewriter(ast.NodeTransformer):
    """Functions that Brian2 lacks, in terms of those that it has."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        forms = {"sigmoid": "1/(1 + exp(-(X)))", "relu": "0.5*((X) + abs(X))"}
        if name not in forms:
            return node
        return ast.parse(forms[name].replace("X", ast.unparse(node.args[0])), mode="eval").body


def text_of(expression: Expression) -> str:
    """An expression in Brian2's functions, on one line."""
    return ast.unparse(_Rewriter().visit(ast.parse(f"({expression.text})", mode="eval").body))


def unit_text(dimension: Dimension) -> str:
    """A dimension as Brian2 writes it."""
    parts = [f"{n}**{float(p):g}" for n, p in zip(BASE_UNITS, dimension.exponents, strict=True) if p]
    return "*".join(parts) or "1"


def _noise_text(text: str) -> str:
    """xi in Euler-Maruyama: a number a step, divided by sqrt(dt)."""
    return re.sub(r"\bxi(?:_\w+)?\b", lambda m: f"(draw_of_{m[0]}/sqrt(dt))" if is_noise(m[0]) else m[0], text)


def _statements(block: Sequence[Statement], names: Mapping[str, str] | None = None) -> str:
    lines = [f"{s.target} {s.op} {text_of(s.expression)}" for s in block]
    return "\n".join(rename(line, names or {}) for line in lines)


def _equation(item: Equation, noisy: bool = False) -> str:
    """One differential equation or subexpression."""
    if item.expression is None:
        return f"{item.name} : {unit_text(item.dimension)}"
    text = text_of(item.expression)
    left = f"d{item.name}/dt" if item.kind == "differential" else item.name
    flags = " (unless refractory)" if "unless refractory" in item.flags else ""
    return f"{left} = {_noise_text(text) if noisy else text} : {unit_text(item.dimension)}{flags}"


def _own(name: str) -> str:
    """A synapse's own variable; Brian2 wants names that no cell has."""
    return f"{name}_syn"


@dataclass
class _Built:
    """One Brian2 network for a batch size and what it records."""

    network: Any
    groups: dict[str, Any]
    synapses: dict[str, Any]
    monitors: dict[str, Any]
    spikes: dict[str, Any]
    feed: dict[str, tuple[Any, str]]  # our name -> (group, variable) that is written in each step
    arrays: dict[str, Array]  # filled for each run: [time, batch * size]


class BrianProgram:
    """See neuro.protocols.Program."""

    capabilities = Capabilities(plasticity=True)

    def __init__(self, network: Network, target: str) -> None:
        self.network, self.target = network, target
        self._merged = without_receptors(network)
        self.semantics: Semantics = semantics(network, "float64")
        self._wires = {p.name: wiring(self._merged, p) for p in self._merged.projections}
        self._cache: dict[tuple[int, tuple[str, ...]], _Built] = {}
        with _quietly(target):
            self._built(1, ())  # refusals come now

    def run(
        self,
        parameters: Parameters | None = None,
        inputs: Inputs | None = None,
        record: Sequence[str] = (),
        *,
        steps: int | None = None,
        batch: int | None = None,
        every: int = 1,
        trial: int = 0,
    ) -> Recording:
        """See Program.run."""
        feed = check_inputs(self._merged, inputs, steps=steps, batch=batch, trial=trial)
        wanted = check_record(self._merged, record, every)
        values = check_parameters(self._merged, parameters)
        with _quietly(self.target):
            built = self._built(feed.batch, tuple(f"{o}.{v}" for o, v in wanted))
            built.network.restore("start")
            self._set(built, values, feed.batch)
            self._feed(built, feed, trial)
            built.network.run(feed.steps * self._dt(), namespace={})
        self._check(built, feed)
        return self._recording(built, feed, every)

    def _dt(self) -> Any:
        return float(self._merged.dt.value) * brian2.second

    # -- building ------------------------------------------------------------------------------------------

    def _built(self, batch: int, record: tuple[str, ...]) -> _Built:
        key = (batch, record)
        if key not in self._cache:
            if len(self._cache) > 3:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = self._build(batch, record)
        return self._cache[key]

    def _build(self, batch: int, record: tuple[str, ...]) -> _Built:
        net = brian2.Network()
        built = _Built(net, {}, {}, {}, {}, {}, {})
        clock = brian2.Clock(dt=self._dt())
        for order, population in enumerate(self._ordered()):
            self._population(built, population, batch, clock, order)
        for source in self._merged.inputs:
            if source.kind != "current":
                self._source(built, source, batch, clock)
        for projection in self._merged.projections:
            self._projection(built, projection, batch, clock)
        for name in record:
            owner, _, variable = name.partition(".")
            built.monitors[name] = brian2.StateMonitor(
                built.groups[owner], variable, record=True, when="end", clock=clock
            )
        for population in self._merged.populations:
            if population.neuron.threshold:
                built.spikes[population.name] = brian2.SpikeMonitor(built.groups[population.name])

        def write() -> None:
            k = round(float(clock.t / clock.dt))
            for name, (group, variable) in built.feed.items():
                group.variables[variable].set_value(built.arrays[name][k])

        net.add(brian2.NetworkOperation(write, when="start", order=-1000, clock=clock))
        net.add(*built.groups.values(), *built.synapses.values(), *built.monitors.values(), *built.spikes.values())
        net.store("start")
        return built

    def _ordered(self) -> list[Population]:
        """Populations so that graded values which depend on inputs of the same step come after their sources."""
        needs: dict[str, set[str]] = {p.name: set() for p in self._merged.populations}
        cells = {p.name: p for p in self._merged.populations}
        for projection in self._merged.projections:
            transmits = projection.synapse.scope.transmits
            if transmits is None or projection.pre not in cells:
                continue
            scope = cells[projection.pre].neuron.scope
            instant = {f"{n}_pre" for n in (*scope.inputs, *scope.subexpressions)}
            if instant & set(transmits.names) and projection.pre != projection.post:
                needs[projection.post].add(projection.pre)
        return [cells[n] for n in TopologicalSorter(needs).static_order()]

    def _population(self, built: _Built, population: Population, batch: int, clock: Any, order: int) -> None:
        scope, name = population.neuron.scope, population.name
        lines = [_equation(e, noisy=True) for e in scope.equations if e.name not in scope.parameters]
        lines += [f"{n} : {unit_text(scope.dimensions[n])} (constant)" for n in scope.parameters]
        lines += [f"{n}_next : {unit_text(scope.dimensions[n])}" for n in scope.inputs]
        lines += [f"draw_of_{n} : 1" for n in scope.noise]
        graded = [p for p in self._merged.projections if p.post == name and p.synapse.scope.transmits is not None]
        lines += [f"{p.synapse.target}_from_{p.name} : {unit_text(scope.dimensions[p.synapse.target])}" for p in graded]
        currents = [i for i in self._merged.inputs if i.kind == "current" and i.target.partition(".")[0] == name]
        lines += [
            f"{i.target.partition('.')[2]}_from_{i.name} : {unit_text(scope.dimensions[i.target.partition('.')[2]])}"
            for i in currents
        ]
        refractory = int(steps_of(population.neuron.refractory, self._merged.dt))
        try:
            group = brian2.NeuronGroup(
                batch * population.size, "\n".join(lines),
                threshold=text_of(scope.threshold) if scope.threshold else None,
                reset=_statements(scope.reset) or None,
                refractory=refractory * self._dt() if refractory else False,
                method=population.neuron.method, namespace={}, clock=clock, name=f"cells_{name}_{id(built)}",
            )  # fmt: skip
        except Exception as error:
            raise UnsupportedError("brian2", f"population '{name}'", f"Brian2 says: {error}", _OTHERS) from error
        built.groups[name] = group
        for n in scope.noise:
            built.feed[f"{name}.{n}"] = (group, f"draw_of_{n}")
        for i in currents:
            built.feed[i.name] = (group, f"{i.target.partition('.')[2]}_from_{i.name}")
        gather = []
        for n in scope.inputs:
            terms = [f"{n}_next", *(f"{n}_from_{i.name}" for i in currents if i.target == f"{name}.{n}")]
            terms += [f"{n}_from_{p.name}" for p in graded if p.synapse.target == n]
            gather += [f"{n} = {' + '.join(terms)}", f"{n}_next = 0*{n}_next"]
        if gather:
            group.run_regularly("\n".join(gather), when="start", order=10 * order + 5, clock=clock)
        if scope.every_step:
            group.run_regularly(_statements(scope.every_step), when="groups", order=1, clock=clock)

    def _source(self, built: _Built, source: Input, batch: int, clock: Any) -> None:
        group = brian2.NeuronGroup(
            batch * source.size,
            "s : 1",
            threshold="s > 0.5",
            namespace={},
            clock=clock,
            name=f"source_{source.name}_{id(built)}",
        )
        built.groups[source.name] = group
        built.feed[source.name] = (group, "s")

    def _projection(self, built: _Built, projection: Projection, batch: int, clock: Any) -> None:
        scope, post = projection.synapse.scope, self._merged.population(projection.post)
        names = {f"{n}_post": f"{n}_next_post" for n in post.neuron.scope.inputs}
        own = {n: _own(n) for n in (*(e.name for e in scope.equations), *scope.parameters)}
        own |= {f"d{n}": f"d{_own(n)}" for n in list(own)}
        if any(s.target.endswith("_post") for s in scope.every_step):
            raise UnsupportedError(
                "brian2", f"projection '{projection.name}'", "every_step writes to the cell", _OTHERS
            )
        changing = {*scope.assigned, *(e.name for e in scope.equations if e.kind == "differential")}
        lines = []
        for equation in scope.equations:
            constant = " (constant)" if equation.expression is None and equation.name not in changing else ""
            clock_driven = " (clock-driven)" if equation.kind == "differential" else ""
            lines.append(rename(_equation(equation), own) + constant + clock_driven)
        used = self._used(projection)
        lines += [f"{_own(n)} : {unit_text(scope.dimensions[n])} (constant)" for n in used]
        if scope.transmits is not None:
            target = projection.synapse.target
            unit = unit_text(post.neuron.scope.dimensions[target])
            lines.append(
                f"{target}_from_{projection.name}_post = {rename(text_of(scope.transmits), own)} : {unit} (summed)"
            )
        written = [s for s in scope.on_pre if s.target.endswith("_post")]
        to_input = own | {s.target: names.get(s.target, s.target) for s in written}
        synapses = brian2.Synapses(
            built.groups[projection.pre], built.groups[projection.post], "\n".join(lines),
            on_pre=_statements(scope.on_pre, to_input) or None, on_post=_statements(scope.on_post, to_input) or None,
            method=projection.synapse.method, namespace={}, clock=clock, name=f"synapses_{projection.name}_{id(built)}",
        )  # fmt: skip
        pre, postsynaptic, _ = self._pairs(projection)
        size, post_size = self._merged.source_size(projection.pre), post.size
        shift = np.arange(batch)[:, None]
        synapses.connect(i=(pre + shift * size).ravel(), j=(postsynaptic + shift * post_size).ravel())
        if scope.on_pre:
            synapses.pre.order = 0
            synapses.pre.delay = np.tile(self._delays(projection), batch) * brian2.second
        if scope.on_post:
            synapses.post.order = 1
        if synapses.state_updater is not None:
            synapses.state_updater.order = -1
        for updater in synapses.summed_updaters.values():
            order = [p.name for p in self._ordered()].index(projection.post)
            updater.when, updater.order = "start", 10 * order
        if scope.every_step:
            synapses.run_regularly(_statements(scope.every_step, own), when="groups", order=2, clock=clock)
        built.synapses[projection.name] = synapses

    def _used(self, projection: Projection) -> list[str]:
        """Parameters of the synapse itself; those of a receptor live in the cell."""
        declared = check_parameters(self._merged, None)
        return [n for n in projection.synapse.scope.parameters if f"{projection.name}.{n}" in declared]

    def _pairs(self, projection: Projection) -> tuple[Array, Array, Array]:
        """pre and post indices, and which entries of the layout they are."""
        wires = self._wires[projection.name]
        chosen = np.arange(len(wires.pre)) if wires.mask is None else np.flatnonzero(wires.mask.ravel())
        return wires.pre[chosen], wires.post[chosen], chosen

    def _delays(self, projection: Projection) -> Array:
        shape = self._wires[projection.name].shape
        delay = np.broadcast_to(np.asarray(projection.delay.value, dtype=float), shape).ravel()
        return delay[self._pairs(projection)[2]]

    # -- running -------------------------------------------------------------------------------------------

    def _set(self, built: _Built, values: Mapping[str, Array], batch: int) -> None:
        for name, value in {**initial_state(self._merged), **values}.items():
            owner, _, variable = name.partition(".")
            if owner in built.synapses:
                projection = self._merged.projection(owner)
                flat = np.broadcast_to(value, self._wires[owner].shape).ravel()[self._pairs(projection)[2]]
                built.synapses[owner].variables[_own(variable)].set_value(np.tile(flat, batch))
            else:
                size = self._merged.population(owner).size
                built.groups[owner].variables[variable].set_value(np.tile(np.broadcast_to(value, (size,)), batch))

    def _feed(self, built: _Built, feed: Feed, trial: int) -> None:
        noise = draw_noise(self._merged, steps=feed.steps, batch=feed.batch, trial=trial)
        for name, (group, _) in built.feed.items():
            array = noise[name] if name in noise else feed.arrays[name].astype(float)
            if array.shape[2] * feed.batch != len(group):  # one channel for the whole population
                array = np.broadcast_to(array, (*array.shape[:2], len(group) // feed.batch))
            built.arrays[name] = np.moveaxis(array, 0, 1).reshape(feed.steps, -1)

    def _check(self, built: _Built, feed: Feed) -> None:
        for population in self._merged.populations:
            for name in population.neuron.scope.states:
                values = np.asarray(built.groups[population.name].variables[name].get_value())
                check_finite(population.name, name, values.reshape(feed.batch, -1), feed.steps - 1)

    def _recording(self, built: _Built, feed: Feed, every: int) -> Recording:
        spikes = {}
        for name, monitor in built.spikes.items():
            size = self._merged.population(name).size
            raster = np.zeros((feed.steps, feed.batch * size), bool)
            raster[np.round(np.asarray(monitor.t) / self.semantics.dt).astype(int), np.asarray(monitor.i)] = True
            spikes[name] = np.moveaxis(raster.reshape(feed.steps, feed.batch, size), 0, 1)
        traces = {}
        for name, monitor in built.monitors.items():
            found = np.asarray(getattr(monitor, name.partition(".")[2] + "_"))[:, every - 1 :: every]
            traces[name] = np.swapaxes(found.reshape(feed.batch, -1, found.shape[1]), 1, 2)
        final = {}
        for projection in self._merged.projections:
            if "w" in projection.synapse.scope.states:
                wires = self._wires[projection.name]
                full = np.zeros((feed.batch, int(np.prod(wires.shape))))
                values = np.asarray(built.synapses[projection.name].variables[_own("w")].get_value())
                full[:, self._pairs(projection)[2]] = values.reshape(feed.batch, -1)
                final[f"{projection.name}.w"] = full.reshape(feed.batch, *wires.shape)
        return Recording(self.semantics.dt, spikes, traces, every, final)


@contextmanager
def _quietly(target: str) -> Iterator[None]:
    """Brian2 with this code generation target, without its log, and without leaving a trace in its preferences."""
    before = brian2.prefs.codegen.target
    level = brian2.BrianLogger.console_handler.level if brian2.BrianLogger.console_handler else None
    brian2.prefs.codegen.target = target
    brian2.BrianLogger.log_level_error()
    try:
        yield
    finally:
        brian2.prefs.codegen.target = before
        if level is not None:
            brian2.BrianLogger.console_handler.setLevel(level)


class BrianBackend:
    """Compiles to Brian2."""

    name = "brian2"

    def compile(
        self, network: Network, *, dtype: str = "float64", target: str = "numpy", **options: Any
    ) -> BrianProgram:
        """See Backend.compile. target: numpy or cython."""
        if options:
            raise UnsupportedError(
                self.name, f"option '{next(iter(options))}'", "its options are dtype and target", _OTHERS
            )
        if dtype != "float64":
            raise UnsupportedError(self.name, f"dtype '{dtype}'", "it computes in float64", _OTHERS)
        if target not in _TARGETS:
            raise UnsupportedError(self.name, f"target '{target}'", f"use one of {', '.join(_TARGETS)}", _OTHERS)
        return BrianProgram(network, target)

"""Interpreter of Step in numpy: slow, plain, and what decides when two other backends disagree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed, check_finite, check_parameters, draw_noise
from backends.common.options import choice
from backends.common.recording import Trace, check_record
from backends.common.simulator import Simulator, feed_of
from backends.common.starting_state import Layout, layout
from neuro.compiler.evaluation import evaluate
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import initial_state
from neuro.compiler.resolve import resolve
from neuro.compiler.semantics import Semantics, semantics
from neuro.compiler.step import Cells, Couple, Factors, Gather, Step, Synapses, Threshold, Update, When
from neuro.model import Network
from neuro.protocols import Capabilities, Recording, Request, UnsupportedError
from neuro.state import State

Array = npt.NDArray[Any]


class _Simulation:
    """State of one run: arrays [*lead, size] a population variable, [*lead, *layout] a synapse variable.

    lead: (batch,), or (population, batch).
    """

    def __init__(self, step: Step, network: Network, parameters: Mapping[str, Array], feed: Feed, dtype: Any):
        self.step, self.feed, self.dtype = step, feed, dtype
        self.parameters = {n: v.astype(dtype) for n, v in parameters.items()}
        self.noise = draw_noise(network, feed)
        self.inputs = {n: a.astype(dtype) for n, a in feed.arrays.items()}
        self.noise |= {f"{c.name}.{count}": self.inputs[n] for c in step.cells for count, n in c.counts}
        self.k, lead = feed.start, feed.lead
        self.synapses = {s.name: s for s in step.synapses}
        self.values = {
            n: np.broadcast_to(v, (*lead, *v.shape)).astype(dtype) for n, v in initial_state(network).items()
        }
        self.pending: dict[str, Array] = {}
        self.last_spike: dict[str, Array] = {}
        self.history: dict[str, Array] = {}
        for cells in step.cells:
            self.last_spike[cells.name] = np.full((*lead, cells.size), -(10**9))
            for name in (*cells.inputs, *cells.stages):
                self.pending[f"{cells.name}.{name}"] = np.zeros((*lead, cells.size), dtype)
                self.values[f"{cells.name}.{name}"] = np.zeros((*lead, cells.size), dtype)
        for synapses in step.synapses:
            if "w" in synapses.states:
                weights = np.broadcast_to(self.parameters[f"{synapses.name}.w"], (*lead, *synapses.shape))
                self.values[f"{synapses.name}.w"] = weights.astype(dtype)
        depth = 1 + max((max(s.longest, s.behind) for s in step.synapses), default=0)
        sizes = dict(step.sources) | {c.name: c.size for c in step.cells if c.spikes}
        self.history = {n: np.zeros((depth, *lead, size), bool) for n, size in sizes.items()}
        if feed.state is not None:
            self.resume(feed.state)

    # -- state ---------------------------------------------------------------------------------------------

    def resume(self, state: State) -> None:
        """Go on from there."""
        self.values |= {n: v.astype(self.dtype) for n, v in state.variables.items()}
        self.pending |= {n: v.astype(self.dtype) for n, v in state.sums.items()}
        for name, left in state.refractory.items():
            spiked = self.k - 1 - (self.step.population(name).refractory - left)
            self.last_spike[name] = np.where(left > 0, spiked, self.last_spike[name])
        for name, spikes in state.spikes.items():
            past = spikes.shape[-2]
            for i in range(past):
                history = self.history[name]
                history[(self.k - past + i) % len(history)] = spikes[..., i, :]

    def state(self, wanted: Layout) -> State:
        """After step k."""
        done = self.k + 1
        left = {n: self.step.population(n).refractory - (self.k - self.last_spike[n]) for n in wanted.refractory}
        spikes = {
            name: np.stack([self.history[name][(done - past + i) % len(self.history[name])] for i in range(past)], -2)
            for name, (past, _) in wanted.spikes.items()
        }
        return State(
            self.step.dt, done, self.feed.lead, self.feed.trial, {n: self.values[n] for n in wanted.variables},
            {n: self.pending[n] for n in wanted.sums}, {n: np.maximum(steps, 0) for n, steps in left.items()}, spikes,
        )  # fmt: skip

    # -- names ---------------------------------------------------------------------------------------------

    def common(self, name: str) -> Any:
        return {"dt": self.dtype(self.step.dt), "t": self.dtype(self.k * self.step.dt)}[name]

    def of_cells(self, owner: str, local: Mapping[str, Any] | None = None) -> Callable[[str], Any]:
        def lookup(name: str) -> Any:
            if local and name in local:
                return local[name]
            for table in (self.values, self.parameters):
                if f"{owner}.{name}" in table:
                    return table[f"{owner}.{name}"]
            if f"{owner}.{name}" in self.noise:
                return self.noise[f"{owner}.{name}"][:, self.k - self.feed.start].astype(self.dtype)
            return self.common(name)

        return lookup

    def of_synapses(self, synapses: Synapses, local: Mapping[str, Any] | None = None) -> Callable[[str], Any]:
        own = self.of_cells(synapses.name, local)

        def lookup(name: str) -> Any:
            for end, spread in (("pre", self.spread_pre), ("post", self.spread_post)):
                if name.endswith(f"_{end}"):
                    cells = self.of_cells(getattr(synapses, end))(name.removesuffix(f"_{end}"))
                    return spread(synapses, cells) if np.ndim(cells) else cells
            return own(name)

        return lookup

    @staticmethod
    def spread_pre(synapses: Synapses, values: Array) -> Array:
        """[..., pre] -> one value per synapse, broadcastable to the layout."""
        return values[..., :, None] if synapses.kind == "dense" else _take(values, synapses.pre_index)

    @staticmethod
    def spread_post(synapses: Synapses, values: Array) -> Array:
        return values[..., None, :] if synapses.kind == "dense" else _take(values, synapses.post_index)

    # -- spikes --------------------------------------------------------------------------------------------

    def emit(self, source: str, spikes: Array) -> None:
        history = self.history[source]
        history[self.k % len(history)] = spikes

    def arrivals(self, synapses: Synapses, late: int | None) -> Array:
        """Which synapses a spike reaches in this step: bool, broadcastable to [batch, *layout]."""
        history, delay = self.history[synapses.pre], synapses.delay if late is None else late
        if isinstance(delay, int):
            spikes = self.spread_pre(synapses, history[(self.k - delay) % len(history)])
        else:
            slot = (self.k - delay.astype(np.int64)) % len(history)
            pre = np.arange(synapses.shape[0])[:, None] if synapses.kind == "dense" else synapses.pre_index
            axes = len(self.feed.lead)
            spikes = np.moveaxis(np.moveaxis(history, -1, 1)[slot, pre], range(-axes, 0), range(axes))
        return spikes if synapses.mask is None else spikes & synapses.mask

    def fired(self, synapses: Synapses, late: int) -> Array:
        history = self.history[synapses.post]
        spikes = self.spread_post(synapses, history[(self.k - late) % len(history)])
        return spikes if synapses.mask is None else spikes & synapses.mask

    def gate(self, synapses: Synapses, when: When, late: int | None) -> Any:
        """Which synapses there are (always), a spike reaches (pre), or whose target fired (post)."""
        if when == "always":
            return True if synapses.mask is None else synapses.mask
        return self.arrivals(synapses, late) if when == "pre" else self.fired(synapses, late or 0)

    def refractory(self, cells: Cells) -> Array:
        return self.k - self.last_spike[cells.name] < cells.refractory

    # -- operations ----------------------------------------------------------------------------------------

    def run_step(self) -> None:
        for name in self.step.sources:
            self.emit(name, self.inputs[name][:, self.k - self.feed.start].astype(bool))
        for operation in self.step.operations:
            match operation:
                case Gather():
                    self.gather(operation)
                case Update():
                    self.update(operation)
                case Threshold():
                    self.threshold(operation)
                case Couple():
                    self.couple(operation)

    def gather(self, op: Gather) -> None:
        total = {}
        for name in op.variables:
            key = f"{op.population}.{name}"
            total[name] = self.pending[key]
            self.pending[key] = np.zeros_like(total[name])
        for coupling in op.couplings:
            total[coupling.target] = total[coupling.target] + self.total(coupling)
        for name, source in op.currents:
            total[name] = total[name] + self.inputs[source][:, self.k - self.feed.start]
        self.values |= {f"{op.population}.{name}": value for name, value in total.items()}

    def total(self, op: Couple) -> Array:
        """Sum of a coupling's values in each postsynaptic cell [batch, post], in the dtype of the run."""
        synapses = self.step.projection(op.projection)
        one = isinstance(synapses.delay, int) and op.late is None
        if synapses.kind == "dense" and op.factors and op.when != "post" and one:
            return self.product(op.factors, synapses, op.when)
        values = evaluate(op.value, self.of_synapses(synapses))
        values = np.where(self.gate(synapses, op.when, op.late), values, 0).astype(self.dtype)
        values = np.broadcast_to(values, (*self.feed.lead, *synapses.shape))
        if synapses.kind == "dense":
            return values.sum(axis=-2)  # type: ignore[no-any-return]
        size = self.step.population(op.population).size
        total = np.zeros((*self.feed.lead, size), self.dtype)
        where: Any = (..., synapses.post_index)
        np.add.at(total, where, values)
        return total

    def product(self, factors: Factors, synapses: Synapses, when: str) -> Array:
        """post * (pre @ matrix): the same sum where the value splits and all delays are equal."""
        pre, post = (evaluate(f, self.of_synapses(synapses)) for f in (factors.pre, factors.post))
        pre = pre[..., 0] if np.ndim(pre) else pre
        post = post[..., 0, :] if np.ndim(post) else post
        if when == "pre":
            history = self.history[synapses.pre]
            pre = np.where(history[(self.k - int(synapses.delay)) % len(history)], pre, 0)
        matrix = evaluate(factors.synapse, self.of_cells(synapses.name))
        matrix = np.where(True if synapses.mask is None else synapses.mask, matrix, 0).astype(self.dtype)
        matrix = np.broadcast_to(matrix, (*np.shape(matrix)[:-2], *synapses.shape))
        pre = np.broadcast_to(pre, (*self.feed.lead, synapses.shape[0])).astype(self.dtype)
        return post * (pre[..., None, :] @ matrix)[..., 0, :] if matrix.ndim > 2 else post * (pre @ matrix)  # type: ignore[no-any-return]

    def couple(self, op: Couple) -> None:
        key, cells = f"{op.population}.{op.target}", self.step.population(op.population)
        total = self.total(op)
        if op.target in cells.inputs:
            self.pending[key] = self.pending[key] + total
            return
        if op.target in cells.frozen:
            total = np.where(self.refractory(cells), 0, total)
        self.values[key] = self.values[key] + total

    def update(self, op: Update) -> None:
        if self.k % op.every:
            return
        synapses = self.synapses.get(op.owner)
        gate: Any = None
        if synapses is not None:
            gate = self.gate(synapses, op.when, op.late)
        elif op.when == "spikes":
            gate = self.last_spike[op.owner] == self.k
        kept = self.refractory(self.step.population(op.owner)) if op.frozen else None
        local: dict[str, Any] = {}
        lookup = self.of_cells(op.owner, local) if synapses is None else self.of_synapses(synapses, local)
        for assign in op.assigns:
            value = evaluate(assign.expr, lookup)
            if assign.temporary:
                local[assign.target] = value
                continue
            key = f"{op.owner}.{assign.target}"
            old = self.values[key]
            if gate is not None:
                value = np.where(gate, value, old)
            if kept is not None and assign.target in op.frozen:
                value = np.where(kept, old, value)
            self.values[key] = np.broadcast_to(value, old.shape).astype(self.dtype)

    def threshold(self, op: Threshold) -> None:
        cells = self.step.population(op.population)
        spikes = (evaluate(op.condition, self.of_cells(op.population)) > 0) & ~self.refractory(cells)
        spikes = np.broadcast_to(spikes, (*self.feed.lead, cells.size))
        self.last_spike[op.population] = np.where(spikes, self.k, self.last_spike[op.population])
        self.emit(op.population, spikes)

    def check(self) -> None:
        for cells in self.step.cells:
            for name in cells.states:
                check_finite(cells.name, name, self.values[f"{cells.name}.{name}"], self.k, self.feed)


class ReferenceProgram(Simulator):
    """See neuro.protocols.Program."""

    backend = "reference"
    capabilities = Capabilities(plasticity=True, populations=True)

    def __init__(self, network: Network, dtype: str) -> None:
        self.network = network
        self.dtype: Any = np.dtype(dtype).type
        self.semantics: Semantics = semantics(network, dtype)
        self._merged = resolve(network).network
        self.step = lower(network)
        self._expressions = {c.name: c.inlined for c in self.step.cells}

    def _run(self, asked: Request) -> Recording:
        feed, every = feed_of(asked, self._merged), asked.every
        wanted = check_record(self._merged, asked.record, every)
        values = check_parameters(self._merged, asked.parameters, asked.population)
        sim = _Simulation(self.step, self._merged, values, feed, self.dtype)
        firing = [c for c in self.step.cells if c.spikes]
        rasters = {c.name: np.zeros((*feed.lead, feed.steps, c.size), bool) for c in firing}
        traces: dict[str, list[Array]] = {name: [] for name in wanted.traces}
        with np.errstate(all="ignore"):  # check() says better what went wrong
            for k in range(feed.steps):
                sim.k = feed.start + k
                sim.run_step()
                sim.check()
                for c in firing:
                    rasters[c.name][..., k, :] = sim.last_spike[c.name] == sim.k
                if (k + 1) % every == 0:
                    for name, trace in wanted.traces.items():
                        traces[name].append(self._read(sim, trace))
        return Recording(
            dt=self.step.dt,
            spikes=wanted.fired(rasters),
            traces={n: self._over_time(wanted.traces[n], t, feed) for n, t in traces.items()},
            every=every,
            final={f"{s.name}.w": sim.values[f"{s.name}.w"] for s in self.step.synapses if "w" in s.states},
            end=partial(sim.state, layout(self._merged)),
            chosen=wanted.chosen,
        )

    def _read(self, sim: _Simulation, trace: Trace) -> Array:
        expr = None if trace.synaptic else self._expressions[trace.owner].get(trace.variable)
        if expr is None:
            return trace.of(sim.values[trace.name])  # type: ignore[no-any-return]
        value = evaluate(expr, sim.of_cells(trace.owner))
        return trace.of(np.broadcast_to(value, (*sim.feed.lead, *trace.layout))).astype(self.dtype)  # type: ignore[no-any-return]

    def _over_time(self, trace: Trace, found: list[Array], feed: Feed) -> Array:
        axis = len(feed.lead)
        return np.stack(found, axis) if found else np.zeros((*feed.lead, 0, *trace.shape), self.dtype)


def _take(values: Array, index: Array) -> Array:
    """One value per synapse; a value that all cells share stays as it is."""
    return values if values.shape[-1] == 1 else values[..., index]


class ReferenceBackend:
    """The numpy interpreter."""

    name = "reference"

    def compile(self, network: Network, *, dtype: str = "float64", **options: Any) -> ReferenceProgram:
        """See Backend.compile. dtype: float32 or float64."""
        if options:
            raise UnsupportedError(self.name, f"option '{next(iter(options))}'", "it has no options besides dtype")
        choice(self.name, "dtype", dtype, ("float32", "float64"))
        return ReferenceProgram(network, dtype)

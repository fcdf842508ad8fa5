"""native: the whole time loop as one C function, built by the system's compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed, draw_noise
from backends.common.options import choice
from backends.common.recording import Wanted, check_record
from backends.common.simulator import Request, Simulator
from backends.common.starting_state import layout
from backends.common.structure import Backward, delays_of, with_feedback
from backends.common.values import given_parameters
from backends.native.build import OTHERS, compiler_for
from backends.native.constants import Constants, values_of
from backends.native.executable import Arrays, Executable
from backends.native.kernel import Training
from backends.native.recording import Recorded, places
from backends.native.resuming import Ending, beginning, history, input_lists, listed
from backends.native.session import NativeSession
from backends.native.slopes import slope_of
from neuro.compiler.evaluation import evaluate, margin_scales
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import initial_state
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.compiler.receptors import without_receptors
from neuro.compiler.semantics import Semantics, semantics
from neuro.compiler.step import Cells, Synapses
from neuro.events import Events, Rasters
from neuro.language.foreign import shown
from neuro.language.mangling import mangled, unmangled
from neuro.model import Network
from neuro.protocols import Capabilities, Inputs, Parameters, Record, Recording, RunError, UnsupportedError

if TYPE_CHECKING:
    import torch

    from backends.common.autograd import NetworkModule, Signals, Tensors

Array = npt.NDArray[Any]


class NativeProgram(Simulator):
    """See neuro.protocols.Program. threads: over tiles of trials and parameter sets; results don't depend on it."""

    lists_spikes = True
    session_kind = NativeSession

    def __init__(self, network: Network, dtype: str, threads: int, surrogate: str, backward: Backward) -> None:
        self.network, self.threads, self.surrogate, self.backward = network, threads, surrogate, backward
        gradients = find_spec("torch") is not None  # the kernel doesn't need it, losses and optimisers do
        self.capabilities = Capabilities(gradients=gradients, plasticity=True, populations=True)
        self.real: Any = np.dtype(dtype).type
        self.merged = without_receptors(network)
        self.declared = with_feedback(declared_parameters(network), backward)
        self.step = lower(network)
        self._slope, self._scales = slope_of(surrogate), margin_scales(self.step, self.merged)
        self.semantics: Semantics = semantics(network, dtype).for_training(
            surrogate, self._scales, not backward.reset, backward.detached, backward.feedback
        )
        self._variants: dict[Backward, NativeProgram] = {}
        self.order = {s.name: np.argsort(s.pre_index, kind="stable") for s in self.step.synapses if s.kind == "sparse"}
        self._places: dict[str, Array] = {}  # of synapses in that order
        self.fixed = self._wiring()
        self._executables: dict[tuple[Any, ...], Executable] = {}
        self._known: dict[int, Arrays] = {}  # constants of the network's own parameters, by executable
        compiler_for(network.name or "unnamed")
        self.executable((), 1)  # refusals come now, but for what the compiler says of the text when a run needs it

    def __reduce__(self) -> tuple[type[NativeProgram], tuple[Any, ...]]:
        """Copies and other processes compile the network again, which is quick where its library is kept."""
        return NativeProgram, (self.network, np.dtype(self.real).name, self.threads, self.surrogate, self.backward)

    @property
    def source(self) -> str:
        """The C text of a run that records nothing."""
        return self.executable((), 1).source

    def executable(self, record: tuple[Recorded, ...], batch: int, training: Training | None = None) -> Executable:
        """The functions that record these variables and give these gradients; built once."""
        tile = 1 if batch == 1 else 8
        key = (record, tile, None if training is None else (training.wrt, training.inputs, training.backward))
        if key not in self._executables:
            shapes = {n: p.shape for n, p in self.declared.items()}
            name = self.network.name or "unnamed"
            self._executables[key] = Executable(
                self.step, Constants(self.step, shapes), record, training, tile, self.real, name
            )
        return self._executables[key]

    def _run(self, asked: Request) -> Recording:
        """inputs: spikes also as neuro.events.Events."""
        feed = asked.feed(self.merged, events=True)
        wanted = check_record(self.merged, asked.record, asked.every)
        values = given_parameters(self.declared, asked.parameters, asked.population)
        executable = self.executable(self.recorded(wanted), feed.batch)
        constants = self.constants(executable, values, asked.population)
        given = self.inputs(feed) | constants | self.beginning(executable, feed) | places(wanted, self.order)
        run = executable.forward(given, feed, asked.every, self.threads)
        self.check(executable, feed)
        return self.recording(executable, run.arrays, feed, wanted, asked.every)

    def recorded(self, wanted: Wanted) -> tuple[Recorded, ...]:
        """The part of what is recorded that a kernel's text knows."""
        return tuple(Recorded.of(trace, self.order) for trace in wanted.traces.values())

    # -- gradients -----------------------------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensors that `forward` takes and gives."""
        import torch

        return torch.float64 if self.real is np.float64 else torch.float32

    def forward(
        self, parameters: Tensors | None = None, inputs: Mapping[str, Any] | None = None, record: Record = (),
        **options: Any,
    ) -> Signals:  # fmt: skip
        """Run under torch's autograd: see TorchProgram.forward."""
        from backends.native.autograd import forward

        return forward(self, Request(parameters, inputs, record, **options))

    def value_and_grad(
        self, loss: Callable[[Any], Any], parameters: Parameters, inputs: Inputs, wrt: Sequence[str],
        record: Record = (), **options: Any,
    ) -> tuple[float, dict[str, Array]]:  # fmt: skip
        """Loss and its gradients with respect to the named parameters: see TorchProgram.value_and_grad."""
        from backends.common.autograd import value_and_grad

        return value_and_grad(self, loss, parameters, inputs, wrt, record, **options)

    def module(self, trainable: Sequence[str] | None = None) -> NetworkModule:
        """An nn.Module for a user's own loop; trainable: parameter names (default: all weights)."""
        from backends.common.autograd import NetworkModule

        return NetworkModule(self, trainable)

    def variant(
        self, *, detached: tuple[str, ...] = (), feedback: tuple[str, ...] = (), detach_reset: bool | None = None
    ) -> NativeProgram:
        """The same program with other projections detached or with feedback weights, or another reset; made once."""
        detach_reset = not self.backward.reset if detach_reset is None else detach_reset
        backward = Backward.of("native", detach_reset, detached, feedback)
        if backward not in self._variants:
            dtype = np.dtype(self.real).name
            self._variants[backward] = NativeProgram(self.network, dtype, self.threads, self.surrogate, backward)
        return self._variants[backward]

    def in_dtype(self, dtype: str) -> NativeProgram:
        """The same program in another precision, float32 or float64."""
        choice("native", "dtype", dtype, ("float32", "float64"))
        return NativeProgram(self.network, dtype, self.threads, self.surrogate, self.backward)

    def slope(self, population: str, margin: Array) -> Array:
        """Surrogate derivative of a population's spikes with respect to their margin, SI; same shape."""
        scale = self._scales[population]
        return np.broadcast_to(evaluate(self._slope, lambda name: margin / scale) / scale, np.shape(margin))

    @cached_property
    def defaults(self) -> Tensors:
        """The network's own parameters."""
        import torch

        return {n: torch.as_tensor(p.value, dtype=self.dtype) for n, p in self.declared.items()}

    def training(self, wrt: frozenset[str], inputs: frozenset[str]) -> Training:
        """What a kernel must know that gives these gradients."""
        return Training(self._slope, self._scales, wrt, inputs, self.backward)

    def turned(self, executable: Executable, given: Arrays, feed: Feed) -> Arrays:
        """What only the adjoint reads: matrices by their other side, input spikes as rasters."""
        found: dict[str, Array] = {}
        for name in executable.kernel.layout.slots:
            role, *parts = unmangled(name)
            if role == "turned":
                found[name] = np.ascontiguousarray(given[mangled(*parts)].T, self.real)
            elif role == "raster" and parts[0] in self.step.sources:
                events = feed.arrays[parts[0]]
                before = history(feed, parts[0], events.shape[2])
                found[name] = np.concatenate([before, np.asarray(events)], axis=1).astype(np.uint8)
        return found

    # -- arrays --------------------------------------------------------------------------------------------

    def beginning(self, executable: Executable, feed: Feed) -> Arrays:
        """What a run that goes on from a state begins with."""
        return {} if feed.state is None else beginning(self, executable, feed.state)

    def inputs(self, feed: Feed) -> Arrays:
        """What all parameter sets share: wiring, inputs, noise, initial states."""
        found = dict(self.fixed)
        for name, value in feed.arrays.items():
            if isinstance(value, Events):
                found[mangled("offsets", name)], found[mangled("channels", name)] = input_lists(feed, name, value)
            else:
                found[mangled("current", name)], found[mangled("channels", name)] = value, np.array([value.shape[2]])
        found |= {mangled("stream", *n.split(".", 1)): v for n, v in draw_noise(self.merged, feed).items()}
        return found

    def constants(self, executable: Executable, given: Parameters, population: int | None) -> Arrays:
        """A kernel's constants and the weights that it may change; with a population, its axis first."""
        if id(executable) not in self._known:
            self._known[id(executable)] = self._constants(
                executable, {n: p.value for n, p in self.declared.items()}, None
            )
        known = self._known[id(executable)]
        if not given:
            return known
        own: dict[str, Array] = {n: p.value for n, p in self.declared.items()}
        if population is None:
            return known | self._constants(executable, {**own, **given}, set(given))
        sets = [
            self._constants(executable, own | {n: v[p] for n, v in given.items()}, set(given))
            for p in range(population)
        ]
        return known | {n: np.stack([found[n] for found in sets]) for n in sets[0]}

    def _constants(self, executable: Executable, values: Parameters, changed: set[str] | None) -> Arrays:
        """One parameter set's constants; of those that were changed, if somebody says which."""
        table = executable.constants
        found = {
            n: np.asarray(
                self.in_order(table.table[n].owner, values_of(self.step, table.table[n], values)), self.real, order="C"
            )
            for n in executable.constants_read if changed is None or table.parameters_of(n) & changed
        }  # fmt: skip
        for s in self.step.synapses:
            if "w" in s.states and (changed is None or f"{s.name}.w" in changed):
                found[mangled("initial", s.name, "w")] = self.in_order(s.name, values[f"{s.name}.w"])
        return found

    def in_order(self, owner: str, values: Any) -> Any:
        """One value a synapse, synapse after synapse of the first cell, then of the next."""
        return values[..., self.order[owner]] if owner in self.order and values.ndim else values

    def out_of_order(self, synapses: Synapses, values: Any) -> Any:
        """Inverse of in_order, in the layout's shape."""
        name = synapses.name
        if name in self.order:
            if name not in self._places:
                self._places[name] = np.argsort(self.order[name], kind="stable")
            values = values[..., self._places[name]]
        return values.reshape(*values.shape[:-1], *synapses.shape)

    def _wiring(self) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for s in self.step.synapses:
            if s.kind == "sparse":
                order = self.order[s.name]
                found[mangled("post", s.name)] = s.post_index[order].astype(np.intc)
                found[mangled("first", s.name)] = np.searchsorted(s.pre_index[order], np.arange(s.ends[0] + 1))
            found[mangled("delays", s.name)] = np.array(delays_of(s), np.int_)
            found[mangled("delay", s.name)] = self.in_order(s.name, np.broadcast_to(np.asarray(s.delay), s.shape))
            if s.mask is not None:
                found[mangled("mask", s.name)] = s.mask
        for name, value in initial_state(self.network).items():
            found[mangled("initial", *name.split(".", 1))] = self.in_order(name.partition(".")[0], value)
        return found

    # -- results -------------------------------------------------------------------------------------------

    def check(self, executable: Executable, feed: Feed) -> None:
        """Raises RunError where a state left the finite numbers."""
        if executable.failure is None:
            return
        cells, variable, step, trial, cell = executable.failure
        name = self.step.cells[cells]
        raise RunError(
            f"'{name.name}.{name.states[variable]}' is not finite at step {feed.start + step} (trial {trial}, cell [{cell}]); "
            "use a smaller dt, another method, or weaker input"
        )

    def events(self, cells: Cells, found: Arrays, feed: Feed) -> Events:
        """Spikes of all trials of all parameter sets, one after another."""
        offsets, events = found[mangled("offsets", cells.name)], found[mangled("events", cells.name)]
        places = np.arange(len(offsets)) * events[0].size
        rows = offsets.shape[1] - 1
        return listed(offsets, events, places, (rows - feed.steps, rows), cells.size)

    def recording(self, executable: Executable, found: Arrays, feed: Feed, wanted: Wanted, every: int) -> Recording:
        final = {
            f"{s.name}.w": self.out_of_order(s, found[mangled("final", s.name, "w")]).reshape(*feed.lead, *s.shape)
            for s in self.step.synapses
            if "w" in s.states
        }
        spikes = Rasters({c.name: self.events(c, found, feed) for c in self.step.cells if c.spikes}, feed.lead)
        past = layout(self.merged).spikes
        left = {
            n: events.last(min(feed.steps, past[n][0] if n in past else 0)) if n in wanted.chosen else events
            for n, events in spikes.events.items()
        }
        records = feed.steps // every
        traces = {
            n: found[mangled("record", t.owner, t.variable)].reshape(*feed.lead, records, *t.shape)
            for n, t in wanted.traces.items()
        }
        end = Ending.of(self, executable, feed, found, {n: partial(left.__getitem__, n) for n in left}).state
        return Recording(self.step.dt, wanted.fired(spikes), traces, every, final, end, wanted.chosen)


class NativeBackend:
    """Compiles to C."""

    name = "native"

    def compile(
        self,
        network: Network,
        *,
        dtype: str = "float64",
        threads: int = 1,
        surrogate: str = "fast_sigmoid",
        detach_reset: bool = True,
        detached: Sequence[str] = (),
        feedback: Sequence[str] = (),
        **options: Any,
    ) -> NativeProgram:
        """See Backend.compile. threads: processors. The others as for torch; gradients need torch."""
        if options:
            known = "dtype, threads, surrogate, detach_reset, detached, feedback"
            raise UnsupportedError(self.name, f"option '{next(iter(options))}'", f"its options are {known}", OTHERS)
        choice(self.name, "dtype", dtype, ("float32", "float64"), OTHERS)
        if not isinstance(threads, int | np.integer) or isinstance(threads, bool) or threads < 1:
            raise UnsupportedError(self.name, f"option 'threads'={shown(threads)}", "use at least one", OTHERS)
        backward = Backward.of(self.name, detach_reset, detached, feedback)
        return NativeProgram(network, dtype, int(threads), surrogate, backward)

"""A network compiled to C: its kernels, each built when it is first asked for, and the arrays with which they are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed, draw_noise
from backends.common.recording import Wanted
from backends.common.structure import Backward, delays_of, with_feedback
from backends.native import drives
from backends.native.build import compiler_for
from backends.native.constants import Constants, values_of
from backends.native.executable import Executable
from backends.native.kernel import Training
from backends.native.layout import Arrays
from backends.native.recording import Recorded
from backends.native.slopes import slope_of
from backends.native.spike_lists import input_lists, listed
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import initial_state, parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.step import Cells, Synapses
from neuro.events import Events
from neuro.language.mangling import mangled
from neuro.model import Network
from neuro.protocols import Parameters, RunError

Array = npt.NDArray[Any]


class CompiledNetwork:
    """What runs, sessions and gradients have in common. network: without receptors. declared: its parameters, feedback weights
    among them.

    real: numpy's type of its numbers. slope: of the surrogate, by the margin in the unit that `scales` has for a population.
    order: of a sparse projection's synapses in a kernel. fixed: what is the same in all runs, by C name.
    """

    def __init__(self, network: Network, dtype: str, threads: int, surrogate: str, backward: Backward) -> None:
        self.network = resolve(network).network
        self.name = network.name or "unnamed"
        self.threads, self.backward = threads, backward
        self.real: Any = np.dtype(dtype).type
        self.declared = with_feedback(parameters(network), backward)
        self.step = lower(network)
        self.slope, self.scales = slope_of(surrogate), backward.scales(self.step, self.network)
        self.order = {s.name: np.argsort(s.pre_index, kind="stable") for s in self.step.synapses if s.kind == "sparse"}
        self._places: dict[str, Array] = {}  # of synapses in that order
        self.fixed = self._wiring(initial_state(network)) | drives.fixed(self.network)
        self._executables: dict[tuple[Any, ...], Executable] = {}
        self._known: dict[int, Arrays] = {}  # constants of the network's own parameters, by executable
        compiler_for(self.name)
        self.executable((), 1)  # refusals come now, but for what the compiler says of the text when a run needs it

    def executable(self, record: tuple[Recorded, ...], batch: int, training: Training | None = None) -> Executable:
        """The functions that record these variables and give these gradients; built once."""
        tile = 1 if batch == 1 else 8
        key = (
            record,
            tile,
            None if training is None else (training.wrt, training.inputs, training.states, training.backward),
        )
        if key not in self._executables:
            shapes = {n: p.shape for n, p in self.declared.items()}
            self._executables[key] = Executable(
                self.step, Constants(self.step, shapes), record, training, tile, self.real, self.name
            )
        return self._executables[key]

    def recorded(self, wanted: Wanted) -> tuple[Recorded, ...]:
        """The part of what is recorded that a kernel's text knows."""
        return tuple(Recorded.of(trace, self.order) for trace in wanted.traces.values())

    def training(self, wrt: frozenset[str], inputs: frozenset[str], states: frozenset[str] = frozenset()) -> Training:
        """What a kernel must know that gives these gradients."""
        return Training(self.slope, self.scales, wrt, inputs, states, self.backward)

    # -- arrays --------------------------------------------------------------------------------------------

    def inputs(self, feed: Feed) -> Arrays:
        """What all parameter sets share: wiring, inputs, noise, initial states."""
        found = self.fixed | drives.of_run(self.network, feed)
        for name, value in feed.arrays.items():
            if self.network.input(name).kind == "drive":
                continue
            if isinstance(value, Events):
                found[mangled("offsets", name)], found[mangled("channels", name)] = input_lists(feed, name, value)
            else:
                found[mangled("current", name)], found[mangled("channels", name)] = value, np.array([value.shape[2]])
        found |= {mangled("stream", *n.split(".", 1)): v for n, v in draw_noise(self.network, feed).items()}
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
        """One value per synapse, synapse after synapse of the first cell, then of the next."""
        return values[..., self.order[owner]] if owner in self.order and values.ndim else values

    def out_of_order(self, synapses: Synapses, values: Any) -> Any:
        """Inverse of in_order, in the layout's shape."""
        name = synapses.name
        if name in self.order:
            if name not in self._places:
                self._places[name] = np.argsort(self.order[name], kind="stable")
            values = values[..., self._places[name]]
        return values.reshape(*values.shape[:-1], *synapses.shape)

    def _wiring(self, initial: Arrays) -> Arrays:
        """Synapses in order, and first states. initial: "owner.state" -> values."""
        found: Arrays = {}
        for s in self.step.synapses:
            if s.kind == "sparse":
                order = self.order[s.name]
                found[mangled("post", s.name)] = s.post_index[order].astype(np.intc)
                found[mangled("first", s.name)] = np.searchsorted(s.pre_index[order], np.arange(s.ends[0] + 1))
            found[mangled("delays", s.name)] = np.array(delays_of(s), np.int_)
            found[mangled("delay", s.name)] = self.in_order(s.name, np.broadcast_to(np.asarray(s.delay), s.shape))
            if s.mask is not None:
                found[mangled("mask", s.name)] = s.mask
        for name, value in initial.items():
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

"""A network compiled to C: its kernels, each built when it is first asked for, and the arrays with which they are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed, draw_noise
from backends.common.recording import Wanted
from backends.common.simulator import feed_of
from backends.common.structure import Backward, with_feedback
from backends.native import drives, synaptic
from backends.native.arrangement import Arrangement, Orders, arrangements
from backends.native.build import compiler_for
from backends.native.constants import Constant, Constants, in_parts, lookup, values_of
from backends.native.devices import memory_of
from backends.native.dialect import C, Dialect
from backends.native.executable import Executable
from backends.native.layout import Arrays
from backends.native.memory import Host
from backends.native.recording import Recorded
from backends.native.slopes import slope_of
from backends.native.spike_lists import past_of
from backends.native.training import Training
from neuro.compiler.evaluation import evaluate
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import Parameter, initial_state, parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.sharing import lent
from neuro.compiler.step import Cells, Synapses
from neuro.events import Events
from neuro.language.mangling import mangled
from neuro.model import Network
from neuro.protocols import Parameters, Request, RunError
from neuro.state import State

Array = npt.NDArray[Any]
WORTH = 4096  # cells from which the threads share those of one trial


class CompiledNetwork:
    """What runs, sessions and gradients have in common. network: without receptors. declared: its parameters, feedback weights
    among them.

    real: numpy's type of its numbers. slope: of the surrogate, by the margin in the unit that `scales` has for a population.
    order: of a sparse projection's synapses in a kernel. fixed: what is the same in all runs, by C name.
    """

    def __init__(
        self, network: Network, dtype: str, threads: int, surrogate: str, backward: Backward, dialect: Dialect = C
    ) -> None:
        self.network = resolve(network).network
        self.name = network.name or "unnamed"
        self.threads, self.backward, self.dialect = threads, backward, dialect
        self.real: Any = np.dtype(dtype).type
        self.memory = memory_of(dialect, self.real)
        self.slope = slope_of(surrogate)
        with lent(threads):
            self._compile(network)

    def _compile(self, network: Network) -> None:
        self.declared = with_feedback(parameters(network), self.backward)
        self.step = lower(network)
        self.scales = self.backward.scales(self.step, self.network)
        compiler_for(self.name)
        self.divided = self.dialect.teams and sum(c.size for c in self.step.cells) >= WORTH
        self.parts = self.threads if self.divided else 1
        self.arrangements = arrangements(self.step, self.parts, self.divided)
        self.order = Orders(self.arrangements, self.threads)
        self._places: dict[str, Array] = {}  # of synapses in that order
        self._executables: dict[tuple[Any, ...], Executable] = {}
        self._known: dict[int, Arrays] = {}  # constants of the network's own parameters, by executable
        self._made: dict[tuple[Any, ...], Array] = {}  # each of them
        # refusals come now, but for what the compiler says of the text when a run needs it
        executable = self._built((), 1, None)
        self.fixed = self._wiring(initial_state(network), executable) | drives.fixed(self.network)
        self.memory.lasting(self.fixed)

    def executable(self, record: tuple[Recorded, ...], batch: int, training: Training | None = None) -> Executable:
        """The functions that record these variables and give these gradients; built once."""
        found = self._built(record, batch, training)
        for arrangement in self.arrangements.values():
            if mangled("delay", arrangement.synapses.name) not in self.fixed:
                self.fixed |= (late := self._late(arrangement, found))
                self.memory.lasting(late)
        return found

    def _built(self, record: tuple[Recorded, ...], batch: int, training: Training | None) -> Executable:
        tile = self.dialect.tile(batch)
        key = (
            record,
            tile,
            None if training is None else (training.wrt, training.inputs, training.states, training.backward),
        )
        if key not in self._executables:
            constants = Constants(self.step, {n: p.shape for n, p in self.declared.items()})
            self._executables[key] = Executable(
                self.step,
                constants,
                record,
                training,
                tile,
                self.real,
                self.name,
                self.arrangements,
                self.parts,
                self.divided,
                self.dialect,
                self.memory,
            )
        return self._executables[key]

    def recorded(self, wanted: Wanted) -> tuple[Recorded, ...]:
        """The part of what is recorded that a kernel's text knows."""
        return tuple(Recorded.of(trace, self.order) for trace in wanted.traces.values())

    def training(self, wrt: frozenset[str], inputs: frozenset[str], states: frozenset[str] = frozenset()) -> Training:
        """What a kernel must know that gives these gradients."""
        return Training(self.slope, self.scales, wrt, inputs, states, self.backward)

    @property
    def nbytes(self) -> int:
        """Of the arrays that runs have in common, and of the delays that they were made of."""
        held = {
            id(a): a
            for a in (*self.fixed.values(), *self._made.values(), *(np.asarray(s.delay) for s in self.step.synapses))
        }
        return sum(a.nbytes for a in held.values())

    # -- arrays --------------------------------------------------------------------------------------------

    def feed(self, asked: Request) -> Feed:
        """Everything from outside, checked; what lies on a device stays there where kernels run on one. Raises RunError."""
        state = asked.state.numpy() if isinstance(asked.state, State) else asked.state
        asked = replace(asked, state=state)
        return feed_of(asked, self.network, events=True, convert=isinstance(self.memory, Host))

    def inputs(self, feed: Feed) -> Arrays:
        """What all parameter sets share: wiring, inputs, noise, initial states."""
        found = self.fixed | drives.of_run(self.network, feed) | synaptic.of_run(self.network, feed)
        for name, value in feed.arrays.items():
            if self.network.input(name).kind == "drive":
                continue
            if self.network.input(name).sends:
                lists = self.memory.input_lists(feed, name, value)
                found[mangled("offsets", name)], found[mangled("channels", name)] = lists
            else:
                found[mangled("current", name)], found[mangled("channels", name)] = value, np.array([value.shape[2]])
        noise = draw_noise(self.network, feed, synapses=False)
        found |= {mangled("stream", *n.split(".", 1)): v for n, v in noise.items()}
        return found

    def constants(self, executable: Executable, given: Parameters, population: int | None) -> Arrays:
        """A kernel's constants and the weights that it may change; with a population, its axis first."""
        if id(executable) not in self._known:
            self._known[id(executable)] = self._defaults(executable)
            self.memory.lasting(self._known[id(executable)])
        known, table = self._known[id(executable)], executable.constants
        if not given:
            return known
        changed = [n for n in executable.constants_read if table.parameters_of(n) & set(given)]
        needed = {p for n in changed for p in table.parameters_of(n)}
        own: dict[str, Array] = {n: p.value for n, p in self.declared.items() if n in needed}
        known = known | self.each(executable, changed)
        if population is None:
            return known | self._constants(table, changed, {**own, **given}, set(given))
        sets = [
            self._constants(table, changed, own | {n: v[p] for n, v in given.items()}, set(given))
            for p in range(population)
        ]
        return known | {n: np.stack([found[n] for found in sets]) for n in sets[0]}

    @staticmethod
    def each(executable: Executable, names: Iterable[str]) -> Arrays:
        """What a kernel must know of constants that are given synapse by synapse."""
        found = (mangled("each", n) for n in names)
        return {n: np.ones(1, np.int_) for n in found if n in executable.places}

    def _constants(self, table: Constants, names: Sequence[str], values: Parameters, changed: set[str]) -> Arrays:
        """One parameter set's constants of these names, and the weights among what was changed."""
        found = {n: self._placed(table.table[n].owner, self._numbers(table.table[n], values)) for n in names}
        for s in self.step.synapses:
            if "w" in s.states and f"{s.name}.w" in changed:
                found[mangled("initial", s.name, "w")] = self.in_order(s.name, values[f"{s.name}.w"])
        return found

    def _defaults(self, executable: Executable) -> Arrays:
        """The constants of the network's own parameters."""
        found: Arrays = {}
        for name in executable.constants_read:
            each = mangled("each", name)
            one, found[name] = self._own(executable.constants, name, each in executable.places)
            if each in executable.places:
                found[each] = np.array([not one], np.int_)
        for s in self.step.synapses:
            if "w" in s.states:
                found[mangled("initial", s.name, "w")] = self.in_order(s.name, self.declared[f"{s.name}.w"].value)
        return found

    def _own(self, table: Constants, name: str, single: bool) -> tuple[bool, Array]:
        """One of them, and whether it is a single number in place of one per synapse, where that will do and it is one."""
        constant, parts = table.table[name], [self.declared[n] for n in table.parameters_of(name)]
        numbers = {p.name: np.array(p.number) for p in parts if p.number is not None}
        one = single and len(numbers) == len(parts)
        key = constant.owner, constant.expr, constant.one, constant.matrix, one
        if key not in self._made:
            if one:
                value = evaluate(constant.expr, lookup(self.step, constant, numbers))
                self._made[key] = np.array([value], self.real)
            else:
                self._made[key] = self._in_parts(constant, parts)
        return one, self._made[key]

    def _in_parts(self, constant: Constant, parameters: Sequence[Parameter]) -> Array:
        """A constant of the network's own parameters, in a kernel's order: made part by part where it is a sparse projection's own."""
        owner = constant.owner
        alone = all(p.shape == () or p.name.partition(".")[0] == owner for p in parameters)
        if owner not in self.order or constant.one or not alone:
            return self._placed(owner, self._numbers(constant, {p.name: p.value for p in parameters}))
        synapses, order = self.step.projection(owner), self.order.of(owner)
        found = np.empty(synapses.shape, self.real)
        lengths = [p.stop - p.start for p in order.parts]
        for part, values in zip(order.parts, in_parts(synapses, constant, parameters, lengths), strict=True):
            found[part] = values if order.place is None else values[order.place[part] - part.start]
        return found

    def _numbers(self, constant: Constant, values: Parameters) -> Array:
        """A constant in a kernel's numbers."""
        return np.asarray(values_of(self.step, constant, values), self.real, order="C")

    def _placed(self, owner: str, values: Array) -> Array:
        """A constant in a kernel's order: of what has its precision, so that it isn't held in two."""
        return np.ascontiguousarray(self.in_order(owner, values)) if values.ndim else values

    def in_order(self, owner: str, values: Any) -> Any:
        """One value per synapse, in a kernel's order."""
        order = self.order[owner] if values.ndim and owner in self.order else None
        if order is None:
            return values
        return values[..., order if isinstance(values, np.ndarray) else self.memory.held(("order", owner), order)]

    def out_of_order(self, synapses: Synapses, values: Any) -> Any:
        """Inverse of in_order, in the layout's shape."""
        name = synapses.name
        order = self.order.get(name)
        if order is not None:
            if name not in self._places:
                self._places[name] = np.argsort(order, kind="stable")
            places = self._places[name]
            values = values[
                ..., places if isinstance(values, np.ndarray) else self.memory.held(("places", name), places)
            ]
        return values.reshape(*values.shape[:-1], *synapses.shape)

    def _wiring(self, initial: Arrays, executable: Executable) -> Arrays:
        """Synapses in order, and first states. initial: "owner.state" -> values."""
        found: Arrays = {}
        for s in self.step.synapses:
            found[mangled("delays", s.name)] = np.array(s.delays, np.int_)
            if s.mask is not None:
                found[mangled("mask", s.name)] = s.mask
            if s.kind != "sparse":
                found[mangled("delay", s.name)] = np.broadcast_to(np.asarray(s.delay), s.shape)
                continue
            arrangement = self.arrangements[s.name]
            arranged = self.order.arranged(s.name)
            found |= arranged | self._late(arrangement, executable) | synaptic.places(s, self.order)
            if mangled("into", s.name) in executable.places:
                found |= arrangement.by_target(arranged)
            if arrangement.grouped:
                found[mangled("groups", s.name)] = arrangement.groups()
            for name in executable.constants_read:  # while the order is at hand
                if executable.constants.table[name].owner == s.name:
                    self._own(executable.constants, name, mangled("each", name) in executable.places)
            if not s.states:
                self.order.release(s.name)
        for name, value in initial.items():
            found[mangled("initial", *name.split(".", 1))] = self.in_order(name.partition(".")[0], value)
        return found

    def _late(self, arrangement: Arrangement, executable: Executable) -> Arrays:
        """Delays of a sparse projection's synapses, one by one, where a kernel reads them."""
        synapses = arrangement.synapses
        name = mangled("delay", synapses.name)
        return {name: self.in_order(synapses.name, np.asarray(synapses.delay))} if name in executable.places else {}

    # -- results -------------------------------------------------------------------------------------------

    def check(self, failure: tuple[int, ...] | None, feed: Feed) -> None:
        """Raises RunError where a state left the finite numbers. failure: of a run."""
        if failure is None:
            return
        cells, variable, step, trial, cell = failure
        name = self.step.cells[cells]
        raise RunError(
            f"'{name.name}.{name.states[variable]}' is not finite at step {feed.start + step} (trial {trial}, cell [{cell}]); "
            "use a smaller dt, another method, or weaker input"
        )

    def events(self, cells: Cells, found: Arrays, feed: Feed) -> Events:
        """Spikes of all trials of all parameter sets, one after another."""
        past = past_of(feed)
        return self.memory.fired(found, cells.name, cells.size, (past, past + feed.steps))

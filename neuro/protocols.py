"""The architecture on one page: what a backend, a program, a task and a rule are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from neuro.recordings.recording import Recording as Recording
from neuro.recordings.recording import RunError as RunError
from neuro.state import State

if TYPE_CHECKING:
    from neuro.compiler.semantics import Semantics
    from neuro.model import Network

Array = npt.NDArray[Any]
# "population.parameter" or "projection.w" -> SI values; a run takes quantities and text ("10 ms") as well
Parameters = Mapping[str, Array]
# input name -> [batch, time, channel]: booleans or Events for spikes, whole numbers for drives, SI values or quantities for currents
Inputs = Mapping[str, Any]
# names of variables, or a mapping from names to the cells or synapses of which they are recorded, None for all
Record = Sequence[str] | Mapping[str, Any]


class UnsupportedError(Exception):
    """A backend can't do what a network or call asks for.

    what: the projection, equation or option; why: the reason; backends: those that can.
    """

    def __init__(self, backend: str, what: str, why: str, backends: Sequence[str] = ()) -> None:
        self.backend, self.what, self.why, self.backends = backend, what, why, tuple(backends)
        instead = f"; use one of: {', '.join(backends)}" if backends else ""
        super().__init__(f"backend {backend!r} can't compile {what}: {why}{instead}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Comes out of a worker process as it was."""
        return type(self), (self.backend, self.what, self.why, self.backends)


@dataclass(frozen=True)
class Capabilities:
    """What a compiled program can do besides running forward."""

    gradients: bool = False
    plasticity: bool = False
    populations: bool = False  # a leading axis of parameter sets
    delays: bool = True
    noise: bool = True
    state: bool = True  # goes on from a given state


# What a program without a capability says, and who of ours has it.
_WITHOUT = {
    "gradients": ("it gives no gradients", ("native", "torch")),
    "plasticity": ("it has no plastic weights", ("native", "brian2", "torch", "reference")),
    "populations": ("it runs one parameter set at a time", ("native", "torch", "brian2", "reference")),
    "delays": ("it has no delays", ("native", "brian2", "torch", "reference")),
    "noise": ("it has no noise", ("native", "brian2", "torch", "reference")),
    "state": ("it goes on from no state", ("native", "torch", "brian2", "reference")),
}


def require(program: Program, capability: str, what: str, fix: str = "") -> None:
    """Raises UnsupportedError where the program lacks a capability. what: what needs it, such as "rule 'bptt'". fix: besides another backend."""
    if not getattr(program.capabilities, capability):
        why, others = _WITHOUT[capability]
        raise UnsupportedError(program.backend, what, f"{why}; {fix}" if fix else why, others)


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks of one run: the arguments of Program.run as they were given."""

    parameters: Mapping[str, Any] | None = None  # arrays, or tensors under autograd
    inputs: Inputs | None = None
    record: Record = ()
    steps: int | None = None
    batch: int | None = None
    every: int = 1
    trial: int = 0
    population: int | None = None
    state: State | None = None


class Program(Protocol):
    """A compiled network. A backend's own inherits `run` and writes `simulate`.

    One that spreads parameter sets over processes also has `each(function, items)`: function(program, *item) of each item, in their order.
    """

    backend: str  # the name of the backend that made it
    network: Network
    semantics: Semantics
    capabilities: Capabilities

    def run(
        self,
        parameters: Parameters | None = None,
        inputs: Inputs | None = None,
        record: Record = (),
        *,
        steps: int | None = None,
        batch: int | None = None,
        every: int = 1,
        trial: int = 0,
        population: int | None = None,
        state: State | None = None,
    ) -> Recording:
        """Simulate from the initial state, or from a given one.

        parameters: values that replace those of the network, in the same shapes. inputs: one array [batch, time, channel]
        an input (Poisson inputs and drives are drawn from the network's seed when left out). Plain numbers, lists and tensors are SI;
        quantities (this library's, pint's, Brian2's) are converted; every rule of the definition, such as a sign or a
        bound, holds for them. The `final` weights of a run of one trial fit as parameters of the next.
        record: names "population.variable" and "projection.variable" (of what changes in the synapses: their states), or a
        mapping from names to what is recorded of them: {"cells.v": None} all, {"cells.v": [0, 5]} these cells,
        {"stdp.w": [(0, 1), (3, 2)]} these pairs (pre, post) of a projection of all to all, {"stdp.w": [0, 17]} these synapses
        of another one, in the order of its wiring, {"cells": [0, 5]} the spikes of these cells, {"cells": []} of none;
        a population that isn't named: of all. every: steps from one reading of all traces to the next. steps: number of steps, needed only without input arrays. batch:
        number of trials, likewise. trial: index of the first trial in the random streams, so that splitting a batch
        changes nothing. population: number of parameter sets; the given parameters then have this axis first, and all
        sets get the same inputs, initial values and noise. state: of another run's recording, by this or another backend;
        time, random streams, spikes on their way and plastic weights go on from there, and steps counts the steps of this
        run alone. Raises UnsupportedError, RunError.
        """
        return self.simulate(Request(parameters, inputs, record, steps, batch, every, trial, population, state))

    def simulate(self, asked: Request) -> Recording:
        """What `run` gives."""
        ...

    def stream(
        self,
        parameters: Parameters | None = None,
        inputs: Inputs | Callable[[int, int], Inputs] | None = None,
        record: Record = (),
        *,
        steps: int,
        chunk: int,
        **options: Any,
    ) -> Iterator[Recording]:
        """A run of so many steps as recordings of `chunk` steps each, the last one of what is left; together they are the whole.

        Memory follows `chunk`, not `steps`: neuro.io.results.append_recording keeps them. inputs: arrays of the whole run, or a function (first, last) -> inputs of the steps
        from first to last - 1 of this run. options: every, batch, trial, population, state. The rest as in `run`.
        """
        ...

    def session(
        self, batch: int = 1, parameters: Parameters | None = None, record: Record = (), **options: Any
    ) -> Session:
        """Opens a run that is advanced from outside. options: trial, population, state (to begin with); on torch graph=True:
        steps then give Signals, and gradients go back through them until `session.cut()`.
        """
        ...


class Session(Protocol):
    """A run that is advanced from outside, step by step: an agent's network in its environment. A context manager.

    state: what the next step begins with; it may be replaced, and raises RunError before the first step.
    """

    @property
    def state(self) -> State: ...

    @state.setter
    def state(self, state: State) -> None: ...

    def step(self, inputs: Inputs | None = None, steps: int | None = None) -> Recording:
        """The next step, or as many as the inputs have, or `steps`. inputs: as in Program.run. Raises RunError."""
        ...

    def close(self) -> None:
        """Give back what the session holds."""
        ...


class Backend(Protocol):
    """Compiles networks. `name` is what the registry and the scripts call it."""

    name: str

    def compile(self, network: Network, *, dtype: str = "float64", **options: Any) -> Program:
        """Raises UnsupportedError naming the projection or equation, why, and the backends that can."""
        ...


@dataclass(frozen=True)
class Batch:
    """inputs: input name -> [batch, time, channel]. targets: [batch] labels or [batch, time, output].
    mask: bool [batch, time], the steps that count. state: that the trials begin with, None for the network's initial one;
    all candidates of a population begin with the same. follows: None where its trials stand for themselves; else they are a part of
    longer ones, and it says whether the batch before holds the part before: what the network was at its end is carried over.
    trial: index of the first trial in the random streams of gradient rules, above 0 in a slice of a batch; a state has its own."""

    inputs: Inputs
    targets: Array
    mask: Array | None = None
    state: State | None = None
    follows: bool | None = None
    trial: int = 0

    def begun(self, trial: int) -> State | None:
        """The state that trials begin with whose random streams are those from `trial` on."""
        return None if self.state is None else replace(self.state, trial=trial)


@dataclass(frozen=True)
class Settings:
    """How a task is trained where nobody says otherwise: epochs, examples an update, options by backend and by rule."""

    epochs: int = 1
    batch: int = 64
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def for_backend(self, name: str) -> dict[str, Any]:
        """Options of a backend; one that gives gradients takes torch's, whose conventions of training all share."""
        return dict(self.backends.get(name, self.backends.get("torch", {}) if name == "native" else {}))


@runtime_checkable
class Task(Protocol):
    """Data, loss and metric, and the network that goes with them. A new version changes the numbers.

    `perfect(batch)` gives the recording of a network that makes no mistake, for tests of loss and metric.

    Some tasks have more, which others look for by name: `valid_batch()`; `weight(batch)`, what of its loss a batch counts where that isn't its number of
    examples (frames, say): the loss of a batch is the mean of those of its slices with these weights; `indivisible`, the reason why it isn't.
    """

    name: str
    version: int
    output: str  # population whose spikes or traces the loss reads
    readout: tuple[str, ...]  # parameters that the control trains: everything else frozen, the readout fitted
    settings: Settings

    def network(self, seed: int) -> Network:
        """The network, its random numbers drawn from this seed."""
        ...

    def train_batches(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """One epoch."""
        ...

    def test_batch(self) -> Batch:
        """The examples that the metric is measured on, the same every time."""
        ...

    def record(self) -> Sequence[str]:
        """Traces that loss and metric read."""
        ...

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        """Scalar torch tensor from torch tensors shaped as in Recording."""
        ...

    def metric(self, recording: Recording, batch: Batch) -> float:
        """Accuracy in [0, 1], or what the task's docstring says."""
        ...

    def perfect(self, batch: Batch) -> Recording:
        """The recording of a network that makes no mistake on this batch."""
        ...


class Rule(Protocol):
    """A learning rule: a frozen dataclass, all state explicit. What the training loop asks of it.

    Some rules have more, which others look for by name: `gradient(program, parameters, batch, task, draw=0)`, the estimate of the loss's
    gradient by parameter in SI (audits); `attach(network)`, the network with what the rule adds (local rules); `results(state, parameters)`,
    tables for the run file; `operated(program, saved, surgery)`, what `save` gave for a network with other cells (neuro.surgery); `metrics`, names of what `step` gives beside the loop's own.
    """

    def init(self, program: Any, parameters: Parameters) -> Any:
        """The state before the first update."""
        ...

    def step(
        self, program: Any, parameters: Parameters, state: Any, batch: Batch, task: Any
    ) -> tuple[Parameters, Any, Mapping[str, float]]:
        """One update: new parameters, new state, metrics, "loss" among them."""
        ...

    def save(self, state: Any) -> Mapping[str, Array]:
        """The state as arrays."""
        ...

    def load(self, program: Any, saved: Mapping[str, Array]) -> Any:
        """Inverse of save."""
        ...

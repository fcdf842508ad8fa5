"""What all programs share: the call of a run, written once, and what is made of runs that go on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backends.common.arrays import Feed, check_inputs, check_room
from backends.common.starting_state import refuse_weights
from backends.common.streaming import Session, Source, one_after_another, stream
from backends.common.values import named
from neuro.caching import per_object
from neuro.compiler import streams
from neuro.compiler.semantics import Semantics
from neuro.model import Network
from neuro.protocols import Capabilities, Inputs, Parameters, Record, Recording, UnsupportedError
from neuro.state import State

AT_ONCE = 2**22  # random numbers: 32 MB


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

    def size(self) -> tuple[int, int] | None:
        """Steps and trials; None where something else than arrays or events is given, or a count that is none."""
        shapes: list[tuple[int, ...]] = [getattr(value, "shape", ()) for value in named(self.inputs, "inputs").values()]
        if any(len(shape) != 3 for shape in shapes) or not isinstance(self.every, int) or self.every < 1:
            return None
        batch, steps = shapes[0][:2] if shapes else (self.batch, self.steps)
        if self.state is not None and isinstance(self.state, State):
            batch = self.state.lead[-1]
        batch = 1 if batch is None else batch
        return (steps, batch) if isinstance(steps, int) and isinstance(batch, int) and batch > 0 else None

    def feed(self, network: Network, **options: Any) -> Feed:
        """Everything from outside, checked; options: of check_inputs. Raises RunError."""
        feed = check_inputs(
            network, self.inputs, steps=self.steps, batch=self.batch, trial=self.trial, population=self.population,
            state=self.state, **options,
        )  # fmt: skip
        refuse_weights(feed.state, self.parameters)
        return feed


@per_object
def _drawn(network: Network) -> tuple[int, dict[str, int]]:
    """Numbers that a trial draws in each step: noise, and by Poisson input."""
    noise = sum(p.size * len(p.neuron.scope.noise) for p in network.populations)
    return noise, {i.name: i.size for i in network.inputs if i.kind == "poisson"}


def random_numbers(network: Network, given: Any) -> int:
    """How many a trial needs in each step: noise, and Poisson inputs that nobody gives."""
    noise, poisson = _drawn(network)
    return noise + sum(size for name, size in poisson.items() if name not in named(given, "inputs"))


class Simulator(ABC):
    """A compiled network that runs: see neuro.protocols.Program."""

    network: Network
    semantics: Semantics
    capabilities: Capabilities
    lists_spikes = False  # as events, not as rasters

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
        """See Program.run."""
        asked = Request(parameters, inputs, record, steps, batch, every, trial, population, state)
        drawn = random_numbers(self.network, asked.inputs)
        if drawn and self.capabilities.state and (size := asked.size()) is not None:
            chunk = self._at_once(drawn, *size, asked)
            if chunk < size[0]:
                options = {"every": every, "batch": batch, "trial": trial, "population": population, "state": state}
                parts = list(self.stream(parameters, inputs, record, steps=size[0], chunk=chunk, **options))
                return one_after_another(parts, axis=1 if population is None else 2)
        return self._run(asked)

    def _at_once(self, drawn: int, steps: int, batch: int, asked: Request) -> int:
        """Steps whose random numbers are drawn at once: memory doesn't grow with the length of a run. drawn: numbers per step and trial."""
        if drawn * batch * steps <= AT_ONCE:
            return steps
        chunk = max(1, AT_ONCE // (drawn * batch * streams.BLOCK)) * streams.BLOCK
        chunk = max(chunk // asked.every, 1) * asked.every
        check_room(self.network, steps, batch, asked.population or 1, self.lists_spikes, min(chunk, steps))
        return chunk

    @abstractmethod
    def _run(self, asked: Request) -> Recording: ...

    def stream(
        self,
        parameters: Parameters | None = None,
        inputs: Source | None = None,
        record: Record = (),
        *,
        steps: int,
        chunk: int,
        **options: Any,
    ) -> Iterator[Recording]:
        """See Program.stream."""
        return stream(self, parameters, inputs, record, steps=steps, chunk=chunk, **options)

    def session(
        self, batch: int = 1, parameters: Parameters | None = None, record: Record = (), **options: Any
    ) -> Session:
        """See Program.session."""
        if options.pop("graph", False):
            raise UnsupportedError(
                type(self).__name__, "session(graph=True)", "no gradient goes back through its states", ("torch",)
            )
        return self._session(batch, parameters, record, **options)

    def _session(self, batch: int, parameters: Parameters | None, record: Record, **options: Any) -> Session:
        return Session(self, batch, parameters, record, **options)

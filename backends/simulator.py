"""What all programs share: the call of a run, written once, and what is made of runs that go on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backends.arrays import Feed, check_inputs
from backends.continuing import refuse_weights
from backends.streaming import Session, Source, stream
from neuro.model import Network
from neuro.protocols import Capabilities, Inputs, Parameters, Recording
from neuro.semantics import Semantics
from neuro.state import State


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks of one run: the arguments of Program.run as they were given."""

    parameters: Parameters | None
    inputs: Inputs | None
    record: Sequence[str]
    steps: int | None
    batch: int | None
    every: int
    trial: int
    population: int | None
    state: State | None

    def feed(self, network: Network, **options: Any) -> Feed:
        """Everything from outside, checked; options: of check_inputs. Raises RunError."""
        refuse_weights(self.state, self.parameters)
        return check_inputs(
            network, self.inputs, steps=self.steps, batch=self.batch, trial=self.trial, population=self.population,
            state=self.state, **options,
        )  # fmt: skip


class Simulator(ABC):
    """A compiled network that runs: see neuro.protocols.Program."""

    network: Network
    semantics: Semantics
    capabilities: Capabilities

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
        population: int | None = None,
        state: State | None = None,
    ) -> Recording:
        """See Program.run."""
        return self._run(Request(parameters, inputs, record, steps, batch, every, trial, population, state))

    @abstractmethod
    def _run(self, asked: Request) -> Recording: ...

    def stream(
        self,
        parameters: Parameters | None = None,
        inputs: Source | None = None,
        record: Sequence[str] = (),
        *,
        steps: int,
        chunk: int,
        **options: Any,
    ) -> Iterator[Recording]:
        """See Program.stream."""
        return stream(self, parameters, inputs, record, steps=steps, chunk=chunk, **options)

    def session(
        self, batch: int = 1, parameters: Parameters | None = None, record: Sequence[str] = (), **options: Any
    ) -> Session:
        """See Program.session."""
        return Session(self, batch, parameters, record, **options)

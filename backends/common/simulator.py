"""What all programs share: the call of a run, written once, and what is made of runs that go on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from backends.common.arrays import Feed, check_inputs, check_room
from backends.common.starting_state import refuse_weights
from backends.common.streaming import Session, Source, one_after_another, stream
from backends.common.values import named
from neuro.caching import per_object
from neuro.compiler import streams
from neuro.compiler.noise import per_step
from neuro.compiler.recordable import units_among
from neuro.compiler.resolve import resolve
from neuro.model import Input, Network
from neuro.protocols import Parameters, Program, Record, Recording, Request, UnsupportedError
from neuro.state import State

AT_ONCE = 2**22  # random numbers: 32 MB


def size_of(asked: Request) -> tuple[int, int] | None:
    """Steps and trials; None where something else than arrays or events is given, or a count that is none."""
    shapes: list[tuple[int, ...]] = [getattr(value, "shape", ()) for value in named(asked.inputs, "inputs").values()]
    if any(len(shape) != 3 for shape in shapes) or not isinstance(asked.every, int) or asked.every < 1:
        return None
    batch, steps = shapes[0][:2] if shapes else (asked.batch, asked.steps)
    if asked.state is not None and isinstance(asked.state, State):
        batch = asked.state.lead[-1]
    batch = 1 if batch is None else batch
    return (steps, batch) if isinstance(steps, int) and isinstance(batch, int) and batch > 0 else None


def feed_of(asked: Request, network: Network, **options: Any) -> Feed:
    """Everything from outside, checked; options: of check_inputs. Raises RunError."""
    feed = check_inputs(
        network, asked.inputs, steps=asked.steps, batch=asked.batch, trial=asked.trial, population=asked.population,
        state=asked.state, **options,
    )  # fmt: skip
    refuse_weights(feed.state, asked.parameters)
    return feed


@per_object
def _drawn(network: Network) -> tuple[int, int, list[Input]]:
    """Numbers that a trial draws in each step: noise of cells, with that of synapses, and by input."""
    merged = resolve(network).network
    noise = per_step(merged, synapses=False), per_step(merged)
    return *noise, [i for i in network.inputs if i.drawn]


def random_numbers(network: Network, given: Any, *, drives: bool = True) -> int:
    """How many a trial needs in each step: noise of cells, Poisson inputs that nobody gives, and with `drives` those and what synapses draw."""
    cells, noise, inputs = _drawn(network)
    return (noise if drives else cells) + sum(
        i.size for i in inputs if i.name not in named(given, "inputs") and (drives or i.sends)
    )


class Simulator(Program, ABC):
    """A compiled network that runs, streams, and is stepped from outside; a backend writes `_run`."""

    lists_spikes = False  # as events, not as rasters; and draws drives in its own loop

    def simulate(self, asked: Request) -> Recording:
        """With the units of its traces."""
        found = self._simulate(asked)
        return replace(found, units=units_among(self.network, found.traces))

    def _simulate(self, asked: Request) -> Recording:
        """In parts where the random numbers of the whole would be many."""
        drawn = random_numbers(self.network, asked.inputs, drives=not self.lists_spikes)
        if drawn and self.capabilities.state and (size := size_of(asked)) is not None:
            chunk = self._at_once(drawn, *size, asked)
            if chunk < size[0]:
                options = {name: getattr(asked, name) for name in ("every", "batch", "trial", "population", "state")}
                given = (asked.parameters, asked.inputs, asked.record)
                parts = list(self.stream(*given, steps=size[0], chunk=chunk, **options))
                return one_after_another(parts, axis=1 if asked.population is None else 2)
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
                self.backend, "session(graph=True)", "no gradient goes back through its states", ("torch",)
            )
        return self._session(batch, parameters, record, **options)

    def _session(self, batch: int, parameters: Parameters | None, record: Record, **options: Any) -> Session:
        return Session(self, batch, parameters, record, **options)

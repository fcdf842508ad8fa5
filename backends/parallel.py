"""Any backend's program with a population's parameter sets spread over worker processes.

The sets are cut into chunks of a fixed size, and each chunk is one run; so the numbers don't depend on how many workers
there are. A worker compiles the network once.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from backends.common.simulator import Simulator
from backends.common.starting_state import check_state
from backends.workers.crew import Crew, Engine, Traffic
from backends.workers.worker import dumps
from neuro.compiler.semantics import Semantics
from neuro.model import Network
from neuro.options import OptionError, one_of
from neuro.protocols import Inputs, Parameters, Program, Record, Recording, Request
from neuro.state import State, joined

Recipe = tuple[str, bytes, str]  # backend, network as it is, its parameters in their order, and options as JSON
ENGINES = ("joblib", "ray")
_CREWS: WeakValueDictionary[tuple[str, int, str], Crew] = WeakValueDictionary()


def crew_of(engine: str, workers: int, address: str = "") -> Crew:
    """The processes that all programs with these settings share, as long as there is one. Raises OptionError."""
    one_of("engine", engine, ENGINES)
    if address and engine != "ray":
        raise OptionError(f"address '{address}' is of a cluster of Ray; use engine='ray', or leave the address out")
    key = engine, workers, address
    found = _CREWS.get(key)
    if found is None:
        found = _CREWS[key] = Crew(_engine(*key))
    return found


def _engine(engine: str, workers: int, address: str) -> Engine:
    if engine == "ray":
        from backends.workers.on_ray import OnRay

        return OnRay(workers, address)
    from backends.workers.here import Here

    return Here(workers)


class ParallelProgram(Simulator):
    """See neuro.protocols.Program. workers: processes; one of joblib's is this process. chunk: parameter sets in one run.

    engine: joblib, on this machine, or ray: a local cluster that starts by itself, or the one at `address`. share: by how much of the median time of a call
    one may be late before another worker makes it too.
    """

    def __init__(
        self, backend: str, network: Network, *, workers: int, chunk: int = 8, options: Mapping[str, Any] | None = None,
        engine: str = "joblib", address: str = "",
    ) -> None:  # fmt: skip
        self.network, self.workers, self.chunk = network, workers, chunk
        self.crew = crew_of(engine, workers, address)
        self._alone = engine == "joblib" and workers == 1
        self._recipe = backend, dumps(network), json.dumps(dict(options or {}), sort_keys=True)
        self._own = _compiled(*self._recipe)
        self.backend = self._own.backend
        self.even = hasattr(self._own, "builds")  # built for a number of sets, so that all runs should have the same
        self.capabilities = replace(self._own.capabilities, gradients=False)  # processes share no graph
        self.semantics: Semantics = self._own.semantics

    def _run(self, asked: Request) -> Recording:
        population, state, parameters = asked.population, asked.state, asked.parameters
        options: dict[str, Any] = {n: getattr(asked, n) for n in ("steps", "batch", "every", "trial")}
        if population is None or population <= self.chunk:
            return self._own.run(parameters, asked.inputs, asked.record, population=population, state=state, **options)
        if state is not None:
            check_state(self.network, state, asked.batch, population)
            state = state.numpy()
        parts = [slice(i, min(i + self.chunk, population)) for i in range(0, population, self.chunk)]
        work = [
            ({n: v[part] for n, v in (parameters or {}).items()}, part.stop - part.start, _part(state, part))
            for part in parts
        ]
        return _joined(self.each(_run, work, (asked.inputs, asked.record, options)))

    def _session(self, batch: int, parameters: Parameters | None, record: Record, **options: Any) -> Any:
        return self._own.session(batch, parameters, record, **options)

    def each(
        self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]], shared: Sequence[Any] = ()
    ) -> list[Any]:
        """function(program, *shared, *item) of each item, in their order, in the workers; each has its own program of this network.

        Function, items, results and what is shared are pickled; what is shared is sent where it isn't there yet, and nobody may change it. What the function raises is raised
        here. Raises RunError where something can't be pickled, or a worker dies each time that it gets a call.
        """
        if self._alone:
            return [function(self._own, *shared, *item) for item in items]
        work = ((function, item) for item in items)
        return self.crew.each(_call, work, (self._recipe, *shared), getattr(function, "__name__", "a function"))

    def spent(self) -> tuple[int, int, float, int]:
        """Bytes sent and received, seconds that workers worked, and workers lost, by all who share them, since somebody last asked."""
        traffic, self.crew.traffic = self.crew.traffic, Traffic()
        return traffic.sent, traffic.received, traffic.seconds, traffic.lost


def _part(state: State | None, part: slice) -> State | None:
    """That of some parameter sets; one without an axis for them serves all."""
    if state is None or len(state.lead) == 1:
        return state
    return replace(state.each(lambda a: a[part]), lead=(part.stop - part.start, *state.lead[1:]))


@lru_cache(maxsize=4)
def _compiled(backend: str, network: bytes, options: str) -> Program:
    import backends

    return backends.get(backend).compile(pickle.loads(network), **json.loads(options))


def _run(
    program: Program, inputs: Inputs, record: Record, options: Mapping[str, Any], parameters: Parameters, population: int,
    state: State | None,
) -> Recording:  # fmt: skip
    return program.run(parameters, inputs, record, population=population, state=state, **options)


def _call(recipe: Recipe, *shared: Any) -> Any:
    """In a worker, which takes no more than its own processor."""
    import sys

    *shared, function, item = shared  # type: ignore[assignment]
    if "torch" in sys.modules or recipe[0] == "torch":
        import torch

        torch.set_num_threads(1)
    return function(_compiled(*recipe), *shared, *item)


def _joined(parts: Sequence[Recording]) -> Recording:
    spikes, traces, final = (
        {n: np.concatenate([getattr(p, kind)[n] for p in parts]) for n in getattr(parts[0], kind)}
        for kind in ("spikes", "traces", "final")
    )
    return Recording(
        parts[0].dt, spikes, traces, parts[0].every, final, lambda: joined([p.state for p in parts]), parts[0].chosen
    )

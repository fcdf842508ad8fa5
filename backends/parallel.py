"""Any backend's program with a population's parameter sets spread over worker processes.

The sets are cut into chunks of a fixed size, and each chunk is one run; so the numbers don't depend on how many workers
there are. A worker compiles the network once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pickle import PicklingError
from typing import Any

import numpy as np

from backends.common.simulator import Simulator
from backends.common.starting_state import check_state
from neuro.compiler.semantics import Semantics
from neuro.io.serialisation import from_json, to_json
from neuro.model import Network
from neuro.protocols import Inputs, Parameters, Program, Record, Recording, Request, RunError
from neuro.state import State, joined

Recipe = tuple[str, str, str]  # backend, network and options as JSON


class ParallelProgram(Simulator):
    """See neuro.protocols.Program. workers: processes, 1 for none besides this one. chunk: parameter sets in one run."""

    def __init__(
        self, backend: str, network: Network, *, workers: int, chunk: int = 8, options: Mapping[str, Any] | None = None
    ) -> None:
        self.network, self.workers, self.chunk = network, workers, chunk
        self._recipe = backend, to_json(network), json.dumps(dict(options or {}), sort_keys=True)
        self._own = _compiled(*self._recipe)
        self.backend = self._own.backend
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
        from joblib import delayed

        parts = [slice(i, min(i + self.chunk, population)) for i in range(0, population, self.chunk)]
        work = [
            delayed(_run)(self._recipe, {n: v[part] for n, v in (parameters or {}).items()}, asked.inputs, asked.record,
                          {**options, "population": part.stop - part.start, "state": _part(state, part)})
            for part in parts
        ]  # fmt: skip
        return _joined(self._done(work))

    def _session(self, batch: int, parameters: Parameters | None, record: Record, **options: Any) -> Any:
        return self._own.session(batch, parameters, record, **options)

    def each(self, function: Callable[..., Any], items: Iterable[tuple[Any, ...]]) -> list[Any]:
        """function(program, *item) of each item, in their order, in the workers; each has its own program of this network.

        Function, items and results are pickled. What the function raises is raised here. Raises RunError where something can't be pickled, or a worker dies.
        """
        from joblib import delayed

        return self._done(delayed(_call)(self._recipe, function, item) for item in items)

    def _done(self, calls: Iterable[Any]) -> list[Any]:
        """Results of delayed calls, in their order."""
        from joblib import Parallel
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        try:
            return list(Parallel(n_jobs=self.workers)(calls))
        except TerminatedWorkerError as error:
            raise RunError("a worker process died, perhaps for want of memory; use fewer workers") from error
        except PicklingError as error:
            *_, why = str(error.__cause__ or error).strip('\n"').splitlines()  # of a traceback, what it ends with
            raise RunError(f"what worker processes get can't be pickled ({why}); use one worker") from error


def _part(state: State | None, part: slice) -> State | None:
    """That of some parameter sets; one without an axis for them serves all."""
    if state is None or len(state.lead) == 1:
        return state
    return replace(state.each(lambda a: a[part]), lead=(part.stop - part.start, *state.lead[1:]))


@lru_cache(maxsize=4)
def _compiled(backend: str, network: str, options: str) -> Program:
    import backends

    return backends.get(backend).compile(from_json(network), **json.loads(options))


def _run(recipe: Recipe, parameters: Parameters, inputs: Inputs, record: Record, options: Any) -> Recording:
    return _alone(recipe).run(parameters, inputs, record, **options)


def _call(recipe: Recipe, function: Callable[..., Any], item: tuple[Any, ...]) -> Any:
    return function(_alone(recipe), *item)


def _alone(recipe: Recipe) -> Program:
    """A worker's program, which takes no more than its own processor."""
    import sys

    if "torch" in sys.modules or recipe[0] == "torch":
        import torch

        torch.set_num_threads(1)
    return _compiled(*recipe)


def _joined(parts: Sequence[Recording]) -> Recording:
    spikes, traces, final = (
        {n: np.concatenate([getattr(p, kind)[n] for p in parts]) for n in getattr(parts[0], kind)}
        for kind in ("spikes", "traces", "final")
    )
    return Recording(
        parts[0].dt, spikes, traces, parts[0].every, final, lambda: joined([p.state for p in parts]), parts[0].chosen
    )

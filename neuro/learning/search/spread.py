"""An update's runs where a program spreads them over workers (`each`): these make the parameters themselves, and give numbers.

What travels once is the rule and the task; with every update where the search stands and the batch; with every call which rows of
the update it is, and back its losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.learning.search.search_space import Array, losses
from neuro.protocols import Batch, Parameters

Rows = npt.NDArray[np.intp]  # of an update's candidates
SPENT = ("bytes_sent", "bytes_received", "worker_seconds", "workers_lost")  # metrics of an update that workers made


@dataclass(eq=False)
class Held:
    """A rule and its task, which every worker gets once; there, the state that the rule begins with belongs to it."""

    rule: Any
    task: Any
    _begun: Any = None

    def state(self, program: Any) -> Any:
        """Made once for a program; whoever asks writes into it where the rule stands."""
        if self._begun is None or self._begun[0] is not program:
            self._begun = program, self.rule.init(program)
        return self._begun[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"rule": self.rule, "task": self.task}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.rule, self.task, self._begun = state["rule"], state["task"], None


@dataclass(eq=False)
class Moment:
    """Where a search stands before an update. changed: parameters that aren't searched and aren't the network's own. trial: the first, in the random streams."""

    mean: Array
    arrays: Mapping[str, Array]
    updates: int
    changed: Parameters
    trial: int
    asked: tuple[Held, Array] | None = field(default=None, repr=False)

    def candidates(self, held: Held, state: Any) -> Array:
        """All of the update [P, n], asked for once by each worker and rule: two may stand at the same place."""
        if self.asked is None or self.asked[0] is not held:
            state.mean.detach().numpy()[...] = self.mean
            state.arrays, state.updates = dict(self.arrays), self.updates
            self.asked = held, held.rule.search.ask(state)[0]
        return self.asked[1]


def found_losses(
    program: Any, held: Held, moment: Moment, candidates: Array, batch: Batch, chosen: Rows | None = None
) -> Array:
    """Losses of an update's candidates [P, n], or of those that are chosen, by a program that has `each`, `chunk` and `even`."""
    rows = np.arange(len(candidates)) if chosen is None else chosen
    count = len(rows)
    if program.even and count > program.chunk:  # the last part gets as many as the others
        rows = np.concatenate([rows, np.repeat(rows[-1:], -count % program.chunk)])
    parts = [rows[k : k + program.chunk] for k in range(0, len(rows), program.chunk)]
    told = [None if held.rule.search.repeatable else candidates[part] for part in parts]
    found = program.each(_losses, zip(parts, told, strict=True), (held, moment, portable(batch)))
    return np.asarray(np.concatenate(found)[:count])


def portable(batch: Batch) -> Batch:
    """A batch that can be pickled: its state holds no graph."""
    return batch if batch.state is None else replace(batch, state=batch.state.numpy())


def spent(program: Any) -> dict[str, float]:
    """What workers cost since somebody last asked, nothing where there are none."""
    ask = getattr(program, "spent", None)
    return {} if ask is None else dict(zip(SPENT, ask(), strict=True))


def _losses(program: Any, held: Held, moment: Moment, batch: Batch, rows: Rows, told: Array | None) -> Array:
    """In a worker."""
    state, rule = held.state(program), held.rule
    vectors = moment.candidates(held, state.search)[rows] if told is None else told
    sets = state.space.candidates(vectors, moment.changed)
    options = {"trial": moment.trial, "fitness": rule.fitness, "episodes": rule.episodes, "places": rows}
    return losses(program, sets, batch, held.task, **options)

"""Which trial comes next: of a list that is known from the beginning, or of a search, which waits for what it learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twinspike.sweeping.drawing import listed, suggested
from twinspike.sweeping.folder import Folder
from twinspike.sweeping.spec import Search, Spec, check
from twinspike.sweeping.trials import Trial

Values = Mapping[str, float | None]  # trial that has ended -> what came of it, None where nothing did


class Plan(Protocol):
    """total: how many trials it has."""

    total: int

    def next(self, values: Values) -> Trial | None:
        """The one to begin now; None where there is none, or none yet."""

    def trials(self) -> list[Trial]:
        """All that were asked for by now."""


class Listing:
    """A grid and samples, or of all of them each `share[1]`th from number `share[0]` on."""

    def __init__(self, spec: Spec, folder: Folder, share: tuple[int, int]) -> None:
        every = {trial.name: trial for trial in (folder.trial(spec, chosen) for chosen in listed(spec))}
        self._trials = list(every.values())[share[0] :: share[1]]
        self.wanted, self.total = set(every), len(self._trials)
        self._left = iter(self._trials)

    def next(self, values: Values) -> Trial | None:
        return next(self._left, None)

    def trials(self) -> list[Trial]:
        return self._trials


class Searching:
    """A search: trial k is chosen when all up to k - at_once have ended, by what came of them and nothing else."""

    def __init__(self, spec: Spec, search: Search, folder: Folder, code: str) -> None:
        self.spec, self.search, self.folder, self.code = spec, search, folder, code
        self.total = search.trials
        self._asked: list[Trial] = []

    def next(self, values: Values) -> Trial | None:
        number = len(self._asked)
        before = self._asked[: max(0, number - self.search.at_once + 1)]
        if number == self.total or any(trial.name not in values for trial in before):
            return None
        if number < len(self.folder.asked):  # as it was chosen before a stop
            chosen = self.folder.trials[self.folder.asked[number]].chosen
        else:
            known = [(trial.chosen, values[trial.name]) for trial in before]
            chosen = suggested(self.search, self.spec.best, known, number)
        trial = self.folder.trial(self.spec, chosen)
        self._asked.append(trial)
        if number < len(self.folder.asked):
            self.folder.check_asked(number, trial)
        else:
            check(self.spec, trial.settings, self.code)
            self.folder.asked.append(trial.key)
            self.folder.write(self.spec)
        return trial

    def trials(self) -> list[Trial]:
        return list({trial.name: trial for trial in self._asked}.values())

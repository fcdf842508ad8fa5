"""What a campaign found, while it goes on and at its end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from twinspike.fuzzing.coverage import WANTED
from twinspike.fuzzing.examination import Examination
from twinspike.fuzzing.oracles.outcome import Failure


@dataclass
class Report:
    """Sums over examinations. failures: kind -> (seed, failure), in the order they came."""

    seeds: list[int] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, 0)  # seconds of the processor, seed
    accepted: int = 0
    spiking: int = 0
    drafts: int = 0
    features: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failures: dict[str, list[tuple[int, Failure]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, found: Examination) -> None:
        self.seeds.append(found.seed)
        self.slowest = max(self.slowest, (sum(found.seconds.values()), found.seed))
        self.accepted += found.accepted
        self.spiking += found.spikes > 0
        self.drafts += found.drafts
        self.features.update(found.features.keys())
        self.notes.update(found.notes)
        self.refusals.update(f"{backend}: {_without_names(reason)}" for backend, reason in found.refusals)
        for name, seconds in found.seconds.items():
            self.seconds[name] += seconds
        for failure in found.failures:
            self.failures[failure.signature].append((found.seed, failure))

    @property
    def networks(self) -> int:
        return len(self.seeds)

    @property
    def failed(self) -> int:
        return sum(map(len, self.failures.values()))

    def missing(self) -> list[str]:
        """Elements of the language that never occurred."""
        return [name for name in WANTED if not self.features[name]]

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Tables by title."""
        share = 100 / max(self.networks, 1)
        sums = [
            ("networks", self.networks),
            ("accepted by all backends, %", self.accepted * share),
            ("with spikes, %", self.spiking * share),
        ]
        sums += [("failures", self.failed), ("drafts drawn again", self.drafts)]
        sums += [
            (f"{name}, s of processor a network", seconds / max(self.networks, 1))
            for name, seconds in self.seconds.items()
        ]
        sums.append((f"slowest: seed {self.slowest[1]}, s of processor", self.slowest[0]))
        failures = [(kind, len(found), found[0][0], found[0][1].detail) for kind, found in _by_count(self.failures)]
        return {
            "sums": sums, "notes": self.notes.most_common(), "refusals": self.refusals.most_common(20),
            "coverage: networks in which it occurs": sorted(self.features.items()), "never met": [(n, 0) for n in self.missing()],
            "failures: how many, first seed": failures,
        }  # fmt: skip


def _by_count(found: dict[str, list[Any]]) -> Iterable[tuple[str, list[Any]]]:
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _without_names(text: str) -> str:
    """A reason without the names of one network."""
    import re

    return re.sub(r"'[^']*'", "'…'", text)[:160]

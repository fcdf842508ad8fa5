"""A campaign's file: what it examines, then one JSON line for each network as it is finished, so that any end leaves it usable."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from twinspike.fuzzing.examination import Examination
from twinspike.fuzzing.oracles.outcome import Failure


@dataclass(frozen=True)
class Plan:
    """Which seeds meet which oracles."""

    first: int
    networks: int
    oracles: tuple[str, ...]

    def seeds(self) -> range:
        return range(self.first, self.first + self.networks)


class Journal:
    """One file of a campaign."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, plan: Plan) -> None:
        """A new file; one that is there is replaced."""
        self.path.write_text(json.dumps(asdict(plan)) + "\n", encoding="utf-8")

    def plan(self) -> Plan:
        """What the file's campaign examines. Raises ValueError where it is no such file."""
        try:
            with self.path.open(encoding="utf-8") as file:
                data = json.loads(file.readline())
            return Plan(data["first"], data["networks"], tuple(data["oracles"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{self.path} holds no campaign") from None

    def examinations(self) -> Iterator[Examination]:
        """Those that are finished. A line that a killed process left half written is cut off: its network is examined again."""
        lines = self.path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(sum(map(len, lines[:-1])))
            lines.pop()
        for line in lines[1:]:
            data = json.loads(line)
            data["failures"] = [Failure(**f) for f in data["failures"]]
            data["refusals"] = [tuple(r) for r in data["refusals"]]
            yield Examination(**{**data, "features": Counter(data["features"])})

    def add(self, found: Examination) -> None:
        """One more line, on disk when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**vars(found), "failures": list(map(asdict, found.failures))}) + "\n")

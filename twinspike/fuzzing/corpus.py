"""Failures that were found once: one JSON line each, which tests run first.

A line holds a network, how it is run, the oracle that failed, and what was wrong.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neuro.io.serialisation import from_data, to_data
from twinspike.fuzzing.networks import Case

PATH = Path(__file__).parents[2] / "tests" / "differential" / "corpus.jsonl"


@dataclass(frozen=True)
class Entry:
    """oracle: its name. comment: what was wrong, for people."""

    case: Case
    oracle: str
    comment: str

    def line(self) -> str:
        """One line of the file."""
        case = self.case
        data = {
            "comment": self.comment,
            "oracle": self.oracle,
            "steps": case.steps,
            "batch": case.batch,
            "seed": case.seed,
            "dyadic": case.dyadic,
            "large": case.large,
        }
        return json.dumps({**data, "network": to_data(case.network)}, separators=(",", ":"))


def read(path: Path = PATH) -> Iterator[Entry]:
    """All entries; a network that the language no longer accepts raises ModelError."""
    for line in path.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network, large = from_data(data["network"]), data.get("large", False)  # earlier lines don't say
        case = Case(network, data["steps"], data["batch"], data["seed"], data["dyadic"], large)
        yield Entry(case, data["oracle"], data["comment"])


def append(entry: Entry, path: Path = PATH) -> None:
    """Add an entry at the end."""
    with path.open("a", encoding="utf-8") as file:
        file.write(entry.line() + "\n")

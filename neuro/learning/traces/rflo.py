"""RFLO: leak-only eligibility traces of rate units, and random feedback. Source: Murray (2019), eLife 8:e43299."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from neuro.learning.traces.eprop import EProp


@dataclass(frozen=True)
class RFLO(EProp):
    """e-prop's graph with fixed random feedback, by plain gradient steps. Options: see EProp."""

    feedback: str = "random"
    optimiser: str = "sgd"

    known_as: ClassVar[str] = "rflo"
    unsliced: ClassVar[str] = ""

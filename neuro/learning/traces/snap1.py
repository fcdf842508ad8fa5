"""SnAp-1: RTRL that keeps only a weight's influence on its own cell. Source: Menick et al. (2021), ICLR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from neuro.learning.traces.eprop import EProp


@dataclass(frozen=True)
class SnAp1(EProp):
    """Options: see EProp."""

    recurrent: str | int = "diagonal"
    detach_reset: bool | None = None

    known_as: ClassVar[str] = "snap1"
    unsliced: ClassVar[str] = ""

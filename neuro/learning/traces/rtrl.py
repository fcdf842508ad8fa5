"""Real-time recurrent learning: the true gradient, carried forward. Source: Williams & Zipser (1989), Neural Comput 1:270."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from neuro.learning.traces.eprop import EProp


@dataclass(frozen=True)
class RTRL(EProp):
    """The influence of every weight on every hidden cell: time and memory grow as cells^4 and cells^3. Options: see EProp."""

    recurrent: str | int = "full"
    detach_reset: bool | None = None

    known_as: ClassVar[str] = "rtrl"
    unsliced: ClassVar[str] = ""

"""UORO: an unbiased rank-one estimate of RTRL. Source: Tallec & Ollivier (2018), ICLR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from neuro.compiler import streams
from neuro.learning.traces.eligibility import by_traces
from neuro.learning.traces.eprop import EProp
from neuro.learning.traces.influence import by_uoro, check_next_step
from neuro.learning.traces.trial import Trial
from neuro.model import Network
from neuro.protocols import Array


@dataclass(frozen=True)
class UORO(EProp):
    """seed: of the random signs as well; each update has its own. Options: see EProp."""

    recurrent: str | int = "full"
    detach_reset: bool | None = None

    known_as: ClassVar[str] = "uoro"
    unsliced: ClassVar[str] = "its random signs are drawn for the whole batch"

    def check_network(self, network: Network, output: str) -> None:
        super().check_network(network, output)
        check_next_step(network, output)

    def slopes(self, trial: Trial, trained: list[str], draw: int) -> dict[str, Array]:
        inner = self.recurrent_weights(trial, trained)
        random = streams.generator(self.seed, "uoro", draw)
        return by_traces(trial, [n for n in trained if n not in inner]) | by_uoro(trial, inner, random)

"""What a kernel records: variables as part of its text, the chosen cells and synapses as arrays that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.recording import Trace, Wanted
from neuro.language.mangling import mangled

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Recorded:
    """One variable. chosen: at the places that a run gives; elsewhere all of it."""

    owner: str
    variable: str
    synaptic: bool
    chosen: bool

    @staticmethod
    def of(trace: Trace, order: Mapping[str, Any]) -> Recorded:
        """order: of the synapses of projections whose own is another; what all of them have is recorded as a choice."""
        chosen = trace.index is not None or (trace.synaptic and trace.owner in order)
        return Recorded(trace.owner, trace.variable, trace.synaptic, chosen)

    @property
    def name(self) -> str:
        """C name of the values, [trial, record, ...]."""
        return mangled("record", self.owner, self.variable)

    @property
    def places(self) -> str:
        """C name of the number of chosen places, and the places."""
        return mangled("chosen", self.owner, self.variable)


def places(wanted: Wanted, order: Mapping[str, Any]) -> dict[str, Array]:
    """What a run gives a kernel for its choices. order: see `Recorded.of`."""
    found = {}
    for trace in wanted.traces.values():
        index = trace.index
        if trace.synaptic and trace.owner in order:
            moved = order[trace.owner]
            turned = np.arange(trace.layout[0]) if moved is None else np.argsort(moved, kind="stable")
            index = turned if index is None else turned[index]
        if index is not None:
            found[mangled("chosen", trace.owner, trace.variable)] = np.concatenate([[len(index)], index])
    return found

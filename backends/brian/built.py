"""What a built Brian2 network consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.exact import Propagator
from backends.brian.names import Names
from backends.brian.plan import Watched

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Feed:
    """A variable of a Brian2 group that is written in each step, and its unit in Brian2's words. place: the group's number of each of its cells or synapses."""

    group: Any
    variable: str
    unit: str = "1"
    place: str = "i"


@dataclass
class Built:
    """One Brian2 network, for a batch size and what is recorded."""

    network: Any
    names: Names
    clock: Any
    groups: dict[str, Any] = field(default_factory=dict)
    synapses: dict[str, Any] = field(default_factory=dict)
    traces: dict[Watched, Any] = field(default_factory=dict)  # variables of one population share a monitor
    monitors: int = 0  # made so far
    spikes: dict[str, Any] = field(default_factory=dict)
    feeds: dict[str, Feed] = field(default_factory=dict)  # by our name
    numbers: dict[str, tuple[Any, str]] = field(default_factory=dict)  # a projection's, that its presynaptic cells hold
    propagators: dict[str, Propagator] = field(default_factory=dict)  # of populations and projections with method exact
    tables: dict[str, Any] = field(default_factory=dict)  # our name -> TimedArray, in built programs
    arrays: dict[str, Array] = field(default_factory=dict)  # our name -> [time, batch * size] of this run, elsewhere
    first: int = 0  # the step that those begin with


class PreparedNetwork(brian2.Network):  # type: ignore[misc]
    """Brian2 writes the code of each object once, not before each run."""

    def __init__(self, *objects: Any, **options: Any) -> None:
        super().__init__(*objects, **options)
        self.prepared = False

    def before_run(self, run_namespace: Any) -> None:
        if not self.prepared:
            super().before_run(run_namespace)
        self.prepared = True

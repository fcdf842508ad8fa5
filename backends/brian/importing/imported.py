"""What an import gives: the network, what its inputs bring, and where each of Brian2's objects went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from neuro.model import Network

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Place:
    """Where the cells of a group or subgroup are: `size` of a population's or input's from `first` on."""

    name: str
    first: int
    size: int


@dataclass(frozen=True)
class Placed:
    """Where the synapses of a Synapses object are: all of them, in Brian2's order, in each of these projections."""

    projections: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Imported:
    """A network that came from Brian2.

    inputs: number of steps -> what TimedArrays and SpikeGeneratorGroups bring, input name -> [1, time, channel]. groups: name of a
    Brian2 group or subgroup -> its place. synapses: name of a Synapses object -> its projections. variables: "object.variable" of
    Brian2 -> "population.variable" or "projection.variable". warnings: what is worth knowing and changes no number. objects: groups and
    Synapses themselves, by name. record: what the monitors watch, as `run(record=...)` takes it: values at the end of each step, spikes of what was spiking.
    unrecorded: what they watch beyond that. constants: "object.name" of a number that a text of it takes from outside -> "population.parameter" or "projection.parameter".
    events: population whose cells spike where those of a group have an event of their own, which synapses follow -> the group and the event.
    """

    network: Network
    inputs: Callable[[int], dict[str, Array]]
    groups: Mapping[str, Place]
    synapses: Mapping[str, Placed]
    variables: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    objects: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    record: Mapping[str, list[int] | None] = field(default_factory=dict)
    unrecorded: tuple[str, ...] = ()

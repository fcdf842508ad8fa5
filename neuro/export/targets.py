"""The targets: one module each, imported when asked for. A new one is a file with a PROFILE and a TARGET, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from neuro.export.profile import Profile
from neuro.model import Network
from neuro.protocols import Parameters
from neuro.registry import Registry


class UnknownTargetError(Exception):
    """No target of that name."""


REGISTRY = Registry(
    "target",
    {
        "nir": "neuro.export.nir.common:TARGET",
        "nir-sinabs": "neuro.export.nir.sinabs:TARGET",
        "nir-rockpool": "neuro.export.nir.rockpool:TARGET",
        "loihi2": "neuro.export.chips.loihi2:TARGET",
        "xylo-a2": "neuro.export.chips.xylo:AUDIO_2",
        "xylo-a3": "neuro.export.chips.xylo:AUDIO_3",
        "sana-fe": "neuro.export.chips.sana_fe:TARGET",
        "c-header": "neuro.export.chips.c_header:TARGET",
    },
    UnknownTargetError,
    group="neuro.targets",
    needs=("profile", "export"),
)


@dataclass(frozen=True)
class Export:
    """What was written, and what the target computes.

    files: the main one first. latency: population -> steps by which its spikes in the network are later than in the
    target (negative: earlier). quantised: values of the network's own parameters as the target's codes stand for them,
    SI; the network with them is the stage between float and integers. integers: the network of integer states that the
    target computes, None where it computes in floating point: populations, inputs and step of every spike are those
    of the exported network under the step contract, so that recordings compare without a shift. integer_parameters:
    its values. scales: "population.variable" -> SI value of one integer. rounding: largest relative errors by field.
    guards: "population.variable" of the integers that stay 0 as long as they are what the target computes.
    notes: sentences for the report, such as what must be set in a client.
    """

    target: str
    files: tuple[Path, ...]
    latency: Mapping[str, int]
    quantised: Parameters | None = None
    integers: Network | None = None
    integer_parameters: Parameters | None = None
    scales: Mapping[str, float] = field(default_factory=dict)
    rounding: Mapping[str, float] = field(default_factory=dict)
    guards: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A profile and its writer.

    export(network, parameters, path): writes the main file to `path` and others beside it, replacing older ones at
    once (neuro.io.files.replaced). parameters: name -> SI values, the network's own where left out or None.
    Raises ExportError naming what the format can't express; OSError.
    """

    profile: Profile
    export: Callable[[Network, Parameters | None, Path], Export]


def names() -> tuple[str, ...]:
    """Names of all targets, third parties' included (entry point group `neuro.targets`)."""
    return REGISTRY.names()


def get(name: str) -> Target:
    """The target of that name. Raises UnknownTargetError."""
    found: Target = REGISTRY.get(name)
    return found

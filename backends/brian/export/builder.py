"""The objects that a script describes: those of the backend, with the user's names and nothing that only serves our checks.

So what the backend can do, a script can say, and it says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.build import Builder, Ties
from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.export.names import ReadableNames
from backends.brian.text import Table
from backends.common.arrays import Feed
from neuro.language.equations import Expression
from neuro.language.scope import STRATONOVICH, NeuronScope
from neuro.model import Input, Network, Neuron, Projection, Synapse

Array = npt.NDArray[Any]


def is_given_noise(model: Neuron | Synapse) -> bool:
    """Whether Brian2's method would take a noise's numbers, which are given, for constants of the step: its steps are then written out."""
    return isinstance(model, Neuron) and model.method in STRATONOVICH and bool(model.scope.white_noise)


class ScriptBuilder(Builder):
    """Of one trial. feed: what comes from outside in it."""

    def __init__(self, network: Network, names: ReadableNames, feed: Feed, ties: Ties | None = None) -> None:
        self.feed = feed
        super().__init__(network, 1, feed.steps, ties, names=names)

    def method(self, model: Neuron | Synapse) -> dict[str, Any]:
        """By name, so that Brian2 integrates as in anybody's script; sympy shortens no formulas, which takes it ten times as long."""
        if not model.scope.of_kind("differential"):
            return {"method": "euler"}  # of nothing
        if is_given_noise(model):
            return super().method(model)
        options = {"method_options": {"simplify": False}} if model.method == "exact" else {}
        return {"method": model.method, **options}

    def finite_lines(self, scope: NeuronScope, own: Table) -> Iterator[str]:
        return iter(())

    def finite(self, scope: NeuronScope, own: Table) -> Iterator[str]:
        return iter(())

    def split(self, projection: Projection) -> tuple[Expression, Expression] | None:
        """A graded value is written as it stands."""
        return None

    def source(self, source: Input) -> None:
        steps, channels = np.nonzero(np.asarray(self.feed.arrays[source.name])[0])
        self.built.groups[source.name] = brian2.SpikeGeneratorGroup(
            source.size, channels, steps * self.dt, clock=self.clock, name=self.names.object("source", source.name)
        )


def spikes_of(feed: Feed, sources: Mapping[str, str]) -> dict[str, Array]:
    """Steps and channels of what spike sources send, by the names of a script's arrays. sources: our name -> the script's."""
    found: dict[str, Array] = {}
    for name, called in sources.items():
        steps, channels = np.nonzero(np.asarray(feed.arrays[name])[0])
        found |= {f"{called}.step": steps, f"{called}.channel": channels}
    return found

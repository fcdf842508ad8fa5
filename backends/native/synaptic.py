"""What synapses draw in a kernel: each number in the loop that reads it, so that no array of synapses and steps exists."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backends.common.arrays import Feed
from backends.native.layout import Arrays, Layout
from backends.native.printer import header
from neuro.compiler import streams
from neuro.compiler.step import Synapses
from neuro.language.mangling import mangled
from neuro.language.scope import is_uniform
from neuro.model import Network


def text(*, driven: bool, drawing: bool) -> str:
    """What a kernel's text has besides where it draws numbers. driven: drives' counts among them. drawing: those of synapses."""
    parts = ["philox.h", *(["drives.h"] if driven else []), *(["synaptic.h"] if drawing else [])]
    return header(*parts) if len(parts) > 1 else ""


def drawn(layout: Layout, synapses: Synapses, name: str) -> str:
    """C of a number that synapse s draws in this step."""
    draws = layout.given(mangled("draws", synapses.name, name), "long")
    place = f"{layout.given(mangled('place', synapses.name), 'long')}[s]" if synapses.kind == "sparse" else "s"
    kind = "uniform" if is_uniform(name) else "normal"
    return f"{kind}_at({draws}, {place}, first + b, u->run->start + k)"


def of_run(network: Network, feed: Feed) -> Arrays:
    """Which numbers the synapses of a run draw, by C name."""
    found: Arrays = {}
    for p in network.projections:
        for name in p.synapse.scope.noise:
            words = streams.key(network.seed, streams.synaptic_stream(p.name, name)).view(np.int64)
            found[mangled("draws", p.name, name)] = np.array([*words.tolist(), feed.trial], np.int64)
    return found


def places(synapses: Synapses, order: Mapping[str, object]) -> Arrays:
    """The place in the definition of each of a kernel's synapses, where they are sparse and draw numbers."""
    if synapses.kind != "sparse" or not synapses.noise:
        return {}
    found = order[synapses.name]
    place = np.arange(synapses.shape[0]) if found is None else np.asarray(found)
    return {mangled("place", synapses.name): place.astype(np.int_)}

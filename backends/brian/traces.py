"""What Brian2's monitors record: of which cells and synapses of all tiled copies, and their values in our order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.built import Built
from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.plan import Watched, pairs
from backends.brian.state import Kept
from backends.common.recording import Trace

Array = npt.NDArray[Any]


def monitors(built: Built, record: Iterable[Watched]) -> list[Any]:
    """New monitors of the variables that have none, one per population and choice, since every object costs code of its own."""
    missing: dict[tuple[str, Any], list[Watched]] = {}
    for item in dict.fromkeys(w for w in record if w not in built.traces and w.size):
        missing.setdefault((item.name.partition(".")[0], item.index), []).append(item)
    found = []
    for (owner, index), items in missing.items():
        variables = [built.names[owner][item.name.partition(".")[2]] for item in items]
        monitor = brian2.StateMonitor(
            built.groups[owner] if owner in built.groups else built.synapses[owner], variables,
            record=np.arange(items[0].size) if index is None else np.array(index), when="end", clock=built.clock,
            name=f"traces{built.monitors}",
        )  # fmt: skip
        built.monitors += 1
        built.traces.update(dict.fromkeys(items, monitor))
        found.append(monitor)
    return found


def stale(built: Built, record: Iterable[Watched]) -> list[Any]:
    """Forgets the monitors of choices that nobody asks for any more: there is no end of choices."""
    wanted = {id(built.traces[w]) for w in record if w in built.traces}
    gone = {w: m for w, m in built.traces.items() if w.index is not None and id(m) not in wanted}
    for item in gone:
        del built.traces[item]
    return list({id(m): m for m in gone.values()}.values())


def values_of(built: Built, watched: Watched, trace: Trace, every: int, kept: Kept) -> Array:
    """[*lead, time, ...] of a variable, every n-th step. kept: after the run; where there is no synapse, values stay what they are."""
    lead, samples = kept.lead, kept.steps // every
    found = np.zeros((*lead, samples, 0))
    if watched.size:
        monitor, variable = built.traces[watched], built.names[trace.owner][trace.variable]
        values = np.asarray(getattr(monitor, variable + "_"), np.float64)[:, every - 1 :: every]  # conditions too
        each = len(values) // int(np.prod(lead))
        found = np.swapaxes(values.reshape(*lead, each, samples), -1, -2)
    if not trace.synaptic or trace.index is not None:
        return found.copy()  # the monitor's own
    whole = np.repeat(kept.variable(trace.name).reshape(*lead, 1, trace.size), samples, axis=-2)
    whole[..., pairs(kept.network, kept.network.projection(trace.owner))[2]] = found
    return whole.reshape(*lead, samples, *trace.layout)

"""What a target's integers stand for: the network's own parameters at values that they can hold, and how far off these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from neuro.compiler.evaluation import compiled
from neuro.export.layers import Graph, Layer, latency
from neuro.export.leaky import Link, NotLeakyError
from neuro.export.profile import Profile
from neuro.export.targets import Export
from neuro.language.symbolic import symbol
from neuro.model import Network
from neuro.protocols import Parameters

Array = npt.NDArray[Any]
_NEAR = 1e-12


@dataclass(frozen=True)
class Held:
    """What the integers of a population stand for. beta, alpha: decays of one step [cell]. threshold: [cell].
    weights: source -> [pre, post]. Threshold and weights are in one unit of the cell's own.
    """

    beta: Array
    alpha: Array | None
    threshold: Array
    weights: Mapping[str, Array]


def integer_export(
    profile: Profile, path: Path, graph: Graph, layers: Sequence[Layer], held: Mapping[str, Held], integers: Network, **more: Any
) -> Export:  # fmt: skip
    """What every target of integers says of one file that it wrote. integers: the network of them. more: fields of Export."""
    return Export(
        target=profile.name,
        files=(path,),
        latency=latency(layers, profile),
        quantised=dequantised(graph, held),
        integers=integers,
        rounding=rounding(layers, held),
        **more,
    )


def rounding(layers: Sequence[Layer], held: Mapping[str, Held]) -> dict[str, float]:
    """Largest errors: of weights (in units of the threshold) relative to their population's largest, of leaks relative to
    themselves.
    """
    worst = {"weights": 0.0, "leaks": 0.0}
    for layer in layers:
        found, numbers = held[layer.name], layer.numbers
        stored = np.vstack(list(found.weights.values())) * (numbers.threshold / found.threshold)
        exact = layer.feed if layer.loop is None else np.vstack([layer.feed, layer.loop])
        error = float(np.abs(stored - exact).max() / (np.abs(exact).max() or 1.0))
        worst["weights"] = max(worst["weights"], error)
        for decay, kept in ((numbers.beta, found.beta), (numbers.alpha, found.alpha)):
            if decay is not None and kept is not None:
                leak = 1 - decay
                relative = np.divide(np.abs(decay - kept), leak, out=np.zeros_like(leak), where=leak > 0)
                worst["leaks"] = max(worst["leaks"], float(relative.max()))
    return worst


def dequantised(graph: Graph, held: Mapping[str, Held]) -> Parameters | None:
    """Parameters, SI, with which the network has these decays, and weights in this ratio to its own thresholds.

    Time constants and weights change, nothing else. None where the network's parameters can't take such values: where
    weights are no plain `w`, or one time constant is shared by cells whose decays now differ.
    """
    found = dict(graph.parameters)
    for name, values in held.items():
        cell = graph.model.cells[name]
        has = graph.numbers[name]
        for expr, own, wanted in ((cell.beta, has.beta, values.beta), (cell.alpha, has.alpha, values.alpha)):
            if wanted is None or (own is not None and np.array_equal(own, wanted)):
                continue  # it is held exactly
            if not _set_decay(graph, name, expr, wanted, found):
                return None
    try:
        numbers = graph.model.numbers(found)
    except NotLeakyError:
        return None
    for name, values in held.items():
        unit = numbers[name].threshold / values.threshold
        if not np.isfinite(unit).all():
            return None
        for source, weights in values.weights.items():
            links = [x for x in graph.model.links if (x.synapses.pre, x.synapses.post) == (source, name)]
            if len(links) != 1 or not _set_weights(links[0], weights * unit, found):
                return None
    return found


def _set_decay(graph: Graph, owner: str, expr: sp.Expr | None, wanted: Array, found: dict[str, Array]) -> bool:
    """Solve for the one time constant in a decay factor."""
    known = [s for s in (expr.free_symbols if expr is not None else ()) if s.name != "dt"]
    if len(known) != 1 or expr is None:
        return False
    target = sp.Symbol("decay", positive=True)
    key = f"{owner}.{known[0].name}"
    solutions = sp.solve(sp.Eq(expr.xreplace({symbol("dt"): sp.Float(graph.model.step.dt, 17)}), target), known[0])
    if len(solutions) != 1 or not ((wanted > 0) & (wanted < 1)).all():
        return False
    values = np.broadcast_to(
        compiled(solutions[0].xreplace({target: symbol("decay")}), ("decay",))(wanted), wanted.shape
    )
    shape = np.shape(found[key])
    if shape == () and np.ptp(values) > _NEAR * np.abs(values).max():
        return False
    found[key] = np.asarray(values.flat[0] if shape == () else values)
    return True


def _set_weights(link: Link, weights: Array, found: dict[str, Array]) -> bool:
    synapses, key = link.synapses, f"{link.name}.w"
    if link.weight != symbol("w"):
        return False
    if synapses.kind == "dense":
        value = weights
    else:
        value = weights[synapses.pre_index, synapses.post_index]
        if len(np.unique(np.stack([synapses.pre_index, synapses.post_index]), axis=1).T) != len(synapses.pre_index):
            return False
    if np.shape(found[key]) != value.shape:
        return False
    found[key] = value
    return True

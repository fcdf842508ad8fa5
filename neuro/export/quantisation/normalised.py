"""The layers of a trained perceptron of signs, read from its network: what `folding` folds.

A layer is a population without memory that computes u = gamma*((z - mean)*scale) + beta of one sum z and sends 1 where u is at least 0, otherwise -1; the last one is u alone. Weights are codes times
one scale, as a quantiser gave them. Names are the model's own, found in its expressions; anything else is refused.
"""

from __future__ import annotations

import numpy as np
import sympy as sp

from neuro.compiler.lowering import lower
from neuro.compiler.parameters import values
from neuro.compiler.step import Cells, Couple, Gather
from neuro.export.quantisation.folding import NormalisedLayer
from neuro.export.quantisation.quantisers import QuantiseError
from neuro.language.elementary import greater, values_alone
from neuro.language.symbolic import closed, symbol
from neuro.model import Network
from neuro.protocols import Array, Parameters

_ROLES = ("gamma", "mean", "scale", "beta")


def normalised_layers(network: Network, parameters: Parameters | None = None) -> tuple[NormalisedLayer, ...]:
    """In order, from the one that hears the input. parameters: the network's own where left out, SI. Raises QuantiseError naming what is no such layer."""
    step, given = lower(network), values(network, parameters)
    couples = [c for o in step.operations if isinstance(o, Gather) for c in o.couplings]
    after = {step.projection(c.projection).pre: c for c in couples}
    roots = [c for c in step.cells if c.name not in {c.population for c in couples}]
    if len(roots) != 1 or len(after) != len(couples) or len(couples) != len(step.cells) - 1:
        raise QuantiseError(f"network '{network.name}': it is no chain of layers behind one population that is given")
    found, sent = list[NormalisedLayer](), {symbol(n) for n in roots[0].inputs}
    heard = roots[0], ""
    couple = after[roots[0].name] if couples else None
    while couple is not None:
        cells, feed, follows = step.population(couple.population), couple.projection, after.get(couple.population)
        if _still(_sent(couple), *heard) not in sent:
            what = "what it is given" if not found else "1 - 2*int(u < 0), with u = gamma*((z - mean)*scale) + beta"
            raise QuantiseError(f"projection '{feed}': it must send w times {what}")
        u = _normalised(cells, couple.target)
        if follows is None and not any(_still(e, cells, couple.target) == u for e in cells.inlined.values()):
            raise QuantiseError(
                f"population '{cells.name}': it must compute gamma*((z - mean)*scale) + beta of what it sums"
            )
        codes, size = _codes(feed, np.asarray(given[f"{feed}.w"], np.float64))
        numbers = {p: np.broadcast_to(np.asarray(given[f"{cells.name}.{p}"], np.float64), cells.size) for p in _ROLES}
        found.append(NormalisedLayer(codes, size, **numbers))
        sent, heard, couple = {closed(1 - 2 * greater(0, u))}, (cells, couple.target), follows
    return tuple(found)


def _codes(projection: str, weights: Array) -> tuple[Array, float]:
    """Weights of one size, as signs and that size."""
    sizes = np.unique(np.abs(weights))
    if weights.ndim != 2 or len(sizes) != 1 or sizes[0] == 0:
        many = f"{len(sizes)} sizes" if len(sizes) != 1 else f"the shape {weights.shape}"
        raise QuantiseError(
            f"projection '{projection}': its weights have {many}; train them with the quantiser 'binary'"
        )
    return np.sign(weights), float(sizes[0])


def _normalised(cells: Cells, z: str) -> sp.Expr:
    """gamma*((z - mean)*scale) + beta. Raises QuantiseError where the cells have other parameters."""
    if set(cells.parameters) != set(_ROLES):
        raise QuantiseError(f"population '{cells.name}': its parameters must be {', '.join(_ROLES)}")
    gamma, mean, scale, beta = map(symbol, _ROLES)
    return closed(gamma * ((symbol(z) - mean) * scale) + beta)


def _sent(couple: Couple) -> sp.Expr:
    """What a projection sends of w, in the words of the cells before it."""
    value = couple.value / symbol("w")
    return value.xreplace(
        {s: symbol(s.name.removesuffix("_pre")) for s in value.free_symbols if s.name.endswith("_pre")}
    )


def _still(expr: sp.Expr, cells: Cells, z: str) -> sp.Expr:
    """An expression of cells that get nothing but z; of what is only given where there is none."""
    silent = [n for n in cells.inputs if z and n != z]
    return closed(values_alone(expr).xreplace({symbol(n): sp.Integer(0) for n in silent}))

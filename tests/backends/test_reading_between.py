"""Events that read a variable to which others add before and after them, in any order of projections, with any delays."""

from __future__ import annotations

import numpy as np
import pytest

import backends
from neuro import Input, Network, Neuron, Pairs, Population, Projection, Synapse, quantity
from neuro.analysis.comparison import compare
from neuro.compiler.parameters import values

ADDS = Synapse("adds", "w : 1", on_pre="v_post += w")
READS = Synapse("reads", "w : 1", on_pre="u_post += w*v_post")
CROSSES = Synapse("crosses", "w : 1", on_pre="v_post += 0.5*w*u_post")
READS_ITSELF = Synapse("reads_itself", "w : 1", on_pre="v_post += 0.3*w*v_pre")
EQUATIONS = "dv/dt = (0.5 - v)/(5*ms) : 1\ndu/dt = -u/(7*ms) : 1"
SPIKES = np.random.default_rng(3).random((2, 50, 4)) < 0.2


def _network(seed: int, threshold: bool) -> Network:
    """Four to six projections from the input, and among the cells where they fire."""
    random = np.random.default_rng(seed)
    firing = {"threshold": "v > 0.8", "reset": "v = 0.1", "refractory": "2 ms"} if threshold else {}
    cells = Neuron("cells", EQUATIONS, **firing)
    projections = []
    for n in range(random.integers(4, 7)):
        source = "x" if n == 0 or not threshold or random.random() < 0.6 else "p"
        size = 4 if source == "x" else 3
        kinds = [ADDS, ADDS, READS, CROSSES] + [READS_ITSELF] * (source == "p")
        synapse = ADDS if n == 0 else kinds[random.integers(len(kinds))]
        count = int(random.integers(4, 9))
        pairs = Pairs(random.integers(0, size, count), random.integers(0, 3, count))
        delay = quantity(random.integers(0, 4, count) if random.random() < 0.3 else random.integers(0, 4), "ms")
        weights = quantity(random.uniform(0.1, 0.4, count))
        projections.append(Projection(f"j{n}", source, "p", synapse, weights, pairs, delay))
    return Network((Population("p", cells, 3),), tuple(projections), (Input("x", 4),), dt="1 ms")


@pytest.mark.parametrize("seed", range(12))
def test_each_reads_what_is_there_at_its_turn(seed: int) -> None:
    network = _network(seed, threshold=True)
    names = ("reference", "native", "torch", "brian2")
    found = [backends.get(b).compile(network).run(inputs={"x": SPIKES}, record=["p.v", "p.u"]) for b in names]
    for name, other in zip(names[1:], found[1:], strict=True):
        report = compare(found[0], other, names=("reference", name), max_pairs=0)
        report.require_spikes(10)
        assert report.identical_spikes and report.agrees(1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_gradients_go_back_through_each_turn(seed: int) -> None:
    """native's and torch's, and finite differences: nothing fires, so they exist."""
    network = _network(seed, threshold=False)
    weights = [n for n in values(network) if n.endswith(".w")]
    found = [
        backends.get(b).compile(network).value_and_grad(
            lambda f: (f.traces["p.u"] ** 2 + f.traces["p.v"] ** 3).sum(), {}, {"x": SPIKES}, weights, ["p.u", "p.v"]
        )[1] for b in ("native", "torch")
    ]  # fmt: skip
    program, own = backends.get("reference").compile(network), values(network)

    def loss(name: str, change: np.ndarray) -> float:
        traces = program.run({name: own[name] + change}, {"x": SPIKES}, ["p.u", "p.v"]).traces
        return float((traces["p.u"] ** 2 + traces["p.v"] ** 3).sum())

    for name in weights:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-9, atol=1e-12)
        step = 1e-5 * np.random.default_rng(seed).choice([-1.0, 1.0], own[name].shape)
        slope = (loss(name, step) - loss(name, -step)) / 2
        assert abs(slope - (found[0][name] * step).sum()) < 1e-6 * (np.abs(found[0][name] * step).sum() + 1e-12), name

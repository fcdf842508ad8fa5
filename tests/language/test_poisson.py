"""poisson(x): counts of Poisson's law with a mean that follows the cell, the same on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

import backends
from backends.native.cuda import Cuda
from neuro import Network, Neuron, Population, RunError, UnsupportedError
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.language.counts import poisson
from neuro.language.equations import ModelError
from tests.backends.native.emulation import compiled

CELL = Neuron(
    "counting",
    "dv/dt = (r - v)/(10*ms) : 1\nn : 1\nr = 2.2 : 1\nb = poisson(k*exp(v)) : 1 (constant over dt)",
    threshold="v + 0.3*poisson(0.8) > 1.6",
    reset="v = 0.1*poisson(2)",
    every_step="n += poisson(0.5*n + 1) - 1; n = clip(n, 0, 30)",
    regularly={"3 ms": "v += 0.001*poisson(1000*v)"},
    parameters={"k": 3.0},
)


def network(cell: Neuron = CELL, size: int = 20) -> Network:
    return Network((Population("p", cell, size),), (), (), "1 ms", 4)


@pytest.mark.parametrize("mean", [1e-9, 0.02, 0.7, 3.3, 50.0, 700.0, 2000.0, 1e5])
def test_counts_are_quantiles_of_poissons_law(mean: float) -> None:
    """Also where exp(-mean) is 0 in float64."""
    uniform = np.random.default_rng(0).random(2000)
    np.testing.assert_array_equal(poisson(mean, uniform), scipy.stats.poisson.ppf(uniform, mean))


def test_ends() -> None:
    """A mean that isn't positive brings nothing; the last number of float32 below 1, rounded to 1, ends the sum."""
    found = poisson(np.array([0.0, -1.0, np.nan, 2e6, 1.0]), np.array([0.5, 0.5, 0.5, 0.5, 0.0]))
    np.testing.assert_array_equal(found, [0, 0, np.nan, np.inf, 0])
    assert 10 < poisson(1.0, 1.0) < 30 and 10**4 < poisson(1e4, 1.0) < 1.1 * 10**4


def test_the_same_counts_on_every_backend() -> None:
    found = {
        b: backends.get(b).compile(network()).run(steps=100, batch=2, record=["p.v", "p.n", "p.b"])
        for b in ("reference", "native", "torch", "brian2")
    }
    uniform = streams.uniform(4, "noise/p/poisson__held_1_1", 0, 2, 100, 20)
    before = np.concatenate([np.zeros((2, 1, 20)), found["reference"].traces["p.v"][:, :-1]], axis=1)
    np.testing.assert_array_equal(found["reference"].traces["p.b"], poisson(3 * np.exp(before), uniform))
    for recording in found.values():
        np.testing.assert_array_equal(recording.spikes["p"], found["reference"].spikes["p"])
        np.testing.assert_array_equal(recording.traces["p.n"], found["reference"].traces["p.n"])
        np.testing.assert_allclose(recording.traces["p.v"], found["reference"].traces["p.v"], rtol=1e-12)
    assert found["reference"].spikes["p"].sum() > 300


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_either_precision(dtype: str) -> None:
    found = [
        backends.get(b).compile(network(), dtype=dtype).run(steps=40, batch=1, record=["p.n"]).traces["p.n"]
        for b in ("native", "torch")
    ]
    np.testing.assert_array_equal(*found)


def test_cuda_has_it_and_graphs_refuse_it() -> None:
    c, cuda = backends.get("native").compile(network()), compiled(network(), Cuda(emulated=True))
    runs = [p.run(steps=60, batch=2, record=["p.v", "p.n"]) for p in (c, cuda)]
    np.testing.assert_array_equal(runs[0].traces["p.n"], runs[1].traces["p.n"])
    np.testing.assert_array_equal(runs[0].spikes["p"], runs[1].spikes["p"])
    with pytest.raises(UnsupportedError, match=r"poisson\(\) in 'p' with option 'compile'='graph'"):
        backends.get("torch").compile(network(), dtype="float32", compile="graph")


def test_a_count_has_no_slope() -> None:
    """What follows a count from step to step passes a gradient on; the mean that it was drawn with gets none."""
    cell = Neuron("cell", "v : 1", every_step="v = a*v + poisson(k)", parameters={"a": 0.9, "k": 2.0})
    grads = []
    for backend in ("native", "torch"):
        program: Any = backends.get(backend).compile(network(cell, 3), dtype="float64")
        loss = lambda r: r.traces["p.v"].square().sum()
        grads.append(
            program.value_and_grad(loss, values(network(cell, 3)), {}, ["p.a", "p.k"], ["p.v"], steps=20, batch=2)[1]
        )
    for found in grads:
        assert float(found["p.k"]) == 0
    assert float(grads[0]["p.a"]) == pytest.approx(float(grads[1]["p.a"]), rel=1e-12) and float(grads[0]["p.a"]) > 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"every_step": "v = poisson()"}, r"poisson\(\) takes one argument"),
        ({"every_step": "v = poisson(1, 2)"}, r"poisson\(\) takes one argument"),
        ({"every_step": "v = poisson(2*mV)"}, r"the argument of poisson\(\) must be dimensionless"),
        ({"equations": "v : 1\ndu/dt = poisson(v)*Hz : 1"}, r"poisson\(\) stands in a neuron's threshold"),
    ],
)
def test_where_it_does_not_stand(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Neuron("cell", **{"equations": "v : 1", "every_step": "v = 1", **changed})


def test_a_mean_beyond_all_tables_is_an_error() -> None:
    cell = Neuron("cell", "v : 1", every_step="v = poisson(3e6)")
    with pytest.raises(RunError, match=r"'p.v' is not finite at step 0"):
        backends.get("native").compile(network(cell)).run(steps=2, batch=1)

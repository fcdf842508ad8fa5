"""straight_through(x, y): the value of x with the slope of y, on every backend, and nowhere taken for something linear."""

from __future__ import annotations

import numpy as np
import pytest

import backends
from neuro import Input, ModelError, Network, Neuron, Population, Projection, Synapse, quantity
from neuro.analysis.energy import operations_an_update
from neuro.compiler.lowering import lower
from neuro.export.leaky import NotLeakyError, leaky_network
from neuro.learning.common.summed_inputs import NoSummedInput, summed_input_of

SIGN = "straight_through(1 - 2*int(u < 0), clip(u, -1, 1))"
U = np.array([-2.0, -1.0, -0.4, 0.0, 0.4, 1.0, 1.5])


def cells(text: str = SIGN, **options: object) -> Network:
    """Cells whose input is u and whose value is y, after as many cells that send their u with weights of their own."""
    unit = Neuron("unit", f"u : 1\ny = {text} : 1", **options)  # type: ignore[arg-type]
    sends = Synapse("sends", "w : 1", transmits="w*u_pre", target="u")
    projection = Projection("feed", "first", "last", sends, np.eye(len(U)), summed="end")
    populations = (Population("first", unit, len(U)), Population("last", unit, len(U)))
    return Network(populations, (projection,), (Input("x", len(U), "current", "first.u"),), dt="1 ms")


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_the_sign_of_zero_is_one_on_every_backend(backend: str) -> None:
    if backend == "brian2":
        pytest.importorskip("brian2")
    found = backends.get(backend).compile(cells()).run(inputs={"x": U[None, None]}, record=("last.y",))
    assert found.traces["last.y"][0, 0].tolist() == [-1, -1, -1, 1, 1, 1, 1]


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_its_gradient_is_the_clips(backend: str) -> None:
    """dL/dx = g for |x| <= 1, edges included, and 0 outside. Hubara et al. (2018)."""
    program = backends.get(backend).compile(cells())
    g = np.arange(1.0, len(U) + 1)

    def loss(found):  # type: ignore[no-untyped-def]
        import torch

        return (found.traces["last.y"][0, 0] * torch.as_tensor(g)).sum()

    found = program.value_and_grad(loss, None, {"x": U[None, None]}, ("feed.w",), ("last.y",))[1]["feed.w"]
    assert np.diag(found).tolist() == (g * U * (np.abs(U) <= 1)).tolist()


def test_both_sides_have_one_unit() -> None:
    with pytest.raises(ModelError, match=r"can't give the slope of one to the other of 'v' .* and 'u'"):
        Neuron("n", "u : 1\nv : volt\ny = straight_through(v, u) : volt")


def test_it_is_not_linear_whatever_its_slope_says() -> None:
    with pytest.raises(ModelError, match="nonlinear term straight_through"):
        Neuron("n", "dv/dt = -straight_through(floor(v), v)/(5*ms) : 1", method="exact")
    spiking = Neuron("n", "dv/dt = -straight_through(floor(v), v)/(5*ms) : 1", threshold="v > 1", reset="v = 0")
    network = Network((Population("p", spiking, 1),), dt="1 ms")
    with pytest.raises(NotLeakyError):
        leaky_network(network)
    step = lower(network)
    plain = Neuron("n", "dv/dt = -floor(v)/(5*ms) : 1", threshold="v > 1", reset="v = 0")
    other = lower(Network((Population("p", plain, 1),), dt="1 ms"))
    assert operations_an_update(step, step.population("p")) == operations_an_update(other, other.population("p")) > 1


def test_a_weight_behind_it_is_no_weight_of_a_sum() -> None:
    cell = Neuron("c", "dx/dt = (-x + z)/(5*ms) : 1\nz : 1")
    signs = Synapse("signs", "w : 1", transmits="straight_through(sign(w), w)*x_pre", target="z")
    projection = Projection("loop", "p", "p", signs, quantity(0.5, ""))
    with pytest.raises(NoSummedInput, match="constant weight"):
        summed_input_of(Network((Population("p", cell, 2),), (projection,), dt="1 ms"), "loop")


def test_an_integrator_takes_the_slope_of_the_value() -> None:
    """rosenbrock divides by 1 - dt times the slope of a rate: that of the rate itself, as without a borrowed one."""
    traces = []
    for text in ("-v**3", "straight_through(-v**3, 40*v)"):
        cell = Neuron("c", f"dv/dt = {text}/(5*ms) : 1", initial={"v": quantity(1.5, "")}, method="rosenbrock")
        program = backends.get("reference").compile(Network((Population("p", cell, 1),), dt="1 ms"))
        traces.append(program.run(record=("p.v",), steps=20, batch=1).traces["p.v"])
    np.testing.assert_array_equal(*traces)

"""Gated cells written as text: torch's own LSTM, and a plastic one by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import Input, Network, Neuron, Population
from neuro.compiler.parameters import values
from tasks.gated_networks import GATES, Plasticity, lstm_layer

SENSES, SIZE, STEPS, BATCH = 4, 5, 9, 3
GIVEN = Neuron("given", "I : 1\ny = I : 1")
Array = np.ndarray


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([11, seed, *shape]).normal(0, 0.6, shape)


def network(plastic: Plasticity | None = None, layers: int = 1) -> Network:
    """Currents -> layers of gated cells, the first of them plastic if so."""
    populations, projections, below, sent = [Population("given", GIVEN, SENSES)], [], "given", "y"
    for k in range(layers):
        size = SENSES if k == 0 else SIZE
        weights = {f"x_{g}": draw(size, SIZE, seed=10 * k + n) for n, g in enumerate(GATES)}
        weights |= {f"h_{g}": draw(SIZE, SIZE, seed=10 * k + n) for n, g in enumerate(GATES)}
        biases = {g: draw(SIZE, seed=10 * k + n) for n, g in enumerate(GATES)}
        made = lstm_layer(f"layer{k}", SIZE, below, sent, weights, biases, plastic if k == 0 else None)
        populations, projections = [*populations, *made[0]], [*projections, *made[1]]
        below, sent = f"layer{k}", "h"
    return Network(tuple(populations), tuple(projections), (Input("drive", SENSES, "current", "given.I"),), dt="1 ms")


def torch_lstm(model: Network, layer: int) -> torch.nn.LSTM:
    """torch's with the numbers of a layer; it has two biases for each gate, of which one is 0 here."""
    v, name = values(model), f"layer{layer}"
    found = torch.nn.LSTM(SENSES if layer == 0 else SIZE, SIZE, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for kind, into in (("x", found.weight_ih_l0), ("h", found.weight_hh_l0)):
            into.copy_(torch.as_tensor(np.concatenate([v[f"{name}_{kind}_{g}.w"].T for g in GATES])))
        found.bias_ih_l0.copy_(torch.as_tensor(np.concatenate([v[f"{name}.b_{g}"] for g in GATES])))
        found.bias_hh_l0.zero_()
    return found


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("backend", ["native", "torch"])
def test_outputs_and_gradients_are_those_of_torch_s_lstm(backend: str, layers: int) -> None:
    """A layer above hears what the one below was before the step."""
    model, drive, top = network(layers=layers), draw(BATCH, STEPS, SENSES), f"layer{layers - 1}"
    weights, theirs, shown = torch.as_tensor(draw(BATCH, STEPS, SIZE, seed=5)), [], torch.as_tensor(drive)
    for k in range(layers):
        theirs.append(torch_lstm(model, k))
        wanted = theirs[k](shown)[0]
        shown = torch.cat([torch.zeros_like(wanted[:, :1]), wanted[:, :-1]], 1)
    (wanted.tanh() * weights).sum().backward()

    def loss(found: Any) -> Any:
        return (found.traces[f"{top}.h"].tanh() * weights).sum()

    program: Any = backends.get(backend).compile(model)
    found = program.run(inputs={"drive": drive}, record=[f"{top}.h"])
    assert found.traces[f"{top}.h"] == pytest.approx(wanted.detach().numpy(), abs=1e-13)
    wrt = [n for n in values(model) if not n.startswith("given")]
    slopes = program.value_and_grad(loss, None, {"drive": drive}, wrt, [f"{top}.h"])[1]
    for k in range(layers):
        for n, g in enumerate(GATES):
            rows = slice(n * SIZE, (n + 1) * SIZE)
            for kind, whole in (("x", theirs[k].weight_ih_l0), ("h", theirs[k].weight_hh_l0)):
                grad = whole.grad[rows].T.numpy()
                assert np.abs(grad).max() > 1e-4
                assert slopes[f"layer{k}_{kind}_{g}.w"] == pytest.approx(grad, abs=1e-10)
            assert slopes[f"layer{k}.b_{g}"] == pytest.approx(theirs[k].bias_ih_l0.grad[rows].numpy(), abs=1e-10)


def plasticity() -> Plasticity:
    return Plasticity(draw(SIZE, SIZE, seed=7), 2.0, draw(SIZE, 1), 0.3, draw(1, SIZE), draw(SIZE, seed=8))


def by_hand(v: Any, drive: Array) -> tuple[Array, Array]:
    """h and hebb after each step, in the published order."""

    def sigmoid(x: Array) -> Array:
        return 1 / (1 + np.exp(-x))  # type: ignore[no-any-return]

    h, c, hebb = np.zeros((BATCH, SIZE)), np.zeros((BATCH, SIZE)), np.zeros((BATCH, SIZE, SIZE))
    outputs, changes = [], []
    for x in np.moveaxis(drive, 1, 0):
        z = {g: x @ v[f"layer0_x_{g}.w"] + v[f"layer0.b_{g}"] for g in GATES}
        z |= {g: z[g] + h @ v[f"layer0_h_{g}.w"] for g in GATES if g != "c"}
        candidate = np.tanh(z["c"] + np.einsum("bi,bij->bj", h, v["layer0_h_c.w"] + v["layer0_h_c.alpha"] * hebb))
        c = sigmoid(z["f"]) * c + sigmoid(z["i"]) * candidate
        new = sigmoid(z["o"]) * np.tanh(c)
        rate = np.tanh(new @ v["layer0_hear.w"] + v["layer0_modulator.b"]) @ v["layer0_fan.w"] + v["layer0.b_m"]
        hebb = np.clip(hebb + rate[:, None, :] * h[:, :, None] * candidate[:, None, :], -2, 2)
        h = new
        outputs.append(h)
        changes.append(hebb)
    return np.stack(outputs, 1), np.stack(changes, 1)


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_a_plastic_cell_follows_the_published_order(backend: str) -> None:
    model, drive = network(plasticity()), draw(BATCH, STEPS, SENSES)
    found = backends.get(backend).compile(model).run(inputs={"drive": drive}, record=["layer0.h", "layer0_h_c.hebb"])
    h, hebb = by_hand(values(model), drive)
    assert np.ptp(hebb) > 0.1
    assert found.traces["layer0.h"] == pytest.approx(h, abs=1e-13)
    assert found.traces["layer0_h_c.hebb"].reshape(hebb.shape) == pytest.approx(hebb, abs=1e-13)


def test_without_change_a_plastic_layer_is_a_plain_one() -> None:
    still = Plasticity(np.zeros((SIZE, SIZE)), 2.0, draw(SIZE, 1), 0.3, draw(1, SIZE), draw(SIZE, seed=8))
    drive, found = draw(BATCH, STEPS, SENSES), []
    for model in (network(), network(still)):
        found.append(
            backends.get("native").compile(model).run(inputs={"drive": drive}, record=["layer0.h"]).traces["layer0.h"]
        )
    assert found[0] == pytest.approx(found[1], abs=1e-14)


def test_gradients_of_a_plastic_layer() -> None:
    model, drive = network(plasticity()), draw(BATCH, STEPS, SENSES)
    wrt = [n for n in values(model) if not n.startswith("given")]

    def loss(found: Any) -> Any:
        return (found.traces["layer0.h"] ** 2).sum()

    found = {}
    for backend in ("native", "torch"):
        program: Any = backends.get(backend).compile(model)
        found[backend] = program.value_and_grad(loss, None, {"drive": drive}, wrt, ["layer0.h"])[1]
    held, step, judge = values(model), 1e-5, backends.get("reference").compile(model)
    for name in wrt:
        np.testing.assert_allclose(found["native"][name], found["torch"][name], rtol=1e-10, atol=1e-13)
        direction = np.random.default_rng(2).normal(0, 1, np.shape(held[name]))
        ends = [
            float(loss(judge.run({name: held[name] + s * step * direction}, {"drive": drive}, ["layer0.h"])))
            for s in (1, -1)
        ]
        along = (ends[0] - ends[1]) / (2 * step)
        assert float((found["native"][name] * direction).sum()) == pytest.approx(along, rel=1e-6, abs=1e-9), name

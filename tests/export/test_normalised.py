"""From a trained perceptron of signs to integers: the same signs and sums on every backend, on a chip's integers and as bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from backends.native.binary import PackedNetwork
from neuro import Network, Projection, learning, quantity
from neuro.compiler.parameters import values
from neuro.export import targets
from neuro.export.quantisation.folding import Folded, fold
from neuro.export.quantisation.normalised import normalised_layers
from neuro.export.quantisation.quantisers import QuantiseError
from neuro.export.quantisation.threshold_network import threshold_network

HIDDEN = ("hidden_1.x", "hidden_2.x")


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any, Folded]:
    """Task, parameters and folded layers of a network of 24 and 20 signs after an epoch on 8 x 8 digits, some of its gains negative and one 0."""
    task = tasks.get("quantised-images", source="digits", hidden=(24, 20))
    program = backends.get("torch").compile(task.network(0))
    rule = learning.get("layerwise", **task.settings.rules["layerwise"], schedule_options={"T_max": 15})
    start = values(program.network)
    parameters, state = start, rule.init(program, start)
    for batch in task.train_batches(np.random.default_rng(0), 100):
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
    turned = np.where(np.arange(24) % 3, 1.0, -1.0) * np.asarray(parameters["hidden_1.gamma"])
    turned[5] = 0.0
    parameters = {**parameters, "hidden_1.gamma": turned}
    return task, parameters, fold(normalised_layers(program.network, parameters))


@pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
def test_thresholds_decide_as_the_trained_network_does(trained: Any, backend: str) -> None:
    if backend == "brian2":
        pytest.importorskip("brian2")
    task, parameters, folded = trained
    record = (*HIDDEN, "output.u")
    found = backends.get(backend).compile(task.network(0)).run(parameters, task.test_batch().inputs, record).traces
    pixels = task.data[2]
    for name, signs in zip(HIDDEN, folded.signs(pixels), strict=True):
        np.testing.assert_array_equal(found[name][:, 0], signs)
        assert 0.1 < (signs > 0).mean() < 0.9
    np.testing.assert_allclose(folded.outputs(pixels), found["output.u"][:, 0], rtol=1e-12, atol=1e-12)


def test_bits_give_the_same_sums(trained: Any) -> None:
    task, _, folded = trained
    np.testing.assert_array_equal(PackedNetwork.of(folded).run(task.data[2]), folded.sums(task.data[2]))


@pytest.mark.parametrize("target", ["loihi2", "c-header"])
def test_a_chips_integers_give_the_same_sums(trained: Any, target: str, tmp_path: Path) -> None:
    task, _, folded = trained
    spiking, pixels = threshold_network(folded), task.data[2][:40]
    export = targets.get(target).export(spiking.network, None, tmp_path / "net")
    run = backends.get("native").compile(export.integers).run(
        export.integer_parameters, {"pixels": spiking.streamed(pixels)}
    )  # fmt: skip
    sums = spiking.sums({n: z[0, spiking.latency :] for n, z in run.spikes.items()})
    assert run.spike_count() > 500
    np.testing.assert_array_equal(sums, folded.sums(pixels))


def test_what_is_no_such_network_is_named(trained: Any) -> None:
    task, parameters, _ = trained
    network: Network = task.network(0)

    def refused(changed: Network, given: Any = parameters) -> str:
        with pytest.raises(QuantiseError) as error:
            normalised_layers(changed, given)
        return str(error.value)

    several = {**parameters, "feed_2.w": np.linspace(-1, 1, 480).reshape(24, 20)}
    assert "projection 'feed_2': its weights have" in refused(network, several)
    units = tasks.get("quantised-images", source="digits", hidden=(24, 20), bits=3).network(0)
    assert "projection 'feed_2': it must send w times 1 - 2*int(u < 0)" in refused(units)
    past = Projection("past", "given", "output", network.projections[0].synapse, quantity(1.0, ""), summed="end")
    assert "no chain" in refused(replace(network, projections=(*network.projections, past)))
    shifted = replace(network.populations[1].neuron, equations="z : 1\nnoise : 1\nu = gamma*(z - mean)/scale + beta : 1\nx = 1 - 2*int(u < 0) : 1")  # fmt: skip
    changed = tuple(replace(p, neuron=shifted) if p.name == "hidden_1" else p for p in network.populations)
    assert "projection 'feed_2'" in refused(replace(network, populations=changed))

"""Quantisation-aware training: where gradients go, what is kept, and that it resumes to the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import Input, Network, Normal, Population, Projection, Recording, learning, library, quantity
from neuro.compiler.parameters import values
from neuro.export.quantisation.calibration import NetworkQuantiser, Scheme, stored_codes
from neuro.export.quantisation.quantisers import QuantiseError, Quantiser
from neuro.io.results import Run, open_run
from neuro.io.serialisation import to_json
from neuro.learning.gradient.quantisation_aware import StraightThrough, straight_through
from neuro.learning.loop import METRICS, train
from neuro.protocols import Batch

BINARY = {"weights": {"*": {"kind": "binary"}}}
FOUR = {"weights": {"*": {"kind": "linear", "bits": 4, "per": "neuron"}}}


class Cells:
    """Six spike inputs drive three LIF cells to given numbers of spikes."""

    name, output = "cells", "cells"

    def network(self, sign: Any = None) -> Network:
        weights = Normal(quantity("5 nA"), quantity("1 nA"))
        feed = Projection("feed", "x", "cells", library.get("pulse"), weights, sign=sign)
        return Network((Population("cells", library.get("lif"), 3),), (feed,), (Input("x", 6),), dt="1 ms", seed=2)

    def batch(self) -> Batch:
        return Batch({"x": np.random.default_rng(3).random((4, 30, 6)) < 0.3}, np.array([[2.0, 6.0, 4.0]]))

    def train_batches(self, rng: np.random.Generator, batch: int) -> list[Batch]:
        return [self.batch()] * 3

    def test_batch(self) -> Batch:
        return self.batch()

    def record(self) -> tuple[str, ...]:
        return ()

    def metric(self, recording: Recording, batch: Batch) -> float:
        return -float(((recording.spikes["cells"].sum(axis=1) - batch.targets) ** 2).mean())

    def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
        counts = spikes["cells"].sum(dim=1)
        return ((counts - torch.as_tensor(batch.targets, dtype=counts.dtype)) ** 2).mean()


def trained(
    updates: int, quantise: Any, stop: int = -1, sign: Any = None, backend: str = "torch", **options: Any
) -> tuple[list[float], Any, Any, Any]:
    """Losses, parameters, state and rule; through saved arrays and a fresh state at `stop`."""
    task, rule = Cells(), learning.get("bptt", learning_rate=0.1, quantise=quantise, **options)
    program = backends.get(backend).compile(task.network(sign))
    state, parameters, losses = rule.init(program), values(program.network), []
    for i in range(updates):
        if i == stop:
            state = rule.load(program, rule.save(state))
        parameters, state, metrics = rule.step(program, parameters, state, task.batch(), task)
        losses.append(metrics["loss"])
    return losses, parameters, state, rule


def test_gradient_passes_inside_the_window_only() -> None:
    real, gradient = np.array([-1.1, -1.0, 0.3, 1.0, 1.2]), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    np.testing.assert_array_equal(straight_through(gradient, real, np.array(-1.0), np.array(1.0)), [0, 2, 3, 4, 0])


def test_one_update_is_a_step_against_the_gradient_at_the_quantised_weights() -> None:
    task, rule = Cells(), learning.get("bptt", optimiser="sgd", learning_rate=1e-3, quantise=BINARY)
    program = backends.get("torch").compile(task.network())
    start, state = values(program.network), rule.init(program)
    through = StraightThrough.of(program.network, BINARY)
    seen = through.forward(start, through.kept(start))
    assert len(np.unique(np.abs(seen["feed.w"]))) == 1
    slopes = learning.get("bptt").gradient(program, seen, task.batch(), task)["feed.w"]
    rule.step(program, start, state, task.batch(), task)
    low, high = through.quantiser.windows(through.kept(start))["feed.w"]
    inside = (start["feed.w"] >= low) & (start["feed.w"] <= high)
    assert 3 < inside.sum() < inside.size and np.abs(slopes).max() > 0
    moved = start["feed.w"] - 1e-3 * 1e-18 * np.where(inside, slopes, 0.0)  # the optimiser counts in nA
    np.testing.assert_allclose(state.real({})["feed.w"], np.clip(moved, low, high), rtol=1e-9)


@pytest.mark.parametrize(
    ("quantise", "levels"), [(BINARY, 2), (FOUR, 15), ({"weights": {"feed": {"kind": "ternary"}}}, 3)]
)
def test_the_loss_falls_and_the_weights_are_codes(quantise: Any, levels: int) -> None:
    losses, parameters, state, rule = trained(60, quantise)
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])
    found = rule.results(state, parameters)["quantisation"]
    codes = found["codes"]["feed.w"]
    np.testing.assert_allclose(stored_codes(codes) * codes["scale"], parameters["feed.w"], rtol=1e-12)
    assert len(np.unique(stored_codes(codes))) <= levels
    assert len(np.unique(found["shadow"]["feed.w"])) > levels + 2
    if state.scales:
        low, high = state.through.quantiser.windows(state.scales)["feed.w"]
        assert np.abs(found["shadow"]["feed.w"]).max() <= high * (1 + 1e-12) == -low * (1 + 1e-12)


def test_a_weight_on_the_edge_of_its_window_can_come_back_in_float32() -> None:
    program = backends.get("torch").compile(Cells().network(), dtype="float32")
    through, rule = StraightThrough.of(program.network, BINARY), learning.get("bptt", quantise=BINARY)
    state, start = rule.init(program), values(program.network)
    for size in np.linspace(0.5, 3, 40):
        kept = {"feed.w": np.asarray(float(start["feed.w"].mean()) * size)}
        through.clip(state.parametrisation, {"feed.w": state.theta["feed.w"]}, kept)
        real = state.real({})
        slopes = through.backward({"feed.w": np.ones(real["feed.w"].shape)}, real, kept)
        assert slopes["feed.w"].all()


@pytest.mark.parametrize("quantise", [BINARY, FOUR, {**BINARY, "after": 5}])
def test_resumes_to_the_same_numbers(quantise: Any) -> None:
    losses, parameters, state, rule = trained(12, quantise)
    again, other, _, _ = trained(12, quantise, stop=7)
    assert losses == again
    np.testing.assert_array_equal(parameters["feed.w"], other["feed.w"])
    assert "theta/feed.w" in rule.save(state)


def test_every_backend_with_gradients_trains_to_the_same_weights() -> None:
    losses, parameters, _, _ = trained(6, BINARY)
    again, other, _, _ = trained(6, BINARY, backend="native")
    assert again == pytest.approx(losses, rel=1e-9)
    np.testing.assert_allclose(other["feed.w"], parameters["feed.w"], rtol=1e-9)


def test_a_run_file_holds_codes_report_and_real_weights(tmp_path: Path) -> None:
    task, rule = Cells(), learning.get("bptt", quantise=FOUR)
    program = backends.get("torch").compile(task.network())
    run = Run.create(
        tmp_path / "run.h5", model=to_json(program.network), semantics={}, config={}, seed=0, metrics=METRICS
    )
    parameters = train(task, program, rule, run, epochs=2, seed=0, batch=1)
    reader = open_run(run.path)
    found = reader.group("quantisation")
    codes = found["codes"]["feed.w"]
    assert codes["codes"].dtype == np.int8 and codes["scale"].shape == (3,) and found["report"]["feed.w"]["bits"] == 4
    np.testing.assert_allclose(codes["codes"] * codes["scale"], reader.parameters()["feed.w"], rtol=1e-12)
    np.testing.assert_array_equal(reader.parameters()["feed.w"], parameters["feed.w"])
    again = NetworkQuantiser(program.network, Scheme.of(FOUR)).calibrate(found["shadow"])
    np.testing.assert_array_equal(again.codes["feed.w"].codes, codes["codes"])


def test_real_weights_until_it_begins() -> None:
    _, plain, _, _ = trained(5, {})
    _, waiting, _, _ = trained(5, {**BINARY, "after": 6})
    _, begun, _, _ = trained(5, {**BINARY, "after": 5})
    np.testing.assert_array_equal(waiting["feed.w"], plain["feed.w"])
    assert len(np.unique(np.abs(begun["feed.w"]))) == 1


def test_signs_and_bounds_hold() -> None:
    _, parameters, _, _ = trained(20, FOUR, sign="+")
    assert (parameters["feed.w"] >= 0).all()


def test_time_constants_and_thresholds_are_codes_too() -> None:
    quantise = {**FOUR, "weights": {"*": {"bits": 8}}, "decays": {"kind": "linear", "bits": 6},
                "thresholds": {"low": 0, "high": 1000}}  # fmt: skip
    losses, parameters, state, _ = trained(20, quantise, trainable=("*.w", "cells.tau_m"))
    assert losses[-1] < losses[0]
    decay = -np.expm1(-1e-3 / parameters["cells.tau_m"])
    assert decay * 64 == pytest.approx(np.round(decay * 64), abs=1e-9)
    assert "cells.v_th" in state.fixed and parameters["cells.v_th"] != state.fixed["cells.v_th"]
    again = NetworkQuantiser(Cells().network(), Scheme.of(quantise)).calibrate(parameters)
    assert again.parameters["cells.v_th"] == pytest.approx(parameters["cells.v_th"], rel=1e-9)


@pytest.mark.parametrize(
    ("quantise", "message"),
    [
        ({"weights": {"fed": {"kind": "binary"}}}, "no projection fits 'fed'; known: feed"),
        ({"weight": {}}, "unknown option 'weight'"),
        ({"weights": "linear"}, "a table of quantisers by projection"),
        ({"weights": {"kind": "linear"}}, "weights of 'kind' = 'linear'"),
        ({"weights": {"*": {"bits": "4"}}}, "bits='4'; it takes a whole number"),
        ({"decays": {"kind": "log", "bits": 4}}, "kind='log'; it takes one of linear, dash"),
        ({"decays": {"kind": "linear"}}, "decays = .*; it has kind"),
        ({**BINARY, "after": -1}, "number of updates"),
    ],
)
def test_refusals(quantise: Any, message: str) -> None:
    with pytest.raises(QuantiseError, match=message):
        trained(0, quantise)


def test_a_quantiser_that_saturates_nothing_has_no_window_to_leave() -> None:
    assert [Quantiser(k).clips for k in ("binary", "ternary", "linear", "log")] == [True, True, False, False]
    assert Quantiser("linear", fit="error").clips

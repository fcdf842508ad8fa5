"""Shift-based AdaMax: its formulas by hand, its powers of two, and a run that is stopped and continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro import learning
from neuro.export.quantisation.quantisers import ap2 as nearest
from neuro.io.results import Run, open_run
from neuro.learning import loop
from neuro.learning.common import optimisers
from neuro.learning.common.shift_adamax import PAPER, TORCH_CODE, ap2
from neuro.options import OptionError
from tests.learning.test_resumption import BATCHES, EPOCHS, EVERY, same, stopped, trained

SETS = {"paper": PAPER, "torch": TORCH_CODE}
STEPS = 12


def made(tensors: list[torch.Tensor], constants: dict[str, Any], rates: tuple[float, ...] = ()) -> Any:
    options = {n: v for n, v in constants.items() if n != "lr"}
    return optimisers.make("shift-adamax", tensors, constants["lr"], rates, **options)


def descended(optimiser: Any, tensors: list[torch.Tensor], slopes: Any) -> None:
    for tensor, slope in zip(tensors, slopes, strict=True):
        tensor.grad = torch.from_numpy(slope)
    optimiser.step()


def drawn(seed: int = 0) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Two parameters, and slopes of many sizes for each step; some of them are 0 throughout."""
    rng = np.random.default_rng(seed)
    shapes = ((3, 4), (5,))
    start = [rng.normal(size=s) for s in shapes]
    slopes = [[rng.normal(size=s) * 10.0 ** rng.integers(-6, 3, s) for s in shapes] for _ in range(STEPS)]
    for step in slopes:
        step[0][0] = 0.0
    return start, slopes


@pytest.mark.parametrize("name", SETS)
def test_every_step_is_the_published_one_at_rates_of_each_parameter(name: str) -> None:
    constants, (start, slopes) = SETS[name], drawn()
    (b1, b2), rates = constants["betas"], (constants["lr"], 2.0**-4)
    tensors = [torch.tensor(w) for w in start]
    optimiser = made(tensors, constants, rates)
    w, m, v = [x.copy() for x in start], [0.0 * x for x in start], [0.0 * x for x in start]
    for t, step in enumerate(slopes, 1):
        descended(optimiser, tensors, step)
        for k, g in enumerate(step):
            m[k] = b1 * m[k] + (1 - b1) * g
            v[k] = np.maximum(np.maximum(b2 * v[k], np.abs(g)), 2.0**-27)
            if constants["rounded"]:
                v[k] = 2.0 ** np.round(np.log2(v[k]))
            shift = 2.0 ** round(np.log2(1 / (1 - b1**t)))
            w[k] = w[k] - rates[k] * shift * m[k] * 2.0 ** np.round(np.log2(1 / v[k]))
            np.testing.assert_allclose(tensors[k].numpy(), w[k], rtol=1e-15, atol=1e-15)
    moved = [np.abs(tensor.numpy() - x) for tensor, x in zip(tensors, start, strict=True)]
    assert (moved[0][0] == 0).all() and (moved[0][1:] > 1e-5).all() and (moved[1] > 1e-5).all()


@given(st.floats(2.0**-500, 2.0**500))
def test_powers_of_two_are_powers_of_two(x: float) -> None:
    """As the exporters' AP2, bit for bit."""
    for kind in (np.float64, np.float32):
        value = np.clip(x, 2.0**-100, 2.0**100).astype(kind) if kind is np.float32 else np.float64(x)
        found = ap2(torch.tensor(value)).numpy()
        assert found.dtype == kind and np.frexp(found)[0] == 0.5 and found == nearest(value)


@pytest.mark.parametrize("name", SETS)
def test_steps_are_shifts_of_the_mean_slope(name: str) -> None:
    """From 0, the first update is m times a power of two; v is stored as one where it is asked for."""
    constants, (start, slopes) = SETS[name], drawn(1)
    tensors = [torch.zeros(x.shape, dtype=torch.float64) for x in start]
    optimiser = made(tensors, constants)
    descended(optimiser, tensors, slopes[0])
    for k, tensor in enumerate(tensors):
        state = optimiser.state[tensor]
        m, some = state["exp_avg"].numpy(), slopes[0][k] != 0
        factors = np.frexp(-tensor.numpy()[some] / m[some])
        assert some.any() and (factors[0] == 0.5).all() and np.ptp(factors[1]) > 3
        mantissas = np.frexp(state["exp_inf"].numpy()[some])[0]
        assert (mantissas == 0.5).all() == constants["rounded"]


@pytest.mark.parametrize("name", SETS)
def test_what_is_kept_continues_to_the_same_numbers(name: str) -> None:
    start, slopes = drawn(2)
    whole = [torch.tensor(w) for w in start]
    optimiser = made(whole, SETS[name])
    for k, step in enumerate(slopes):
        if k == STEPS // 2:
            kept = [tensor.clone() for tensor in whole], optimisers.arrays(optimiser)
        descended(optimiser, whole, step)
    tensors, saved = kept
    assert {n.split("/")[1] for n in saved} == {"step", "exp_avg", "exp_inf"}
    again = made(tensors, SETS[name])
    optimisers.restore(again, saved)
    for step in slopes[STEPS // 2 :]:
        descended(again, tensors, step)
    for a, b in zip(tensors, whole, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("name", SETS)
def test_a_rule_that_is_stopped_continues_to_the_same_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", EVERY)
    options = {n: v for n, v in SETS[name].items() if n != "lr"}
    rates = {"learning_rate": 2.0**-4, "learning_rates": {"feed.w": 2.0**-3}}
    shifted = {"scheduler": "step", "schedule_options": {"step_size": 3, "gamma": 0.5}}
    rule = learning.get("bptt", optimiser="shift-adamax", optimiser_options=options, **rates, **shifted)
    trained(tmp_path / "whole.h5", rule)
    whole = open_run(tmp_path / "whole.h5")
    assert len(set(whole.metrics()["loss"][:, 1])) == BATCHES * EPOCHS
    for update in (4, 7):
        path = tmp_path / f"{update}.h5"
        stopped(path, rule, update, monkeypatch)
        trained(path, rule, Run.resume(path))
        same(whole, open_run(path))


def test_what_does_not_fit_is_refused() -> None:
    tensors = [torch.zeros(3)]
    for options, message in (
        ({"eps": 0.0}, r"eps=0\.0; give a positive number"),
        ({"betas": (0.9, 1.0)}, r"betas=\(0\.9, 1\.0\); give two numbers"),
        ({"eps": "small"}, "optimiser 'shift-adamax' with"),
    ):
        with pytest.raises(OptionError, match=message):
            optimisers.make("shift-adamax", tensors, 0.5, **options)
    with pytest.raises(OptionError, match=r"lr=-0\.5"):
        optimisers.make("shift-adamax", tensors, -0.5)
    with pytest.raises(
        learning.UnknownRuleError, match="optimiser 'shift-adamax' has no 'round'; did you mean 'rounded'"
    ):
        learning.get("bptt", optimiser="shift-adamax", optimiser_options={"round": True})
    with pytest.raises(
        learning.UnknownRuleError, match="there is no optimiser 'shift-adam'; did you mean 'shift-adamax'"
    ):
        learning.get("bptt", optimiser="shift-adam")

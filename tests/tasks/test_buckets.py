"""Batches of similar length: every example once an epoch, and the loss, gradient and metric of an example whatever its batch is filled up to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backends
import tasks
from neuro import learning
from neuro.compiler.parameters import values
from neuro.events import Events
from neuro.io.results import Run, open_run
from neuro.io.serialisation import to_json
from neuro.learning import loop
from neuro.options import OptionError
from neuro.protocols import Array, Batch
from tasks.buckets import batches
from tests.tasks.own_data import CHANNELS, STEPS, examples, graded, series, spike_lists, spiking

RECORDINGS = ("currents", "two layers", "events")
EACH = (*RECORDINGS, "labels", "counts", "step labels", "step values")


def spread(file: h5py.File) -> None:
    """Makes 300 spikes of each recording, within 0.2 to 1 s."""
    random = np.random.default_rng(0)
    for k in range(len(file["labels"])):
        file["spikes/times"][k] = random.random(300) * random.uniform(0.2, 1)
        file["spikes/units"][k] = random.integers(0, 700, 300)


def made(name: str, folder: Path, buckets: int) -> Any:
    """Tasks of unequal lengths: currents, events, one and two layers, and each form of own data."""
    if name == "currents":
        return tasks.get("time-series", hidden=(12,), buckets=buckets, **series(folder))
    if name == "two layers":
        return tasks.get("time-series", hidden=(12, 8), steps=7, buckets=buckets, **series(folder))
    if name == "events":
        for part in ("train", "test"):
            spike_lists(folder / f"shd_{part}.h5", 30, spread)
        options: dict[str, Any] = {"folder": str(folder), "counted": False, "steps": 40, "dt_ms": 20.0}
        return tasks.get("spoken-spikes", source="shd", hidden=(12, 8), buckets=buckets, **options)
    random = np.random.default_rng(5)
    x, y = examples(30)
    mask = np.arange(STEPS) < random.integers(3, STEPS - 2, (30, 1))
    mask[:, 0] = False  # what doesn't count isn't at the end alone
    if name == "counts":
        return tasks.from_arrays(Events.of(x), y, spiking(), mask=mask, valid=0.2, buckets=buckets)
    targets = {"labels": y, "step labels": np.repeat(y[:, None], STEPS, 1), "step values": random.normal(0, 1, (30, STEPS, 2))}  # fmt: skip
    return tasks.from_arrays(
        random.normal(0, 1, (30, STEPS, CHANNELS)), targets[name], graded(), mask=mask, output="out.y", buckets=buckets
    )


def alone(batch: Batch, k: int) -> Batch:
    """An example without a step after the last that counts."""
    assert batch.mask is not None
    steps = int(np.flatnonzero(batch.mask[k])[-1]) + 1
    x = batch.inputs["x"]
    cut = x[[k]].between(0, steps) if isinstance(x, Events) else x[[k], :steps]
    targets = batch.targets[[k]]
    stepwise = batch.targets.shape[1:2] == batch.mask.shape[1:]
    return Batch({"x": cut}, targets[:, :steps] if stepwise else targets, batch.mask[[k], :steps])


def epoch(task: Any, seed: int = 0, size: int = 4) -> list[Batch]:
    return list(task.train_batches(np.random.default_rng(seed), size))


def steps_of(found: list[Batch]) -> list[int]:
    return [b.inputs["x"].shape[1] for b in found]


def gradient(program: Any, task: Any, batch: Batch) -> tuple[float, Mapping[str, Array]]:
    wrt = ("*.w",) if task.name == "arrays" else ("*.w", "*.bias", "*.tau_*")
    names = learning.get("bptt", trainable=wrt).names(program)
    found: tuple[float, Mapping[str, Array]] = program.value_and_grad(
        lambda seen: task.loss(seen.spikes, seen.traces, batch), None, batch.inputs, names, tuple(task.record())
    )
    return found


# -- the order ---------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 9), max_size=60), st.integers(1, 9), st.integers(0, 9), st.integers(0, 2**32))
def test_every_example_once(lengths: list[int], batch: int, buckets: int, seed: int) -> None:
    """From the rng alone; as many batches, as large, as without buckets, and no more steps."""
    length = np.array(lengths, int)
    found, again, plain = (batches(length, batch, b, np.random.default_rng(seed)) for b in (buckets, buckets, 0))
    assert [f.tolist() for f in found] == [a.tolist() for a in again]
    assert sorted(k for f in found for k in f) == list(range(len(lengths)))
    assert sorted(map(len, found)) == sorted(map(len, plain))
    assert sum(length[f].max() for f in found) <= sum(length[p].max() for p in plain)
    if buckets <= 1:
        assert [f.tolist() for f in found] == [p.tolist() for p in plain]


@given(st.lists(st.integers(1, 99), min_size=12, max_size=12), st.integers(0, 2**32))
def test_groups_are_sorted(lengths: list[int], seed: int) -> None:
    """Three groups of two batches of two: in each the shorter two come together, and the groups are those of the plain order."""
    order = np.random.default_rng(seed).permutation(12)
    groups = [sorted(order[k : k + 4], key=lambda e: lengths[e]) for k in range(0, 12, 4)]
    wanted = sorted(sorted(lengths[e] for e in half) for g in groups for half in (g[:2], g[2:]))
    found = batches(np.array(lengths), 2, 2, np.random.default_rng(seed))
    assert sorted(sorted(lengths[e] for e in f) for f in found) == wanted


def test_batches_come_in_any_order() -> None:
    """The shortest batch is anywhere in the epoch, as often; so is what fills no batch, and each length is in it as often as in the data."""
    length, draws = np.repeat(np.arange(5), 10), 2000
    places, rest = np.zeros(6), np.zeros(5)
    for seed in range(draws):
        found = batches(length, 9, 6, np.random.default_rng(seed))
        places[int(np.argmin([length[f].mean() if len(f) == 9 else 9 for f in found]))] += 1
        rest += np.bincount(np.concatenate([length[f] for f in found if len(f) == 5]), minlength=5)
    for seen, share in ((places, 1 / 6), (rest, 1 / 5)):
        spread = np.sqrt(seen.sum() * share * (1 - share))
        assert seen.sum() >= draws and (abs(seen - seen.sum() * share) < 5 * spread).all()


# -- what a batch holds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EACH)
def test_batches_end_with_their_longest_example(name: str, tmp_path: Path) -> None:
    """Their examples are those of full batches, and as many steps of each count; the batches of validation and test are whole."""
    whole, cut, sorted_ = (made(name, tmp_path, buckets) for buckets in (0, 1, 3))
    full, tight, close = (epoch(task) for task in (whole, cut, sorted_))
    late = getattr(whole, "lag", 0)
    assert set(steps_of(full)) == {getattr(whole, "steps", STEPS) + late}
    for a, b in zip(full, tight, strict=True):
        steps = b.inputs["x"].shape[1]
        assert a.mask is not None and b.mask is not None and b.mask[:, -1].any()
        np.testing.assert_array_equal(np.asarray(a.inputs["x"])[:, :steps], np.asarray(b.inputs["x"]))
        np.testing.assert_array_equal(a.mask[:, :steps], b.mask)
        assert not a.mask[:, steps:].any() and not b.mask[:, :late].any()
        np.testing.assert_array_equal(a.targets[:, :steps] if a.targets.ndim > 1 else a.targets, b.targets)
    assert sum(steps_of(close)) < sum(steps_of(tight)) < sum(steps_of(full))
    for task in (cut, sorted_):
        for batch in (task.test_batch(), task.valid_batch()):
            assert batch is None or batch.inputs["x"].shape[1] == batch.mask.shape[1] == steps_of(full)[0]
    counted = [sorted(int(n) for b in e if b.mask is not None for n in b.mask.sum(axis=1)) for e in (full, close)]
    assert counted[0] == counted[1]


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("name", EACH)
def test_an_example_is_worth_the_same_in_any_batch(name: str, backend: str, tmp_path: Path) -> None:
    """Loss and gradient of a batch are the mean of those of its examples run alone, or, of targets for each step, the mean over steps; so is the metric."""
    task = made(name, tmp_path, 1)
    program: Any = backends.get(backend).compile(task.network(0), dtype="float64")
    for batch in epoch(task, size=5)[:3]:
        value, slopes = gradient(program, task, batch)
        parts = [alone(batch, k) for k in range(len(batch.targets))]
        weight = np.array([p.mask.sum() if "step" in name else 1 for p in parts], float)
        found = [gradient(program, task, p) for p in parts]
        assert len({p.mask.shape[1] for p in parts}) > 1
        np.testing.assert_allclose(value, np.average([v for v, _ in found], weights=weight), rtol=1e-10)
        assert all(np.abs(s).max() > 0 for s in slopes.values())
        for n, slope in slopes.items():
            mean = np.average([s[n] for _, s in found], axis=0, weights=weight)
            np.testing.assert_allclose(slope, mean, rtol=1e-10, atol=1e-10 * np.abs(slope).max())
        seen = [program.run(None, b.inputs, task.record()) for b in (batch, *parts)]
        assert all(r.mean() > 0.01 for r in seen[0].spikes.values() if r.size)
        metrics = [task.metric(s, b) for s, b in zip(seen[1:], parts, strict=True)]
        assert task.metric(seen[0], batch) == pytest.approx(np.average(metrics, weights=weight), rel=1e-10)


@pytest.mark.parametrize("name", RECORDINGS)
def test_loss_by_hand(name: str, tmp_path: Path) -> None:
    """Cross entropy of the readout's mean over as many steps as the sequence has, from the step on in which the last layer answers."""
    task = made(name, tmp_path, 1)
    program = backends.get("native").compile(task.network(0), dtype="float64")
    for batch in epoch(task, size=5)[:2]:
        m = program.run(None, batch.inputs, task.record()).traces["output.m"]
        x = np.asarray(batch.inputs["x"]).any(axis=2)
        ends = [np.flatnonzero(example)[-1] + 1 for example in x]
        assert len(set(ends)) > 1
        score = np.array([m[k, task.lag : task.lag + end].mean(axis=0) for k, end in enumerate(ends)])
        wanted = np.log(np.exp(score).sum(axis=1)) - score[np.arange(len(score)), batch.targets]
        assert gradient(program, task, batch)[0] == pytest.approx(wanted.mean(), rel=1e-10)


# -- use ---------------------------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def test_a_stopped_run_continues_to_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of an epoch of buckets."""
    task, rule = made("currents", tmp_path, 3), learning.get("bptt", trainable=("*.w",))
    program: Any = backends.get("native").compile(task.network(0))
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 2)

    def begun(name: str) -> Run:
        return Run.create(
            tmp_path / name, model=to_json(program.network), semantics=program.semantics.to_data(), config={}, seed=0, metrics=loop.metrics_of(rule, task),
        )  # fmt: skip

    def stop(done: int, total: int, text: str) -> None:
        if done == 11:
            raise Stopped

    own: dict[str, Any] = {"epochs": 2, "seed": 1, "batch": 4}
    wanted = loop.train(task, program, rule, begun("whole.h5"), **own)
    run = begun("stopped.h5")
    with pytest.raises(Stopped):
        loop.train(task, program, rule, run, **own, update=stop)
    run.close()
    again, saved = Run.resume(tmp_path / "stopped.h5")
    assert 0 < int(saved["position/batch"]) < 8
    found = loop.train(made("currents", tmp_path, 3), program, rule, again, **own, saved=saved)
    for n, value in wanted.items():
        np.testing.assert_array_equal(found[n], value)
    losses = [open_run(tmp_path / name).metrics()["loss"] for name in ("whole.h5", "stopped.h5")]
    np.testing.assert_array_equal(*losses)
    assert any((found[n] != first).any() for n, first in values(program.network).items())


def test_what_is_no_number_of_batches(tmp_path: Path) -> None:
    for wrong in (-1, 1.5, True):
        for name, options in (("time-series", series(tmp_path)), ("spoken-spikes", {}), ("spoken-digits", {}), ("speech-commands", {}), ("ti46", {})):  # fmt: skip
            with pytest.raises(tasks.UnknownTaskError, match="buckets"):
                tasks.get(name, buckets=wrong, **options)
    with pytest.raises(OptionError, match="buckets"):
        tasks.from_arrays(*examples(10), spiking(), buckets=-1)

"""What every task must obey: shapes, the same trials for the same seed, a perfect answer that beats silence."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import backends
import tasks
from neuro import Recording
from neuro.compiler.parameters import parameters
from neuro.learning.common import slices
from neuro.protocols import Batch, Task
from tests import extras
from tests.elsewhere import DEVICE, elsewhere
from tests.tasks.own_data import crowded, files, series, spike_lists, ti46, words
from tests.tasks.recordings import needs

UNTOLD = ("control", "crippled")  # nobody knows the right actions
each_task = pytest.mark.parametrize("name", extras.each(tasks.names()))
told = pytest.mark.parametrize("name", [n for n in tasks.names() if n not in UNTOLD])

FILES = ("ecg", "spoken-digits", "spoken-letters")  # tasks on recordings that no package brings, or a program makes


@pytest.fixture(autouse=True)
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of a user's own files have some, and those on images have some that are always there; others may lack theirs."""
    if (name := getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")) in FILES:
        needs(name)
    found: dict[str, dict[str, Any]] = {"arrays": files(tmp_path), "time-series": series(tmp_path)}
    found |= {
        **{key: {"source": "digits"} for key in ("images", "quantised-images")},
        "spoken-spikes": {"source": "shd", "folder": str(tmp_path), "counted": False},
    }
    found |= {"speech-commands": words(tmp_path / "words"), "ti46": ti46(tmp_path / "ti46")}
    for part in ("train", "test"):
        spike_lists(tmp_path / f"shd_{part}.h5", 40, crowded)
    get = tasks.get
    monkeypatch.setattr(tasks, "get", lambda name, **options: get(name, **found.get(name, {}), **options))


def first_batch(task: Any, seed: int = 0, size: int = 4) -> Any:
    return next(iter(task.train_batches(np.random.default_rng(seed), size)))


def loss_of(task: Any, recording: Recording, batch: Any, device: torch.device | None = None) -> float:
    spikes = {n: torch.as_tensor(np.asarray(v, np.float64), device=device) for n, v in recording.spikes.items()}
    traces = {n: torch.as_tensor(v, device=device) for n, v in recording.traces.items()}
    return float(task.loss(spikes, traces, batch))


@told
def test_a_loss_is_computed_on_the_device_of_what_it_judges(name: str) -> None:
    task = tasks.get(name)
    batch = first_batch(task)
    answer = task.perfect(batch)
    with elsewhere():
        found = loss_of(task, answer, batch, DEVICE)
    assert found == loss_of(task, answer, batch)


@each_task
def test_network_runs_on_the_batches(name: str) -> None:
    task = tasks.get(name)
    batch, network = first_batch(task), task.network(0)
    found = backends.get("torch").compile(network).run(inputs=batch.inputs, record=task.record())
    for n, raster in found.spikes.items():
        assert 0 < raster.mean() < 0.5, f"{n} is silent or fires without pause"
    assert name in UNTOLD or np.isfinite(loss_of(task, found, batch))
    assert set(task.readout) <= set(parameters(network))
    assert task.network(0) == network and task.network(1) != network


@each_task
def test_same_seed_same_trials(name: str) -> None:
    for a, b in (
        (first_batch(tasks.get(name)), first_batch(tasks.get(name))),
        [tasks.get(name).test_batch() for _ in "ab"],
    ):
        np.testing.assert_array_equal(a.targets, b.targets)
        for source in a.inputs:
            np.testing.assert_array_equal(a.inputs[source], b.inputs[source])


@told
def test_a_perfect_answer_beats_silence(name: str) -> None:
    task = tasks.get(name)
    batch = first_batch(task, size=32)
    right = task.perfect(batch)
    silent = Recording(
        right.dt,
        {n: np.zeros_like(v) for n, v in right.spikes.items()},
        {n: np.zeros_like(v) for n, v in right.traces.items()},
    )
    assert task.metric(right, batch) in (pytest.approx(1), pytest.approx(0))  # an accuracy, or minus an error
    assert task.metric(right, batch) > task.metric(silent, batch)
    assert loss_of(task, right, batch) < loss_of(task, silent, batch)
    assert task.metric(silent, batch) < 0.8


@each_task
def test_recommended_settings_are_options_that_exist(name: str) -> None:
    from neuro import learning

    task = tasks.get(name)
    for rule, options in task.settings.rules.items():
        learning.get(rule, **options)
    for backend, options in task.settings.backends.items():
        backends.get(backend).compile(task.network(0), **options)


def test_digits_for_chips() -> None:
    """16 means of four pixels, the first eight digits, recurrent cells that give a 1/16 and a 1/4 away each step."""
    task = tasks.get("digits", neuron="cuba_lif", recurrent=True, reset="subtract", pixels=16, classes=8, hidden=8)
    images, labels, _, _ = task.data()
    whole, _, _, _ = tasks.get("digits", classes=8).data()
    np.testing.assert_allclose(images[:, 0], whole[:, [0, 1, 8, 9]].mean(axis=1))
    assert labels.max() == 7 and task.test_batch().inputs["pixels"].shape[2] == 16
    cell = task.network(0).population("hidden").neuron.parameters
    decays = [float(np.exp(-1e-3 / cell[name].value)) for name in ("tau_m", "tau_syn")]
    np.testing.assert_allclose(decays, [15 / 16, 3 / 4], rtol=1e-12)
    for wrong in ({"pixels": 25}, {"neuron": "adex"}, {"reset": "none"}, {"classes": 11}):
        with pytest.raises(tasks.UnknownTaskError):
            tasks.get("digits", **wrong)


def test_the_registry_asks_for_all_that_a_task_is() -> None:
    members = {*Task.__annotations__, *(n for n in vars(Task) if not n.startswith("_"))}
    assert set(tasks.REGISTRY.needs) == members and len(members) >= 12


@pytest.mark.parametrize("name", ["digits", "sequential-digits", "images", "ecg"])
def test_validation_examples_are_kept_back(name: str) -> None:
    """None unless asked for; a share of the training examples, the same in every epoch, which no batch of training has."""
    if name == "ecg":
        needs(name)
    plain, task = tasks.get(name), tasks.get(name, valid=0.2)
    assert plain.valid_batch() is None
    whole, train, kept = plain.sides[0], *task.sides[:2]
    assert len(kept) == round(0.2 * len(whole)) and not {*train} & {*kept} and {*train, *kept} == {*whole}
    first, again = (tasks.get(name, valid=0.2).valid_batch() for _ in range(2))
    for a, b in zip((*first.inputs.values(), first.targets), (*again.inputs.values(), again.targets), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert len(first.targets) == len(kept) and len(task.test_batch().targets) == len(plain.test_batch().targets)
    batches = list(task.train_batches(np.random.default_rng(0), 64))
    assert sum(len(b.targets) for b in batches) == len(train)
    with pytest.raises(tasks.UnknownTaskError, match="valid=1"):
        tasks.get(name, valid=1.0)


@told
def test_the_loss_of_a_batch_is_the_weighted_mean_of_those_of_its_slices(name: str) -> None:
    """Slices of unequal sizes, one of a single example, and the derivatives by what the network did as well."""
    task = tasks.get(name)
    batch = several(task)
    if getattr(task, "indivisible", ""):
        with pytest.raises(AssertionError):
            check_mean(task, batch, [(0, 1), (1, slices.examples(batch))])
        return
    for spans in ([(0, 1), (1, 5)], [(0, 2), (2, 4), (4, 5)]):
        check_mean(task, batch, spans)


@pytest.mark.parametrize(("name", "longer"), [("arrays", 1), ("ecg", 300)])
def test_a_loss_by_sequences_counts_sequences(name: str, longer: int) -> None:
    """The same sum, divided by the number of sequences: larger by the mean of the steps that count, and a slice counts its sequences."""
    by_frame, by_sequence = (tasks.get(name, per=per) for per in ("frame", "sequence"))
    batch = several(by_frame)
    spans = [(0, 1), (1, 5)]
    check_mean(by_sequence, batch, spans)
    assert slices.shares(by_sequence, batch, spans) == [0.2, 0.8]
    perfect = by_frame.perfect(batch)
    losses = [float(t.loss(*({n: torch.as_tensor(a) * 0.5 for n, a in d.items()} for d in (perfect.spikes, perfect.traces)), batch)) for t in (by_frame, by_sequence)]  # fmt: skip
    frames = by_frame.weight(batch) / 5
    assert losses[1] == pytest.approx(losses[0] * frames) and frames >= longer


def several(task: Any) -> Batch:
    """Five examples; tasks of one show it five times."""
    batch = first_batch(task, size=5)
    found = slices.examples(batch)
    where = np.arange(5) % found
    arrays = {f.name: a for f in fields(batch) if isinstance(a := getattr(batch, f.name), np.ndarray)}
    inputs: Any = {n: a[where] for n, a in batch.inputs.items()}
    return replace(batch, **{n: a[where] for n, a in arrays.items()}, inputs=inputs, state=None)


def check_mean(task: Any, batch: Any, spans: list[tuple[int, int]]) -> None:
    random, whole = np.random.default_rng(1), task.perfect(batch)
    size = slices.examples(batch)
    spikes = {n: random.random((size, *a.shape[1:])) for n, a in whole.spikes.items()}
    traces = {n: 0.1 * random.standard_normal((size, *a.shape[1:])) for n, a in whole.traces.items()}
    loss, slopes = judged(task, spikes, traces, batch)
    summed, together = 0.0, {n: np.zeros_like(a) for n, a in slopes.items()}
    for (first, last), share in zip(spans, slices.shares(task, batch, spans), strict=True):
        part = {n: a[first:last] for n, a in spikes.items()}, {n: a[first:last] for n, a in traces.items()}
        own, found = judged(task, *part, slices.cut(batch, (first, last)))
        summed += share * own
        for n, a in found.items():
            together[n][first:last] += share * a
    assert summed == pytest.approx(loss, rel=1e-12)
    for n, a in slopes.items():
        np.testing.assert_allclose(together[n], a, rtol=0, atol=1e-12 * np.abs(a).max(initial=1e-300))
    assert (
        any(np.abs(a).max() > 0 for a in slopes.values()) or task.name == "spike-count"
    )  # whole numbers have no slope


def judged(task: Any, spikes: Any, traces: Any, batch: Any) -> tuple[float, dict[str, Any]]:
    """Loss, and its derivatives by spikes and traces."""
    leaves = [{n: torch.tensor(a, requires_grad=True) for n, a in part.items()} for part in (spikes, traces)]
    loss = task.loss(*leaves, batch)
    value = float(loss.detach())
    every = {**leaves[0], **leaves[1]}
    if not loss.requires_grad:
        return value, {n: np.zeros(t.shape) for n, t in every.items()}
    found = torch.autograd.grad(loss, list(every.values()), allow_unused=True)
    return value, {n: np.zeros(t.shape) if g is None else g.numpy() for (n, t), g in zip(every.items(), found, strict=True)}  # fmt: skip

"""Data that somebody has: every form of targets, what is counted, and what is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import backends
import tasks
from neuro import Input, Recording, learning
from neuro.compiler.parameters import values
from neuro.events import Events
from neuro.options import OptionError
from tasks.arrays import Arrays
from tests.tasks.own_data import CHANNELS, STEPS, examples, files, graded, spiking

X, Y = examples(10)


def learned(task: Arrays, updates: int, **options: Any) -> tuple[float, float]:
    """Metric of the test before and after."""
    program: Any = backends.get("native").compile(task.network(0))
    rule = learning.get("bptt", **options)
    parameters, state, batch = values(program.network), rule.init(program), task.test_batch()

    def metric() -> float:
        return task.metric(program.run(parameters, batch.inputs, task.record()), batch)

    before, done = metric(), 0
    while done < updates:
        for batch_ in task.train_batches(np.random.default_rng(done), 16):
            parameters, state, _ = rule.step(program, parameters, state, batch_, task)
            done += 1
    return before, metric()


def test_labels_by_spike_counts_and_by_a_variable() -> None:
    x, y = examples(120)
    for network, data, output, rate in ((spiking(), x, "", 0.2), (graded(), x.astype(float), "out.y", 0.05)):
        before, after = learned(tasks.from_arrays(data, y, network, output=output), 30, learning_rate=rate)
        assert before < 0.7 and after > 0.9


def test_events_are_spikes() -> None:
    x, y = examples()
    dense, listed = (tasks.from_arrays(a, y, spiking()) for a in (x, Events.of(x)))
    for a, b in ((dense.test_batch(), listed.test_batch()), *zip(*(t.train_batches(np.random.default_rng(1), 7) for t in (dense, listed)), strict=True)):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(a.inputs["x"]), np.asarray(b.inputs["x"]))
        np.testing.assert_array_equal(a.targets, b.targets)


@pytest.mark.parametrize("form", ["labels", "step labels", "values", "step values"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("per", ["frame", "sequence"])
def test_loss_and_metric_by_hand(form: str, masked: bool, per: str) -> None:
    """Of any answer, and steps that don't count may hold anything; divided by the steps that count, or by the examples."""
    random = np.random.default_rng(2)
    shape = {"labels": (6,), "step labels": (6, STEPS), "values": (6, 2), "step values": (6, STEPS, 2)}[form]
    y = random.integers(0, 2, shape) if "labels" in form else random.normal(0, 1, shape)
    mask = np.arange(STEPS) < random.integers(3, STEPS, (6, 1)) if masked else None
    task = tasks.from_arrays(
        random.normal(0, 1, (6, STEPS, CHANNELS)), y, graded(), mask=mask, output="out.y", test=0.5, per=per
    )
    kept = {tuple(a) for side in (task.train, task.test) for a in side.x["x"].reshape(-1, STEPS * CHANNELS)}
    assert len(task.train) == len(task.test) == 3 and len(kept) == 6
    batch = task.test_batch()
    there = np.ones((3, STEPS), bool) if batch.mask is None else batch.mask
    given = random.normal(0, 1, (3, STEPS, 2))
    answers = [given[k][there[k]] if "step" in form else given[k][there[k]].mean(0, keepdims=True) for k in range(3)]
    wanted = [batch.targets[k][there[k]] if "step" in form else batch.targets[k][None] for k in range(3)]
    answer, target = np.concatenate(answers), np.concatenate(wanted)
    if "labels" in form:
        score = answer - np.log(np.exp(answer).sum(1, keepdims=True))
        loss, metric = -score[np.arange(len(target)), target].mean(), (answer.argmax(1) == target).mean()
    else:
        loss = ((answer - target) ** 2).mean()
        metric = -loss
    weight = len(target) if per == "frame" else 3
    assert task.weight(batch) == weight
    for other in (given, np.where(there[..., None], given, 1e6)):
        found = task.loss({}, {"out.y": torch.as_tensor(other)}, batch)
        assert float(found) == pytest.approx(loss * len(target) / weight)
        assert task.metric(Recording(1e-3, traces={"out.y": other}), batch) == pytest.approx(metric)


def test_spikes_after_the_end_of_an_example_do_not_count() -> None:
    x, y = examples(4)
    mask = np.arange(STEPS) < np.array([[5], [10], [20], [1]])
    task = tasks.from_arrays(x, y, spiking(), mask=mask, x_test=x, y_test=y, mask_test=mask)
    spikes = np.random.default_rng(0).random((4, STEPS, 2)) < 0.3
    counts = (spikes & mask[..., None]).sum(1)
    found = task.loss({"out": torch.as_tensor(spikes.astype(float))}, {}, task.test_batch())
    assert float(found) == pytest.approx(float(torch.nn.functional.cross_entropy(torch.as_tensor(counts, dtype=torch.float64), torch.as_tensor(y))))  # fmt: skip


def test_a_torch_dataset_of_unequal_lengths() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 9, 12)
    pairs = [(torch.as_tensor(random.normal(0, 1, (n, CHANNELS))), torch.as_tensor(int(n > 5))) for n in lengths]
    task = tasks.from_dataset(pairs, graded(), test_dataset=pairs, output="out.y")
    assert task.test.x["x"].shape == (12, max(lengths), CHANNELS)
    np.testing.assert_array_equal(task.test.mask.sum(1), lengths)
    for k, (x, y) in enumerate(pairs):
        np.testing.assert_array_equal(task.test.x["x"][k, : len(x)], x.numpy())
        assert task.test.y[k] == int(y)
    stepwise = [(x, torch.zeros(len(x), dtype=torch.int64)) for x, _ in pairs]
    assert tasks.from_dataset(stepwise, graded(), output="out.y", test=0.25).test.y.shape == (3, max(lengths))


class Endless:
    """A Dataset as torch allows it: it has a length, and no IndexError says where it ends."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, k: int) -> tuple[Any, Any]:
        if k >= 100:
            raise KeyboardInterrupt
        return X[k % 10], Y[k % 10]


def test_a_dataset_is_as_long_as_it_says() -> None:
    task = tasks.from_dataset(Endless(), spiking(), test=0.5)
    assert len(task.train) == len(task.test) == 5


@pytest.mark.parametrize(
    ("wrong", "pairs"),
    [
        ("example 0 of the dataset is no pair", [1, 2]),
        ("example 1 of the dataset is no pair", [(X[0], 0), (X[0], 0, 0)]),
        ("example 0: x is no array of numbers", [([[1, 0], [1]], 0)]),
        ("example 0: y has entries that are no finite numbers", [(X[0], "a")]),
        (
            r"example 1 has y of the shape \(3,\) for 5 steps",
            [(X[0], np.zeros(STEPS, int)), (X[1, :5], np.zeros(3, int))],
        ),
        (
            r"example 1 has y of the shape \(9,\) for 5 steps",
            [(X[0], np.zeros(STEPS, int)), (X[1, :5], np.zeros(9, int))],
        ),
        (r"example 1 has y of the shape \(\)", [(X[0], np.zeros(STEPS, int)), (X[1], 0)]),
        (r"example 1 has y of the shape \(1,\)", [(X[0], np.zeros(2)), (X[1], np.zeros(1))]),
    ],
)
def test_a_dataset_that_does_not_fit(wrong: str, pairs: Any) -> None:
    with pytest.raises(OptionError, match=wrong):
        tasks.from_dataset(pairs, graded(), output="out.y")


def test_no_example_is_on_two_sides() -> None:
    x = np.arange(40.0)[:, None, None] * np.ones((40, STEPS, CHANNELS))
    task = tasks.from_arrays(x, np.zeros(40, int), graded(), output="out.y", test=0.25, valid=0.2)
    sides = [set(side.x["x"][:, 0, 0]) for side in (task.train, task.valid, task.test)]
    assert [len(s) for s in sides] == [24, 6, 10] and len(set.union(*sides)) == 40
    assert set(task.valid_batch().inputs["x"][:, 0, 0]) == sides[1]
    assert tasks.from_arrays(x, np.zeros(40, int), graded(), output="out.y").valid_batch() is None


def test_the_same_data_have_the_same_version() -> None:
    x, y = examples()
    same, other = tasks.from_arrays(x, y, spiking()), tasks.from_arrays(~x, y, spiking())
    assert tasks.from_arrays(x, y, spiking()).version == same.version != other.version
    assert (
        tasks.from_arrays(Events.of(x), y, spiking()).version == tasks.from_arrays(Events.of(x), y, spiking()).version
    )


def test_other_data_have_another_version() -> None:
    """When events come, which steps count, and the examples that say when to stop as well."""
    x, y, there = examples()[0], np.zeros((40, STEPS), int), np.ones((40, STEPS), bool)
    other_mask, other_x = np.tri(40, STEPS, dtype=bool), x.copy()
    late = Events(Events.of(x).shape, np.concatenate([[0], Events.of(x).offsets[:-1]]), Events.of(x).channels)

    def version(x: Any, mask: Any = there, **options: Any) -> int:
        return tasks.from_arrays(x, y, spiking(), mask=mask, output="out.v", **options).version

    kept = tasks.from_arrays(
        np.arange(40)[:, None, None] * np.ones((40, 1, 4)), y[:, :1], graded(), output="out.y", valid=0.2
    )
    first = int(kept.valid.x["x"][0, 0, 0])
    other_x[first] = ~x[first]
    versions = [version(a, m, valid=0.2) for a, m in ((x, there), (x, other_mask), (other_x, there))]
    assert len(set(versions)) == 3
    early = Events(late.shape, np.concatenate([late.offsets[1:], late.offsets[-1:]]), late.channels)
    assert late.sum() == early.sum() and version(late) != version(early)


@pytest.mark.parametrize("kind", [">f8", "g", "f2", "f4", "i1", ">i4", "u8"])
def test_numbers_of_any_type_are_learned_from(kind: str) -> None:
    """The backends and torch take fewer types than numpy has."""
    x, y = np.rint(np.random.default_rng(0).random((2, 10, STEPS, CHANNELS)))
    target = y[:, 0, :2].astype(kind) if np.dtype(kind).kind == "f" else y[:, 0, 0].astype(kind)
    task, plain = (
        tasks.from_arrays(x.astype(k), target.astype(t), graded(), output="out.y", test=0.5)
        for k, t in ((kind, kind), (float, float if np.dtype(kind).kind == "f" else int))
    )
    program: Any = backends.get("torch").compile(task.network(0))
    rule = learning.get("bptt")
    losses = [
        rule.step(
            program, values(program.network), rule.init(program), next(t.train_batches(np.random.default_rng(0), 5)), t
        )[2]["loss"]
        for t in (task, plain)
    ]
    assert losses[0] == losses[1]


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("takes .10 examples as in y, time, 4 channels", {"x": X[:, :, :3]}),
    ("takes .9 examples as in y", {"y": Y[:9]}),
    ("labels from 0 to 7", {"y": np.arange(10) % 8}),
    ("labels from -1", {"y": Y - 1}),
    ("takes spikes, 0 and 1", {"x": X * 0.5}),
    ("no finite numbers", {"x": np.where(X, np.nan, 0.0)}),
    ("x has z, and the network takes x", {"x": {"z": X}}),
    ("read a variable", {"y": np.repeat(Y[:, None], STEPS, 1)}),
    ("values, which are compared with a variable", {"y": np.zeros((10, 2))}),
    (r"y has the shape \(10, 3\)", {"y": np.zeros((10, 3)), "output": "out.v"}),
    ("the mask has the shape", {"mask": np.ones((10, 3))}),
    ("a step that counts in each", {"mask": np.zeros((10, STEPS))}),
    ("there is no population 'ou'; did you mean 'out'", {"output": "ou"}),
    ("has no 'w'", {"output": "out.w"}),
    ("test=0.01 of 10 examples leaves none on one side", {"test": 0.01}),
    ("test=1.5 of 10 examples leaves none", {"test": 1.5}),
    ("valid=0.99 of 8 examples leaves none", {"valid": 0.99}),
    ("y has entries that are no finite numbers, but object", {"y": np.array(["a", None] * 5, object)}),
    ("examples: 'x' is no array of numbers", {"x": [[[1, 0, 0, 0]], [[1, 0, 0, 0]] * 2]}),
    ("examples: y is no array of numbers", {"y": [[1], [1, 2]] * 5}),
    ("y is one number", {"y": 3}),
    ("the mask has other entries than 0 and 1", {"mask": np.full((10, STEPS), np.nan)}),
    ("the mask has other entries than 0 and 1", {"mask": np.full((10, STEPS), 0.5)}),
    ("the mask has entries that are no finite numbers", {"mask": np.full((10, STEPS), "False")}),
    ("y_test is of no use alone", {"y_test": Y}),
    ("mask_test is of no use alone", {"mask_test": np.ones((10, STEPS))}),
    ("x_test is of no use alone", {"x_test": X}),
    ("give a Network", {"network": "net.toml"}),
    ("takes a current, not events", {"x": Events.of(X), "network": graded(), "output": "out.y"}),
    ("x has 3, and the network takes x", {"x": {3: X}}),
]


@pytest.mark.parametrize(("wrong", "options"), WRONG)
def test_what_does_not_fit_is_refused(wrong: str, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=wrong):
        tasks.from_arrays(**{"x": X, "y": Y, "network": spiking(), **options})


def test_a_graded_output_needs_a_variable() -> None:
    with pytest.raises(OptionError, match=r"doesn't fire; name a variable: out\.y"):
        tasks.from_arrays(X.astype(float), Y, graded())


@pytest.mark.parametrize(
    ("wrong", "arrays"),
    [
        ("array 'labels', which is no input", {"x": X, "labels": Y}),
        ("has no array 'y'", {"x": X}),
        ("has no array 'y_test'", {"x": X, "y": Y, "x_test": X}),
        ("it holds objects", {"x": X, "y": np.array([None] * 10, object)}),
        ("y_test is of no use alone|x has nothing", {"x": X, "y": Y, "y_test": Y}),
        ("x has nothing, and the network takes x", {"y": Y}),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, wrong: str, arrays: dict[str, Any]) -> None:
    with pytest.raises(tasks.UnknownTaskError, match=wrong):
        tasks.get("arrays", **files(tmp_path, **arrays))


def test_files_with_a_test_of_their_own_and_named_inputs(tmp_path: Path) -> None:
    task = tasks.get("arrays", **files(tmp_path, x=X, y=Y, x_test=X[:3], y_test=Y[:3]))
    assert len(task.train) == 10 and len(task.test) == 3
    np.testing.assert_array_equal(task.test_batch().inputs["x"], X[:3])
    options = files(tmp_path)
    Path(options["data"]).write_text("x,y\n")
    with pytest.raises(tasks.UnknownTaskError, match="not an npz file"):
        tasks.get("arrays", **options)
    with pytest.raises(tasks.UnknownTaskError, match="No such file"):
        tasks.get("arrays", **{**options, "data": str(tmp_path / "none.npz")})


@pytest.mark.parametrize("option", ["network", "data"])
@pytest.mark.parametrize("where", ["/dev/zero", "a folder", "a pipe"])
def test_what_has_no_end_is_not_read(option: str, where: str, tmp_path: Path) -> None:
    """A run file names its network and data by their paths, whoever wrote it."""
    path = Path(where) if where.startswith("/") else tmp_path / where
    if where == "a folder":
        path.mkdir()
    elif where == "a pipe":
        os.mkfifo(path)
    with pytest.raises(tasks.UnknownTaskError, match=f"{option}: .*is no plain file"):
        tasks.get("arrays", **{**files(tmp_path), option: str(path)})
    if where != "a folder":
        with pytest.raises(OptionError, match="is no plain file"):
            tasks.get("language-model", data=str(path)).network(0)


def test_inputs_by_name_whatever_they_are_called(tmp_path: Path) -> None:
    network = spiking()
    two = replace(network, inputs=(*network.inputs, Input("z", 3)))
    task = tasks.get("arrays", **files(tmp_path, two, x=X, z=X[..., :3], y=Y))
    assert set(task.test_batch().inputs) == {"x", "z"}
    other = replace(
        network, inputs=(Input("z", CHANNELS),), projections=tuple(replace(p, pre="z") for p in network.projections)
    )
    assert set(tasks.get("arrays", **files(tmp_path, other, x=X, y=Y)).test_batch().inputs) == {"z"}
    with pytest.raises(tasks.UnknownTaskError, match="'x', and 'z' for an input; give one of them"):
        tasks.get("arrays", **files(tmp_path, other, x=X, z=X, y=Y))

"""Real processes that share every batch: the gradient and the curve of one, the same numbers in all of them, errors that nobody waits for."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from neuro import learning
from tests.learning.in_processes import CASES, UPDATES, options, prepared, work
from tests.learning.shared_batches import curve, gradient
from tests.learning.test_slices import close

NUMBERS = (2, 4)
each_number = pytest.mark.parametrize("number", NUMBERS)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, list[Any]]]:
    """Number of processes -> what each of them found, by rank."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.learning.in_processes_prepared"])
    every = {}
    for number in NUMBERS:
        answers = server.Queue()
        place = str(tmp_path_factory.mktemp("group") / "meeting")
        processes = [server.Process(target=work, args=(rank, number, place, answers)) for rank in range(number)]
        for process in processes:
            process.start()
        found = dict(answers.get(timeout=150) for _ in processes)
        for process in processes:
            process.join(timeout=30)
        assert not [text for text in found.values() if isinstance(text, str)], found
        every[number] = [found[rank] for rank in range(number)]
    yield every


@each_number
@pytest.mark.parametrize(("rule", "backend"), CASES)
def test_processes_find_the_gradient_of_one(rule: str, backend: str, number: int, groups: Any) -> None:
    task, program = prepared(rule, backend)
    whole = gradient(learning.get(rule), program, task)
    for own in groups[number]:
        close(own[f"{rule} {backend} gradient"], whole, 1e-10)


@pytest.mark.parametrize(("rule", "backend"), CASES)
def test_twenty_updates_follow_those_of_one(rule: str, backend: str, groups: Any) -> None:
    task, program = prepared(rule, backend)
    losses, parameters = curve(learning.get(rule, **options(rule)), program, task, UPDATES)
    assert len(losses) == UPDATES and np.ptp(losses) > 0.05 * losses[0]
    for own in (*groups[2], *groups[4]):
        found, others = own[f"{rule} {backend} curve"]
        np.testing.assert_allclose(found, losses, rtol=1e-8)
        close(others, parameters, 1e-8)


def test_slices_give_the_same_bits_for_one_two_and_four(groups: Any) -> None:
    task, program = prepared("bptt", "torch")
    losses, parameters = curve(learning.get("bptt", **options("bptt", slices=5)), program, task, 2)
    for own in (*groups[2], *groups[4]):
        np.testing.assert_array_equal(own["slices"][0], losses)
        for name, value in parameters.items():
            np.testing.assert_array_equal(own["slices"][1][name], value)


@each_number
def test_an_error_ends_the_update_everywhere_and_the_next_one_works(number: int, groups: Any) -> None:
    kinds, texts = zip(*(own["broken"] for own in groups[number]), strict=True)
    assert kinds == (*["ElsewhereError"] * (number - 1), "RunError")  # the last one has the example
    assert texts == (*[f"process {number - 1} of {number}: the last example is broken"] * (number - 1), "the last example is broken")  # fmt: skip
    for own in groups[number]:
        close(own["afterwards"], groups[number][0]["afterwards"], 0)


@each_number
def test_only_the_first_process_measures(number: int, groups: Any) -> None:
    assert groups[number][0]["blind"] == ("RunError", "no metric")
    assert {own["blind"] for own in groups[number][1:]} == {("ElsewhereError", f"process 0 of {number}: no metric")}
    assert [own["first"] for own in groups[number]] == [0] * number


@each_number
def test_processes_that_drift_apart_are_told(number: int, groups: Any) -> None:
    for own in groups[number]:
        kind, text = own["apart"]
        assert kind == "ProcessesError" and text.startswith(
            f"process 1 of {number} has other numbers of 'b' than process 0"
        )


@each_number
def test_rules_without_a_gradient_are_refused(number: int, groups: Any) -> None:
    for own in groups[number]:
        kind, text = own["black box"]
        assert kind == "UnsupportedError" and "over processes that share a batch" in text


@each_number
def test_an_update_says_what_it_sent(number: int, groups: Any) -> None:
    """Two numbers, and the gradient once, in float64."""
    task, program = prepared("bptt", "torch")
    size = sum(v.size for v in gradient(learning.get("bptt"), program, task).values())
    for own in groups[number]:
        assert own["spent"]["communication_bytes"] == 8 * (size + 2)
        assert 0 < own["spent"]["communication_s"] < 60

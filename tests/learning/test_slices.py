"""Batches in slices: the whole's gradient for any split, the same bits however many processes share the slices, refusals by name. All in one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest

import backends
import tasks
from neuro import UnsupportedError, learning
from neuro.compiler.parameters import values
from neuro.learning.common import slices
from neuro.learning.common.processes import Processes
from neuro.learning.gradient import sliced
from neuro.learning.gradient.bptt import BPTT
from neuro.learning.gradient.gradient_rule import GradientRule
from neuro.learning.loop import Unwritten, train
from neuro.options import OptionError
from neuro.protocols import Array, Batch, RunError
from tests.learning.shared_batches import EXAMPLES, Ragged, curve, gradient, program_of

SLICED = ("bptt", "eprop", "rflo", "snap1", "rtrl")
UNSLICED = {"uoro": "random signs", "actor-critic": "actions", "reward-eprop": "actions", "flossing": "one trajectory", "contrastive": "settled"}  # fmt: skip


def close(found: Any, wanted: Any, tolerance: float) -> None:
    """Relative to the largest of each array."""
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert np.abs(value).max() > 0, name
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * np.abs(value).max(), err_msg=name)


def given(task: Ragged, rule: str) -> Batch:
    """Eligibility rules want all spikes in the batch."""
    batch = task.batch()
    return batch if rule == "bptt" or not task.drawn else replace(batch, inputs={**batch.inputs, "background": np.random.default_rng(0).random((EXAMPLES, 24, 3)) < 0.1})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("bptt", "native"),
        ("bptt", "torch"),
        ("eprop", "native"),
        ("rflo", "torch"),
        ("snap1", "torch"),
        ("rtrl", "reference"),
    ],
)
def test_slices_of_a_ragged_batch_give_its_gradient(name: str, backend: str) -> None:
    """Noise and Poisson inputs among it; slices of one example, of one that doesn't count, and of none."""
    task = Ragged()
    program, batch = program_of(task, backend), given(task, name)
    whole = gradient(learning.get(name), program, task, batch)
    for number in (3, EXAMPLES + 2):
        close(gradient(learning.get(name, slices=number), program, task, batch), whole, 1e-10)
    moved = gradient(learning.get(name), program, task, replace(batch, trial=1))
    assert any(np.abs(moved[n] - whole[n]).max() > 1e-3 * np.abs(whole[n]).max() for n in whole), (
        "the noise is no noise"
    )


def test_layerwise_in_slices_where_nothing_is_normalised() -> None:
    task: Any = tasks.get("quantised-images", source="digits")
    program = backends.get("torch").compile(task.network(0))
    batch = next(iter(task.train_batches(np.random.default_rng(0), 5)))
    options = {"trainable": ("*.w",), "normalised": "none"}
    whole = gradient(learning.get("layerwise", **options), program, task, batch)
    close(gradient(learning.get("layerwise", slices=3, **options), program, task, batch), whole, 1e-10)
    with pytest.raises(UnsupportedError, match=r"mean and scale of population .* are those of the whole batch"):
        gradient(learning.get("layerwise", slices=3, trainable=("*.w",)), program, task, batch)


@pytest.mark.parametrize("truncate", [0, 7])
def test_trials_that_begin_elsewhere_and_parts_of_trials(truncate: int) -> None:
    """What a batch begins with is cut; what it ends with is put together again, also of trials of which nothing counts any more."""
    task = Ragged(noise=False)
    program = program_of(task, "native")
    start = program.run(inputs=task.batch().inputs).state
    moved = np.random.default_rng(0).normal(-60e-3, 5e-3, (EXAMPLES, 6))
    batch = replace(task.batch(), state=start.with_variables({"hidden.v": moved}))
    whole = gradient(learning.get("bptt", truncate=truncate), program, task, batch)
    close(gradient(learning.get("bptt", truncate=truncate, slices=3), program, task, batch), whole, 1e-10)

    ended = []
    for number in (0, 4):
        rule = learning.get("bptt", truncate=truncate, slices=number)
        memory: dict[str, Array] = {}
        now, shapes = dict(values(program.network)), {n: values(program.network)[n].shape for n in rule.names(program)}
        for k in range(3):
            part = task.batch(follows=k > 0, draw=k)
            _, slopes = rule.estimated(program, now, part, task, memory, k, shapes)
        ended.append((slopes, memory))
    close(ended[1][0], ended[0][0], 1e-10)
    assert ended[0][1].keys() == ended[1][1].keys() and len(ended[0][1]) > 4
    for name, array in ended[0][1].items():
        np.testing.assert_array_equal(ended[1][1][name], array, err_msg=name)


class Threads(Processes):
    """Processes that are threads: what one sends lies where all see it."""

    def __init__(self, rank: int, number: int, table: list[Any], barrier: Barrier) -> None:
        super().__init__(rank, number)
        self.table, self.barrier = table, barrier

    def collected(self, value: Any) -> list[Any]:
        self.table[self.rank] = value
        self.barrier.wait()
        found = list(self.table)
        self.barrier.wait()
        return found

    def gathered(self, numbers: Array, device: Any = None) -> list[Array]:
        return self.collected(numbers.copy())

    def summed(self, numbers: Array, device: Any = None) -> Array:
        return np.asarray(sum(self.collected(numbers)))


def by_threads(number: int, parts: int, estimate: Any, batch: Batch) -> list[Any]:
    """What each of so many processes finds, or what it raises. parts: slices, 0 for one a process."""
    table, barrier, found = [None] * number, Barrier(number), [None] * number

    def work(rank: int) -> None:
        try:
            found[rank] = sliced.estimated(
                estimate, batch, Ragged(), {}, shapes={"a": (3,), "b": ()}, number=parts, dtype=np.float64,
                together=Threads(rank, number, table, barrier),
            )  # fmt: skip
        except Exception as error:
            found[rank] = error

    threads = [Thread(target=work, args=(rank,)) for rank in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def numbers(batch: Batch, task: Any, memory: Any) -> tuple[float, dict[str, Array]]:
    """Of many digits, so that another order of summation gives other bits."""
    random = np.random.default_rng(int(1e6 * abs(batch.targets.sum())))
    return float(random.normal()), {
        "a": random.normal(0, 10.0 ** random.integers(-6, 6), 3),
        "b": random.normal(size=()),
    }


@pytest.mark.parametrize("parts", [1, 3, 4, 5, 8, 13])
def test_the_same_bits_for_any_number_of_processes(parts: int) -> None:
    batch = Ragged().batch(13)
    alone = by_threads(1, parts, numbers, batch)[0]
    for number in (2, 3, 4, 6):
        for loss, slopes in by_threads(number, parts, numbers, batch):
            assert loss == alone[0]
            for name in slopes:
                np.testing.assert_array_equal(slopes[name], alone[1][name])


def test_another_order_would_give_other_bits() -> None:
    batch = Ragged().batch(13)
    straight = [by_threads(1, parts, numbers, batch)[0][0] for parts in (4, 5)]
    assert straight[0] != straight[1]
    shares = slices.shares(Ragged(), batch, slices.divided(13, 13))
    terms = [s * numbers(slices.cut(batch, (k, k + 1)), None, None)[1]["a"] for k, s in enumerate(shares)]
    tree, line = by_threads(1, 13, numbers, batch)[0][1]["a"], sum(terms)
    np.testing.assert_allclose(tree, line, rtol=1e-9)
    assert (tree != line).any()


@pytest.mark.parametrize("parts", [0, 4])
def test_an_error_in_one_process_is_raised_there_and_told_in_the_others(parts: int) -> None:
    def estimate(batch: Batch, task: Any, memory: Any) -> Any:
        if batch.trial >= 4:
            raise RunError(f"trial {batch.trial} went wrong")
        return numbers(batch, task, memory)

    first, second = by_threads(2, parts, estimate, Ragged().batch(8))
    assert isinstance(second, RunError) and str(second) == "trial 4 went wrong"
    assert type(first).__name__ == "ElsewhereError" and str(first) == "process 1 of 2: trial 4 went wrong"


def test_updates_in_slices_follow_those_of_the_whole() -> None:
    task = Ragged()
    program = program_of(task, "native")
    losses, parameters = curve(learning.get("bptt", learning_rate=0.05, clip=1.0), program, task, 6)
    found, others = curve(learning.get("bptt", learning_rate=0.05, clip=1.0, slices=3), program, task, 6)
    np.testing.assert_allclose(found, losses, rtol=1e-8)
    close(others, parameters, 1e-8)


# -- what is refused ---------------------------------------------------------------------------------------


def following() -> dict[str, Any]:
    return {
        n: c
        for n in learning.names()
        if isinstance(c := learning.REGISTRY.maker(n), type) and issubclass(c, GradientRule)
    }


def test_every_rule_that_follows_a_gradient_says_whether_slices_give_it() -> None:
    found = {n: vars(c).get("unsliced") for n, c in following().items()}
    assert {n for n, why in found.items() if why == ""} == {*SLICED, "layerwise"}
    for name, why in found.items():
        assert name in SLICED or name == "layerwise" or UNSLICED[name] in str(why), name


@pytest.mark.parametrize("name", UNSLICED)
def test_rules_whose_batch_is_one_thing_refuse_slices_by_name(name: str) -> None:
    with pytest.raises(
        UnsupportedError, match=f"rule '{name}' over processes, or in slices: .*{UNSLICED[name]}.*train in one process"
    ):
        learning.get(name, slices=2).check_slices(None, Ragged())


def test_more_slices_than_any_batch_has_examples() -> None:
    with pytest.raises(OptionError, match="slices=1000000000; give 65536 at most"):
        BPTT(slices=10**9)


class Summed(Ragged):
    """Whose loss is a sum, and who says that it is the mean of the steps that count."""

    def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
        return super().loss(spikes, traces, batch) * self.weight(batch)


class Examples(Ragged):
    """Whose loss is the mean of the steps that count, and who says nothing of it."""

    weight = None  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [Summed, Examples])
def test_a_loss_that_is_no_mean_of_its_slices_is_refused_before_learning(kind: Any) -> None:
    task = kind()
    program = program_of(task, "torch")
    wrong = r"task 'ragged': its loss of a batch is .* of two slices .* weight\(batch\)"
    with pytest.raises(OptionError, match=wrong):
        train(task, program, learning.get("bptt", slices=2), Unwritten(), epochs=1, seed=0, batch=EXAMPLES)
    train(task, program, learning.get("bptt"), Unwritten(), epochs=1, seed=0, batch=EXAMPLES)
    own = Ragged()
    train(own, program, learning.get("bptt", slices=2), Unwritten(), epochs=1, seed=0, batch=EXAMPLES)


def test_a_rule_that_says_nothing_is_refused() -> None:
    class Own(learning.REGISTRY.maker("bptt")):  # type: ignore[misc]
        known_as = "own"

    with pytest.raises(UnsupportedError, match=r"rule 'own' .* it doesn't say that its estimate"):
        Own(slices=2).check_slices(None, Ragged())


def test_penalties_and_losses_of_the_whole_batch_are_refused() -> None:
    program = program_of(Ragged(), "torch")
    with pytest.raises(OptionError, match="rate_strength: the penalty is of the whole batch's mean rates"):
        gradient(learning.get("bptt", slices=2, rate_strength=1.0), program, Ragged())
    with pytest.raises(
        UnsupportedError, match="task 'cue-accumulation': its loss has the square of the cells' mean rate"
    ):
        learning.get("bptt", slices=2).check_slices(program, tasks.get("cue-accumulation"))


@pytest.mark.parametrize("number", [-1, 1.5, True])
def test_slices_are_counted(number: Any) -> None:
    with pytest.raises(OptionError, match=r"slices=.*whole number"):
        BPTT(slices=number)


def test_batches_that_do_not_fit_are_refused_by_name() -> None:
    task = Ragged()
    program = program_of(task, "torch")
    with pytest.raises(RunError, match="input 'x' has 7 examples and targets 1; give as many"):
        gradient(learning.get("bptt", slices=2), program, task, replace(task.batch(), targets=np.zeros((1, 24, 2))))
    silent = replace(task.batch(), mask=np.zeros((EXAMPLES, 24), bool))
    with pytest.raises(FloatingPointError, match="nothing of the batch counts"):
        gradient(learning.get("bptt", slices=2), program, task, silent)


def nodes(number: int, own: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [n for part in own for n in slices.nodes((0, number), part)]


@pytest.mark.parametrize("number", [1, 5, 8])
@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_nodes_of_all_parts_are_the_leaves_once(number: int, parts: int) -> None:
    found = nodes(number, slices.divided(number, parts))
    assert [k for first, last in found for k in range(first, last)] == list(range(number))

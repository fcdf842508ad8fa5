"""Benchmarks: every module imports and its definitions compile; ratios, targets and memory are what they say."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from twinspike import benches, timing
from twinspike.benches.peers import balanced
from twinspike.benchmark import Bench, Figure


def definitions() -> dict[str, Callable[[], Any]]:
    from twinspike.benches import coba, cuba, es, scaling, training

    few = np.arange(5), np.arange(5, 10)
    rest = {n: np.zeros(balanced.CELLS) for n in ("v", "ge", "gi")}
    return {
        "coba": lambda: coba.network((few, few), rest),
        "cuba": lambda: cuba.network((few, few), rest),
        "es": lambda: es.network("euler"),
        "scaling": lambda: scaling.network(10),
        "training": training.network,
    }


@pytest.mark.parametrize("name", benches.names())
def test_a_benchmark_imports_and_can_be_run(name: str) -> None:
    assert callable(import_module(f"twinspike.benches.{name}").run)


@pytest.mark.parametrize("name", sorted(definitions()))
def test_its_definition_compiles(name: str) -> None:
    program = backends.get("reference").compile(definitions()[name]())
    assert program.network.name


def test_a_training_step_of_ours_gives_a_loss() -> None:
    from twinspike.benches import training

    x, labels = training.data(batch=2, steps=5)
    assert 0.0 < training.ours("torch", x, labels)() < 20.0


def test_candidates_of_es_spike_as_the_interpreter_says() -> None:
    from twinspike.benches import es

    candidates = np.random.default_rng(0).normal(0.0, 0.02, (8, 100, 100))
    expected, found = (es.ours(name, "euler", candidates, steps=200)() for name in ("reference", "native"))
    assert (expected.sum(axis=1) >= 50).all()
    assert np.array_equal(found, expected)


def test_eprop_by_random_feedback_has_the_same_gradient_on_native_and_torch() -> None:
    import tasks
    from twinspike.benches import eprop

    rule = "e-prop, random feedback"
    expected, found = (
        eprop.gradient(backend, rule, tasks.get("evidence"), eprop.trials(steps=60))()
        for backend in ("torch", "native")
    )
    assert {"feed.w", "loop.w", "readout.w"} <= set(expected)
    for name, slope in expected.items():
        assert np.abs(slope).max() > 0
        np.testing.assert_allclose(found[name], slope, rtol=1e-3, atol=1e-5 * np.abs(slope).max())


def test_ratios_are_medians_of_rounds_with_their_control(tmp_path: Path) -> None:
    now = [0.0]

    def takes(*seconds: float) -> Callable[[], None]:
        turn = count()

        def function() -> None:
            now[0] += seconds[min(next(turn), len(seconds) - 1)]

        return function

    functions = {"ours": takes(1.0), "ours" + timing.CONTROL: takes(1.0), "theirs": takes(3.0, 3.0, 4.0)}
    times = timing.interleaved(functions, rounds=5, clock=lambda: now[0])
    assert times["theirs"] == [4.0] * 5
    bench = Bench("some", tmp_path)
    bench.ratios("some", times, "ours", targets={"theirs": 0.2}, shares={"theirs": 0.5})
    (figure,) = bench.figures
    assert (figure.value, figure.control, figure.reached) == (1 / 8, 1.0, True)


@pytest.mark.parametrize(("value", "at_least", "reached"), [(0.2, False, True), (0.3, False, False), (0.3, True, True)])
def test_a_target_is_a_bound(value: float, at_least: bool, reached: bool) -> None:
    figure = Figure("some", "ours", "theirs", "", "", value, value, value, target=0.25, at_least=at_least)
    assert figure.reached is reached
    assert figure.row([])[-2] == ("yes" if reached else "NO")


def _peak_with(size: int) -> int:
    kept = np.ones(size, np.uint8)
    return timing.peak_memory() + 0 * len(kept)


def test_peak_memory_of_a_fresh_process_counts_what_it_allocates() -> None:
    small, large = (timing.in_fresh_process(_peak_with, n) for n in (0, 64 * 2**20))
    assert 60 * 2**20 < large - small < 80 * 2**20


def test_a_stream_s_and_a_session_s_benchmarks_do_what_they_say() -> None:
    """The networks fire, and the figures name what they hold."""
    from twinspike.benches import going_on

    for network in (going_on.cells(20), going_on.cells(20, noise=True)):
        assert backends.get("native").compile(network).run(steps=2000).spike_count() > 20
    assert going_on.streamed(20_000) > 2**20 < going_on.noisy(10)


def test_all_kernels_of_binary_products_give_the_same_whole_numbers() -> None:
    """Also where naive loops do some of the rows alone."""
    from twinspike.benches import xnor

    rng = np.random.default_rng(0)
    wide = xnor.products(1000, rng), xnor.networks((13, 2100, 2100, 9), rng)
    for functions, shares in (xnor.products(20, rng), xnor.networks((13, 70, 9), rng), *wide):
        ours = functions.pop(xnor.OURS)()
        assert len(np.unique(ours)) > 5 and {xnor.SUMS, xnor.ROWS} == set(shares) < set(functions)
        for name, function in functions.items():
            found = function()
            assert len(found) == shares.get(name, 1) * len(ours) > 0
            np.testing.assert_array_equal(found, ours[: len(found)])
    assert {*wide[0][1].values(), *wide[1][1].values()} != {1.0}

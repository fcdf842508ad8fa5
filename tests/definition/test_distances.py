"""Probabilities that depend on distance: the pairs of a brute-force search, each with its probability, on every backend."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats

import backends
from neuro import Distance, Gamma, Input, ModelError, Network, Neuron, Normal, Population, Projection, Synapse, quantity
from neuro.compiler import distances
from neuro.compiler.connecting import wiring
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve
from neuro.io.serialisation import content_hash, from_json, to_json
from neuro.surgery import added, removed

CELL = Neuron("cell", "v : 1", every_step="v = v", threshold="v > 1", reset="v = 0")
PULSE = Synapse("pulse", "w : 1", on_pre="v_post += w")
EVERYWHERE = ("reference", "native", "torch", "brian2")


def places(count: int, axes: int = 2, seed: int = 0) -> Any:
    return np.random.default_rng([seed, count]).uniform(-1, 2, (count, axes))


def network(connectivity: Any, pre: Any, post: Any = None, **given: Any) -> Network:
    """Cells a -> cells b; a alone where there are no others."""
    populations = [Population(n, CELL, len(x), positions=x) for n, x in (("a", pre), ("b", post)) if x is not None]
    link = Projection("link", "a", populations[-1].name, PULSE, connectivity=connectivity, **{"weights": 1, **given})
    return Network(tuple(populations), (link,), dt="1 ms", seed=3)


def drawn(connectivity: Any, pre: Any, post: Any = None) -> Any:
    """Which pairs are joined, [pre, post]."""
    made = network(connectivity, pre, post)
    wires = wiring(made, made.projections[0])
    found = np.zeros((len(pre), len(pre if post is None else post)), int)
    np.add.at(found, (wires.pre_index, wires.post_index), 1)
    assert found.max() <= 1 and (np.diff(wires.pre_index * found.shape[1] + wires.post_index) > 0).all()
    return found.astype(bool)


def between(pre: Any, post: Any, period: Any = np.inf) -> Any:
    """Distances [pre, post]: the nearest of the copies of each cell, one period to each side along each axis that has one."""
    ways = np.abs(pre[:, None] - post[None])
    length = np.broadcast_to(period, pre.shape[1:])
    ways = np.where(np.isfinite(length), np.mod(ways, length), ways)
    return np.sqrt((np.where(np.isfinite(length), np.minimum(ways, length - ways), ways) ** 2).sum(axis=-1))


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("period", [None, 2.0, "each"])
@pytest.mark.parametrize("chunk", [2**20, 50])
def test_the_pairs_are_those_of_a_search_by_hand(
    axes: int, period: Any, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distances, "_CHUNK", chunk)
    length: Any = np.array([1.5, np.inf, 3.0][:axes]) if period == "each" else period
    pre, post = places(40, axes), places(70, axes)
    d = between(pre, post, np.inf if length is None else length)
    assert 50 < (d < 0.7).sum() < 2700
    assert np.array_equal(drawn(Distance("int(d < 0.7)", period=length), pre, post), d < 0.7)
    assert np.array_equal(drawn(Distance("1", 0.7, length), pre, post), d <= 0.7)
    assert np.array_equal(drawn(Distance("int(d < 0.7)", 0.9, length), pre, post), d < 0.7)


@pytest.mark.parametrize("cutoff", [None, 1.2])
def test_each_pair_has_the_probability_of_its_distance(cutoff: float | None) -> None:
    """In bands of distance, as many as binomial numbers allow; beyond 1 the profile counts as 1."""
    pre, post = places(300), places(400)
    d = between(pre, post)
    found = drawn(Distance("1.6*exp(-d/0.5)", cutoff), pre, post)
    p = np.minimum(1.6 * np.exp(-d / 0.5), 1) * (d <= (cutoff or np.inf))
    assert found[p == 1].all() and not found[p == 0].any() and (p == 1).sum() > 100
    for low in np.arange(0.25, 1.2, 0.1):
        band = (d >= low) & (d < low + 0.1)
        assert abs((found - p)[band].sum()) < 4 * np.sqrt((p * (1 - p))[band].sum()) + 1e-9
        assert band.sum() > 1000
    rows = found.sum(axis=1) - p.sum(axis=1)
    assert stats.kstest(rows / np.sqrt((p * (1 - p)).sum(axis=1)), "norm").pvalue > 1e-3


def test_a_grid_joins_neighbours_as_the_profile_says() -> None:
    """6 x 6 x 15 cells, c exp(-d/0.25): as many pairs as the sum of probabilities, nearly all between neighbours."""
    grid = np.stack(np.meshgrid(range(6), range(6), range(15), indexing="ij"), axis=-1).reshape(-1, 3)
    found = drawn(Distance("54*exp(-d/0.25)", self_connections=False), grid)
    d = between(grid, grid)
    p = np.where(d > 0, np.minimum(54 * np.exp(-d / 0.25), 1), 0)
    assert abs(found.sum() - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum()) and not found[d == 0].any()
    assert found[d == 1].mean() > 0.97 and found.sum() > 1000


def test_lengths_have_units_and_plain_numbers_have_none() -> None:
    plain = drawn(Distance("0.9*exp(-d/0.5)", 1.5), places(50))
    lengths = drawn(Distance("0.9*exp(-d/(500*umetre))", "1500 um"), quantity(places(50) * 1e3, "um"))
    assert 100 < plain.sum() < 2000 and np.array_equal(plain, lengths)


@pytest.mark.parametrize("cutoff", [None, 0.8])
def test_the_first_rows_are_the_same_however_many_there_are(
    cutoff: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, pre, post = Distance("exp(-d)", cutoff), places(60), places(90)
    every = drawn(item, pre, post)
    assert np.array_equal(drawn(item, pre[:23], post), every[:23]) and 100 < every.sum() < 4000
    monkeypatch.setattr(distances, "_CHUNK", 7)
    assert np.array_equal(drawn(item, pre, post), every)


def test_a_cell_need_not_join_itself() -> None:
    every, others = (drawn(Distance("0.5", self_connections=s), places(80)) for s in (True, False))
    assert every.diagonal().any() and np.array_equal(others, every & ~np.eye(80, dtype=bool))
    assert drawn(Distance("1", self_connections=False), places(5), places(5)).all()


def test_memory_follows_the_near_pairs() -> None:
    line = np.arange(100_000.0)[:, None]
    made = network(Distance("exp(-d/2)", cutoff=10), line)
    tracemalloc.start()
    found = len(wiring(made, made.projections[0]).pre_index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    per_cell = 1 + 2 * np.exp(-np.arange(1, 11) / 2).sum()
    assert abs(found / 1e5 - per_cell) < 0.05 and peak < 250e6  # all pairs would be 10**10


def test_what_cannot_fit_is_refused_while_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["neuro.checks.memory"], "machine_memory", lambda: 1e6)
    monkeypatch.setattr(distances, "_CHUNK", 10_000)
    with pytest.raises(ModelError, match=r"'link': about .* synapses need .*MiB, and this machine has[\s\S]*cutoff="):
        resolve(network(Distance("0.5"), places(1000))).wires  # noqa: B018  it draws


@pytest.mark.parametrize("backend", EVERYWHERE)
def test_it_is_the_same_on_every_backend(backend: str) -> None:
    """Each synapse of drawn weight and delay adds at its own time to cells that only add."""
    made = network(
        Distance("0.9*exp(-d)", period=2.0),
        places(6),
        places(5),
        weights=Gamma("0.1", "0.05"),
        delay=Normal("3 ms", "2 ms"),
    )
    wires, delays = resolve(made).wires["link"], np.asarray(resolve(made).delays["link"])
    assert 8 < len(wires.pre_index) < 30 and len(np.unique(delays)) > 3
    start = np.arange(6) % 2 * 2.0  # cells above the threshold fire at once
    made = from_json(to_json(made))
    fired = Population("a", CELL, 6, initial={"v": quantity(start)}, positions=places(6))
    made = Network((fired, made.populations[1]), made.projections, dt="1 ms", seed=3)
    expected = np.zeros((12, 5))
    for pre, post, delay, weight in zip(
        wires.pre_index, wires.post_index, delays, parameters(made)["link.w"].value, strict=True
    ):
        if start[pre]:
            expected[delay:, post] += weight
    assert 0.05 < expected[-1].max() < 1
    found = backends.get(backend).compile(made).run(steps=12, record=["b.v"])
    np.testing.assert_allclose(found.traces["b.v"][0], expected, rtol=1e-12)


def test_it_goes_through_files() -> None:
    made = network(
        Distance("exp(-d/(2*umetre))", "9 um", quantity([5, np.inf], "um"), False), quantity(places(40), "um")
    )
    again = from_json(to_json(made))
    assert again == made and hash(again) == hash(made) and content_hash(again) == content_hash(made)
    assert "Distance" in str(made)
    assert "positions" not in to_json(Network((Population("a", CELL, 3),), dt="1 ms"))
    moved = network(made.projections[0].connectivity, quantity(places(40, seed=1), "um"))
    assert content_hash(moved) != content_hash(made)


def test_surgery_moves_positions_with_their_cells() -> None:
    made = network(Distance("exp(-d)"), places(20))
    cut = removed(made, "a", [3, 5]).after
    kept = np.delete(np.arange(20), [3, 5])
    assert np.array_equal(cut.population("a").positions.value, places(20)[kept])
    before, after = drawn(Distance("exp(-d)"), places(20)), resolve(cut).wires["link"]
    assert np.array_equal(np.stack([after.pre_index, after.post_index]), np.nonzero(before[np.ix_(kept, kept)]))
    with pytest.raises(ModelError, match=r"'a\.positions': a new cell has none"):
        added(made, "a", 2)
    wider = added(made, "a", 2, values={"a.positions": 0.25}).after
    assert (wider.population("a").positions.value[20:] == 0.25).all()


CELLS = places(4)
REFUSED: dict[str, tuple[Any, str]] = {
    "no positions": (lambda: Network((Population("a", CELL, 3),), (Projection("link", "a", "a", PULSE, "1", Distance("1")),)), "population 'a' has no positions[\\s\\S]*positions="),
    "of an input": (
        lambda: Network((Population("a", CELL, 4, positions=CELLS),), (Projection("link", "x", "a", PULSE, "1", Distance("1")),), (Input("x", 2),)),
        "input 'x' has no positions[\\s\\S]*Probability",
    ),
    "other space": (lambda: network(Distance("1"), CELLS, places(3, 3)), "population 'a' lies in 2 axes, population 'b' in 3"),
    "other unit": (lambda: network(Distance("1"), CELLS, quantity(CELLS, "um")), "'positions' is in meter, but 1 is needed"),
    "unit of the cutoff": (lambda: network(Distance("1", "1 um"), CELLS), "'cutoff' is in meter"),
    "unit of the period": (lambda: network(Distance("1", period="1 um"), CELLS), "'period' is in meter"),
    "axes of the period": (lambda: network(Distance("1", period=[1, 1, 1]), CELLS), "'period' has the shape"),
    "unit of the profile": (lambda: network(Distance("exp(-d)"), quantity(CELLS, "um")), "argument of exp\\(\\) must be dimensionless"),
    "a length": (lambda: network(Distance("d"), quantity(CELLS, "um")), "the probability is in meter, but 1 is needed"),
    "another name": (lambda: network(Distance("exp(-r)"), CELLS), "unknown identifier 'r'"),
    "no expression": (lambda: Distance("exp(-d"), "this is not an expression"),
    "nothing": (lambda: Distance(""), "the expression is empty"),
    "code": (lambda: Distance("__import__('os').getcwd()"), "only plain function calls"),
    "no real number": (lambda: network(Distance("sqrt(-1) + 0*d"), CELLS), "Distance, profile"),
    "no number at 0": (lambda: resolve(network(Distance("-0.1*d*log(d)"), CELLS)).wires, "gives no number at d = 0"),
    "negative cutoff": (lambda: Distance("1", -1), "the cutoff -1 is not positive"),
    "cutoff of nan": (lambda: Distance("1", float("nan")), "the cutoff nan is not positive"),
    "several cutoffs": (lambda: Distance("1", [1.0, 2.0]), "'cutoff' has the shape"),
    "period of 0": (lambda: Distance("1", period=[1, 0]), "is not positive"),
    "one axis short": (lambda: Population("a", CELL, 3, positions=[0, 1, 2]), "positions have the shape \\[3\\][\\s\\S]*\\[:, None\\]"),
    "other number": (lambda: Population("a", CELL, 3, positions=CELLS), "the positions have the shape \\[4, 2\\]"),
    "four axes": (lambda: Population("a", CELL, 3, positions=places(3, 4)), "one to three axes"),
    "no number": (lambda: Population("a", CELL, 1, positions=[[np.nan]]), "positions: the value nan is not finite"),
    "time": (lambda: Population("a", CELL, 1, positions=quantity([[1.0]], "ms")), "positions in second are no lengths"),
    "text": (lambda: Population("a", CELL, 1, positions="here"), "population 'a', positions"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_with_the_fix(case: str) -> None:
    make, said = REFUSED[case]
    with pytest.raises(ModelError, match=said):
        make()

"""Fixed numbers of synapses: as many as are asked for, each as likely as any other, the same for any split of the work, on every backend."""

from __future__ import annotations

import tracemalloc
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

import backends
from neuro import (
    FixedInDegree,
    FixedOutDegree,
    FixedTotal,
    Gamma,
    Input,
    LogNormal,
    ModelError,
    Network,
    Neuron,
    Normal,
    Population,
    Projection,
    Synapse,
    quantity,
)
from neuro.compiler import connecting
from neuro.compiler.connecting import wiring
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve
from neuro.io.serialisation import from_json, to_json
from neuro.surgery import removed

CELL = Neuron("cell", "v : 1", every_step="v = v", threshold="v > 1e9", reset="v = 0")
PULSE = Synapse("pulse", "w : 1", on_pre="v_post += w")
EVERYWHERE = ("reference", "native", "torch", "brian2")
KINDS = (FixedTotal, FixedInDegree, FixedOutDegree)


def network(connectivity: Any, pre: int = 40, post: int = 30, seed: int = 3, **given: Any) -> Network:
    """Inputs x -> cells; loop of the cells where pre is 0."""
    sources = (Input("x", pre),) if pre else ()
    link = Projection(
        "link", "x" if pre else "cells", "cells", PULSE, connectivity=connectivity, **{"weights": 1, **given}
    )
    return Network((Population("cells", CELL, post),), (link,), sources, dt="1 ms", seed=seed)


def drawn(connectivity: Any, pre: int = 40, post: int = 30, seed: int = 3) -> tuple[Any, Any]:
    made = network(connectivity, pre, post, seed)
    wires = wiring(made, made.projections[0])
    rows, columns = wires.pre_index, wires.post_index
    assert (np.diff(rows * post + columns) >= 0).all(), "ordered by source, then by target"
    assert rows.dtype == columns.dtype == np.int64 and (
        not len(rows) or (rows.max() < (pre or post) and columns.max() < post)
    )
    return rows, columns


@pytest.mark.parametrize("multapses", [True, False])
@pytest.mark.parametrize("self_connections", [True, False])
@pytest.mark.parametrize("pre", [40, 0])
def test_there_are_as_many_as_are_asked_for(pre: int, multapses: bool, self_connections: bool) -> None:
    options = (multapses, self_connections)
    rows, columns = drawn(FixedTotal(700, *options), pre)
    assert len(rows) == 700 and (len(np.unique(rows * 30 + columns)) < 700) == multapses
    assert (pre == 0 and not self_connections) == (not (rows == columns).any())
    rows, columns = drawn(FixedInDegree(20, *options), pre)
    assert (np.bincount(columns, minlength=30) == 20).all() and len(np.unique(np.bincount(rows))) > 1
    assert (len(np.unique(rows * 30 + columns)) < 600) == multapses
    rows, columns = drawn(FixedOutDegree(20, *options), pre)
    assert (np.bincount(rows) == 20).all() and len(np.unique(np.bincount(columns))) > 1
    assert (len(np.unique(rows * 30 + columns)) < len(rows)) == multapses


@pytest.mark.parametrize(("kind", "most"), [(FixedTotal, 30 * 29), (FixedInDegree, 29), (FixedOutDegree, 29)])
def test_all_there_are_is_all_to_all(kind: Any, most: int) -> None:
    rows, columns = drawn(kind(most, False, False), 0)
    expected = np.nonzero(~np.eye(30, dtype=bool))
    assert np.array_equal(rows, expected[0]) and np.array_equal(columns, expected[1])
    assert not len(drawn(kind(0))[0])


def test_a_fixed_total_is_multinomial_over_pairs() -> None:
    """Counts of pairs have a multinomial's mean and variance, so do those of rows and columns."""
    rows, columns = drawn(FixedTotal(60_000))
    pairs = np.bincount(rows * 30 + columns, minlength=1200)
    for counts in (pairs, np.bincount(rows, minlength=40), np.bincount(columns, minlength=30)):
        assert 1e-3 < stats.chisquare(counts).pvalue < 1 - 1e-3
    totals = [np.bincount(drawn(FixedTotal(100), seed=seed)[0], minlength=40)[7] for seed in range(400)]
    assert abs(np.mean(totals) - 2.5) < 5 * np.sqrt(2.5 / 400)
    assert abs(np.var(totals) / (100 / 40 * 39 / 40) - 1) < 5 * np.sqrt(2 / 400)


def test_the_number_of_a_probability_joins_that_share_of_pairs() -> None:
    """K = log(1 - C)/log(1 - 1/(Ns Nt)) synapses, drawn with multapses, leave each pair unjoined with probability 1 - C."""
    share, pairs = 0.2, 400 * 300
    rows, columns = drawn(FixedTotal(round(np.log(1 - share) / np.log(1 - 1 / pairs))), 400, 300)
    joined = len(np.unique(rows * 300 + columns))
    assert abs(joined - share * pairs) < 5 * np.sqrt(pairs * share * (1 - share))
    assert len(rows) > joined


@pytest.mark.parametrize("k", [2, 3])
def test_each_choice_without_multapses_is_as_likely(k: int) -> None:
    """Two of five, and three of five, which are drawn as the two that are left out."""
    columns = drawn(FixedOutDegree(k, multapses=False), 5000, 5)[1]
    found = [tuple(row) for row in columns.reshape(5000, k).tolist()]
    counts = [found.count(choice) for choice in combinations(range(5), k)]
    assert sum(counts) == 5000 and stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("multapses", [True, False])
@pytest.mark.parametrize("k", [3, 25])
def test_a_row_is_the_same_however_many_there_are(k: int, multapses: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, columns = drawn(FixedOutDegree(k, multapses))
    fewer = drawn(FixedOutDegree(k, multapses), 11)
    assert np.array_equal(fewer[1], columns[rows < 11])
    sources, targets = drawn(FixedInDegree(k, multapses))
    some = drawn(FixedInDegree(k, multapses), post=9)
    assert np.array_equal(some[0], sources[targets < 9]) and np.array_equal(some[1], targets[targets < 9])
    total = drawn(FixedTotal(k * 40, multapses))
    monkeypatch.setattr(connecting, "_CHUNK", 7)  # blocks of rows are drawn one after another
    assert np.array_equal(drawn(FixedOutDegree(k, multapses))[1], columns)
    assert np.array_equal(drawn(FixedTotal(k * 40, multapses)), total)


@pytest.mark.parametrize(
    "connectivity", [FixedTotal(10**6), FixedTotal(10**6, False), FixedInDegree(200), FixedOutDegree(200)]
)
def test_memory_follows_the_synapses(connectivity: Any) -> None:
    tracemalloc.start()
    made = network(connectivity, 5000, 5000)
    assert len(wiring(made, made.projections[0]).pre_index) == 10**6
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 10**6  # bytes; 16 of each synapse are kept


@pytest.mark.parametrize("backend", EVERYWHERE)
@pytest.mark.parametrize("kind", KINDS)
def test_each_of_several_synapses_of_a_pair_has_its_own_weight_and_delay(kind: Any, backend: str) -> None:
    """What arrives at a cell that only adds is the sum over synapses, each at its own time."""
    count = 60 if kind is FixedTotal else 12
    made = network(kind(count), 4, 5, weights=LogNormal("1", "0.8"), delay=Normal("3 ms", "2 ms"))
    wires, delays = resolve(made).wires["link"], np.asarray(resolve(made).delays["link"])
    pairs = wires.pre_index * 5 + wires.post_index
    assert len(np.unique(pairs)) < len(pairs) and len(np.unique(delays)) > 3 and delays.min() == 0
    weights = parameters(made)["link.w"].value
    spikes = np.random.default_rng(0).random((1, 20, 4)) < 0.3
    expected = np.zeros((20, 5))
    for pre, post, delay, weight in zip(wires.pre_index, wires.post_index, delays, weights, strict=True):
        for step in np.flatnonzero(spikes[0, : 20 - delay, pre]):
            expected[step + delay :, post] += weight
    found = backends.get(backend).compile(made).run(inputs={"x": spikes}, record=["cells.v"]).traces["cells.v"]
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
    assert expected[-1].min() > 1


@pytest.mark.parametrize(
    "connectivity", [FixedTotal(9), FixedTotal(9, False), FixedInDegree(3, False, False), FixedOutDegree(3)]
)
def test_it_goes_through_files(connectivity: Any) -> None:
    made = network(
        connectivity, 0, delay=Gamma("3 ms", "2 ms", high="9 ms"), weights=Normal("1", "1", low="0", outside="redraw")
    )
    again = from_json(to_json(made))
    assert again == made and again.projections[0].connectivity == connectivity
    assert type(connectivity).__name__ in str(made)
    assert np.array_equal(parameters(again)["link.w"].value, parameters(made)["link.w"].value)


def test_one_value_for_each_synapse_may_be_given() -> None:
    made = network(FixedInDegree(2), 3, 4, weights=quantity(np.arange(8.0)))
    assert np.array_equal(parameters(made)["link.w"].value, np.arange(8.0))
    with pytest.raises(
        ModelError, match=r"projection 'link', weights: 'weights' has the shape \[7\][\s\S]*an array \[8\]"
    ):
        network(FixedInDegree(2), 3, 4, weights=quantity(np.arange(7.0)))


def test_surgery_keeps_the_synapses_between_cells_that_stay() -> None:
    made = network(FixedInDegree(4), 0, weights=Gamma("1", "0.5"), delay=Normal("3 ms", "2 ms"))
    wires, delays, weights = resolve(made).wires["link"], resolve(made).delays["link"], parameters(made)["link.w"].value
    after = removed(made, "cells", [0, 7]).after
    kept = ~np.isin(wires.pre_index, [0, 7]) & ~np.isin(wires.post_index, [0, 7])
    assert 60 < kept.sum() < 120
    assert np.array_equal(resolve(after).delays["link"], np.asarray(delays)[kept])
    assert np.array_equal(parameters(after)["link.w"].value, weights[kept])


REFUSED: dict[str, tuple[Any, str]] = {
    "negative total": (lambda: network(FixedTotal(-1)), "n = -1 synapses are less than none[\\s\\S]*at least 0"),
    "negative degree": (lambda: network(FixedInDegree(-2)), "k = -2 synapses are less than none"),
    "huge": (lambda: network(FixedOutDegree(10**30)), "k = 10+ synapses fit no machine"),
    "more than pairs": (lambda: network(FixedTotal(1201, False)), r"FixedTotal\(n=1201, multapses=False\), but there are only 1200 pairs[\s\S]*use n <= 1200, or multapses=True"),
    "more than sources": (lambda: network(FixedInDegree(41, False)), "only 40 sources of a cell[\\s\\S]*use k <= 40"),
    "more than targets": (lambda: network(FixedOutDegree(31, False)), "only 30 targets of a cell"),
    "more than others": (lambda: network(FixedInDegree(30, False, False), 0), "only 29 sources of a cell"),
    "itself alone": (lambda: network(FixedTotal(1, True, False), 0, 1), "the one cell there is would only join itself[\\s\\S]*allow self_connections"),
    "itself alone, each": (lambda: network(FixedOutDegree(1, True, False), 0, 1), "would only join itself"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_requests_are_refused_with_the_fix(case: str) -> None:
    make, said = REFUSED[case]
    with pytest.raises(ModelError, match=f"projection 'link': .*{said}"):
        make()


@pytest.mark.parametrize("connectivity", [FixedTotal(10**15), FixedInDegree(10**14), FixedOutDegree(10**14)])
def test_what_cannot_fit_is_refused_before_it_is_drawn(connectivity: Any) -> None:
    with pytest.raises(ModelError, match=r"projection 'link': \d+ synapses need .* [TP]iB"):
        resolve(network(connectivity)).wires  # noqa: B018  it draws


@pytest.mark.parametrize("backend", EVERYWHERE)
def test_plastic_parameters_are_drawn_per_synapse(backend: str) -> None:
    """Short-term plasticity: utilisation and time constants of each synapse from gamma distributions, as in cortex."""
    text = "w : 1\ndu/dt = (U - u)/F : 1\ndx/dt = (1 - x)/D : 1"
    synapse = Synapse(
        "stp", text, on_pre="v_post += w*u*x\nx -= u*x\nu += U*(1 - u)", method="exact", initial={"x": "1"},
        parameters={"U": "0.5", "D": "10 ms", "F": "10 ms"},
    )  # fmt: skip
    drawn = {
        "U": Gamma("0.25", "0.13", "0.001", "0.999"),
        "D": Gamma("60 ms", "40 ms", "0.1 ms"),
        "F": Gamma("21 ms", "9 ms", "0.1 ms"),
    }  # type: ignore[arg-type]
    base = network(FixedInDegree(4), 5, 3)
    link = Projection("link", "x", "cells", synapse, Gamma("1", "0.7"), FixedInDegree(4), parameters=drawn)  # type: ignore[arg-type]
    made = Network(base.populations, (link,), base.inputs, dt="1 ms", seed=2)
    known, wires = parameters(made), resolve(made).wires["link"]
    w, use, recovery, facilitation = (known[f"link.{n}"].value for n in ("w", "U", "D", "F"))
    assert all(len(np.unique(values)) == 12 for values in (w, use, recovery, facilitation))
    spikes = np.random.default_rng(1).random((1, 40, 5)) < 0.3
    u, x, v, expected = np.zeros(12), np.ones(12), np.zeros(3), []
    for step in range(40):
        u, x = use + (u - use) * np.exp(-1e-3 / facilitation), 1 + (x - 1) * np.exp(-1e-3 / recovery)
        fired = spikes[0, step, wires.pre_index]
        np.add.at(v, wires.post_index, fired * w * u * x)
        x, u = x - fired * u * x, u + fired * use * (1 - u)
        expected.append(v.copy())
    found = backends.get(backend).compile(made).run(inputs={"x": spikes}, record=["cells.v"]).traces["cells.v"]
    np.testing.assert_allclose(found[0], expected, rtol=1e-10)
    assert expected[-1].min() > 0.5

"""The counts of Poisson drives: their law, and where they stand in the random streams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats

import backends
from neuro import (
    FixedTotal,
    Input,
    ModelError,
    Network,
    Neuron,
    Population,
    Projection,
    Synapse,
    library,
    lower,
    quantity,
)
from neuro.compiler.drives import binomial, counts, cumulative
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.semantics import semantics
from neuro.io.serialisation import from_json, to_json

DECAY = Neuron("decay", "dv/dt = -v/tau : 1", parameters={"tau": "10 ms"})
MEANS = (0.0, 1e-9, 0.02, 0.64, 1.28, 2.32, 17.3, 1e3, 1e4)


def driven(rate: Any = "1 kHz", size: int = 50, *, sources: int = 1, seed: int = 5) -> Network:
    drive = Input("d", size, "drive", "cells.v", rate=rate, weight=1.0, sources=sources)
    return Network((Population("cells", DECAY, size),), (), (drive,), dt="1 ms", seed=seed)


def test_a_network_is_resolved_once() -> None:
    """What its drives have become cells of is itself the network below; its synapses aren't drawn again."""
    pulse = Synapse("pulse", "w : 1", on_pre="v_post += w")
    cell = replace(DECAY, threshold="v > 1", reset="v = 0")
    cells = Population("cells", cell, 50)
    net = replace(
        driven(), populations=(cells,), projections=(Projection("p", "cells", "cells", pulse, 0.1, FixedTotal(100)),)
    )
    below = resolve(net).network
    assert below is not net and resolve(below).network is below
    assert resolve(below).wires["p"] is resolve(net).wires["p"]


@pytest.mark.parametrize("mean", MEANS)
def test_cumulative_probabilities_are_poissons(mean: float) -> None:
    least, table = cumulative(mean)
    known = scipy.stats.poisson.cdf(least + np.arange(len(table)), mean)
    np.testing.assert_allclose(table, known, rtol=1e-12, atol=0)
    assert table[-1] == 1 and (np.diff(table) > 0).all()
    assert least == 0 or scipy.stats.poisson.cdf(least - 1, mean) < 2**-53


@pytest.mark.parametrize("p", [0.0, 1e-9, 0.02, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("n", [1, 7, 800, 10**6])
def test_cumulative_probabilities_are_binomial(n: int, p: float) -> None:
    least, table = binomial(n * p, n)
    places = least + np.arange(len(table))
    np.testing.assert_allclose(table, scipy.stats.binom.cdf(places, n, p), rtol=1e-9, atol=1e-15)
    assert table[-1] == 1 and (np.diff(table) > 0).all() and places[-1] <= n
    assert least == 0 or scipy.stats.binom.cdf(least - 1, n, p) < 2**-53


def test_binomial_counts_have_the_binomial_variance_on_every_backend() -> None:
    """Four sources with probability 0.4 a step: mean 1.6, variance 0.96, where Poisson's is 1.6."""
    net = driven("400 Hz", sources=4)
    net = replace(net, inputs=(replace(net.inputs[0], law="binomial"),))
    found = counts(resolve(net).network, "d", 0, 2, 2000)
    assert found.max() == 4 and abs(found.mean() - 1.6) < 0.02 and abs(found.var() - 0.96) < 0.02
    traces = [
        backends.get(b).compile(net).run(steps=200, batch=2, record=["cells.v"]).traces["cells.v"]
        for b in ("reference", "native", "torch", "brian2")
    ]
    for trace in traces[1:]:
        np.testing.assert_allclose(trace, traces[0], rtol=1e-12)
    assert semantics(net).binomial == ("d",)
    assert from_json(to_json(net)) == net and "law" not in to_json(driven())


def test_brian2s_own_sampling_has_the_same_law() -> None:
    from brian2.input.binomial import BinomialFunction

    drawn = BinomialFunction(4, 0.4).implementations["numpy"].get_code(None)(np.zeros(20000))
    net = driven("400 Hz", sources=4)
    net = replace(net, inputs=(replace(net.inputs[0], law="binomial"),))
    own = counts(resolve(net).network, "d", 0, 1, 400).ravel()
    shares = [np.bincount(np.asarray(x, int), minlength=5) / np.size(x) for x in (drawn, own)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.02)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"law": "normal"}, "there is no law 'normal'"),
        ({"kind": "poisson", "target": "", "weight": None, "law": "binomial"}, "only a drive has a law"),
        (
            {"law": "binomial", "rate": "1.2 kHz"},
            "has 1.2 events in a step of 1 ms, and the binomial law has one at most",
        ),
    ],
)
def test_laws_that_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        net = driven()
        replace(net, inputs=(replace(net.inputs[0], **changed),))


@pytest.mark.parametrize("mean", [1e6, 1e8])
def test_large_means_are_nearly_normal(mean: float) -> None:
    least, table = cumulative(mean)
    quantiles = least + np.searchsorted(table, [0.001, 0.5, 0.999])
    np.testing.assert_allclose(quantiles, scipy.stats.poisson.ppf([0.001, 0.5, 0.999], mean), rtol=0, atol=1)
    assert len(table) < 20 * np.sqrt(mean)


@pytest.mark.parametrize("mean", [0.05, 0.8, 1.28, 2.32, 40.0])
def test_counts_are_poissons(mean: float) -> None:
    """Mean, variance and frequencies of 200,000 counts."""
    found = counts(resolve(driven(quantity(mean * 1000, "Hz"))).network, "d", 0, 4, 1000).ravel()
    number, law = len(found), scipy.stats.poisson(mean)
    assert abs(found.mean() - mean) < 4 * np.sqrt(mean / number)
    spread = np.sqrt((mean + 2 * mean**2) / number)  # of a Poisson variable's sample variance
    assert abs(found.var() - mean) < 4 * spread
    often = np.flatnonzero(number * law.pmf(np.arange(200)) > 20)
    seen = np.bincount(found.astype(int), minlength=200)[often]
    chances = law.pmf(often)
    seen, chances = np.append(seen, number - seen.sum()), np.append(chances, 1 - chances.sum())
    assert (
        scipy.stats.chisquare(
            seen[chances > 1e-9], number * chances[chances > 1e-9] / chances[chances > 1e-9].sum()
        ).pvalue
        > 1e-3
    )


def test_cells_steps_and_trials_have_counts_of_their_own() -> None:
    found = counts(resolve(driven()).network, "d", 0, 3, 2000) - 1.0
    for one, other in (
        (found[:, 1:], found[:, :-1]), (found[:, :, 1:], found[:, :, :-1]), (found[1:], found[:-1]), (found[:, 256:], found[:, :-256]),
    ):  # fmt: skip
        assert abs((one * other).mean()) < 4 / np.sqrt(one.size)


def test_one_rate_for_all_and_one_for_each() -> None:
    """A cell's counts depend on its own rate alone, however the rates are given."""
    rates = np.array([100.0, 2300.0, 0.0, 1e7, 100.0])
    each = counts(resolve(driven(quantity(rates, "Hz"), 5)).network, "d", 2, 2, 300, 40)
    for cell, rate in enumerate(rates):
        alone = counts(resolve(driven(quantity(rate, "Hz"), 5)).network, "d", 2, 2, 300, 40)
        np.testing.assert_array_equal(each[..., cell], alone[..., cell])
    assert (each[..., 2] == 0).all() and (each[..., 3] > 9000).all()


def test_sources_add_their_rates() -> None:
    one, many = (
        counts(resolve(driven(quantity(rate, "Hz"), sources=n)).network, "d", 0, 1, 50)
        for rate, n in ((1600.0, 1), (1.0, 1600))
    )
    np.testing.assert_array_equal(one, many)


def test_any_part_of_a_run_is_drawn_alone() -> None:
    network = resolve(driven(size=7)).network
    whole = counts(network, "d", 0, 4, 700)
    np.testing.assert_array_equal(counts(network, "d", 2, 1, 300, 250)[0], whole[2, 250:550])
    assert (counts(resolve(driven(size=7, seed=6)).network, "d", 0, 4, 700) != whole).any()


def test_a_step_and_its_parameters() -> None:
    network = driven()
    text = str(lower(network))
    assert "drive cells\n    v := v + count__d*weight__d\n" in text
    assert text.index("integrate cells") < text.index("drive cells")
    assert parameters(network)["cells.weight__d"].value == 1.0
    assert "input d: 50 x drive into cells.v, 1 x 1 kHz" in str(network)


def test_a_state_of_a_receptor_that_has_another_name() -> None:
    """A cell that has a variable `s_psc` itself: the receptor's is `psc__s`."""
    from neuro import Projection, Synapse

    psc = Synapse("psc", "w : 1", on_pre="s_post += w", receptor="ds/dt = -s/(2*ms) : 1\nI = s : 1")
    cell = Neuron("cell", "dv/dt = (I + s_psc - v)/(5*ms) : 1\nI : 1\ns_psc = 2 : 1", threshold="v > 1", reset="v = 0")
    feed = Projection("feed", "cells", "cells", psc, 0.1)

    def network(target: str) -> Network:
        return Network(
            (Population("cells", cell, 2),), (feed,), (Input("d", 2, "drive", target, "1 kHz", 0.1),), dt="1 ms"
        )

    assert lower(network("cells.psc__s")).population("cells").counts == (("count__d", "d"),)
    with pytest.raises(ModelError, match="has no state 's_psc'"):
        network("cells.s_psc")
    plain = replace(cell, equations=cell.equations.replace(" + s_psc", "").replace("\ns_psc = 2 : 1", ""))
    assert "s_psc := s_psc +" in str(
        lower(replace(network("cells.psc__s"), populations=(Population("cells", plain, 2),), inputs=(
            Input("d", 2, "drive", "cells.s_psc", "1 kHz", 0.1),
        )))
    )  # fmt: skip
    with pytest.raises(
        ModelError, match="there is no state 's_feed'"
    ):  # the receptor is the synapse's, not the projection's
        lower(network("cells.s_feed"))


def test_many_rates_of_many_events_are_refused() -> None:
    rates = quantity(np.linspace(1e7, 1e10, 2000), "Hz")
    with pytest.raises(ModelError, match="2000 different rates, of up to 1e\\+07 events a step"):
        counts(resolve(driven(rates, 2000)).network, "d", 0, 1, 1)


def test_a_library_cell() -> None:
    cells = Population("cells", library.get("cuba_lif"), 4)
    drive = Input("d", 4, "drive", "cells.I_syn", rate="8 Hz", sources=1600, weight="87.8 pA")
    assert lower(Network((cells,), (), (drive,))).population("cells").membranes == ("v", "I_syn")

"""Distributions: the closed forms' moments and quantiles, limits, the same first numbers however many there are; drawn delays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

import backends
from neuro import (
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
    Uniform,
    quantity,
)
from neuro.compiler import streams
from neuro.compiler.parameters import initial_state, parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.semantics import semantics
from neuro.compiler.sharing import lent
from neuro.io.serialisation import content_hash, from_json, to_json

CELL = Neuron(
    "cell",
    "v : volt\nk : volt",
    every_step="v = v + 0*k",
    threshold="v > 1e9*volt",
    reset="v = 0*volt",
    parameters={"k": "1 mV"},
)
PULSE = Synapse("pulse", "w : volt", on_pre="v_post += w")
EVERYWHERE = ("reference", "native", "torch", "brian2")


def network(delay: Any = "0 ms", weights: Any = "1 mV", size: int = 6, **given: Any) -> Network:
    link = Projection("link", "x", "cells", PULSE, weights, delay=delay)
    return Network((Population("cells", CELL, size, **given),), (link,), (Input("x", 5),), dt="0.1 ms", seed=4)


def draw(distribution: Any, count: int = 20_000, name: str = "w") -> Any:
    return streams.draw(5, name, distribution, (count,))


@dataclass(frozen=True)
class Between:
    """A distribution between limits."""

    parent: Any
    low: float
    high: float = np.inf

    def cdf(self, x: Any) -> Any:
        below, above = self.parent.cdf(self.low), self.parent.sf(self.high)
        return (self.parent.cdf(x) - below) / (1 - below - above)

    def mean(self) -> float:
        return float(self.parent.expect(lb=self.low, ub=self.high, conditional=True))

    def std(self) -> float:
        mean = self.mean()
        return float(
            np.sqrt(self.parent.expect(lambda x: (x - mean) ** 2, lb=self.low, ub=self.high, conditional=True))
        )


LOG, FLAT = (
    stats.lognorm(np.sqrt(np.log(1.25)), scale=2e-3 / np.sqrt(1.25)),
    stats.gamma((9 / 12) ** 2, scale=12**2 / 9 * 1e-3),
)
# the same distributions in scipy, in SI
CLOSED = {
    "normal": (Normal("2 mV", "0.5 mV"), stats.norm(2e-3, 0.5e-3)),
    "uniform": (Uniform("1 mV", "3 mV"), stats.uniform(1e-3, 2e-3)),
    "log-normal": (LogNormal("2 mV", "1 mV"), stats.lognorm(np.sqrt(np.log(1.25)), scale=2e-3 / np.sqrt(1.25))),
    "gamma": (Gamma("2 mV", "1.4 mV"), stats.gamma((2 / 1.4) ** 2, scale=1.4**2 / 2 * 1e-3)),
    "steep gamma": (Gamma("9 mV", "12 mV"), stats.gamma((9 / 12) ** 2, scale=12**2 / 9 * 1e-3)),
    "log-normal between": (LogNormal("2 mV", "1 mV", "1 mV", "3 mV", "redraw"), Between(LOG, 1e-3, 3e-3)),
    "log-normal in its tail": (LogNormal("2 mV", "1 mV", low="6 mV", outside="redraw"), Between(LOG, 6e-3)),
    "log-normal below": (LogNormal("2 mV", "1 mV", high="1 mV", outside="redraw"), Between(LOG, 0, 1e-3)),
    "gamma between": (Gamma("9 mV", "12 mV", "1 mV", "20 mV", "redraw"), Between(FLAT, 1e-3, 20e-3)),
    "gamma in its tail": (Gamma("9 mV", "12 mV", low="80 mV", outside="redraw"), Between(FLAT, 80e-3)),
    "gamma below": (Gamma("9 mV", "12 mV", high="0.01 mV", outside="redraw"), Between(FLAT, 0, 1e-5)),
    "redrawn below": (Normal("1.5 ms", "0.75 ms", low="0.1 ms", outside="redraw"), stats.truncnorm(-1.4 / 0.75, np.inf, 1.5e-3, 0.75e-3)),
    "redrawn in a tail": (Normal("0 mV", "1 mV", low="3 mV", outside="redraw"), stats.truncnorm(3, np.inf, 0, 1e-3)),
    "redrawn in the other": (Normal("0 mV", "1 mV", None, "-4 mV", "redraw"), stats.truncnorm(-np.inf, -4, 0, 1e-3)),
    "redrawn between": (Normal("0 mV", "1 mV", "-0.5 mV", "2 mV", "redraw"), stats.truncnorm(-0.5, 2, 0, 1e-3)),
}  # fmt: skip


@pytest.mark.parametrize("case", CLOSED)
def test_numbers_follow_the_closed_form(case: str) -> None:
    distribution, closed = CLOSED[case]
    found = draw(distribution)
    if distribution != Uniform("1 mV", "3 mV") and distribution.outside == "redraw":
        low, high = (
            limit if end is None else end.value
            for end, limit in ((distribution.low, -np.inf), (distribution.high, np.inf))
        )
        assert found.min() >= low and found.max() <= high and len(np.unique(found)) > 19_000
    assert stats.kstest(found, closed.cdf).pvalue > 1e-3
    error = closed.std() / np.sqrt(len(found))
    assert abs(found.mean() - closed.mean()) < 4 * error and abs(found.std() / closed.std() - 1) < 0.05
    assert np.array_equal(draw(distribution, 300), found[:300])
    assert not np.array_equal(draw(distribution, 300, "other"), found[:300])


@pytest.mark.parametrize("kind", [LogNormal, Gamma])
def test_mean_and_standard_deviation_are_the_distributions_own(kind: Any) -> None:
    found = draw(kind("2 mV", "1 mV"), 200_000)
    assert abs(found.mean() / 2e-3 - 1) < 0.01 and abs(found.std() / 1e-3 - 1) < 0.02 and found.min() > 0


def test_normal_and_uniform_numbers_are_what_they_were() -> None:
    random = streams.generator(5, "w")
    assert np.array_equal(draw(Normal("2 mV", "1 mV"), 9), 2e-3 + 1e-3 * random.standard_normal(9))
    random = streams.generator(5, "w")
    assert np.array_equal(draw(Uniform("1 mV", "3 mV"), 9), 1e-3 + 2e-3 * random.random(9))
    assert "outside" not in to_json(network(weights=Normal("1 mV", "1 mV")))


@pytest.mark.parametrize("kind", [Normal, LogNormal, Gamma])
def test_clipped_numbers_are_the_others_and_the_limits(kind: Any) -> None:
    every = draw(kind("1 mV", "0.8 mV"))
    found = draw(kind("1 mV", "0.8 mV", "0.3 mV", "2 mV"))
    assert np.array_equal(found, np.clip(every, 0.3e-3, 2e-3))
    assert min((found == 0.3e-3).sum(), (found == 2e-3).sum()) > 500
    assert draw(kind("1 mV", "0.8 mV", low="0.3 mV")).max() == every.max()


def test_a_spread_of_nothing_is_the_mean() -> None:
    for one in (
        Normal("1 mV", "0 mV"),
        Normal("1 mV", "0 mV", "0 mV", outside="redraw"),
        LogNormal("1 mV", "0 mV"),
        LogNormal("1 mV", "0 mV", "0 mV", outside="redraw"),
    ):
        assert np.allclose(draw(one, 5), 1e-3, rtol=1e-15)


def test_weights_parameters_and_initial_values_are_drawn() -> None:
    made = network(
        weights=Gamma("2 mV", "1 mV"),
        parameters={"k": LogNormal("1 mV", "1 mV")},
        initial={"v": Normal("0 mV", "1 mV", low="0 mV")},
    )
    found = parameters(made)
    assert np.array_equal(found["link.w"].value, streams.draw(4, "weights/link", Gamma("2 mV", "1 mV"), (5, 6)))
    assert len(np.unique(found["cells.k"].value)) == 6 and initial_state(made)["cells.v"].min() == 0


# -- delays ------------------------------------------------------------------------------------------------


def test_delays_are_rounded_to_steps_and_never_before_their_spike() -> None:
    delay = Normal("0.15 ms", "0.2 ms")
    found = np.asarray(resolve(network(delay, size=400)).delays["link"])
    expected = np.maximum(np.rint(streams.draw(4, "delay/link", delay, (5, 400)) / 1e-4), 0)
    assert found.shape == (5, 400) and np.array_equal(found, expected)
    assert (found == 0).sum() > 300 and found.max() > 5
    at_least = resolve(network(Normal("0.15 ms", "0.2 ms", low="0.1 ms"), size=400)).delays["link"]
    assert np.min(at_least) == 1 and semantics(network(delay, size=400)).delays["link"] == (0, found.max())


@pytest.mark.parametrize(
    "delay",
    [
        Normal("0.5 ms", "0.3 ms", low="0.1 ms"),
        Uniform("0 ms", "1 ms"),
        Gamma("0.5 ms", "0.4 ms"),
        LogNormal("0.5 ms", "0.4 ms", "0.2 ms", "1 ms", "redraw"),
        Gamma("0.5 ms", "0.4 ms", "0.2 ms", "1 ms", "redraw"),
    ],
)
@pytest.mark.parametrize("backend", EVERYWHERE)
def test_spikes_arrive_after_drawn_delays(backend: str, delay: Any) -> None:
    made = network(delay)
    steps = np.asarray(resolve(made).delays["link"])
    assert len(np.unique(steps)) > 3
    spikes = np.zeros((1, 30, 5), bool)
    spikes[0, 2] = True
    expected = np.array([[(steps[:, j] + 2 <= k).sum() * 1e-3 for j in range(6)] for k in range(30)])
    found = backends.get(backend).compile(made).run(inputs={"x": spikes}, record=["cells.v"]).traces["cells.v"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


REFUSED: dict[str, tuple[Any, str]] = {
    "units": (lambda: Gamma("1 mV", "1 ms"), "have different units"),
    "unit of a limit": (lambda: Normal("1 mV", "1 mV", low="0 ms"), "have different units"),
    "array": (lambda: LogNormal(quantity([1.0, 2.0], "mV"), "1 mV"), "'a number' has the shape"),  # type: ignore[arg-type]
    "not finite": (lambda: Gamma("inf mV", "1 mV"), "distribution 'Gamma': the value inf"),
    "limit not finite": (lambda: Normal("1 mV", "1 mV", low="nan mV"), "the value nan"),
    "negative spread": (lambda: LogNormal("1 mV", "-1 mV"), "the standard deviation -1 mV is negative"),
    "negative mean": (lambda: LogNormal("-1 mV", "1 mV"), "the mean -1 mV is not positive[\\s\\S]*synapse's text"),
    "mean of nothing": (lambda: Gamma("0 mV", "1 mV"), "the mean 0 mV is not positive"),
    "no spread": (lambda: Gamma("1 mV", "0 mV"), "gives no shape"),
    "hardly any spread": (lambda: Gamma("1 mV", "1e-200 mV"), "gives no shape"),
    "huge spread": (lambda: LogNormal("1e-200 mV", "1e200 mV"), "too large for the mean"),
    "limits the wrong way": (lambda: Gamma("1 mV", "1 mV", "2 mV", "1 mV"), "the lower end 2 mV is above the upper end 1 mV"),
    "unknown treatment": (lambda: Normal("1 mV", "1 mV", outside="drop"), "outside='drop' is none[\\s\\S]*use 'clip' or 'redraw'"),  # type: ignore[arg-type]
    "nothing to draw": (lambda: Normal("0 mV", "1 mV", low="6 mV", outside="redraw"), "less than one of a million numbers"),
    "nothing between": (lambda: Normal("0 mV", "0 mV", low="6 mV", outside="redraw"), "less than one of a million numbers"),
    "no log-normal number to draw": (lambda: LogNormal("1 mV", "0.1 mV", low="2 mV", outside="redraw"), "distribution 'LogNormal': less than one of a million"),
    "no gamma number to draw": (lambda: Gamma("1 mV", "1 mV", low="14 mV", outside="redraw"), "distribution 'Gamma': less than one of a million"),
    "no positive number": (lambda: Gamma("1 mV", "1 mV", high="0 mV", outside="redraw"), "less than one of a million numbers"),
    "unknown treatment of a gamma": (lambda: Gamma("1 mV", "1 mV", outside="drop"), "outside='drop' is none"),  # type: ignore[arg-type]
    "delay in volt": (lambda: network(Normal("1 mV", "1 mV")), "projection 'link', delay: 'delay' is in"),
    "delay without end": (lambda: resolve(network(Normal("1e9 s", "1 s"))).delays, "projection 'link', delay drawn: a delay is more than"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_gives_no_numbers_is_refused(case: str) -> None:
    make, said = REFUSED[case]
    with pytest.raises(ModelError, match=said):
        make()


def test_signs_and_bounds_hold_for_limits_and_for_what_is_drawn() -> None:
    def signed(weights: Any) -> Network:
        base = network()
        link = Projection("link", "x", "cells", PULSE, weights, sign="+")
        return Network(base.populations, (link,), base.inputs, dt="0.1 ms")

    assert parameters(signed(Normal("1 mV", "1 mV", low="0 mV")))["link.w"].value.min() == 0
    with pytest.raises(ModelError, match="sign '\\+' but a weight is negative"):
        signed(Normal("1 mV", "1 mV", low="-1 mV"))
    with pytest.raises(ModelError, match="weights drawn"):
        parameters(signed(Normal("1 mV", "9 mV")))


def test_limits_count_for_the_hash() -> None:
    hashes = {
        content_hash(network(weights=w))
        for w in (
            Normal("1 mV", "1 mV"),
            Normal("1 mV", "1 mV", "0 mV"),
            Normal("1 mV", "1 mV", "0 mV", outside="redraw"),
            Gamma("1 mV", "1 mV", "0.1 mV"),
            Gamma("1 mV", "1 mV", "0.1 mV", outside="redraw"),
        )
    }
    assert len(hashes) == 5
    again = network(weights=LogNormal("1 mV", "1 mV", "0.1 mV", outside="redraw"))
    assert from_json(to_json(again)) == again and "outside" not in to_json(network(weights=Gamma("1 mV", "1 mV")))


@pytest.mark.parametrize("case", [c for c in CLOSED if c != "redrawn below"])
def test_numbers_are_the_same_in_parts_and_by_threads(case: str) -> None:
    distribution = CLOSED[case][0]
    whole = draw(distribution, 5000)
    for threads in (1, 3):
        with lent(threads):
            parts = list(streams.drawn(5, "w", distribution, [1, 7, 0, 2992, 2000]))
        assert [len(p) for p in parts] == [1, 7, 0, 2992, 2000]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_graded_synapse_has_no_drawn_delay() -> None:
    synapse = Synapse("graded", "w : 1", transmits="w*x_pre", target="z")
    unit = Neuron("rate", "dx/dt = (z - x)/(10*ms) : 1\nz : 1")
    with pytest.raises(ModelError, match="graded transmission has no delay"):
        Network((Population("a", unit, 2),), (Projection("p", "a", "a", synapse, "1", delay=Uniform("0 ms", "1 ms")),))

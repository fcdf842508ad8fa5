"""Random networks survive JSON bit for bit; the hash sees values, not how they were written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuro import (
    AllToAll,
    FixedInDegree,
    FixedOutDegree,
    FixedTotal,
    Gamma,
    Input,
    LogNormal,
    Network,
    Neuron,
    Normal,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
    Uniform,
    quantity,
)
from neuro.io.serialisation import content_hash, from_json, to_data, to_json

finite = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-3, 1e3)
names = st.from_regex(r"cells_[a-z]{1,6}", fullmatch=True)


@st.composite
def weights(draw: st.DrawFn, shape: tuple[int, ...]) -> object:
    kind = draw(st.sampled_from(["number", "array", "normal", "limits", "log-normal", "gamma", "uniform"]))
    if kind == "number":
        return quantity(draw(finite), "pA")
    if kind == "array":
        values = draw(st.lists(finite, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return quantity(np.reshape(values, shape), "nA")
    if kind == "normal":
        return Normal(quantity(draw(finite), "nA"), quantity(draw(positive), "nA"))
    if kind in ("log-normal", "gamma"):
        high = draw(st.none() | st.just(quantity("1 uA")))
        return (Gamma if kind == "gamma" else LogNormal)(
            quantity(draw(positive), "nA"), quantity(draw(positive), "nA"), high=high
        )
    low = draw(finite)
    if kind == "limits":
        ends = quantity(low, "nA"), quantity(low + draw(positive), "nA")
        return Normal(ends[0], quantity("1 nA"), *ends, draw(st.sampled_from(["clip", "redraw"])))
    return Uniform(quantity(low, "nA"), quantity(low + draw(positive), "nA"))


@st.composite
def networks(draw: st.DrawFn) -> Network:
    method = draw(st.sampled_from(["euler", "exact", "rk4", "exponential_euler"]))
    refractory = draw(st.integers(0, 5))
    neuron = Neuron(
        "cell",
        "dv/dt = (-v + R*I)/tau : volt (unless refractory)\nI : amp  # an input",
        threshold="v > 10*mV", reset="v = 0*mV",
        parameters={"tau": quantity(draw(positive) + 1, "ms"), "R": quantity(draw(positive), "Mohm")},
        refractory=quantity(refractory, "ms"), method=method, initial={"v": quantity(draw(finite), "uV")},
    )  # fmt: skip
    size, channels = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    name = draw(names)
    chosen = draw(st.sampled_from(["all", "random", "fixed", "pairs"]))
    count = draw(st.integers(1, 5))
    index = st.lists(st.integers(0, channels - 1), min_size=count, max_size=count)
    connectivity, shape = AllToAll(), (channels, size)
    if chosen == "random":
        connectivity, shape = Probability(draw(st.floats(0, 1))), ()
    elif chosen == "fixed":
        kind = draw(st.sampled_from([FixedTotal, FixedInDegree, FixedOutDegree]))
        connectivity, shape = kind(draw(st.integers(0, 9)), True, draw(st.booleans())), ()
    elif chosen == "pairs":
        pre = np.array(draw(index))
        connectivity, shape = Pairs(pre, np.arange(count) % size), (count,)
    link = Projection(
        "link", "x", name, Synapse("pulse", "w : amp", on_pre="I_post += w"), draw(weights(shape)), connectivity,
        delay=draw(st.sampled_from([quantity(draw(st.integers(0, 20)), "ms"), Normal("3 ms", "1 ms", "1 ms")])), sign=None,
    )  # fmt: skip
    seed = draw(st.integers(0, 2**31))
    return Network((Population(name, neuron, size),), (link,), (Input("x", channels),), dt="1 ms", seed=seed)


@given(networks())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore::neuro.checks.ModelWarning")
def test_round_trip_of_random_networks(network: Network) -> None:
    text = to_json(network)
    again = from_json(text)
    assert again == network
    assert to_json(again) == text
    assert content_hash(again) == content_hash(network)


@given(networks(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore::neuro.checks.ModelWarning")
def test_the_order_of_keys_means_nothing(network: Network, random: object) -> None:
    def shuffled(data: object) -> object:
        if isinstance(data, dict):
            items = list(data.items())
            random.shuffle(items)  # type: ignore[attr-defined]
            return {k: shuffled(v) for k, v in items}
        return [shuffled(v) for v in data] if isinstance(data, list) else data

    assert content_hash(from_json(json.dumps(shuffled(to_data(network))))) == content_hash(network)


def test_the_hash_sees_values_not_units() -> None:
    def network(tau: str) -> Network:
        neuron = Neuron("n", "dv/dt = -v/tau : 1", parameters={"tau": tau})
        return Network((Population("a", neuron, 1),), dt="0.1 ms")

    assert content_hash(network("20 ms")) == content_hash(network("0.02 s"))
    assert content_hash(network("20 ms")) != content_hash(network("20.000001 ms"))


@given(finite, st.sampled_from(["ms", "mV", "nS", "1/ms", "mV**2/ms", "uF/cm**2", "1"]))
@settings(deadline=None)
def test_quantities_survive_text(value: float, unit: str) -> None:
    written = quantity(value, unit)
    assert quantity(f"{value!r} {unit}") == written
    assert quantity(str(written)).dimension == written.dimension
    assert np.isclose(quantity(str(written)).value, written.value, rtol=1e-5)  # six digits for people

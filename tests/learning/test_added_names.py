"""What a rule adds to a model's text never meets the model's own names: any renaming leaves every number as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse, UnsupportedError, quantity
from neuro.learning.local.plasticity import PlasticityError
from neuro.learning.local.stdp import stdp
from neuro.learning.traces.online import attach
from tests.learning.test_local_rules import RULES

STEPS = 300
ADDED = {"trace_in", "trace_out", "mark", "rate_out", "r1", "r2", "o1", "o2"}
LOCAL = sorted(ADDED | {"w_max", "reward", "target"} | {n for rule in RULES.values() for n in rule.parameters})
ONLINE = ["e", "arrived", "credit", "eps_v", "next_v", "eps_a", "signal", "target"]
OWN = ("facilitation", "tau_f", "jump", "drive")  # what the user's synapse and cells call theirs


def user(names: dict[str, str], graph: dict[str, str]) -> Network:
    """Cells with an adapting threshold, synapses with a variable of their own. names: of OWN. graph: of populations and the rest."""
    f, tau, jump, drive = (names.get(n, n) for n in OWN)
    cells = Neuron(
        "cells", f"dv/dt = ({drive} - v)/(10*ms) : 1\nda/dt = -a/(50*ms) : 1\n{drive} : 1", threshold="v > 0.4 + a",
        reset="v -= 0.4\na += 0.05", method="exact",
    )  # fmt: skip
    out = Neuron("out", "dy/dt = (I - y)/(20*ms) : 1\nI : 1", method="exact")
    text = f"w : 1\nd{f}/dt = -{f}/{tau} : 1"
    feed = Synapse(
        "feed", text, f"{f} += {jump}\n{drive}_post += w", parameters={tau: "30 ms", jump: 0.5}, method="exact"
    )
    read = Synapse("read", "w : 1", "I_post += w")
    random = np.random.default_rng(0)
    names_of = {n: graph.get(n, n) for n in ("hidden", "out", "feed", "read")}
    return Network(
        (Population(names_of["hidden"], cells, 5), Population(names_of["out"], out, 2)),
        (
            Projection(names_of["feed"], "x", names_of["hidden"], feed, quantity(random.uniform(0.5, 2, (6, 5)), "")),
            Projection(names_of["read"], names_of["hidden"], names_of["out"], read, quantity(random.normal(size=(5, 2)), "")),
        ),
        (Input("x", 6),), dt="1 ms", seed=1,
    )  # fmt: skip


def renamings(pool: list[str]) -> list[dict[str, str]]:
    """Every name of the pool becomes one of the user's."""
    random = np.random.default_rng(0)
    found = []
    for start in range(0, len(pool), len(OWN)):
        chosen = [str(n) for n in random.permutation(pool[start : start + len(OWN)])]
        found.append(dict(zip(OWN, chosen, strict=False)))
    return found


def weights(network: Network, feed: str) -> np.ndarray:
    """Weights after a run in which every current that the rule added gets the same numbers."""
    inputs = {"x": np.random.default_rng(2).random((1, STEPS, 6)) < 0.2}
    for item in network.inputs:
        if item.kind == "current":
            inputs[item.name] = np.random.default_rng(3).normal(1.0, 0.5, (1, STEPS, item.size))
    found = backends.get("reference").compile(network).run(inputs=inputs)
    assert found.spike_count() > 50
    return found.final[f"{feed}.w"]


@pytest.mark.parametrize("rule", RULES)
def test_local_rules_meet_no_name_of_the_user(rule: str) -> None:
    expected = weights(RULES[rule].attach(user({}, {}), "feed", w_max=3.0), "feed")
    assert np.abs(expected - user({}, {}).projections[0].weights.value).max() > 1e-6
    for names in renamings(LOCAL):
        found = weights(RULES[rule].attach(user(names, {}), "feed", w_max=3.0), "feed")
        np.testing.assert_array_equal(found, expected, str(names))


def test_a_rule_can_be_attached_twice_and_beside_others() -> None:
    """Two rules with the constant w_max keep one each."""
    once = stdp.attach(user({}, {}), "feed", w_max=2.0)
    both = RULES["scaling"].attach(once, "feed", w_max=3.0)
    synapse = both.projections[0].synapse
    assert synapse.parameters["w_max"] == quantity(2.0, "") and synapse.parameters["w_max_2"] == quantity(3.0, "")
    rewarded = RULES["reward_stdp"].attach(
        RULES["reward_stdp"].attach(user({}, {}), "feed", w_max=3.0), "feed", w_max=3.0
    )
    assert [i.name for i in rewarded.inputs] == ["x", "reward", "reward_2"]
    weights(both, "feed")


@pytest.mark.parametrize("rule", RULES)
def test_learning_stays_within_the_bounds_of_the_projection(rule: str) -> None:
    """Narrower ones than the rule's own 0 ... w_max."""
    network = user({}, {})
    feed = replace(network.projections[0], bounds=("0.9", "1.1"), weights=quantity(1.0, ""))
    narrow = replace(network, projections=(feed, network.projections[1]))
    strong = {n: 5.0 for n in ("A_plus", "A_minus", "A2_minus", "A2_plus", "eta") if n in RULES[rule].parameters}
    found = weights(RULES[rule].attach(narrow, "feed", w_max=3.0, **strong), "feed")
    assert found.min() >= 0.9 and found.max() <= 1.1 and ((found == 0.9) | (found == 1.1)).any()


def test_a_users_own_variables_keep_their_method() -> None:
    network = user({}, {})
    feed = network.projections[0]
    euler = replace(
        network, projections=(replace(feed, synapse=replace(feed.synapse, method="rk4")), network.projections[1])
    )
    assert stdp.attach(euler, "feed", w_max=3.0).projections[0].synapse.method == "rk4"


def test_weights_that_must_not_be_positive_are_refused() -> None:
    network = user({}, {})
    feed = replace(network.projections[0], sign="-", weights=quantity(-1.0, ""))
    with pytest.raises(PlasticityError, match="projection 'feed' has sign '-'"):
        stdp.attach(replace(network, projections=(feed, network.projections[1])), "feed", w_max=3.0)


@pytest.mark.parametrize(
    "graph",
    [
        {"hidden": "error", "out": "feedback", "feed": "told", "read": "shown"},
        {"hidden": "target", "out": "error", "feed": "feedback", "read": "signal"},
    ],
)
def test_online_learning_meets_no_name_of_the_user(graph: dict[str, str]) -> None:
    def learned(names: dict[str, str], graph: dict[str, str]) -> np.ndarray:
        feed, read, out = (graph.get(n, n) for n in ("feed", "read", "out"))
        return weights(attach(user(names, graph), [feed, read], out, eta=1e-2), feed)

    expected = learned({}, {})
    assert np.abs(expected - user({}, {}).projections[0].weights.value).max() > 1e-6
    for names in [{}, *renamings(ONLINE)]:
        np.testing.assert_array_equal(learned(names, graph), expected, str(names))


def spiking(**changes: Any) -> Network:
    network = user({}, {})
    hidden = network.populations[0]
    return replace(
        network, populations=(replace(hidden, neuron=replace(hidden.neuron, **changes)), network.populations[1])
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"threshold": "v > 0.4 + a - 0.1*drive"}, "its threshold reads the input 'drive'"),
        ({"reset": "v -= 0.4\na += 0.1*v"}, "the statement that resets 'a' reads 'v'"),
        ({"reset": "v -= 0.2\nv -= 0.2"}, "the statement that resets 'v' is the second for it"),
    ],
)
def test_online_learning_refuses_paths_that_its_text_leaves_out(changes: dict[str, str], why: str) -> None:
    with pytest.raises(UnsupportedError, match=why):
        attach(spiking(**changes), ["feed", "read"], "out", eta=1e-2)

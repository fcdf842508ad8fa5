"""Projections that share weights have the same synapses and numbers; what is frozen says so; files and texts keep both."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from neuro import (
    AllToAll,
    Distance,
    FixedInDegree,
    FixedTotal,
    Input,
    ModelError,
    Network,
    Neuron,
    Normal,
    OneToOne,
    Population,
    Probability,
    Projection,
    Synapse,
)
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.semantics import Semantics, semantics
from neuro.composition import compose
from neuro.io.serialisation import content_hash, from_json, to_json

UNIT = Neuron("unit", "dx/dt = (-x + z)/tau : 1\nz : 1", threshold="x > 1", reset="x = 0", parameters={"tau": "9 ms"})
SEND = Synapse("send", "w : 1", transmits="w*x_pre", target="z")
VOLTS = Synapse("volts", "w : volt", transmits="w*x_pre/(1*volt)", target="z")
LEARNS = Synapse("learns", "w : 1", on_pre="w += 0.1\nx_post += w")
CURRENT = Synapse(
    "current", "w : 1", on_pre="s_post += w", receptor="ds/dt = -s/tau_s : 1\nz = s : 1", parameters={"tau_s": "3 ms"}
)
WEIGHTS = Normal("0", "1")
PLACES = np.arange(8.0).reshape(4, 2)


def network(first: dict[str, Any] | None = None, /, size: int = 4, **second: Any) -> Network:
    """a: cells -> others, b: others -> cells."""
    one = {"synapse": SEND, "weights": WEIGHTS, **(first or {})}
    two = {"synapse": SEND, "shares": "a", **second}
    cells = [Population("cells", UNIT, 4, positions=PLACES), Population("others", UNIT, size, positions=PLACES[:size])]
    links = [Projection("a", "cells", "others", **one), Projection("b", "others", "cells", **two)]
    return Network(cells, links, [Input("x", 4, "current", "cells.z")], dt="1 ms", seed=5)


@pytest.mark.parametrize(
    "connectivity",
    [AllToAll(), OneToOne(), Probability(0.4), FixedInDegree(2), FixedTotal(9), Distance("exp(-d)")],
    ids=lambda c: type(c).__name__,
)
def test_both_have_the_same_synapses_and_numbers(connectivity: Any) -> None:
    found = network({"connectivity": connectivity}, connectivity=connectivity)
    alone = network({"connectivity": connectivity}, connectivity=connectivity, shares="", weights=WEIGHTS)
    numbers, apart, wires = parameters(found), parameters(alone), resolve(found).wires
    assert numbers["b.w"].shares == "a.w" and not numbers["a.w"].shares
    np.testing.assert_array_equal(numbers["b.w"].value, numbers["a.w"].value)
    np.testing.assert_array_equal(apart["a.w"].value, numbers["a.w"].value)
    assert not np.array_equal(apart["b.w"].value, numbers["b.w"].value)
    for end in ("pre_index", "post_index"):
        np.testing.assert_array_equal(getattr(wires["b"], end), getattr(wires["a"], end))


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (lambda: network(shares="c"), "there is no projection 'c'"),
    "itself": (lambda: network(shares="b"), "it would share its weights with itself"),
    "weights": (lambda: network(weights="1"), "leave weights out, or leave shares out"),
    "sign": (lambda: network(sign="+"), "leave sign out"),
    "bounds": (lambda: network(bounds=(0, None)), "leave bounds out"),
    "chain": (lambda: network({"shares": "b", "weights": None}, shares="a"), "write shares='a'"),
    "size": (lambda: network(size=3), "'others' has 3 cells, and 'cells', the pre of 'a', 4"),
    "connectivity": (lambda: network(connectivity=Probability(0.5)), "Probability, and that of 'a' is AllToAll"),
    "same kind": (
        lambda: network({"connectivity": Probability(0.4)}, connectivity=Probability(0.5)),
        "that of 'a' is another Probability",
    ),
    "plastic": (lambda: network({"synapse": LEARNS}), "the synapses of 'a' change their weights during a run"),
    "learning": (lambda: network(synapse=LEARNS), "the synapses of 'b' change their weights during a run"),
    "unit": (lambda: network(synapse=VOLTS), "its weights are in volt"),
    "no weight": (lambda: network(synapse=Synapse("bare", transmits="x_pre", target="z")), "no weight 'w' to share"),
    "none there": (
        lambda: network({"synapse": Synapse("bare", transmits="x_pre", target="z"), "weights": None}),
        "'a' has no weights to share",
    ),
    "frozen": (lambda: network({"frozen": True}), "'a' is frozen and 'b' is not"),
    "not frozen": (lambda: network(frozen=True), "give 'a' frozen=True too"),
    "a word": (lambda: network(frozen="yes"), "neither True nor False"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_shared_is_named(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(ModelError) as error:
        make()
    assert message in str(error.value)


def test_a_diagonal_that_one_of_both_lacks() -> None:
    none = AllToAll(self_connections=False)
    cells = [Population("cells", UNIT, 4), Population("others", UNIT, 4)]
    loop = Projection("loop", "cells", "cells", SEND, WEIGHTS, none)
    with pytest.raises(ModelError, match="leaves out the diagonal"):
        Network(cells, [loop, Projection("b", "others", "cells", SEND, connectivity=none, shares="loop")], dt="1 ms")
    again = Projection("again", "others", "others", SEND, connectivity=none, shares="loop")
    found = parameters(Network(cells, [loop, again], dt="1 ms"))
    np.testing.assert_array_equal(found["again.w"].value, found["loop.w"].value)


def test_cells_that_lie_elsewhere() -> None:
    near = Distance("exp(-d)")
    shared = network({"connectivity": near}, connectivity=near)
    moved = Population("others", UNIT, 4, positions=PLACES + 1)
    with pytest.raises(ModelError, match="lie elsewhere"):
        Network([shared.populations[0], moved], shared.projections, shared.inputs, dt="1 ms")


def test_texts_and_files_keep_both() -> None:
    found = network({"frozen": True}, frozen=True)
    lines = str(found).splitlines()
    assert lines[4] == "projection b: others -> cells, send, AllToAll, weights of a, frozen"
    still = Network([Population("cells", UNIT, 1, frozen=True)], dt="1 ms")
    assert str(still).splitlines()[1] == "population cells: 1 x unit, frozen"
    record = semantics(found)
    assert (record.shared, record.untrained) == ({"b": "a"}, ("a", "b"))
    assert Semantics.from_data(json.loads(json.dumps(record.to_data()))) == record
    assert not record.differences(semantics(network(shares="", weights=WEIGHTS)))
    for item in (found, still):
        again = from_json(to_json(item))
        assert again == item and content_hash(again) == content_hash(item)
    assert content_hash(found) != content_hash(network())


def test_networks_without_them_have_the_files_that_they_had() -> None:
    text = to_json(network({}, shares="", weights=WEIGHTS))
    assert "shares" not in text and "frozen" not in text
    assert content_hash(from_json(text)) == "3158bb4589ba7efef7e767a8747e8274e6afa08b979bdb8a47c474d838140b0c"


def test_frozen_parameters() -> None:
    drive = [Input("x", 4)]
    links = [
        Projection("feed", "x", "cells", CURRENT, "1", frozen=True),
        Projection("loop", "cells", "cells", SEND, "1"),
    ]
    found = parameters(Network([Population("cells", UNIT, 4)], links, drive, dt="1 ms"))
    assert {n for n, p in found.items() if p.frozen} == {"feed.w", "cells.tau_s_current"}
    links = [Projection("feed", "x", "cells", CURRENT, "1")]
    found = parameters(Network([Population("cells", UNIT, 4, frozen=True)], links, drive, dt="1 ms"))
    assert {n for n, p in found.items() if p.frozen} == {"cells.tau", "cells.tau_s_current"}


def test_parts_keep_what_they_share() -> None:
    joined = compose({"one": network(), "two": network({"frozen": True}, frozen=True)})
    assert [p.shares for p in joined.projections] == ["", "one_a", "", "two_a"]
    assert [p.frozen for p in joined.projections] == [False, False, True, True]

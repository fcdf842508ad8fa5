"""Operations by hand on small networks: what each part of a definition becomes, and what is refused by name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import (
    AllToAll,
    Input,
    ModelError,
    Network,
    Neuron,
    Normal,
    OneToOne,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
    library,
    quantity,
)  # fmt: skip
from neuro.compiler.parameters import initial_state, values
from neuro.compiler.resolve import resolve
from neuro.surgery import Surgery, added, rearranged, removed

LIF, PULSE = library.get("lif"), library.get("pulse")


def network(**changed: Any) -> Network:
    """Four LIF cells with a loop, two that read them, three spike channels, one current a cell."""
    taus = quantity([10.0, 20.0, 30.0, 40.0], "ms")
    first = Population("a", LIF, 4, {"tau_m": taus}, {"v": quantity([-70.0, -69.0, -68.0, -67.0], "mV")})
    loop = Projection(
        "loop",
        "a",
        "a",
        PULSE,
        quantity(np.arange(16.0).reshape(4, 4), "nA"),
        AllToAll(False),
        quantity(np.arange(16).reshape(4, 4) % 3, "ms"),
    )
    sparse = Projection(
        "out",
        "a",
        "b",
        PULSE,
        quantity([1.0, 2.0, 3.0, 4.0], "nA"),
        Pairs([3, 0, 1, 3], [0, 1, 1, 1]),
        quantity([0, 1, 2, 5], "ms"),
    )
    into = Projection("into", "x", "a", PULSE, "1 nA", Probability(0.6))
    parts: dict[str, Any] = {
        "populations": (first, Population("b", LIF, 2)), "projections": (loop, sparse, into),
        "inputs": (Input("x", 3), Input("drive", 4, "current", "a.I")), "dt": "1 ms",
    }  # fmt: skip
    return Network(**{**parts, **changed})


def test_a_removed_cell_takes_what_it_has_with_it() -> None:
    before = network()
    cut = removed(before, "a", [1])
    a, after = cut.after.population("a"), cut.after
    np.testing.assert_allclose(a.parameters["tau_m"].value, [0.01, 0.03, 0.04])
    np.testing.assert_allclose(a.initial["v"].value, [-0.07, -0.068, -0.067])
    np.testing.assert_allclose(after.projection("loop").weights.value * 1e9, [[0, 2, 3], [8, 10, 11], [12, 14, 15]])
    np.testing.assert_allclose(after.projection("loop").delay.value * 1e3, np.array([[0, 2, 0], [2, 1, 2], [0, 2, 0]]))
    out = after.projection("out")
    assert out.connectivity == Pairs([2, 0, 2], [0, 1, 1])
    np.testing.assert_allclose(out.weights.value * 1e9, [1, 2, 4])
    np.testing.assert_allclose(out.delay.value * 1e3, [0, 1, 5])
    assert after.input("drive").size == 3 and after.input("x").size == 3
    np.testing.assert_array_equal(
        cut.inputs({"drive": np.arange(8.0).reshape(1, 2, 4)})["drive"], [[[0, 2, 3], [4, 6, 7]]]
    )
    wires = [resolve(n).wires["into"] for n in (before, after)]
    kept = wires[0].post_index != 1
    np.testing.assert_array_equal(wires[1].pre_index, wires[0].pre_index[kept])
    np.testing.assert_array_equal(wires[1].post_index, np.array([0, -1, 1, 2])[wires[0].post_index[kept]])


def test_a_new_cell_is_silent_and_like_its_neuron_until_somebody_says_otherwise() -> None:
    cut = added(
        network(populations=(replace(network().populations[0], parameters={}), network().populations[1])), "a", 2
    )
    a, loop = cut.after.population("a"), cut.after.projection("loop")
    assert a.size == 6 and not a.parameters
    np.testing.assert_allclose(a.initial["v"].value[4:], float(LIF.initial["v"].value))
    assert not loop.weights.value[4:].any() and not loop.weights.value[:, 4:].any() and loop.weights.value[1, 0] == 4e-9
    assert len(cut.after.projection("out").connectivity.pre) == 4
    given = added(
        network(), "a", 1, values={"a.tau_m": "5 ms" and quantity(5.0, "ms"), "loop.w": 7e-9, "out.w": quantity(9.0, "nA")},
        pairs={"out": ([3, 0, 4, 1, 3], [0, 1, 0, 1, 1])}, delays={"out": quantity(3.0, "ms")},
    )  # fmt: skip
    np.testing.assert_allclose(given.after.population("a").parameters["tau_m"].value, [0.01, 0.02, 0.03, 0.04, 0.005])
    np.testing.assert_allclose(given.after.projection("loop").weights.value[4] * 1e9, 7)
    np.testing.assert_allclose(given.after.projection("out").weights.value * 1e9, [1, 2, 9, 3, 4])
    np.testing.assert_allclose(given.after.projection("out").delay.value * 1e3, [0, 1, 3, 2, 5])
    np.testing.assert_array_equal(given.synapses["out"], [0, 1, -1, 2, 3])


def test_one_to_one_stays_so_within_a_population_and_becomes_a_list_between_two() -> None:
    same = Projection("same", "a", "a", PULSE, quantity([1.0, 2.0, 3.0, 4.0], "nA"), OneToOne())
    to_c = Projection("to_c", "a", "c", PULSE, quantity([1.0, 2.0, 3.0, 4.0], "nA"), OneToOne())
    before = network(populations=(*network().populations, Population("c", LIF, 4)), projections=(same, to_c))
    after = removed(before, "a", [0, 2]).after
    assert isinstance(after.projection("same").connectivity, OneToOne)
    np.testing.assert_allclose(after.projection("same").weights.value * 1e9, [2, 4])
    assert after.projection("to_c").connectivity == Pairs([0, 1], [1, 3])
    np.testing.assert_allclose(after.projection("to_c").weights.value * 1e9, [2, 4])


def test_random_numbers_are_those_that_the_cells_had() -> None:
    weights = Normal(quantity("0 nA"), quantity("1 nA"))
    drawn = network(
        populations=(
            Population("a", LIF, 4, {"tau_m": Normal(quantity("20 ms"), quantity("1 ms"))}, {"v": Normal(quantity("-70 mV"), quantity("1 mV"))}),
            network().populations[1],
        ),
        projections=tuple(replace(p, weights=weights, delay="0 ms") for p in network().projections),
    )  # fmt: skip
    cut = removed(drawn, "a", [2])
    before, after = values(drawn), values(cut.after)
    for name, value in cut.parameters(before).items():
        np.testing.assert_array_equal(after[name], value)
    np.testing.assert_array_equal(initial_state(cut.after)["a.v"], initial_state(drawn)["a.v"][[0, 1, 3]])
    np.testing.assert_array_equal(after["loop.w"], before["loop.w"][np.ix_([0, 1, 3], [0, 1, 3])])


def test_spikes_on_their_way_and_sums_go_with_their_cells() -> None:
    """Of a state: the history is as long as the longest delay after, here five steps before and two without the last synapse."""
    before = network()
    inputs = {"x": np.ones((2, 9, 3), bool), "drive": np.full((2, 9, 4), 1e-9)}
    state = backends.get("reference").compile(before).run(inputs=inputs).state
    assert state.spikes["a"].shape == (2, 5, 4)
    cut = removed(before, "a", [3])
    found = cut.state(state)
    np.testing.assert_array_equal(found.spikes["a"], state.spikes["a"][:, -2:, :3])
    np.testing.assert_array_equal(found.variables["a.v"], state.variables["a.v"][:, :3])
    np.testing.assert_array_equal(found.sums["a.I"], state.sums["a.I"][:, :3])
    assert (found.step, found.lead, found.dt) == (state.step, state.lead, state.dt)
    backends.get("native").compile(cut.after).run(
        inputs=cut.inputs({n: a[:, :2] for n, a in inputs.items()}), state=found
    )
    wider = added(before, "a", 1, values={"a.tau_m": 0.02})
    fresh = wider.state(state)
    assert not fresh.spikes["a"][..., 4].any() and (fresh.variables["a.v"][:, 4] == float(LIF.initial["v"].value)).all()
    backends.get("native").compile(wider.after).run(
        inputs=wider.inputs({n: a[:, :2] for n, a in inputs.items()}), state=fresh
    )


def test_arrays_with_more_axes_before_and_of_unknown_names() -> None:
    cut = removed(network(), "a", [0])
    sets = np.arange(32.0).reshape(2, 4, 4)
    np.testing.assert_array_equal(cut.arrays({"loop.w": sets})["loop.w"], sets[:, 1:, 1:])
    with pytest.raises(ModelError, match=r"no parameter 'loop\.ww'; did you mean|no parameter 'loop\.ww'"):
        cut.arrays({"loop.ww": sets})
    wider = added(network(), "a", 1, values={"a.tau_m": 0.02})
    assert np.isnan(wider.arrays({"a.tau_m": np.zeros(4)}, np.nan)["a.tau_m"][4])


def noisy() -> Network:
    cell = Neuron("ou", "dx/dt = -x/(10*ms) + xi/(10*ms)**0.5 : 1")
    return Network((Population("a", cell, 3),), dt="1 ms")


def test_noise_is_refused_until_other_numbers_will_do() -> None:
    with pytest.raises(ModelError, match="its noise 'xi' is drawn for all its cells at once"):
        removed(noisy(), "a", [0])
    assert removed(noisy(), "a", [0], noise="anew").after.population("a").size == 2


@pytest.mark.parametrize("text", ["x = i : 1", "x = N : 1", "x = 0 : 1"])
def test_numbers_of_cells_are_refused(text: str) -> None:
    synapse = Synapse("s", transmits="x_pre" if "0" not in text else "i + N_post", target="y")
    cells = Population("a", Neuron("c", f"{text}\ny : 1"), 3), Population("b", Neuron("d", "y : 1"), 3)
    net = Network(cells, (Projection("p", "a", "b", synapse),), dt="1 ms")
    with pytest.raises(ModelError, match="reads numbers of cells"):
        removed(net, "a", [0])


def with_receptor(initial: Any) -> Network:
    cell = Neuron("cell", "dv/dt = (I - v)/(10*ms) : 1\nI : 1", threshold="v > 1", reset="v = 0")
    synapse = Synapse(
        "s", "w : 1", on_pre="g_post += w", receptor="dg/dt = -g/(5*ms) : 1\nI = g : 1", initial={"g": initial}
    )
    return Network((Population("a", cell, 3),), (Projection("p", "x", "a", synapse, "1"),), (Input("x", 2),), dt="1 ms")


def test_receptors_go_with_the_cells_that_they_live_in() -> None:
    cut = removed(with_receptor(quantity([0.1, 0.2, 0.3])), "a", [1])
    np.testing.assert_array_equal(initial_state(cut.after)["a.g_s"], [0.1, 0.3])
    state = backends.get("reference").compile(cut.before).run(inputs={"x": np.ones((1, 4, 2), bool)}).state
    np.testing.assert_array_equal(cut.state(state).variables["a.g_s"], state.variables["a.g_s"][:, [0, 2]])
    with pytest.raises(ModelError, match=r"receptor, initial 'g'[\s\S]*drawn or given one by one"):
        removed(with_receptor(Normal(quantity("0"), quantity("1"))), "a", [1])
    with pytest.raises(ModelError, match="receptor, initial 'g'"):
        added(with_receptor(quantity([0.1, 0.2, 0.3])), "a")


def drawn_start(n: Network) -> Network:
    """Its cells' neuron draws where they begin."""
    neuron = replace(LIF, initial={"v": Normal(quantity("-70 mV"), quantity("1 mV"))})
    return replace(n, populations=(Population("a", neuron, 4), n.populations[1]))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda n: removed(n, "a", [0, 1, 2, 3]), "no cell is left"),
        (lambda n: removed(n, "a", [4]), "there is no 4 among 4"),
        (lambda n: removed(n, "a", [0.5]), "are no indices"),
        (lambda n: removed(n, "c", [0]), "population 'c'"),
        (lambda n: rearranged(n, "a", [0, 0]), "a cell is named twice"),
        (lambda n: added(drawn_start(n), "a"), r"'a\.v'.*a new one has none.*give values=\{'a\.v'"),
        (lambda n: added(n, "b", values={"out.w": quantity(1.0, "mV")}), r"values 'out\.w'.*it is in"),
        (lambda n: added(n, "b", delays={"out": quantity(1.0, "mV")}), r"delays 'out'.*give it in second"),
        (lambda n: added(n, "b", values={"b.taum": 1.0}), r"values 'b\.taum'.*did you mean 'b\.tau_m'"),
        (lambda n: added(n, "b", values={"b.tau_m": [1.0, 2.0]}), "the shape is"),
        (lambda n: added(n, "b", pairs={"loop": ([0], [0])}), "doesn't begin or end at population 'b'"),
        (lambda n: added(n, "a", values={"a.tau_m": 0.02}, pairs={"loop": ([0], [0])}), "it joins all to all"),
        (lambda n: added(n, "b", pairs={"out": ([0, 1], [0])}), "differ in length"),
        (lambda n: added(n, "b", pairs={"out": ([0], [3])}), "there is no 3 among 3"),
    ],
)
def test_what_can_not_be_kept_is_refused_by_name(act: Any, message: str) -> None:
    with pytest.raises(ModelError) as error:
        act(network())
    assert re.search(message, " ".join(str(error.value).split())), str(error.value)


def test_bounds_of_each_synapse_go_with_them_and_new_ones_have_none() -> None:
    high = quantity(np.arange(16.0).reshape(4, 4) + 1, "nA")
    bounded = network(
        projections=tuple(replace(p, bounds=(None, high)) if p.name == "loop" else p for p in network().projections)
    )
    cut = removed(bounded, "a", [0])
    np.testing.assert_allclose(cut.after.projection("loop").bounds[1].value * 1e9, high.value[1:, 1:] * 1e9)
    with pytest.raises(ModelError, match="bounds"):
        added(bounded, "a", values={"a.tau_m": 0.02})


def test_one_number_for_all_becomes_one_for_each_where_new_cells_have_another() -> None:
    cut: Surgery = added(network(), "b", values={"b.tau_m": 0.05})
    before = values(network())
    assert before["b.tau_m"] == 0.01 and cut.parameters(before)["b.tau_m"].tolist() == [0.01, 0.01, 0.05]

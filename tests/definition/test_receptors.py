"""Receptors in a cell: their names meet none of the user's, and what they read is what stands in the text."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse, library, lower
from neuro.compiler.receptors import without_receptors

SPIKES = np.random.default_rng(0).random((1, 300, 4)) < 0.05
CELLS = Neuron(
    "n", "dv/dt = (I*R - v)/(10*ms) : volt\nI : amp", threshold="v > 1*mV", reset="v = 0*mV",
    parameters={"R": "100 Mohm"}, method="exponential_euler",
)  # fmt: skip
FAST = library.get("exponential_current")
SLOW = replace(FAST, parameters={"tau_syn": "20 ms"})


def network(cells: Neuron = CELLS, *synapses: Synapse) -> Network:
    links = [Projection(f"j{n}", "x", "p", s, weights="0.3 nA") for n, s in enumerate(synapses or (FAST,))]
    return Network((Population("p", cells, 3),), tuple(links), (Input("x", 4),), dt="0.1 ms")


def voltage(net: Network, backend: str = "reference") -> np.ndarray:
    found = backends.get(backend).compile(net).run(inputs={"x": SPIKES}, record=["p.v"])
    assert found.spike_count() > 5
    return np.asarray(found.traces["p.v"])


@pytest.mark.parametrize("name", ["I_in", "in_I", "tau_syn_exponential_current", "I_syn_exponential_current", "tau_syn_j1", "I_syn_j1"])  # fmt: skip
@pytest.mark.parametrize("synapses", [(FAST,), (FAST, SLOW)], ids=["one", "two of one name"])
def test_an_unused_parameter_changes_nothing(name: str, synapses: tuple[Synapse, ...]) -> None:
    cells = CELLS.with_parameters(**CELLS.parameters, **{name: "2 ms"})
    np.testing.assert_array_equal(voltage(network(cells, *synapses)), voltage(network(CELLS, *synapses)))


def test_every_backend_runs_generated_names() -> None:
    cells = CELLS.with_parameters(
        **CELLS.parameters, I_syn_exponential_current="1 nA", tau_syn_exponential_current="1 ms"
    )
    net = network(cells, FAST, SLOW)
    right = voltage(net)
    for backend in ("native", "torch", "brian2"):
        np.testing.assert_allclose(voltage(net, backend), right, atol=1e-12, err_msg=backend)


def test_names_that_suffixes_make_alike_stay_apart() -> None:
    """`g_a` of synapse `b` and `g` of synapse `a_b`; a projection called like another synapse."""
    one = Synapse("b", "w : amp", "g_a_post += w", receptor="dg_a/dt = -g_a/(2*ms) : amp\nI = g_a : amp")
    two = Synapse("a_b", "w : amp", "g_post += w", receptor="dg/dt = -g/(9*ms) : amp\nI = g : amp")
    apart = network(CELLS, replace(one, name="first"), replace(two, name="second"))
    np.testing.assert_array_equal(voltage(network(CELLS, one, two)), voltage(apart))
    other = replace(one, name="j2", receptor=one.receptor.replace("2*ms", "30*ms"))
    again = (one, replace(one, receptor=one.receptor.replace("2*ms", "5*ms")), other)  # the third meets no 'j2' of ours
    different = (one, replace(again[1], name="second"), replace(other, name="third"))
    net = network(CELLS, *again)
    renamed = replace(
        net, projections=tuple(replace(p, name=n) for p, n in zip(net.projections, ("k", "j2", "l"), strict=True))
    )
    np.testing.assert_array_equal(voltage(renamed), voltage(network(CELLS, *different)))


def test_the_documented_name_is_kept_where_it_is_free() -> None:
    assert "I_syn_exponential_current" in lower(network()).population("p").states


def test_a_synapse_reads_the_whole_input() -> None:
    """What `I_post` is worth in on_pre doesn't change because a receptor adds to it."""
    reader = Synapse("reader", "w : amp\nu : amp", "u = I_post\nv_post += u*1e6*ohm")
    cells = CELLS.with_parameters(**CELLS.parameters)
    text = str(lower(network(cells, FAST, reader)))
    assert "u := I_syn_exponential_current_post + in__I_post" in text


def test_what_is_derived_from_a_network_goes_with_it() -> None:
    net = network()
    kept = [weakref.ref(x) for x in (net, without_receptors(net), lower(net))]
    assert lower(net) is kept[2]() and without_receptors(net) is kept[1]()
    del net
    gc.collect()
    assert [k() for k in kept] == [None] * 3

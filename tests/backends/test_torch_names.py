"""Names in torch's source: none of a user's can meet another, and none changes a number."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backends
from neuro import AllToAll, Input, Network, Neuron, Pairs, Population, Projection, Synapse, quantity
from neuro.compiler.parameters import values
from neuro.language.mangling import unmangled

POOL = [
    "z", "left", "zeros", "zeros_", "frozen", "frozen_", "drive", "spike", "spikes", "pending", "gate", "arrived", "matrix", "sent", "c",
    "c0", "c_", "of", "of_", "torch", "constants", "observe", "times", "ratio", "jump", "project", "G", "G_a", "p_", "v_", "e", "E", "S", "k_",
    "post_", "pre_", "number", "index", "at", "a_b", "a_b_", "free", "values", "spread_1", "through",
]  # fmt: skip
SPIKES = np.random.default_rng(3).random((2, 80, 3)) < 0.3


def _network(cells: Sequence[str], owners: Sequence[str]) -> Network:
    """Two populations, events from outside and among cells, a graded and a plastic projection; all names are given."""
    v, u, bias, tau, drive, rate = cells
    one, two, source, feed, loop, graded, plastic = owners
    neuron = Neuron(
        "n", f"d{v}/dt = ({bias} + {drive} - {v} - {u})/{tau} : 1 (unless refractory)\nd{u}/dt = -{u}/(20*ms) : 1\n{drive} : 1\n{rate} = exp(-{v}) : 1",
        threshold=f"{v} > 1", reset=f"{v} = 0\n{u} += 0.1", refractory="2 ms", method="euler",
        parameters={bias: 1.3, tau: "10 ms"},
    )  # fmt: skip
    adds = Synapse("adds", "w : 1", on_pre=f"{drive}_post += w\n{v}_post += 0.05*w")
    sends = Synapse("sends", "w : 1", transmits=f"w*tanh({v}_pre)", target=drive)
    learns = Synapse(
        "learns", f"w : 1\nd{u}/dt = -{u}/(20*ms) : 1", on_pre=f"{drive}_post += w\n{u} += 0.1", on_post=f"w = clip(w + {u}, 0, 2)", method="euler"
    )  # fmt: skip
    return Network(
        (Population(one, neuron, 3), Population(two, neuron, 2)),
        (
            Projection(feed, source, one, adds, weights=0.6),
            Projection(loop, one, one, adds, weights=-0.3, connectivity=AllToAll(self_connections=False), delay="1 ms"),
            Projection(graded, one, two, sends, weights=0.5),
            Projection(plastic, one, two, learns, weights=0.4, connectivity=Pairs([0, 1, 2], [0, 1, 1])),
        ),
        (Input(source, 3),),
        dt="1 ms",
    )  # fmt: skip


def _run(cells: Sequence[str], owners: Sequence[str], backend: str = "torch") -> tuple[list[Any], str]:
    program = backends.get(backend).compile(_network(cells, owners))
    record = [f"{p}.{x}" for p in owners[:2] for x in (cells[0], cells[1], cells[5])]
    found = program.run(inputs={owners[2]: SPIKES}, record=record)
    rasters = [np.asarray(found.spikes[p]) for p in owners[:2]]
    assert all(r.sum() > 10 for r in rasters)
    return [*rasters, *(found.traces[n] for n in record), found.final[f"{owners[6]}.w"]], getattr(program, "source", "")


PLAIN = ("aa", "bb", "cc", "dd", "ee", "ff"), ("ga", "gb", "gc", "gd", "ge", "gf", "gg")


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.permutations(POOL), st.permutations(POOL))
def test_names_change_no_number(cells: list[str], owners: list[str]) -> None:
    """Renamed in the same order, since sums run in the order of names, all numbers are the same bits."""
    wanted, plain = _run(*PLAIN)
    found, source = _run(sorted(cells[:6]), sorted(owners[:7]))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    names, other = ({n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)} for text in (source, plain))
    assert len(names) == len(other)
    assert len({unmangled(n) for n in names}) == len(names)


def test_the_interpreter_has_the_same_numbers() -> None:
    for a, b in zip(_run(*PLAIN)[0], _run(*PLAIN, backend="reference")[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


CELLS = Neuron("n", "dv/dt = (I - v)/(5*ms) : 1\nI : 1", threshold="v > 0.5", reset="v = 0", method="euler")


@pytest.mark.parametrize(
    "projection",
    [
        Projection("j", "x", "p", Synapse("s", "a : 1", on_pre="a += 1", every_step="I_post += 0.25*a")),
        Projection("j", "x", "p", Synapse("s", on_pre="v_post += 0.2")),
        Projection("j", "x", "p", Synapse("s", on_pre="I_post += 1"), connectivity=Pairs([0, 1, 2], [0, 1, 1])),
        Projection("j", "x", "p", Synapse("s", "w : 1\na : 1", on_pre="a += 1\nI_post += w*a"), connectivity=Pairs([], []), weights=[]),
        Projection("j", "x", "p", Synapse("s", "w : 1", on_pre="I_post += w; I_post += w*0.5; v_post -= 0.1*w"), weights=0.8),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_amounts_that_random_networks_found(projection: Projection, dtype: str) -> None:
    """Sums into inputs after the Gather, numbers alone, no synapses at all, two statements into one variable."""
    network = Network((Population("p", CELLS, 2),), (projection,), (Input("x", 3),), dt="1 ms")
    found = [
        backends.get(b).compile(network, dtype=dtype).run(inputs={"x": SPIKES}, record=["p.v"]) for b in ("reference", "torch")
    ]  # fmt: skip
    np.testing.assert_array_equal(*(np.asarray(f.spikes["p"]) for f in found))
    np.testing.assert_allclose(
        found[1].traces["p.v"], found[0].traces["p.v"], rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-7
    )
    assert (
        len(projection.connectivity.pre if isinstance(projection.connectivity, Pairs) else [1]) == 0
        or found[0].traces["p.v"].any()
    )


def test_states_without_an_input_and_values_of_t_alone() -> None:
    cells = Neuron(
        "n",
        "dv/dt = -v/(5*ms) : 1\nI : 1\nk : 1\nb = -1.0 : 1",
        every_step="k = t/ms + floor(b)",
        initial={"v": 0.4},
        method="euler",
    )
    network = Network((Population("p", cells, 2),), dt="1 ms")
    for dtype in ("float64", "float32"):
        found = backends.get("torch").compile(network, dtype=dtype).run(steps=20, batch=2, record=["p.v", "p.k", "p.b"])
        wanted = np.broadcast_to(np.arange(20.0)[:, None] - 1, (2, 20, 2))
        np.testing.assert_allclose(found.traces["p.k"], wanted, rtol=1e-6)
        np.testing.assert_allclose(found.traces["p.v"][0, :, 0], 0.4 * 0.8 ** np.arange(1, 21), rtol=1e-6)


def test_the_clock_is_rounded_once() -> None:
    """t is k*dt in float64 first: a switch at a multiple of dt comes in its step in single precision too."""
    onsets = np.arange(1, 400)
    cells = Neuron("b", "dv/dt = int(t >= t0)/(1*ms) : 1", parameters={"t0": "1 ms"}, method="euler")
    network = Network((Population("c", cells, 399, parameters={"t0": quantity(onsets * 1.0, "ms")}),), dt="0.1 ms")
    for dtype in ("float64", "float32"):
        v = (
            backends.get("torch")
            .compile(network, dtype=dtype)
            .run(steps=4002, batch=1, record=["c.v"])
            .traces["c.v"][0]
        )
        np.testing.assert_array_equal((v > 0).argmax(axis=0), onsets * 10)


@pytest.mark.parametrize("refractory", [0, 1, 2, 5])
@pytest.mark.parametrize("flag", ["", "(unless refractory)"])
def test_refractory_cells_are_silent_for_exactly_their_steps(refractory: int, flag: str) -> None:
    cells = Neuron(
        "n", f"dv/dt = (3 - v)/(2*ms) : 1 {flag}", threshold="v > 0.4", reset="v *= 0.5", refractory=f"{refractory} ms", method="euler"
    )  # fmt: skip
    network = Network((Population("p", cells, 2),), dt="1 ms")
    rasters = [
        np.asarray(backends.get(b).compile(network, dtype=d).run(steps=60, batch=2).spikes["p"])
        for b, d in (("reference", "float64"), ("torch", "float64"), ("torch", "float32"))
    ]
    assert np.diff(np.flatnonzero(rasters[0][0, :, 0])).min() >= max(refractory, 1)
    assert rasters[0].sum() > 20
    for other in rasters[1:]:
        np.testing.assert_array_equal(other, rasters[0])


def test_a_value_that_overflows_and_is_reset_goes_on() -> None:
    cells = Neuron("n", "dv/dt = exp(v)/ms : 1", threshold="v > 30", reset="v = -5", initial={"v": -5}, method="euler")
    kick = Projection("p", "x", "P", Synapse("s", "w : 1", on_pre="v_post += w"), weights=800.0)
    network = Network((Population("P", cells, 1),), (kick,), (Input("x", 1),), dt="1 ms")
    spikes = np.zeros((1, 6, 1), bool)
    spikes[0, 2] = True
    v = backends.get("torch").compile(network).run(inputs={"x": spikes}, record=["P.v"])
    wanted = backends.get("reference").compile(network).run(inputs={"x": spikes}, record=["P.v"])
    np.testing.assert_allclose(v.traces["P.v"], wanted.traces["P.v"], rtol=1e-12)
    np.testing.assert_array_equal(np.asarray(v.spikes["P"]), np.asarray(wanted.spikes["P"]))
    assert np.asarray(v.spikes["P"]).sum() == 1


def test_torch_needs_no_snntorch() -> None:
    text = (
        "import sys; sys.modules['snntorch'] = None\n"
        "import numpy as np, backends\nfrom neuro import *\nfrom neuro.compiler.parameters import values\n"
        "n = Neuron('n', 'dv/dt = (I - v)/(9*ms) : 1\\nI : 1', threshold='v > 0.5', reset='v = 0', method='exact')\n"
        "k = Synapse('k', 'w : 1', on_pre='I_post += w')\n"
        "net = Network([Population('p', n, 2)], [Projection('j', 'x', 'p', k, weights=4.0)], [Input('x', 3)], dt='1 ms')\n"
        "x = np.random.default_rng(0).random((2, 40, 3)) < 0.3\n"
        "for s in ('fast_sigmoid', 'atan', 'sigmoid', 'triangle'):\n"
        "    program = backends.get('torch').compile(net, surrogate=s, dtype='float32')\n"
        "    g = program.value_and_grad(lambda f: f.spikes['p'].sum(), values(net), {'x': x}, ['j.w'])[1]['j.w']\n"
        "    assert np.abs(g).max() > 0\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("connectivity", [AllToAll(), Pairs([0, 1, 2], [0, 1, 1])])
def test_what_waits_for_the_next_step_carries_a_gradient(connectivity: Any) -> None:
    """A synapse's every_step statement adds to an input: slopes are those of finite differences."""
    cells = Neuron("n", "dv/dt = (I - v)/(5*ms) : 1\nI : 1", method="euler")
    synapse = Synapse("s", "w : 1\na : 1", on_pre="a += w", every_step="I_post += 0.25*a\na *= 0.5")
    projection = Projection("j", "x", "p", synapse, weights=0.8, connectivity=connectivity)
    network = Network((Population("p", cells, 2),), (projection,), (Input("x", 3),), dt="1 ms")
    start, reference = values(network), backends.get("reference").compile(network)
    program = backends.get("torch").compile(network)
    _, grads = program.value_and_grad(lambda f: (f.traces["p.v"] ** 2).sum(), start, {"x": SPIKES}, ["j.w"], ["p.v"])

    def loss(w: Any) -> float:
        return float((reference.run({"j.w": w}, inputs={"x": SPIKES}, record=["p.v"]).traces["p.v"] ** 2).sum())

    for place in np.ndindex(start["j.w"].shape):
        moved = np.zeros_like(start["j.w"])
        moved[place] = 1e-5
        slope = (loss(start["j.w"] + moved) - loss(start["j.w"] - moved)) / 2e-5
        assert slope != 0
        np.testing.assert_allclose(grads["j.w"][place], slope, rtol=1e-7)

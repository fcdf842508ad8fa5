"""A network on its way down: what each level is, and that the one below is made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuro import Network, Population, Projection, Synapse, levels, library, lower
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve
from neuro.model import AllToAll, Input, Neuron, Pairs, Probability
from tests.packaging.readme_example import example

CELL = Neuron(
    "cell", "dv/dt = (drive - v)/tau : volt (unless refractory)\ndrive = 2*R*I : volt\nI : amp", threshold="v > v_th",
    reset="v = 0*mV", refractory="1 ms", parameters={"tau": "10 ms", "R": "10 Mohm", "v_th": "15 mV"},
)  # fmt: skip


def network(connectivity: AllToAll | Probability | Pairs = AllToAll(self_connections=False)) -> Network:  # noqa: B008
    reader = Synapse("reader", "w : volt\nu : volt", on_pre="u = drive_post\nv_post += w\nv_post -= w/2")
    synapses = [
        Projection("fast", "x", "cells", library.get("exponential_current"), weights="1 nA", delay="0.2 ms"),
        Projection("loop", "cells", "cells", reader, connectivity=connectivity, weights="1 mV"),
    ]
    return Network([Population("cells", CELL, 4)], synapses, [Input("x", 3)], dt="0.1 ms", seed=2)


def test_every_level_prints_itself() -> None:
    found = {name: str(level) for name, level in levels(network()).items()}
    assert list(found) == ["definition", "resolved", "step"]
    assert "population cells: 4 x cell" in found["definition"] and "input x: 3 x spikes" in found["definition"]
    resolved = found["resolved"].splitlines()
    assert "population cells[4]: euler, v kept for 10 steps" in resolved
    assert "projection fast: x -> cells, dense, 12 synapses, delay 2 steps" in resolved
    assert "projection loop: cells -> cells, dense, 12 synapses, delay 0 steps" in resolved
    assert "    on pre v_post += w" in resolved and "    reset v := 0" in resolved
    assert found["step"] == str(lower(network()))


def test_the_example_of_the_architecture_page(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example(Path(__file__).parents[2] / "docs" / "architecture.md"), "architecture.md", "exec"), {})
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line in ("definition", "resolved", "step")] == list(
        levels(network())
    )
    assert "    dv/dt = (E_L - v + I*R)/tau_m" in printed and "    v := new__v" in printed


def test_formulas_stand_over_states_inputs_and_parameters_alone() -> None:
    synapse = resolve(network()).synapses["loop"]
    names = {s.name for s in synapse.pathways[""][0].expr.free_symbols}  # type: ignore[union-attr]  # an assignment
    assert "drive_post" not in names and {"R_post", "in__I_post"} <= names
    cell = resolve(network()).cells["cells"]
    assert [name for name, _ in cell.system.rates] == ["v", "I_syn_exponential_current"] and cell.threshold is not None
    assert str(cell.reset[0]) == "v := 0" and cell.every_step == ()


@pytest.mark.parametrize(
    "connectivity", [AllToAll(self_connections=False), Probability(0.5), Pairs(np.array([0, 3]), np.array([1, 1]))]
)
def test_what_is_drawn_is_the_same_above_and_below_the_receptors(connectivity: AllToAll | Probability | Pairs) -> None:
    net = network(connectivity)
    wires, below = resolve(net).wires["loop"], resolve(resolve(net).network).wires["loop"]
    assert wires is below and wires is resolve(net).wires["loop"]
    synapses = lower(net).projection("loop")
    assert np.array_equal(synapses.pre_index, wires.pre_index) and np.array_equal(synapses.post_index, wires.post_index)
    assert parameters(net)["loop.w"].shape == wires.shape

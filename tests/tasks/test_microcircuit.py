"""The cortical microcircuit: its published numbers, what a smaller one keeps, the same spikes on every backend."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import backends
from neuro import FixedTotal, Network
from neuro.options import OptionError
from tasks import microcircuit as m


def test_the_published_numbers() -> None:
    """77,169 cells and 298.88 million synapses; 87.8 pA move a cell by 0.15 mV. Nothing is drawn by a definition."""
    net = m.network()
    kinds = [p.connectivity for p in net.projections]
    assert sum(p.size for p in net.populations) == 77169
    numbers = [k.n for k in kinds if isinstance(k, FixedTotal)]
    assert len(numbers) == len(kinds) == np.count_nonzero(m.PROBABILITIES)
    assert abs(sum(numbers) / 298.88e6 - 1) < 1e-3
    assert abs(m.weight() - 87.81) < 0.01
    assert all(k.multapses and k.self_connections for k in kinds if isinstance(k, FixedTotal))
    for k, item in enumerate(net.inputs):
        assert item.rate is not None and item.rate.value * item.sources == 8 * m.EXTERNAL[k]
    assert all(p.parameters["drive"].value == 0 for p in net.populations)  # type: ignore[union-attr]


def test_a_postsynaptic_potential_of_a_cell_at_rest() -> None:
    """The cell's own equations, solved: largest at log(tau_m/tau_syn) of their common time."""
    from dataclasses import replace

    from neuro import Population
    from neuro.language.units import quantity

    cell = Population("p", m.cell, 1, initial={"v": quantity("-65 mV"), "I": quantity(m.weight(), "pA")})
    net = Network((replace(cell),), dt=quantity("0.01 ms"))
    v = backends.get("native").compile(net).run(record=["p.v"], steps=1000, batch=1).traces["p.v"][0, :, 0]
    assert abs((v.max() + 65e-3) / 0.15e-3 - 1) < 1e-4
    late = 10 * 0.5 / 9.5 * math.log(20)
    assert abs(int(v.argmax()) * 0.01 - late) < 0.03


def heard(net: Network, target: int) -> tuple[float, float]:
    """Mean of a cell's synaptic and constant current at the full model's rates, pA, and sum of rate and squared weight, pA**2 a second."""
    population: Any = net.populations[target]
    mean = variance = 0.0
    for p in net.projections:
        item: Any = p
        if p.post == population.name:
            rate = m.RATES[m.POPULATIONS.index(p.pre)] * item.connectivity.n / population.size
            weight = 1e12 * float(item.weights.mean.value)
            mean, variance = mean + rate * weight, variance + rate * weight**2
    for drive in net.inputs:
        given: Any = drive
        if drive.target == f"{population.name}.I":
            weight = 1e12 * float(given.weight.value)
            mean, variance = mean + 8 * drive.sources * weight, variance + 8 * drive.sources * weight**2
    return 0.5e-3 * mean + 1e12 * float(population.parameters["drive"].value), variance


@pytest.mark.parametrize("scale", [0.1, 0.3])
@pytest.mark.parametrize("target", range(8))
def test_a_smaller_network_hears_as_much(target: int, scale: float) -> None:
    """Mean and variance of a cell's current, from the definition's own numbers; 106 cells of L5I hear whole synapses alone."""
    (a, b), (c, d) = heard(m.network(), target), heard(m.network(scale), target)
    assert abs(c / a - 1) < 5e-3 and abs(d / b - 1) < 5e-3
    constant = m.network(scale, constant=True)
    assert not constant.inputs and abs(heard(constant, target)[0] / a - 1) < 5e-3


def spikes_of_independent_trains(scale: float) -> int:
    """200 cells of L23E in five seconds, which hear Poisson trains at the full model's rates in place of other cells."""
    from neuro import Input, Population
    from neuro.language.units import quantity

    trains = [(m.synapses(0, k) / m.SIZES[0] * rate, m.sent(0, k)) for k, rate in enumerate(m.RATES)]
    trains.append((m.RATE * m.EXTERNAL[0], m.weight()))
    inputs = [
        Input(f"x{k}", 200, "drive", "cells.I", quantity(scale * rate, "Hz"), quantity(weight / math.sqrt(scale), "pA"))
        for k, (rate, weight) in enumerate(trains)
        if rate
    ]
    drive = {"drive": quantity(m.missing(0, scale, False), "pA")}
    cells = Population("cells", m.cell, 200, drive, {"v": quantity("-65 mV")})
    net = Network((cells,), (), tuple(inputs), dt=quantity(m.DT, "ms"), seed=1)
    return backends.get("native").compile(net).run(steps=50_000, batch=1).spike_count()


def test_cells_of_a_smaller_network_fire_less() -> None:
    """Mean and variance of what they hear are the same, the third moment isn't: inhibition comes in larger jumps."""
    full, tenth = spikes_of_independent_trains(1.0), spikes_of_independent_trains(0.1)
    assert 100 < tenth < 0.7 * full


def test_the_same_spikes_on_every_backend() -> None:
    net, names = m.network(0.01, seed=2), ("reference", "native", "torch", "brian2")
    found = {b: backends.get(b).compile(net).run(steps=700, batch=1) for b in names}
    for name in m.POPULATIONS:
        for recording in found.values():
            np.testing.assert_array_equal(recording.spikes[name], found["reference"].spikes[name])
    assert found["native"].spike_count() > 15


@pytest.mark.parametrize("scale", [0, -1, 1.1, 1e-6, float("nan")])
def test_scales_that_are_none(scale: float) -> None:
    with pytest.raises(OptionError, match="scale="):
        m.network(scale)

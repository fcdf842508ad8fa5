"""The cortical microcircuit: its published numbers, what a smaller one keeps, the same spikes on every backend."""

from __future__ import annotations

import math

import numpy as np
import pytest

import backends
from neuro import FixedTotal
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

    from neuro import Network, Population
    from neuro.language.units import quantity

    cell = Population("p", m.cell, 1, initial={"v": quantity("-65 mV"), "I": quantity(m.weight(), "pA")})
    net = Network((replace(cell),), dt=quantity("0.01 ms"))
    v = backends.get("native").compile(net).run(record=["p.v"], steps=1000, batch=1).traces["p.v"][0, :, 0]
    assert abs((v.max() + 65e-3) / 0.15e-3 - 1) < 1e-4
    late = 10 * 0.5 / 9.5 * math.log(20)
    assert abs(int(v.argmax()) * 0.01 - late) < 0.03


@pytest.mark.parametrize("scale", [0.1, 0.3])
def test_a_smaller_network_hears_as_much(scale: float) -> None:
    """Mean and variance of a cell's current at the full model's rates, from the definition's own numbers."""

    def heard(net: m.Network, target: int) -> tuple[float, float]:
        """Sums over sources of rate, in-degree and weight, or its square; pA and pA**2 a second, and the constant current."""
        population = net.populations[target]
        mean = variance = 0.0
        for p in net.projections:
            if p.post == population.name and isinstance(p.connectivity, FixedTotal):
                rate = m.RATES[m.POPULATIONS.index(p.pre)] * p.connectivity.n / population.size
                weight = 1e12 * p.weights.mean.value  # type: ignore[union-attr]
                mean, variance = mean + rate * weight, variance + rate * weight**2
        drive = net.inputs[target]
        assert drive.weight is not None
        mean += 8 * drive.sources * 1e12 * float(drive.weight.value)
        variance += 8 * drive.sources * (1e12 * float(drive.weight.value)) ** 2
        constant = 1e12 * population.parameters["drive"].value  # type: ignore[union-attr]
        return 0.5e-3 * mean + float(constant), variance

    full, small = m.network(), m.network(scale)
    for target in range(8):
        (a, b), (c, d) = heard(full, target), heard(small, target)
        assert abs(c / a - 1) < 2e-3 and abs(d / b - 1) < 2e-3


def test_the_same_spikes_on_every_backend() -> None:
    net = m.network(0.01, seed=2)
    found = {
        b: backends.get(b).compile(net).run(steps=400, batch=1) for b in ("reference", "native", "torch", "brian2")
    }
    for name in m.POPULATIONS:
        for recording in found.values():
            np.testing.assert_array_equal(recording.spikes[name], found["reference"].spikes[name])
    assert found["native"].spike_count() > 30


def test_drives_as_constant_currents() -> None:
    net = m.network(0.02, constant=True)
    assert not net.inputs
    raster = backends.get("native").compile(net).run(steps=1000, batch=1).spikes
    assert sum(int(np.sum(r)) for r in raster.values()) > 100


@pytest.mark.parametrize("scale", [0, -1, 1.1, 1e-6, float("nan")])
def test_scales_that_are_none(scale: float) -> None:
    with pytest.raises(OptionError, match="scale="):
        m.network(scale)

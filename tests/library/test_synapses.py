"""The time course of every library synapse, against its closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import backends
from neuro import Input, Network, Population, Projection, library, quantity
from tests.library.networks import WEIGHTS

DT = 1e-4


def response(name: str, spikes: list[int], *names: str, target: str = "lif", steps: int = 200) -> list[np.ndarray]:
    """Traces [time] of one cell that gets spikes in these steps; it never fires."""
    neuron = replace(library.get(target), threshold="", reset="")
    link = Projection("link", "x", "cells", library.get(name), WEIGHTS[name])
    network = Network((Population("cells", neuron, 1),), (link,), (Input("x", 1),))
    raster = np.zeros((1, steps, 1), bool)
    raster[0, spikes] = True
    record = [f"cells.{n}" for n in names]
    traces = backends.get("reference").compile(network).run(inputs={"x": raster}, record=record).traces
    return [traces[n][0, :, 0] for n in record]


def weight(name: str) -> float:
    return float(quantity(WEIGHTS[name]).value)


def since(step: int, steps: int = 200) -> np.ndarray:
    """Seconds since the end of that step."""
    return DT * (np.arange(steps) - step)


def test_delta_moves_the_membrane_in_the_step_of_arrival() -> None:
    (v,) = response("delta", [10], "v")
    t = since(10)
    expected = np.where(t >= 0, weight("delta") * np.exp(-t / 10e-3), 0)
    np.testing.assert_allclose(v + 70e-3, expected, atol=1e-14)


def test_pulse_is_a_current_of_one_step_after_the_arrival() -> None:
    current, v = response("pulse", [10], "I", "v")
    np.testing.assert_array_equal(np.flatnonzero(current), [11])
    assert current[11] == weight("pulse")
    expected = 100e6 * weight("pulse") * -np.expm1(-DT / 10e-3)
    np.testing.assert_allclose(v[11] + 70e-3, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [["delta", "v"], ["exponential_current", "I_syn_exponential_current"]])
def test_spikes_add_up(order: list[str]) -> None:
    name, variable = order
    both, first, second, none = (response(name, s, variable)[0] for s in ([10, 40], [10], [40], []))
    np.testing.assert_allclose(both - none, first + second - 2 * none, atol=1e-9 * np.abs(both).max())


@pytest.mark.parametrize(
    ("name", "target", "variable"),
    [
        ("exponential_current", "lif", "I_syn_exponential_current"),
        ("current_jump", "cuba_lif", "I_syn"),
        ("exponential_conductance", "coba_lif", "g_exponential_conductance"),
    ],
)
def test_exponential_decay_from_the_weight(name: str, target: str, variable: str) -> None:
    (trace,) = response(name, [10], variable, target=target)
    t = since(10)
    np.testing.assert_allclose(trace, np.where(t >= 0, weight(name) * np.exp(-t / 5e-3), 0), rtol=1e-12)


def test_alpha_peaks_at_the_weight_after_its_time_constant() -> None:
    (current,) = response("alpha", [10], "I_syn_alpha")
    t, tau = np.maximum(since(10), 0), 3e-3
    np.testing.assert_allclose(current, weight("alpha") * t / tau * np.exp(1 - t / tau), rtol=1e-12, atol=1e-24)
    assert np.argmax(current) == 10 + 30
    assert current.max() == pytest.approx(weight("alpha"), rel=1e-12)


def test_conductance_pulls_towards_its_reversal_potential() -> None:
    v, current, g = response(
        "exponential_conductance", [10, 20], "v", "I", "g_exponential_conductance", target="coba_lif"
    )
    np.testing.assert_allclose(current, g * (0 - v), rtol=1e-12)
    assert -60e-3 < v.max() < 0


def test_graded_current_follows_the_presynaptic_potential() -> None:
    leaky = library.get("leaky_integrator")
    pre = Population("pre", leaky, 3, initial={"v": quantity([-70.0, -50.0, -40.0], "mV")})
    link = Projection("link", "pre", "post", library.get("graded_sigmoid"), "0.1 nA")
    network = Network((pre, Population("post", leaky, 1)), (link,))
    recording = backends.get("reference").compile(network).run(steps=3, record=["pre.v", "post.I"])
    before = np.array([-70e-3, -50e-3, -40e-3])
    after = recording.traces["pre.v"][0, :-1]
    states = np.concatenate([before[None], after])
    expected = (1e-10 / (1 + np.exp(-(states + 50e-3) / 5e-3))).sum(axis=1)
    np.testing.assert_allclose(recording.traces["post.I"][0, :, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("facilitation", ["1500 ms", "50 ms"])
def test_short_term_plasticity_follows_tsodyks_and_markram(facilitation: str) -> None:
    """Release u*x of each spike of a 50 Hz train, against the recursion from spike to spike."""
    synapse = library.get("short_term_plasticity")
    synapse = replace(synapse, parameters={**synapse.parameters, "tau_f": quantity(facilitation)})
    link = Projection("link", "x", "cells", synapse, "1 nA")
    network = Network((Population("cells", library.get("leaky_integrator"), 1),), (link,), (Input("x", 1),))
    raster = np.zeros((1, 2001, 1), bool)
    raster[0, :2000:200] = True
    recording = backends.get("reference").compile(network).run(inputs={"x": raster}, record=["cells.I"])
    released = recording.traces["cells.I"][0, 1::200, 0] / 1e-9
    expected, u, x = [], 0.0, 1.0
    tau_f, tau_d, big_u, interval = quantity(facilitation).value, 0.2, 0.2, 0.02
    for _ in range(10):
        u += big_u * (1 - u)
        expected.append(u * x)
        x -= u * x
        u, x = u * np.exp(-interval / tau_f), 1 - (1 - x) * np.exp(-interval / tau_d)
    np.testing.assert_allclose(released, expected, rtol=1e-12)


def test_weights_have_the_unit_of_the_variable_they_reach() -> None:
    units = {name: library.get(name).scope.weight_unit for name in library.synapses()}
    for name, text in units.items():
        value = quantity(WEIGHTS[name])
        assert value.to(text) > 0

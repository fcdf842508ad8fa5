"""Morris-Lecar presets: bifurcation currents of the equations, silence, spikes and block on every backend, the trapezoid against rk4.

Wanted figures are those of the prototype behind the units of Hazelden et al. (2023), arXiv:2311.10869; the Hopf current is the textbook's.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import backends
from neuro import library, quantity
from neuro.language.units import unit
from neuro.library.morris_lecar import PRESETS
from tasks.single_neuron import crossings
from tests.backends.able import REFUSED
from twinspike.models import morris_lecar as fixture

BACKENDS = [b for b in backends.names() if b not in REFUSED]
BOTH = {"trapezoid": fixture.stepped, "rk4": fixture.continuous}


@pytest.mark.parametrize(
    ("preset", "saddle", "trace"),
    [
        ("a2", 39.577, [96.44]),
        ("snic", 39.963, [97.64]),
        ("hopf", None, [93.86, 212.0]),
        ("homoclinic", 39.963, None),
    ],
)
def test_bifurcations(preset: str, saddle: float | None, trace: list[float] | None) -> None:
    flow = fixture.Flow(preset)
    found = flow.saddle_node()
    assert found is None if saddle is None else found == pytest.approx(saddle, abs=5e-4)
    if trace is not None:
        assert flow.hopf() == pytest.approx(trace, abs=0.05)


def test_presets_are_parameters_of_both_forms_and_the_hopf_regime_is_what_there_was() -> None:
    plain, trapezoid = library.get("morris_lecar"), library.get("morris_lecar_trapezoid")
    assert plain.with_parameters(**PRESETS["hopf"]) == plain
    assert trapezoid.with_parameters(**PRESETS["a2"]) == trapezoid
    assert PRESETS["a2"].keys() == PRESETS["snic"].keys() == PRESETS["homoclinic"].keys()
    assert quantity(PRESETS["a2"]["phi"]).value == pytest.approx(2 / 30 * 1e3, rel=1e-15)
    assert unit("msiemens/cm**2").dimension == quantity(PRESETS["a2"]["g_Ca"]).dimension


@pytest.mark.parametrize("preset", fixture.RATES)
def test_rates_and_silence_and_block(preset: str) -> None:
    """The whole table on one backend; the others compute the same traces."""
    v = fixture.run(fixture.stepped(preset), fixture.CURRENTS, fixture.TRANSIENT + fixture.WINDOW, "auto")
    np.testing.assert_allclose(fixture.rates(v), fixture.RATES[preset], atol=1.0)
    if preset == "a2":
        blocked = v[-1, fixture.CURRENTS.index(120.0)]
        assert blocked == pytest.approx(9.5e-3, abs=0.1e-3)
        assert 1 / (1 + np.exp(-(blocked * 1e3 + 3) / 8)) == pytest.approx(0.83, abs=0.005)


@cache
def traces(form: str, backend: str) -> np.ndarray:
    """200 ms at currents of silence, spikes and block, V."""
    return fixture.run(BOTH[form]("a2"), (39.0, 60.0, 100.0, 120.0), 0.2, backend, dtype="float64")


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "reference"])
def test_every_backend_gives_the_same_traces(form: str, backend: str) -> None:
    expected, found = traces(form, "reference"), traces(form, backend)
    assert crossings(expected)[1:3].min() >= 4
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)  # 1e-6 mV


def test_shape_of_a_spike() -> None:
    v = fixture.run(fixture.stepped("a2"), (60.0,), 1.0, "auto")[2000:] * 1e3
    assert v.min() == pytest.approx(-42.2, abs=0.1) and v.max() == pytest.approx(32.8, abs=0.1)


def test_the_trapezoid_converges_to_rk4_with_order_one() -> None:
    """Twenty milliseconds with the upstroke of a spike. The order would be 2 if both variables were taken in the middle of the step."""
    true = fixture.run(fixture.continuous("a2"), (60.0,), 0.02, "auto", dt=1e-5)[-1]
    dts = [2e-4 / 2**k for k in range(5)]
    errors = [abs(fixture.run(fixture.stepped("a2"), (60.0,), 0.02, "auto", dt=dt)[-1] - true)[0] for dt in dts]
    assert np.polyfit(np.log(dts), np.log(errors), 1)[0] == pytest.approx(1, abs=0.1), errors

"""What every library model must obey: units, a citation, a resting state, spikes when driven."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import backends
from neuro import ModelError, Network, Neuron, Recording, library, lower, quantity
from tests.library.networks import WEIGHTS, one_population, two_populations
from twinspike.models.drives import DRIVES

STEPS = 1000
SPIKING = tuple(n for n in library.neurons() if library.get(n).threshold)


def run(name: str, strength: float) -> Recording:
    """1000 steps under a constant current, as a multiple of the model's drive."""
    network = one_population(name)
    current = np.full((1, STEPS, 1), strength * quantity(DRIVES[name].amplitude).value)
    states = [f"cells.{state}" for state in library.get(name).scope.states]
    return backends.get("reference").compile(network).run(inputs={"current": current}, record=states)


@pytest.mark.parametrize("name", library.names())
def test_module_is_short_and_named_after_its_model(name: str) -> None:
    module = import_module(f"neuro.library.{name}")
    assert library.get(name).name == name
    assert len(Path(str(module.__file__)).read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", library.names())
def test_source_is_a_citation(name: str) -> None:
    assert re.search(r"[A-Z][a-z]+.* \((17|18|19|20)\d\d\)", library.get(name).source)


@pytest.mark.parametrize("name", library.names())
def test_every_parameter_is_used_with_its_unit(name: str) -> None:
    """A parameter in kelvin breaks the units of some equation, so each one stands in an equation that is checked."""
    for parameter in library.get(name).parameters:
        with pytest.raises(ModelError, match="kelvin"):
            _with_wrong_unit(name, parameter)


def _with_wrong_unit(name: str, parameter: str) -> Network:
    model = library.get(name)
    wrong = replace(model, parameters={**model.parameters, parameter: "1 kelvin"})
    network = one_population(name) if isinstance(model, Neuron) else two_populations(name)
    return replace(network, projections=tuple(replace(p, synapse=wrong) for p in network.projections))


@pytest.mark.parametrize("name", library.names())
def test_lowers_within_a_second(name: str) -> None:
    network = one_population(name) if name in library.neurons() else two_populations(name)
    start = time.perf_counter()
    step = lower(network)
    assert time.perf_counter() - start < 1
    assert any(getattr(operation, "phase", "") in ("integrate", "every_step") for operation in step.operations)


@pytest.mark.parametrize("name", library.neurons())
def test_initial_state_is_rest(name: str) -> None:
    """Without input nothing fires, and no state moves by more than a hundredth of its excursion when driven."""
    rest, driven = run(name, 0.0), run(name, 1.0)
    assert rest.spike_count() == 0
    for state, trace in rest.traces.items():
        assert np.ptp(trace) <= 0.01 * np.ptp(driven.traces[state]), state


@pytest.mark.parametrize("name", SPIKING)
def test_fires_when_driven(name: str) -> None:
    spikes = run(name, 1.0).spikes["cells"][0, :, 0]
    assert 5 <= spikes.sum() <= STEPS / 5


# Units without a threshold whose solution is known: steady state under a drive, time constant (s). `test_convergence.py` has all.
CLOSED_FORMS = {
    "leaky_integrator": (lambda drive: 100e6 * drive, 20e-3),
    "rate": (np.tanh, 10e-3),
    "rate_relu": (lambda drive: drive, 10e-3),
    "additive": (lambda drive: drive, 10e-3),
    "leaky_tanh": (lambda drive: drive, 10e-3),
    "rate_sigmoid": (lambda drive: 1 / (1 + np.exp(-drive)), 10e-3),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_unit_without_threshold_settles_at_its_steady_state(name: str) -> None:
    steady, time_constant = CLOSED_FORMS[name]
    (trace,) = run(name, 1.0).traces.values()
    end, start = steady(quantity(DRIVES[name].amplitude).value), steady(0.0)
    expected = end + (start - end) * np.exp(-STEPS * DRIVES[name].dt.value / time_constant)
    np.testing.assert_allclose(trace[0, -1, 0], expected, rtol=1e-3)


def test_a_model_without_test_data_is_told_where_it_goes() -> None:
    with pytest.raises(
        KeyError,
        match=r"'foo' has no drive; write one, such as Drive\('0.3 nA'\).*, into DRIVES in twinspike/models/dr",
    ):
        one_population("foo")
    with pytest.raises(KeyError, match=r"'foo' has no weight; write one.*, into WEIGHTS in tests/library/networks.py"):
        WEIGHTS["foo"]


def test_every_model_has_test_data() -> None:
    assert set(DRIVES) == set(library.neurons())
    assert set(WEIGHTS) == set(library.synapses())
    assert set(library.neurons()) | set(library.synapses()) == set(library.names())


def test_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(library.UnknownModelError, match="did you mean 'izhikevich'"):
        library.get("izikevich")
    with pytest.raises(library.UnknownModelError, match="known: additive, adex"):
        library.get("zzz")


def test_new_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "perfect.py").write_text(
        "from neuro.model import Neuron\n"
        "perfect = Neuron('perfect', 'dv/dt = I/C : volt\\nI : amp', parameters={'C': '1 nF'}, method='exact')\n"
    )
    monkeypatch.setattr(library, "__path__", [*library.__path__, str(tmp_path)])
    assert "perfect" in library.neurons()
    assert library.get("perfect").name == "perfect"

"""Names of methods that Brian2 has too, and what exponential_euler holds for a step."""

from __future__ import annotations

import numpy as np
import pytest

import backends
from neuro import Network, Neuron, Population, Synapse
from neuro.checks import ModelWarning
from neuro.compiler.semantics import Semantics, semantics
from neuro.io.serialisation import from_json, to_json
from neuro.language.equations import ModelError


@pytest.mark.parametrize("name", ["linear", "independent"])
def test_brian2s_names_of_the_exact_method(name: str) -> None:
    neuron = Neuron("n", "dv/dt = (1 - v)/(10*ms) : 1", method=name)
    assert neuron == Neuron("n", "dv/dt = (1 - v)/(10*ms) : 1", method="exact")
    assert Synapse("s", "dx/dt = -x/ms : 1", on_pre="x += 1", method=name).method == "exact"
    with pytest.raises(ModelError, match="'exact' needs linear equations"):
        Neuron("n", "dv/dt = -v**2/(10*ms) : 1", method=name)


def network(rate: str) -> Network:
    neuron = Neuron("n", f"dv/dt = ({rate})/(10*ms) : 1", initial={"v": 0.3}, method="exponential_euler")
    return Network((Population("p", neuron, 2),), dt="0.5 ms")


def test_a_nonlinear_rest_is_held_for_a_step_with_a_warning_and_a_record() -> None:
    with pytest.warns(ModelWarning, match="population 'p': dv/dt has a part that follows v but not in proportion"):
        held = network("exp(v) - 3*v")
    record = semantics(held)
    assert record.cells["p"].held == ("v",)
    assert Semantics.from_data(record.to_data()) == record
    found = {
        name: backends.get(name).compile(held).run(record=["p.v"], steps=60, batch=1).traces["p.v"]
        for name in ("reference", "brian2")
    }
    v = 0.3
    for k in range(60):
        v = v * np.exp(-0.15) + np.exp(v) / 3 * (1 - np.exp(-0.15))
        assert found["reference"][0, k, 0] == pytest.approx(v, rel=1e-12)
    np.testing.assert_allclose(found["brian2"], found["reference"], rtol=1e-12)


def test_coefficients_that_follow_the_variable_are_recorded_without_a_warning() -> None:
    assert semantics(network("(1 - v)*(1 + tanh(v))")).cells["p"].held == ("v",)
    assert semantics(network("1 - v")).cells["p"].held == ()


def test_a_power_that_brian2_would_drop_is_refused() -> None:
    """It reads v*(1 - v) as v: of terms in v and v**2 it keeps the first."""
    with pytest.raises(ModelError, match="needs an equation linear in v"):
        network("v*(1 - v)")


def test_a_file_keeps_what_a_name_stands_for() -> None:
    made = Network((Population("p", Neuron("n", "dv/dt = -v/ms : 1", method="linear"), 1),))
    assert from_json(to_json(made)) == made

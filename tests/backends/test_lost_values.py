"""A state that leaves the finite numbers and is then set anew: every backend says so, in the step in which it happened."""

from __future__ import annotations

from typing import Any

import pytest

import backends
from neuro import Network, Neuron, Population, RunError
from tests.backends.able import able

EVERY = [b for b in backends.names() if b != "snntorch"]
TEXT = "dv/dt = (E - v)/(5*ms) : 1\ndx/dt = (sqrt(0.4 - v) - x)/(2*ms) : 1"  # v is above 0.4 after three steps, and there is no root
CASES: dict[str, dict[str, Any]] = {
    "reset": {"reset": "v = 0\nx = 0.25"},
    "statement": {"reset": "v = 0", "every_step": "x = x*int(v < 0.9) + 0.1\nx = 0.25 + 0*v"},
    "its own threshold": {"threshold": "v > 1 or x > 5", "reset": "v = 0\nx = 0.25"},
}


@pytest.mark.parametrize("backend", EVERY)
@pytest.mark.parametrize("name", ["reset", "its own threshold"])
def test_what_was_not_finite_for_a_while_is_reported(name: str, backend: str) -> None:
    neuron = Neuron("n", TEXT, **{"threshold": "v > 1", "parameters": {"E": "1.5"}, **CASES[name]})
    network = Network(Population("cells", neuron, 2), dt="0.5 ms")
    with pytest.raises(RunError, match=r"'cells\.x' is not finite at step 3 \(trial 0, cell"):
        backends.get(backend).compile(network).run(steps=60)


@pytest.mark.parametrize("backend", EVERY)
def test_what_is_set_anew_in_the_same_step_was_never_there(backend: str) -> None:
    neuron = Neuron("n", TEXT, **{"threshold": "v > 1", "parameters": {"E": "1.5"}, **CASES["statement"]})
    network = Network(Population("cells", neuron, 2), dt="0.5 ms")
    found = backends.get(backend).compile(network).run(steps=60, record=["cells.x"])
    assert found.spike_count() > 2 and (found.traces["cells.x"] == 0.25).all()


def test_gradients_of_such_a_run_are_refused_too() -> None:
    network = Network(
        Population("cells", Neuron("n", TEXT, threshold="v > 1", parameters={"E": "1.5"}, **CASES["reset"]), 2),
        dt="0.5 ms",
    )
    for backend in able("gradients"):
        program: Any = backends.get(backend).compile(network)
        with pytest.raises(RunError, match=r"'cells\.x' is not finite at step 3"):
            program.value_and_grad(
                lambda s: s.traces["cells.v"].sum(), None, {}, ["cells.E"], ["cells.v"], steps=60, batch=1
            )


@pytest.mark.parametrize("backend", EVERY)
def test_what_grows_without_bound_while_refractory_is_reported(backend: str) -> None:
    """It is far above the threshold when the refractory period ends, and would be reset as if it were a number."""
    neuron = Neuron("n", "dv/dt = (1 + v**3)/ms : 1", threshold="v > 1", reset="v = 0", refractory="10 ms")
    network = Network(Population("cells", neuron, 2), dt="0.5 ms")
    with pytest.raises(RunError, match=r"'cells\.v' is not finite at step 11 \(trial 0, cell"):
        backends.get(backend).compile(network).run(steps=60)

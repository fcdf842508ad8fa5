"""A run that is cut anywhere and goes on, on the same or another backend, equals the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neuro import Network, Recording, RunError
from neuro.protocols import Program
from neuro.state import State
from tests.backends.able import NETWORKS, able
from tests.backends.able import compiled as program
from tests.backends.networks import drive

STEPS = 120
CUTS = (1, 50, 119)
BACKENDS = able("state")
each_network = pytest.mark.parametrize("feature", NETWORKS)


def record(network: Network) -> list[str]:
    return [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]


def whole(made: Program, **options: object) -> Recording:
    network = made.network
    return made.run(inputs=drive(network, steps=STEPS), record=record(network), steps=STEPS, batch=2, **options)  # type: ignore[arg-type]


def part(made: Program, first: int, last: int, **options: object) -> Recording:
    network = made.network
    inputs = {n: a[:, first:last] for n, a in drive(network, steps=STEPS).items()}
    return made.run(inputs=inputs, record=record(network), steps=last - first, batch=2, **options)  # type: ignore[arg-type]


def same(a: Recording, first: Recording, second: Recording, rtol: float) -> None:
    for name, raster in a.spikes.items():
        np.testing.assert_array_equal(np.concatenate([first.spikes[name], second.spikes[name]], -2), raster)
    for name, trace in a.traces.items():
        found = np.concatenate([first.traces[name], second.traces[name]], -2)
        np.testing.assert_allclose(found, trace, rtol=rtol, atol=rtol * max(1e-300, np.abs(trace).max()))
    for name, value in a.final.items():
        np.testing.assert_allclose(second.final[name], value, rtol=rtol, atol=rtol)


@each_network
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_goes_on_is_the_whole_bit_for_bit(backend: str, feature: str) -> None:
    made = program(backend, feature)
    full = whole(made)
    assert sum(r.sum() for r in full.spikes.values()) > 10 or not full.spikes
    for cut in CUTS:
        first = part(made, 0, cut)
        assert first.state.step == cut
        second = part(made, cut, STEPS, state=first.state)
        same(full, first, second, 0)
        assert second.state.differences(full.state) == {}


@each_network
@pytest.mark.parametrize("after", BACKENDS)
@pytest.mark.parametrize("before", BACKENDS)
def test_another_backend_goes_on(before: str, after: str, feature: str) -> None:
    a, b = program(before, feature), program(after, feature)
    full = whole(program("reference", feature))
    first = part(a, 0, 50)
    assert all(d < 1e-9 for d in first.state.differences(part(b, 0, 50).state).values())
    same(full, first, part(b, 50, STEPS, state=first.state), 1e-9)


@pytest.mark.parametrize("after", BACKENDS)
@pytest.mark.parametrize("before", able("state", "gradients"))
def test_a_state_of_tensors_serves_every_backend(before: str, after: str) -> None:
    a, b = program(before, "heterogeneous delays"), program(after, "heterogeneous delays")
    inputs = {n: x[:, :30] for n, x in drive(a.network, steps=STEPS).items()}
    state = a.forward(None, inputs).state  # type: ignore[attr-defined]
    found, wanted = (part(b, 30, 60, state=s) for s in (state, state.numpy()))
    assert found.state.differences(wanted.state) == {} and found.state.step == 60


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_cuts(backend: str) -> None:
    """One step at a time, through delays that are longer than a step."""
    made = program(backend, "heterogeneous delays")
    full, state, found = whole(made), None, []
    for k in range(30):
        found.append(part(made, k, k + 1, state=state))
        state = found[-1].state
    for name, raster in full.spikes.items():
        np.testing.assert_array_equal(np.concatenate([f.spikes[name] for f in found], -2), raster[:, :30])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_state_serves_every_parameter_set(backend: str) -> None:
    made = program(backend, "recurrent")
    first = part(made, 0, 50)
    single = part(made, 50, STEPS, state=first.state)
    name = next(n for n in ("rec.w", *(f"{p.name}.w" for p in made.network.projections)) if n in _parameters(made))
    value = np.asarray(_parameters(made)[name].value)
    both = part(made, 50, STEPS, state=first.state, parameters={name: np.stack([value, 0 * value])}, population=2)
    for population, raster in single.spikes.items():
        np.testing.assert_array_equal(both.spikes[population][0], raster)
    again = part(made, 50, STEPS, state=both.of_set(0).state)
    assert again.state.step == both.state.step + STEPS - 50


def _parameters(made: Program) -> dict:
    from neuro.compiler.parameters import parameters

    return parameters(made.network)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"v": 1}, "give the state of a recording"),
        (lambda s: replace(s, dt=2 * s.dt), "dt"),
        (lambda s: replace(s, step=-1), "step"),
        (lambda s: replace(s, lead=(3,)), "3 trials"),
        (lambda s: replace(s, variables={}), "has no variables"),
        (lambda s: replace(s, variables={**s.variables, "q.v": 1}), "q.v"),
        (lambda s: s.with_variables({n: v[:, :1] for n, v in s.variables.items()}), "has the shape"),
        (lambda s: s.with_variables({n: v * np.nan for n, v in s.variables.items()}), "finite"),
        (lambda s: replace(s, spikes={n: 0.5 * v for n, v in s.spikes.items()}), "booleans"),
        (lambda s: replace(s, refractory={n: v + 99 for n, v in s.refractory.items()}), "whole numbers"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_state_of_this_network_is_refused(backend: str, change, message: str) -> None:
    made = program(backend, "delay" if message == "booleans" else "refractory delta")
    state = part(made, 0, 50).state
    with pytest.raises(RunError, match=message):
        part(made, 50, STEPS, state=change(state))


def test_an_edited_state() -> None:
    made = program("reference", "recurrent")
    state = part(made, 0, 50).state
    name = next(iter(state.variables))
    edited = state.with_variables({name: state.variables[name] + 1e-3})
    assert set(state.differences(edited)) == {f"variables/{name}"}
    assert isinstance(edited, State)
    with pytest.raises(KeyError, match="no variable 'nobody'"):
        state.with_variables({"nobody": 0})

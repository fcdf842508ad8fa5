"""Gradients of the variables that a run begins with: torch's, a finite difference's, and what gets none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import Network, UnsupportedError
from neuro.compiler.parameters import parameters
from neuro.state import State
from tests.backends.native.test_gradients import loss
from tests.backends.networks import drive, networks

NETWORKS = networks()


def record(network: Network) -> list[str]:
    return [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]


def halves(network: Network, batch: int = 9) -> tuple[State, dict[str, Any], dict[str, int]]:
    """The state after 30 steps, inputs of the 30 that follow, and their number where there are none."""
    inputs = drive(network, steps=60, batch=batch)
    size = {} if inputs else {"steps": 30, "batch": batch}
    made = backends.get("native").compile(network)
    state = made.run(inputs={n: a[:, :30] for n, a in inputs.items()}, **size).state
    return state, {n: a[:, 30:] for n, a in inputs.items()}, size


def slopes(backend: str, network: Network, wrt: list[str], **options: Any) -> dict[str, np.ndarray]:
    """Gradients of the first state's variables, and of parameters."""
    program: Any = backends.get(backend).compile(network, **options)
    state, inputs, size = halves(network)
    leaves = {n: torch.tensor(a, requires_grad=True) for n, a in state.variables.items()}
    weights = {n: torch.tensor(parameters(network)[n].value, requires_grad=True) for n in wrt}
    found = program.forward(weights, inputs, record(network), state=state.with_variables(leaves), **size)
    tensors = {**leaves, **weights}
    grads = torch.autograd.grad(loss(found), list(tensors.values()), allow_unused=True)
    return {n: np.zeros(0) if g is None else g.numpy() for n, g in zip(tensors, grads, strict=True)}


@pytest.mark.parametrize("tape", [256, 7])
@pytest.mark.parametrize("feature", NETWORKS)
def test_they_are_torchs(feature: str, tape: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from backends.native import executable

    monkeypatch.setattr(executable, "TAPE", tape)
    network = NETWORKS[feature]
    wrt = [n for n in parameters(network) if n.endswith(".w") and n not in halves(network)[0].variables]
    torchs, ours = (slopes(b, network, wrt) for b in ("torch", "native"))
    assert any(np.abs(g).max(initial=0) > 0 for g in torchs.values())
    for name, slope in torchs.items():
        if not slope.size:  # nothing depends on it, and native may say so in zeros
            assert not ours[name].any(), name
            continue
        assert ours[name].shape == slope.shape, name
        assert np.abs(ours[name] - slope).max() <= 1e-10 * np.abs(slope).max(), name


@pytest.mark.parametrize("batch", [1, 9])
def test_each_trial_gets_its_own(batch: int) -> None:
    """Against a finite difference of one trial's value, which moves no other trial's gradient."""
    network = NETWORKS["graded"]
    program: Any = backends.get("native").compile(network)
    state, inputs, size = halves(network, batch)

    def total(start: Any) -> Any:
        found = program.forward(None, inputs, ["rate.x"], state=state.with_variables({"rate.x": start}), **size)
        return found.traces["rate.x"].square().sum(dim=(1, 2))

    start = torch.tensor(state.variables["rate.x"], requires_grad=True)
    (gradient,) = torch.autograd.grad(total(start).sum(), start)
    trial, cell, step = batch - 1, 2, 1e-5
    up, down = (start.detach().clone() for _ in "ab")
    up[trial, cell] += step
    down[trial, cell] -= step
    moved = (total(up) - total(down)) / (2 * step)
    assert float(gradient[trial, cell]) == pytest.approx(float(moved[trial]), rel=1e-7)
    assert np.count_nonzero(moved.numpy()) == 1


def test_other_parts_of_a_state_are_refused_by_name() -> None:
    network = NETWORKS["delay"]
    state, inputs, size = halves(network)
    (name,) = state.spikes
    late = {name: torch.tensor(state.spikes[name], dtype=torch.float64, requires_grad=True)}
    program: Any = backends.get("native").compile(network)
    with pytest.raises(UnsupportedError, match=rf"state's spikes\['{name}'\].*variables alone.*use one of: torch"):
        program.forward(None, inputs, state=State(**{**vars(state), "spikes": late}), **size)
    with torch.no_grad():
        program.forward(None, inputs, state=State(**{**vars(state), "spikes": late}), **size)

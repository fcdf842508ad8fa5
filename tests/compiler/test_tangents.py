"""Tangents of a step against autograd through a state, which goes the other way round, and on networks that nobody chose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import backends
from backends.pytorch.program import TorchProgram
from neuro import Network, UnsupportedError
from neuro.analysis import lyapunov
from neuro.compiler.lowering import lower
from neuro.compiler.tangents import Tangents
from neuro.protocols import Record
from neuro.state import State
from tests.backends.networks import drive, networks
from twinspike.fuzzing.networks import generate
from twinspike.fuzzing.oracles.gradients import complete

NETWORKS = networks()
AHEAD = 1  # steps that autograd goes back through


def placed(state: State, blocks: dict[str, Any]) -> State:
    """Blocks of tangents [batch, ...], put where the state has what they are of."""
    found = state.each(lambda a: np.zeros(np.shape(a)))
    for name, block in blocks.items():
        owner, _, about = name.partition(" (")
        if not about:
            found.variables[name][...] = block
        elif about == "waiting)":
            found.sums[owner][...] = block
        else:
            found.spikes[owner][..., -int(about.split()[0]), :] = block
    return found


def product(one: State, other: State) -> torch.Tensor:
    """Sum over all entries that can change a little."""
    parts = [(getattr(one, p), getattr(other, p)) for p in ("variables", "sums", "spikes")]
    return sum((torch.as_tensor(a[n]) * torch.as_tensor(b[n])).sum() for a, b in parts for n in a)  # type: ignore[return-value]


def deviation(network: Network, inputs: dict[str, Any], batch: int, steps: int, resets: Any = "detached") -> float:
    """|u J q - by autograd| over |u| |J q|, for random q and u; nan where there is no number to compare."""
    program = backends.get("torch").compile(network, dtype="float64", detach_reset=resets == "detached")
    assert isinstance(program, TorchProgram)
    record: Record = lyapunov.needed(network)
    tangents = Tangents(
        lower(network),
        lyapunov.trajectory(
            network, program.run(inputs=inputs, record=record, steps=steps, batch=batch), inputs=inputs
        ),
        lyapunov.slopes(network, program.semantics.surrogate),
        resets=resets,
    )
    last, first = steps, max(tangents.start, steps - AHEAD)
    part = {n: np.asarray(a)[:, :first] for n, a in inputs.items()}
    begin = program.run(inputs=part, steps=first, batch=batch).state
    leaves = begin.each(lambda a: torch.tensor(np.asarray(a, np.float64), requires_grad=True))
    leaves = replace(leaves, refractory=begin.refractory)
    part = {n: np.asarray(a)[:, first:last] for n, a in inputs.items()}
    end = program.forward(inputs=part, steps=last - first, batch=batch, state=leaves).state
    random = np.random.default_rng(1)
    q = random.standard_normal((batch, tangents.size, 1))
    moved = q
    for k in range(first, last):
        moved = tangents.advance(k, moved)
    found = tangents.split(moved[..., 0])
    sizes = {n: np.abs(found[n]).max(initial=0) for n in found}
    u = {n: random.standard_normal((batch, *shape)) / (sizes[n] or 1.0) for n, shape in tangents.blocks.items()}
    forward = sum(float((u[n] * found[n]).sum()) for n in u)
    scale = sum(float(np.abs(u[n] * found[n]).sum()) for n in u)
    torch.autograd.backward(product(placed(end, u), end))
    slopes = leaves.each(lambda a: np.zeros(a.shape) if getattr(a, "grad", None) is None else a.grad.numpy())
    backward = float(product(placed(begin, tangents.split(q[..., 0])), slopes))
    assert scale or not backward
    return abs(forward - backward) / scale if scale else float("nan")


@pytest.mark.parametrize("resets", ["detached", "attached"])
@pytest.mark.parametrize("feature", NETWORKS)
def test_against_autograd(feature: str, resets: str) -> None:
    network = NETWORKS[feature]
    inputs = drive(network, steps=30)
    assert deviation(network, inputs, 2, 30, resets) < 1e-9


def test_random_networks_against_autograd() -> None:
    compared = 0
    for seed in range(14):
        case = generate(seed)
        try:
            found = deviation(case.network, complete(case), case.batch, case.steps)
        except UnsupportedError:
            continue
        assert found < 1e-8 or np.isnan(found), (seed, found)
        compared += not np.isnan(found)
    assert compared > 8

"""A session under autograd: gradients go back through its steps until somebody cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import backends
from backends.common.streaming import GraphSession
from neuro import RunError, UnsupportedError
from tests.backends.networks import drive, networks

NETWORK = networks()["recurrent"]
STEPS, CUT = 30, 12


def weights() -> dict[str, torch.Tensor]:
    program: Any = backends.get("torch").compile(NETWORK)
    return {n: torch.tensor(program.declared[n].value, requires_grad=True) for n in ("feed.w", "loop.w")}


def gradients(total: torch.Tensor, given: dict[str, torch.Tensor]) -> list[np.ndarray[Any, Any]]:
    return [g.numpy() for g in torch.autograd.grad(total, list(given.values()), retain_graph=True)]


def test_steps_give_the_gradient_of_the_whole_until_they_are_cut() -> None:
    program: Any = backends.get("torch").compile(NETWORK)
    given, spikes = weights(), drive(NETWORK, steps=STEPS)["x"]
    whole = program.forward(given, {"x": spikes}, ["cells.v"])
    with program.session(batch=2, parameters=given, record=["cells.v"], graph=True) as session:
        assert isinstance(session, GraphSession)
        with pytest.raises(RunError, match="has not begun"):
            session.cut()
        parts = [session.step({"x": spikes[:, k : k + 1]}) for k in range(STEPS)]
    last = torch.cat([p.traces["cells.v"] for p in parts], 1)
    assert torch.equal(last, whole.traces["cells.v"])
    wanted = gradients(whole.traces["cells.v"].square().sum(), given)
    for found, right in zip(gradients(last.square().sum(), given), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-12 * np.abs(right).max())

    with program.session(batch=2, parameters=given, record=["cells.v"], graph=True) as session:
        session.step({"x": spikes[:, :CUT]})
        session.cut()
        state = session.state
        assert not any(a.requires_grad for a in state.variables.values())
        late = session.step({"x": spikes[:, CUT:]}).traces["cells.v"].square().sum()
    alone = program.forward(given, {"x": spikes[:, CUT:]}, ["cells.v"], state=state).traces["cells.v"].square().sum()
    right = gradients(alone, given)
    for found, wanted_ in zip(gradients(late, given), right, strict=True):
        np.testing.assert_array_equal(found, wanted_)
    through = gradients(whole.traces["cells.v"][:, CUT:].square().sum(), given)
    assert np.abs(through[0] - right[0]).max() > 1e-3 * np.abs(through[0]).max()


def test_an_ordinary_session_has_no_graph_and_others_refuse_one() -> None:
    program: Any = backends.get("torch").compile(NETWORK)
    assert program.session(batch=2).step(drive(NETWORK, steps=3)).dt == 1e-3
    for name in ("native", "reference", "brian2"):
        with pytest.raises(
            UnsupportedError, match=r"session\(graph=True\): no gradient goes back .* use one of: torch"
        ):
            backends.get(name).compile(NETWORK).session(batch=2, graph=True)  # type: ignore[call-arg]

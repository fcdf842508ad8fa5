"""compile="graph": replays give the numbers of a pass, read what they are given and keep to their own memory.

The graphs are `tests.backends.graphed`'s; where there is a CUDA device, the same tests run with its own (marker `gpu`).
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

import backends
from backends.pytorch.run import ForwardPass
from neuro import Input, Network, Neuron, Population, Projection, RunError, Synapse, UnsupportedError
from neuro.compiler.parameters import values
from tests.backends.able import NETWORKS
from tests.backends.graphed import Graph, emulated
from tests.backends.networks import drive
from tests.backends.test_modules import NETWORK, SPIKES
from tests.elsewhere import DEVICE, elsewhere

TORCH = backends.get("torch")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """On the CPU with emulated graphs."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    with emulated(monkeypatch) if request.param == "cpu" else nullcontext():
        yield request.param


def compiled(network: Network, device: str, compile: bool | str = "graph") -> Any:
    return TORCH.compile(network, dtype="float32", device=device, compile=compile)


def same(found: Any, wanted: Any, device: str) -> None:
    """Bit for bit where the CPU computes both; a device may choose another product for a graph."""
    bound = 0.0 if device == "cpu" else 1e-4
    found, wanted = np.asarray(found), np.asarray(wanted)
    np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound * np.abs(wanted).max(initial=0.0))


def loss(signals: Any) -> Any:
    return sum(s.sum() for s in signals.spikes.values()) + sum(
        (1e3 * t).square().sum() for t in signals.traces.values()
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_runs_states_and_gradients_are_those_of_the_plain_program(name: str, device: str) -> None:
    network = NETWORKS[name]
    inputs = drive(network, steps=15)
    record = [f"{network.populations[0].name}.{next(iter(network.populations[0].neuron.scope.states))}"]
    wrt = [n for n in values(network) if n.endswith(".w")]
    graph, plain = compiled(network, device), compiled(network, device, compile=False)
    for trial in (0, 3):  # other noise: nothing of a run's own numbers may lie in the graph
        found, wanted = (p.run(inputs=inputs, steps=15, record=record, trial=trial) for p in (graph, plain))
        for n, raster in wanted.spikes.items():
            same(found.spikes[n], raster, device)
        same(found.traces[record[0]], wanted.traces[record[0]], device)
        after = [
            p.run(inputs=inputs, steps=15, record=record, state=r.state) for p, r in ((graph, found), (plain, wanted))
        ]
        same(after[0].traces[record[0]], after[1].traces[record[0]], device)
        moved = {n: 1.25 * v for n, v in values(network).items() if n in wrt}
        slopes = [p.value_and_grad(loss, moved, inputs, wrt, record, steps=15, trial=trial) for p in (graph, plain)]
        assert slopes[0][0] == pytest.approx(slopes[1][0], rel=1e-12 if device == "cpu" else 1e-4)
        for n in wrt:
            same(slopes[0][1][n], slopes[1][1][n], device)


def test_a_form_is_captured_once_and_then_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    with emulated(monkeypatch) as made:
        program = compiled(NETWORK, "cpu")
        for _ in range(3):
            program.run(inputs={"x": SPIKES}, record=["p.v"])
        assert len(made) == 2 and made[0].replays == 3  # the second, for the way back, stays empty
        operations = [len(g.operations) for g in made]
        program.run(inputs={"x": ~SPIKES}, record=["p.v"])
        assert [len(g.operations) for g in made] == operations and made[0].replays == 4
        program.run(inputs={"x": SPIKES[:1]}, record=["p.v"])
        program.run(inputs={"x": SPIKES})
        program.value_and_grad(loss, None, {"x": SPIKES}, ["j.w"], ["p.v"])
        assert len(made) == 8 and made[-1].replays == made[-2].replays == 1


def test_what_a_replay_gives_is_the_user_s_and_what_it_reads_too(device: str) -> None:
    program, plain = compiled(NETWORK, device), compiled(NETWORK, device, compile=False)
    x, other = (torch.as_tensor(a, dtype=torch.float32, device=device) for a in (SPIKES, ~SPIKES))
    w = torch.full((6, 4), 0.15, device=device, requires_grad=True)
    first = program.forward({"j.w": w}, {"x": x}, ["p.v"])
    kept, given = first.traces["p.v"].detach().clone(), x.clone()
    loss(first).backward()
    slope = w.grad
    assert slope is not None
    slope = slope.clone()
    w.grad = None
    second = program.forward({"j.w": w}, {"x": other}, ["p.v"])
    assert torch.equal(first.traces["p.v"], kept) and torch.equal(x, given)
    assert not torch.equal(second.traces["p.v"], kept)
    loss(second).backward()
    assert w.grad is not None and not torch.equal(w.grad, slope)
    wanted = plain.forward({"j.w": w}, {"x": other}, ["p.v"]).traces["p.v"]
    same(second.traces["p.v"].detach().cpu(), wanted.detach().cpu(), device)


def test_a_way_back_that_comes_too_late_is_refused(device: str) -> None:
    """Its memory holds the next pass: the gradient would be another one's."""
    program = compiled(NETWORK, device)
    w = torch.full((6, 4), 0.15, device=device, requires_grad=True)
    first, second = (program.forward({"j.w": w}, {"x": x}, ["p.v"]) for x in (SPIKES, ~SPIKES))
    with pytest.raises(RunError, match="call backward\\(\\) before the next pass"):
        loss(first).backward()
    loss(second).backward()
    with pytest.raises(RunError, match="before the next pass"):
        program.value_and_grad(loss, None, {"x": SPIKES}, ["j.w"], ["p.v"], truncate=10)


def test_a_form_that_was_captured_in_inference_mode_serves_elsewhere(device: str) -> None:
    program, plain = compiled(NETWORK, device), compiled(NETWORK, device, compile=False)
    with torch.inference_mode():
        program.forward({}, {"x": ~SPIKES}, ["p.v"])
    for _ in range(2):
        found, wanted = (p.run(inputs={"x": SPIKES}, record=["p.v"]).traces["p.v"] for p in (program, plain))
        same(found, wanted, device)
        with torch.inference_mode():
            program.forward({}, {"x": ~SPIKES}, ["p.v"])


def test_numbers_that_are_not_finite_say_where(device: str) -> None:
    growing = Neuron("n", "dx/dt = x*x/ms : 1", initial={"x": "3.0"})
    network = Network((Population("c", growing, 3),), dt="1 ms")
    said = []
    for compile in ("graph", False):
        with pytest.raises(RunError, match="not finite at step") as error:
            compiled(network, device, compile).run(steps=30)
        said.append(str(error.value))
    assert said[0] == said[1]


def test_few_forms_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from backends.pytorch.graphs import KEPT

    with emulated(monkeypatch):
        program = compiled(NETWORK, "cpu")
        for steps in range(1, KEPT + 3):
            program.run(inputs={"x": SPIKES[:, :steps]})
        assert len(program.graphs._captured) == KEPT


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cpu", "dtype": "float32"}, "'cpu' has no graphs; use device='cuda'"),
        ({"compile": "graphs"}, "write compile=True or compile=False"),
    ],
)
def test_what_can_not_be_captured_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        TORCH.compile(NETWORK, **{"compile": "graph", **options})


def test_double_precision_is_refused_and_copies_keep_the_option(device: str) -> None:
    program = compiled(NETWORK, device)
    with pytest.raises(UnsupportedError, match="float64 ask how they must be rounded"):
        program.in_dtype("float64")
    for again in (pickle.loads(pickle.dumps(program)), program.variant(detached=("j",))):
        assert again.graphs is not None


def test_the_emulation_refuses_what_asks_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = pytest.raises(RuntimeError, match="not permitted when stream is capturing")
    with emulated(monkeypatch), refused, Graph():
        bool(torch.ones(3).sum() > 2)


def numbers() -> Network:
    """Numbers where others have tensors: a synapse without weight, an argument, a presynaptic value that is sent."""
    cells = Neuron(
        "n",
        "dv/dt = (I + G - v)/(10*ms) : 1\nI : 1\nG : 1\ny : 1",
        every_step="y = clip(v, 0.2, 0.8)**1.5 + 2**v + exprel(v)",
        threshold="v > 1",
        reset="v = 0",
    )
    pulse = Synapse("pulse", on_pre="I_post += 0.7")
    graded = Synapse("graded", "w : 1", transmits="w", target="G")
    return Network(
        (Population("c", cells, 3),),
        (Projection("feed", "x", "c", pulse), Projection("loop", "c", "c", graded, weights=0.1)),
        (Input("x", 4),),
        dt="1 ms",
    )


@pytest.mark.parametrize("name", [*NETWORKS, "numbers"])
def test_between_what_a_pass_reads_and_gives_nothing_travels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that comes from the host, or that the host asks for, can't be captured. On a device that isn't there, which counts them."""
    network, made = numbers() if name == "numbers" else NETWORKS[name], list[int]()
    record = [f"{network.populations[0].name}.{state}" for state in network.populations[0].neuron.scope.states]
    wrt = [n for n in values(network) if n.endswith(".w")]
    with elsewhere() as travelled:

        def counted(function: Any) -> Any:
            def call(*given: Any, **options: Any) -> Any:
                before = sum(travelled.values())
                found = function(*given, **options)
                made.append(sum(travelled.values()) - before)
                return found

            return call

        program = TORCH.compile(network, dtype="float32", device=DEVICE)
        inputs = drive(network, steps=10) if name != "numbers" else {"x": SPIKES[:, :10, :4]}
        state = program.run(inputs=inputs, steps=10).state  # masks, indices and delays come with the first pass
        program.value_and_grad(loss, None, inputs, wrt, record, steps=10)
        monkeypatch.setattr(ForwardPass, "__call__", counted(ForwardPass.__call__))
        monkeypatch.setattr(torch.autograd, "grad", counted(torch.autograd.grad))
        program.run(inputs=inputs, steps=10, record=record)
        program.run(inputs=inputs, steps=10, record=record, state=state)
        program.value_and_grad(loss, None, inputs, wrt, record, steps=10)
    assert len(made) >= 4 and not any(made)

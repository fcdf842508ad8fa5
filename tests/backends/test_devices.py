"""Programs of torch on a device: the same numbers, nothing that travels step by step, and what isn't there refused.

The device is `tests.elsewhere`'s, which computes on the CPU; where there is a CUDA one, the same tests run on that too (marker `gpu`).
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
import tasks
from neuro import Network, Neuron, Population, RunError, UnsupportedError, learning
from neuro.compiler.parameters import values
from tests.backends.able import NETWORKS
from tests.backends.networks import drive
from tests.backends.test_modules import NETWORK, SPIKES
from tests.elsewhere import DEVICE, elsewhere
from twinspike.fuzzing.networks import NetworkMaker

TORCH = backends.get("torch")
EMULATED = "emulated"


@pytest.fixture(params=[EMULATED, pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """One after the other; on the emulated one a test's whole program runs."""
    if request.param != EMULATED and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    with elsewhere() if request.param == EMULATED else nullcontext():
        yield DEVICE if request.param == EMULATED else torch.device("cuda")


def same(found: Any, wanted: Any, device: torch.device) -> None:
    """Bit for bit on the emulated device, to rounding on another."""
    bound = 0.0 if device == DEVICE else 1e-9
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=bound, atol=bound)


def total(signals: Any) -> Any:
    return sum(s.sum() for s in signals.spikes.values()) + sum((t**2).sum() for t in signals.traces.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_runs_and_gradients_are_those_of_the_cpu(name: str, device: torch.device) -> None:
    network = NETWORKS[name]
    inputs, record = (
        drive(network, steps=40),
        [f"{network.populations[0].name}.{next(iter(network.populations[0].neuron.scope.states))}"],
    )
    there, here = TORCH.compile(network, device=device), TORCH.compile(network)
    found, wanted = (p.run(inputs=inputs, steps=40, record=record) for p in (there, here))
    for n, raster in wanted.spikes.items():
        same(found.spikes[n], raster, device)
    same(found.traces[record[0]], wanted.traces[record[0]], device)
    wrt = [n for n in values(network) if n.endswith(".w")]
    slopes = [p.value_and_grad(total, None, inputs, wrt, record, steps=40)[1] for p in (there, here)]
    for n in wrt:
        same(slopes[0][n], slopes[1][n], device)
    follows = [
        p.run(inputs=inputs, steps=40, record=record, state=r.state) for p, r in ((there, found), (here, wanted))
    ]
    same(follows[0].traces[record[0]], follows[1].traces[record[0]], device)


@pytest.mark.parametrize("seed", range(8))
def test_random_networks_give_the_same_numbers_on_a_device(seed: int, device: torch.device) -> None:
    case = NetworkMaker(seed).make()
    try:
        here = TORCH.compile(case.network)
        wanted = case.run(here)
    except (UnsupportedError, RunError) as error:
        pytest.skip(f"torch refuses it: {error}")
    found = case.run(TORCH.compile(case.network, device=device))
    for kind in ("spikes", "traces", "final"):
        for n, array in getattr(wanted, kind).items():
            same(getattr(found, kind)[n], array, device)


def test_nothing_travels_step_by_step() -> None:
    with elsewhere() as travelled:
        program, counts = TORCH.compile(NETWORK, device=DEVICE), []
        for steps in (20, 20, 40):
            travelled.clear()
            program.run(inputs={"x": SPIKES[:, :steps]}, record=["p.v"])
            program.value_and_grad(total, None, {"x": SPIKES[:, :steps]}, ["j.w"], ["p.v"])
            counts.append(dict(travelled))
    assert counts[1] == counts[2]  # the first one brings masks and indices, too


def test_tensors_on_the_device_are_taken_as_they_are(device: torch.device) -> None:
    program, plain = TORCH.compile(NETWORK, device=device), TORCH.compile(NETWORK)
    x, w = torch.as_tensor(SPIKES, device=device), torch.full((6, 4), 5.5, dtype=torch.float64, device=device)
    wanted = plain.run({"j.w": np.full((6, 4), 5.5)}, {"x": SPIKES}, ["p.v"])
    same(program.run({"j.w": w}, {"x": x}, ["p.v"]).traces["p.v"], wanted.traces["p.v"], device)
    signals = program.forward({"j.w": w.requires_grad_()}, {"x": x}, ["p.v"])
    assert signals.traces["p.v"].device == signals.state.variables["p.v"].device == w.device
    total(signals).backward()
    slope = plain.value_and_grad(total, {"j.w": np.full((6, 4), 5.5)}, {"x": SPIKES}, ["j.w"], ["p.v"])[1]["j.w"]
    assert w.grad is not None
    same(w.grad.cpu(), slope, device)
    onward = program.forward({"j.w": w}, {"x": x}, ["p.v"], state=signals.state.detach())
    same(onward.traces["p.v"].detach().cpu(), plain.run({"j.w": np.full((6, 4), 5.5)}, {"x": SPIKES}, ["p.v"], state=wanted.state).traces["p.v"], device)  # fmt: skip
    with pytest.raises(RunError, match="numbers other than 0 and 1"):
        program.run(inputs={"x": x * 0.5})
    with pytest.raises(RunError, match=r"has shape \(2, 40, 5\)"):
        program.run(inputs={"x": x[..., :5]})
    assert plain.run(inputs={"x": x}).spike_count() == plain.run(inputs={"x": SPIKES}).spike_count()


TYPES = ("bool", "int8", "float16", "bfloat16", "complex64")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("feature", ["feed-forward", "graded", "driven"])
def test_numbers_of_any_type_are_taken_or_refused_as_on_the_cpu(feature: str, kind: str, device: torch.device) -> None:
    network, record = NETWORKS[feature], ["rate.x" if feature == "graded" else "cells.v"]
    given = {i.name: torch.ones(2, 20, i.size, dtype=getattr(torch, kind)) for i in network.inputs}
    found: list[Any] = []
    for place in (torch.device("cpu"), device):
        program = TORCH.compile(network, device=place)
        try:
            found.append(program.run(inputs={n: x.to(place) for n, x in given.items()}, record=record).traces)
        except RunError as error:
            found.append(str(error))
    if kind == "complex64":
        assert found[0] == found[1] and "holds no real numbers" in found[0]
    else:
        same(found[1][record[0]], found[0][record[0]], device)


def test_a_module_moves(device: torch.device) -> None:
    module = TORCH.compile(NETWORK, dtype="float32").module()
    wanted = module({"x": SPIKES}, record=["p.v"]).traces["p.v"].detach()
    moved = module.to(device)
    assert {p.device.type for p in moved.parameters()} == {device.type}
    found = moved({"x": SPIKES}, record=["p.v"]).traces["p.v"]
    assert found.device.type == device.type
    same(found.detach().cpu(), wanted, device)
    same(moved.to("cpu")({"x": SPIKES}, record=["p.v"]).traces["p.v"].detach(), wanted, device)


@pytest.mark.parametrize("name", ["cpu:0", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_device_is_called_as_its_tensors_call_it(name: str) -> None:
    """So that what lies there is known to lie there, and a module that is there isn't compiled again."""
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    module = TORCH.compile(NETWORK, device=name).module()
    program, place = module.program, next(module.parameters()).device
    assert program.storage.device == place
    assert module.to(place).program is program


def test_a_program_remembers_its_device(device: torch.device) -> None:
    program = TORCH.compile(NETWORK, device=device)
    again = (pickle.loads(pickle.dumps(program)), program.in_dtype("float32"), program.variant(detached=("j",)))
    assert {p.storage.device for p in again} == {program.storage.device}


@pytest.mark.parametrize(
    ("asked", "said"),
    [("meta", "meta"), ("cuda:77", "CUDA"), ("gpu", "gpu"), (1, "give a name, like 'cpu'"), ("auto", "")],
)
def test_a_device_that_is_not_there(asked: Any, said: str) -> None:
    if asked == "auto":
        assert TORCH.compile(NETWORK, device=asked).storage.device.type in ("cpu", "cuda")
        return
    with pytest.raises(UnsupportedError, match=f"device .*{said}"):
        TORCH.compile(NETWORK, device=asked)


def test_native_stays_on_the_cpu() -> None:
    with pytest.raises(RunError, match="compile the network for torch"):
        backends.get("native").compile(NETWORK).module().to("meta")


def test_a_network_that_lost_its_numbers_says_where(device: torch.device) -> None:
    growing = Neuron("n", "dx/dt = x*x/ms : 1", initial={"x": "3.0"})
    network = Network((Population("c", growing, 3),), dt="1 ms")
    said = []
    for place in (device, "cpu"):
        with pytest.raises(RunError, match="not finite at step") as error:
            TORCH.compile(network, device=place).run(steps=30)
        said.append(str(error.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("rule", ["bptt", "layerwise", "actor-critic", "reward-eprop", "flossing", "eprop"])
def test_rules_learn_the_same_on_a_device(rule: str, device: torch.device) -> None:
    name, options, own = {
        "layerwise": (
            "quantised-images",
            {"source": "digits", "hidden": (8,)},
            {"scheduler": "", "schedule_options": {}},
        ),
        "actor-critic": ("cue-reward", {"form": "plastic", "steps": 12}, {}),
        "reward-eprop": ("delayed-choice", {}, {}),
        "flossing": ("delayed-match", {"hidden": 12}, {"trials": 2}),
    }.get(rule, ("sequential-digits", {}, {}))
    task = tasks.get(name, **options)
    found = []
    for place in (device, torch.device("cpu")):
        program = TORCH.compile(task.network(0), device=place)
        chosen: Any = learning.get(rule, **{**task.settings.rules.get(rule, {}), **own})
        parameters, state = values(program.network), chosen.init(program)
        batch = next(iter(task.train_batches(np.random.default_rng(0), 2)))
        parameters, _, metrics = chosen.step(program, parameters, state, batch, task)
        found.append((parameters, metrics["loss"]))
    (ours, loss), (theirs, wanted) = found
    assert loss == pytest.approx(wanted, rel=0 if device == DEVICE else 1e-6)
    for n, array in theirs.items():
        same(ours[n], array, device)

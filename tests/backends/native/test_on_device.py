"""Native on a device: the numbers of the CPU, of runs and of gradients.

The device is `tests.elsewhere`'s with the driver of `tests.backends.native.driver`; where there is a CUDA one, the same runs there (marker `gpu`).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import backends
from backends.native import executable
from backends.native.dialect import C
from neuro import Input, Network, Neuron, Population, RunError
from neuro.compiler.parameters import values
from tests.backends.native.driver import (
    BATCH,
    STEPS,
    Compile,
    close,
    given,
    native,
    total,
)  # fmt: skip
from tests.backends.native.emulation import gradients
from tests.backends.networks import networks
from tests.backends.test_modules import NETWORK, SPIKES
from twinspike.fuzzing.networks import NetworkMaker

NETWORKS = networks()


def both(*features: str) -> pytest.MarkDecorator:
    """For a GPU and all networks; on the double, for those in which the host does something of its own."""
    pairs = [pytest.param("double", n, id=f"double-{n}") for n in features]
    pairs += [pytest.param("cuda", n, id=f"cuda-{n}", marks=pytest.mark.gpu) for n in NETWORKS]
    return pytest.mark.parametrize(("on_device", "feature"), pairs, indirect=["on_device"])


# -- the same numbers ------------------------------------------------------------------------------------------


@both("recurrent", "poisson", "driven", "noise", "delay", "heterogeneous delays", "plastic", "refractory delta")
def test_runs_are_the_references(feature: str, on_device: Compile) -> None:
    """Spikes exactly; where a run is cut, and where it is run twice, to the bit."""
    network = NETWORKS[feature]
    program, options = on_device(network), given(network)
    found, again, wanted = (
        program.run(**options),
        program.run(**options),
        backends.get("reference").compile(network).run(**options),
    )
    for n, raster in wanted.spikes.items():
        assert np.array_equal(found.spikes[n], raster)
    for n, trace in wanted.traces.items():
        close(found.traces[n], trace)
        assert np.array_equal(found.traces[n], again.traces[n])
    first = program.run(**options | {"inputs": {n: x[:, :25] for n, x in options["inputs"].items()}, "steps": 25})
    rest = {"inputs": {n: x[:, 25:] for n, x in options["inputs"].items()}, "steps": STEPS - 25, "state": first.state}
    for n, trace in program.run(**options | rest).traces.items():
        assert np.array_equal(trace, found.traces[n][:, 25:])


@both("recurrent", "sparse", "graded reversal", "heterogeneous delays", "plastic")
def test_gradients_are_those_of_the_cpu(feature: str, on_device: Compile) -> None:
    network = NETWORKS[feature]
    program = on_device(network)
    found, again, wanted = (gradients(p, network) for p in (program, program, native(network, C)))
    for n, slope in wanted.items():
        close(found[n], slope, 1e-8)
        assert np.array_equal(found[n], again[n])


@pytest.mark.parametrize("seed", [3, 11, 25, 40])
def test_random_networks(seed: int, on_device: Compile) -> None:
    case = NetworkMaker(seed).make()
    wanted = case.run(native(case.network, C))
    found = case.run(on_device(case.network))
    for n, raster in wanted.spikes.items():
        assert np.array_equal(found.spikes[n], raster)
    for n, trace in wanted.traces.items():
        close(found.traces[n], trace)


def test_single_precision(on_device: Compile) -> None:
    network = NETWORKS["conductance"]
    found, wanted = (
        p.run(**given(network)) for p in (on_device(network, dtype="float32"), native(network, C, "float32"))
    )
    assert found.traces["cells.v"].dtype == np.float32 and found.spike_count() > 10
    close(found.traces["cells.v"], wanted.traces["cells.v"], 1e-3)


def test_parameter_sets(on_device: Compile) -> None:
    network = NETWORKS["recurrent"]
    weights = values(network)["loop.w"]
    sets = {"loop.w": np.stack([weights, 2 * weights, 0 * weights])}
    found, wanted = (p.run(sets, population=3, **given(network)) for p in (on_device(network), native(network, C)))
    assert np.array_equal(found.spikes["cells"], wanted.spikes["cells"])
    assert len({found.spikes["cells"][p].sum() for p in range(3)}) == 3


@pytest.mark.parametrize("feature", ["delay", "plastic"])
def test_a_session_is_the_run(feature: str, on_device: Compile) -> None:
    network = NETWORKS[feature]
    program, options = on_device(network), given(network)
    whole, inputs = program.run(**options), options["inputs"]
    with program.session(batch=BATCH) as session:
        for k in range(12):
            found = session.step({n: x[:, k : k + 1] for n, x in inputs.items()})
            assert all(np.array_equal(found.spikes[n][:, 0], whole.spikes[n][:, k]) for n in whole.spikes)


def test_launches_of_some_steps_are_the_whole(on_device: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["heterogeneous delays"]
    whole, slopes = on_device(network).run(**given(network)), gradients(on_device(network), network)
    monkeypatch.setattr(executable, "LAUNCH", 13)
    monkeypatch.setattr(executable, "TAPE", 11)
    parts, cut = on_device(network).run(**given(network)), gradients(on_device(network), network)
    assert all(np.array_equal(parts.traces[n], trace) for n, trace in whole.traces.items())
    assert all(np.array_equal(cut[n], slope) for n, slope in slopes.items()) and np.any(cut["feed.w"])


def test_what_is_not_finite_is_named(on_device: Compile) -> None:
    runaway = Neuron("runaway", "dv/dt = v**2/second + I/second : 1\nI : 1", method="euler")
    network = Network(
        (Population("cells", runaway, 40),), (), (Input("x", 40, "current", target="cells.I"),), name="runaway"
    )
    inputs, program = np.zeros((3, 400, 40)), on_device(network)
    good = program.run(inputs={"x": inputs}, record=["cells.v"])
    inputs[1, 5, 33] = 1e200
    with pytest.raises(RunError, match=r"'cells.v' is not finite at step \d+ \(trial 1, cell \[33\]\)"):
        program.run(inputs={"x": inputs})
    inputs[1, 5, 33] = 0
    assert np.array_equal(
        program.run(inputs={"x": inputs}, record=["cells.v"]).traces["cells.v"], good.traces["cells.v"]
    )


# -- tensors on the device -------------------------------------------------------------------------------------


def test_signals_and_gradients_stay_on_the_device(on_device: Compile) -> None:
    program, plain = on_device(NETWORK), backends.get("native").compile(NETWORK)
    place = program.storage.device
    x, w = torch.as_tensor(SPIKES, device=place), torch.full((6, 4), 5.5, dtype=torch.float64, device=place)
    wanted = plain.run({"j.w": np.full((6, 4), 5.5)}, {"x": SPIKES}, ["p.v"])
    found = program.run({"j.w": w}, {"x": x}, ["p.v"])
    close(found.traces["p.v"], wanted.traces["p.v"])
    signals = program.forward({"j.w": w.requires_grad_()}, {"x": x}, ["p.v"])
    assert {signals.traces["p.v"].device, signals.spikes["p"].device, signals.state.variables["p.v"].device} == {place}
    assert np.array_equal(signals.spikes["p"].detach().cpu(), wanted.spikes["p"]) and wanted.spikes["p"].any()
    total(signals).backward()
    assert w.grad is not None and w.grad.device == place
    slope = plain.value_and_grad(total, {"j.w": np.full((6, 4), 5.5)}, {"x": SPIKES}, ["j.w"], ["p.v"])[1]["j.w"]
    close(w.grad.cpu(), slope)
    onward = program.forward({"j.w": w}, {"x": x}, ["p.v"], state=signals.state.detach())
    close(onward.traces["p.v"].detach().cpu(), plain.run({"j.w": np.full((6, 4), 5.5)}, {"x": SPIKES}, ["p.v"], state=wanted.state).traces["p.v"])  # fmt: skip
    with pytest.raises(RunError, match="numbers other than 0 and 1"):
        program.run(inputs={"x": x * 0.5})


@pytest.mark.parametrize("feature", ["delay", "heterogeneous delays", "plastic", "recurrent"])
def test_inputs_on_the_device_are_those_of_the_host(feature: str, on_device: Compile) -> None:
    """With spikes on their way as well, and gradients."""
    network = NETWORKS[feature]
    program, options = on_device(network), given(network)
    there = {n: torch.as_tensor(x, device=program.storage.device) for n, x in options["inputs"].items()}
    state = program.run(**options).state
    wrt = [n for n in program.declared if n.endswith(".w") and n not in state.variables]
    for more in ({}, {"state": state}):
        a, b = (program.run(**options | {"inputs": x} | more) for x in (options["inputs"], there))
        assert all(np.array_equal(a.spikes[n], b.spikes[n]) for n in a.spikes) and a.spike_count() > 10
        assert all(np.array_equal(x, b.state.spikes[n]) for n, x in a.state.spikes.items())
        slopes = [
            program.value_and_grad(total, {}, x, wrt, options["record"], **more)[1] for x in (options["inputs"], there)
        ]
        assert all(np.array_equal(slopes[0][n], slopes[1][n]) for n in wrt)


@pytest.mark.parametrize("kind", ["bool", "int8", "float16", "bfloat16", "float32"])
def test_currents_of_any_type_are_taken(kind: str, on_device: Compile) -> None:
    network = NETWORKS["graded"]
    x = {i.name: torch.ones(2, 20, i.size, dtype=getattr(torch, kind)) for i in network.inputs}
    program = on_device(network)
    a, b = (
        program.run(inputs={n: t.to(p) for n, t in x.items()}, record=["rate.x"])
        for p in ("cpu", program.storage.device)
    )
    assert np.array_equal(a.traces["rate.x"], b.traces["rate.x"])


def test_the_gradient_of_a_current(on_device: Compile) -> None:
    network, slopes = NETWORKS["graded"], []
    (item,) = network.inputs
    for program in (on_device(network), backends.get("native").compile(network)):
        x = torch.ones(2, 20, item.size, dtype=torch.float64, device=program.storage.device, requires_grad=True)
        total(program.forward({}, {item.name: x}, ["rate.x"])).backward()
        assert x.grad is not None and x.grad.any()
        slopes.append(x.grad.cpu())
    close(*slopes)


def test_plastic_weights_and_states_of_a_differentiable_run(on_device: Compile) -> None:
    network = NETWORKS["plastic"]
    options = given(network)
    programs = on_device(network), native(network, C)
    weights = (p.storage.of(p.declared["feed.w"].value).requires_grad_() for p in programs)
    found, wanted = (p.forward({"feed.w": w}, **options) for p, w in zip(programs, weights, strict=True))
    assert found.final["feed.w"].requires_grad
    assert found.final["feed.w"].device == found.state.variables["cells.v"].device == programs[0].storage.device
    close(found.final["feed.w"].detach().cpu(), wanted.final["feed.w"].detach())
    for n, variable in wanted.state.variables.items():
        close(found.state.variables[n].cpu(), variable)


def test_the_gradient_of_a_state(on_device: Compile) -> None:
    """A pass that goes on from a state brings gradients to its variables."""
    network, slopes = NETWORKS["recurrent"], []
    for program in (on_device(network), native(network, C)):
        begun = program.forward({}, **given(network)).state.detach()
        v = begun.variables["cells.v"].requires_grad_()
        total(program.forward({}, **given(network), state=begun)).backward()
        assert v.grad is not None and v.grad.any()
        slopes.append(v.grad.cpu())
    close(*slopes, bound=1e-8)


def test_a_module_learns_what_it_learns_on_the_cpu(on_device: Compile) -> None:
    learnt = []
    for program in (on_device(NETWORK), native(NETWORK, C)):
        module = program.module()
        first = {n: p.detach().cpu().clone() for n, p in module.named_parameters()}
        optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
        for _ in range(3):
            optimiser.zero_grad()
            total(module({"x": SPIKES}, record=["p.v"])).backward()
            optimiser.step()
        learnt.append({n: p.detach().cpu() for n, p in module.named_parameters()})
        assert all(not torch.equal(first[n], p) for n, p in learnt[-1].items())
    for n, p in learnt[1].items():
        close(learnt[0][n], p)

"""Native on a device: the CPU's numbers, nothing that travels step by step, what the driver is asked for, and what is refused.

The device is `tests.elsewhere`'s with the driver of `tests.backends.native.driver`; where there is a CUDA one, what isn't about these two runs there
too (marker `gpu`).
"""

from __future__ import annotations

import copy
import gc
import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from fuzzing.networks import NetworkMaker

import backends
from backends.common.structure import Backward
from backends.native import devices, executable
from backends.native.cuda import Cuda
from backends.native.dialect import C
from backends.native.program import NativeProgram
from neuro import Input, Network, Neuron, Population, RunError, UnsupportedError
from neuro.compiler.parameters import values
from tests.backends.native.driver import STREAM, TEXT, Doubling, Result, doubled
from tests.backends.native.test_cuda import gradients, record, wide
from tests.backends.networks import drive, networks
from tests.backends.test_modules import NETWORK, SPIKES

NETWORKS = networks()
STEPS, BATCH = 40, 3
GPU = pytest.param("cuda", marks=pytest.mark.gpu)
Compile = Callable[..., NativeProgram]


def native(network: Network, dialect: Any, dtype: str = "float64") -> NativeProgram:
    return NativeProgram(network, dtype, 1, "fast_sigmoid", Backward(), dialect)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doubling]:
    with doubled(monkeypatch) as found:
        yield found


@pytest.fixture(params=["double", GPU])
def on_device(request: pytest.FixtureRequest) -> Compile:
    """Compiles for a device: the one that isn't there, or a GPU."""
    if request.param == "double":
        request.getfixturevalue("double")
        return partial(native, dialect=TEXT)
    why = devices.lacking("cuda")
    if why:
        pytest.skip(why)
    return lambda network, dtype="float64": backends.get("native").compile(network, dtype=dtype, device="cuda")  # type: ignore[no-any-return, call-arg]


def both(*features: str) -> pytest.MarkDecorator:
    """For a GPU and all networks; on the double, for those in which the host does something of its own."""
    pairs = [pytest.param("double", n, id=f"double-{n}") for n in features]
    pairs += [pytest.param("cuda", n, id=f"cuda-{n}", marks=pytest.mark.gpu) for n in NETWORKS]
    return pytest.mark.parametrize(("on_device", "feature"), pairs, indirect=["on_device"])


def close(found: Any, wanted: Any, bound: float = 1e-9) -> None:
    """To rounding: a GPU has its own functions, such as exp."""
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=bound, atol=bound * float(np.abs(wanted).max(initial=0)))


def given(network: Network, steps: int = STEPS) -> dict[str, Any]:
    return {
        "inputs": drive(network, batch=BATCH, steps=steps),
        "record": record(network),
        "steps": steps,
        "batch": BATCH,
    }


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


def total(signals: Any) -> Any:
    return sum((s * torch.arange(s.shape[2], device=s.device)).sum() for s in signals.spikes.values()) + sum(
        (t**2).sum() for t in signals.traces.values()
    )


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


# -- what travels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", ["recurrent", "sparse", "delay"])
def test_nothing_with_an_axis_of_time_travels(feature: str, double: Doubling) -> None:
    """With the inputs on the device and the loss computed there: tapes, lists, records and scratch stay."""
    network, found = NETWORKS[feature], []
    program = native(network, TEXT)
    wrt = [n for n in program.declared if n.endswith(".w")]
    for steps in (20, 20, 80):
        inputs = {
            n: torch.as_tensor(x, device=program.storage.device)
            for n, x in drive(network, batch=BATCH, steps=steps).items()
        }
        double.travelled.clear()
        double.travelled.bytes = 0
        program.value_and_grad(total, {}, inputs, wrt, record(network))
        found.append((dict(double.travelled), double.travelled.bytes))
    assert found[1] == found[2]  # the first one brings what lasts, too


def test_a_run_brings_home_less_than_a_raster(double: Doubling) -> None:
    """Not the room that there is for spikes."""
    network, bytes_ = wide(), []
    program = native(network, TEXT)
    given = 4e-10 * np.random.default_rng(0).random((BATCH, STEPS, 150))
    inputs = {"current": torch.as_tensor(given, device=program.storage.device)}
    for _ in range(2):
        double.travelled.bytes = 0
        run = program.run(inputs=inputs)
        bytes_.append(double.travelled.bytes)
    assert run.spike_count() > 100 and bytes_[1] < BATCH * STEPS * 150


# -- what the driver is asked for ------------------------------------------------------------------------------


def test_the_driver_gets_blocks_and_threads(double: Doubling) -> None:
    network = NETWORKS["recurrent"]
    program = native(network, TEXT)
    program.value_and_grad(total, {}, drive(network, batch=200, steps=4), ["loop.w", "feed.w"], ["cells.v"])
    forth, back, added = double.driver.binding.launched
    assert [forth.kernel, back.kernel, added.kernel] == ["forward", "backward", "added"]
    assert forth.grid == (40, 1, 1) and back.grid == (program.dialect.lanes(200), 1, 1)
    assert {x.block for x in (forth, back, added)} == {(32, 1, 1)} and {x.stream for x in (forth, back, added)} == {
        STREAM
    }
    assert forth.values[4:8] == (0, 200, 0, 4) and added.values[4:8] == (0, back.grid[0], 0, 2)
    numbers = max(np.size(values(network)[n]) for n in ("loop.w", "feed.w"))
    assert added.grid == (-(-numbers // 32), 1, 1)


def test_units_keep_whole_lines_of_scratch_between_launches(double: Doubling, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that isn't where its type may be is an error on a GPU."""
    monkeypatch.setattr(executable, "LAUNCH", 13)
    for feature in ("delay", "refractory delta", "plastic"):
        native(NETWORKS[feature], TEXT).run(**given(NETWORKS[feature]))
    aparts = {x.values[9] for x in double.driver.binding.launched}
    assert len(aparts) > 1 and all(a and a % 64 == 0 for a in aparts)


def test_lanes_are_added_in_ascending_order(double: Doubling) -> None:
    program = native(NETWORKS["recurrent"], TEXT, "float32")
    program.value_and_grad(total, {}, drive(NETWORKS["recurrent"], batch=2, steps=3), ["feed.w"], ["cells.v"])
    kernel = next(e for e in program.compiled._executables.values() if "backward" in e.rooms)
    lanes = {
        n: np.random.default_rng(i).normal(size=(7, size)).astype(np.float32)
        for i, (n, size) in enumerate({"a": 1000, "b": 1}.items())
    }
    found = kernel._added({n: program.compiled.memory.placed(x) for n, x in lanes.items()})  # type: ignore[misc]
    for n, x in lanes.items():
        wanted = x[0].copy()
        for lane in x[1:]:
            wanted += lane
        assert np.array_equal(program.compiled.memory.fetched(found[n]), wanted)
    assert not np.array_equal(lanes["a"][::-1].cumsum(axis=0)[-1], lanes["a"].cumsum(axis=0)[-1])  # the order shows


def test_libraries_go_with_their_programs(double: Doubling) -> None:
    program = native(NETWORKS["feed-forward"], TEXT)
    program.run(**given(NETWORKS["feed-forward"]))
    assert not double.driver.binding.unloaded
    del program
    gc.collect()
    assert len(double.driver.binding.unloaded) == 1


def test_shared_memory_is_asked_for(double: Doubling) -> None:
    """A launch brings what its kernel's text doesn't declare."""
    binding, program = double.driver.binding, native(NETWORKS["feed-forward"], TEXT)
    kernel = program.compiled.executable((), 1)
    functions = lambda bytes_: double.driver.functions(kernel.source, "net", "float64", {"forward": bytes_}, 32)
    assert functions(2**10).shared == {"forward": 2**10} and not binding.attributes
    functions(100 * 2**10)
    assert binding.attributes["forward"] == (8, 100 * 2**10)
    with pytest.raises(
        UnsupportedError,
        match=r"network 'net' on 'meta': a block needs 307200 bytes of shared memory, and the driver says",
    ):
        functions(300 * 2**10)


# -- refusals --------------------------------------------------------------------------------------------------


def test_code_that_the_driver_does_not_take_is_refused(double: Doubling) -> None:
    double.driver.binding.says, double.driver.binding.version = Result.CUDA_ERROR_INVALID_IMAGE, 12040
    with pytest.raises(
        UnsupportedError,
        match=r"CUDA_ERROR_INVALID_IMAGE; the driver knows CUDA 12.4, and the code is NVRTC 13.5's.*newer driver",
    ):
        native(NETWORKS["feed-forward"], TEXT).run(**given(NETWORKS["feed-forward"]))


def test_a_call_that_fails_says_what_the_driver_says(double: Doubling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(double.driver.binding, "cuLaunchKernel", lambda *_: (Result.CUDA_ERROR_NOT_FOUND,))
    with pytest.raises(RunError, match=r"CUDA_ERROR_NOT_FOUND, what the driver says of it"):
        native(NETWORKS["feed-forward"], TEXT).run(**given(NETWORKS["feed-forward"]))


def test_what_does_not_fit_on_the_device_is_refused_before_it_runs(
    double: Doubling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executable, "CHECKED", 0)
    double.driver.room = 2**10
    with pytest.raises(
        RunError, match=r"needs 0.0 GiB, 0.0 GiB are free on 'meta'; most of it is the .* use a smaller batch"
    ):
        native(NETWORKS["recurrent"], TEXT).run(**given(NETWORKS["recurrent"]))
    assert not double.driver.binding.launched


def test_memory_that_torch_does_not_get_is_refused(double: Doubling, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    double.driver.unwritten = None  # type: ignore[assignment]
    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(RunError, match=r"no room for \d+ MiB on 'meta'; use a smaller batch"):
        native(NETWORKS["recurrent"], TEXT).run(**given(NETWORKS["recurrent"]))


@pytest.mark.parametrize(
    ("there", "sees", "binding", "why"),
    [
        (0, 0, True, "there is no CUDA device here"),
        (1, 0, True, "torch sees no CUDA device here, though there is one; install one of torch's wheels for CUDA"),
        (1, 1, False, "launching a kernel needs the package 'cuda-bindings'; install it: pip install 'twinspike"),
        (1, 1, True, ""),
        (2, 2, True, ""),
    ],
)
def test_a_device_is_taken_where_it_can_be_used(
    there: int, sees: int, binding: bool, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(sees))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: sees)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: sees - 1)
    driver = Mock(cuDeviceGet=lambda index: (0, index), cuDeviceGetAttribute=lambda most, index: (0, 99 * 2**10))
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver if binding else None)  # type: ignore[arg-type]
    if why:
        with pytest.raises(
            UnsupportedError, match=f"device 'cuda'.*{why}.*use device='cpu', or device='cuda-emulated'"
        ):
            devices.dialect_of("cuda")
        assert devices.dialect_of("auto") is devices.dialect_of("cpu")
        return
    assert (
        devices.dialect_of("cuda") == devices.dialect_of("auto") == Cuda(device=f"cuda:{sees - 1}", shared=99 * 2**10)
    )
    assert (
        devices.dialect_of(torch.device("cuda:0"))
        == devices.dialect_of("cuda:0")
        == Cuda(device="cuda:0", shared=99 * 2**10)
    )
    with pytest.raises(UnsupportedError, match=f"device 'cuda:7': torch sees {sees} CUDA device"):
        devices.dialect_of("cuda:7")


def test_copies_keep_the_device(double: Doubling) -> None:
    program, options = native(NETWORKS["recurrent"], TEXT), given(NETWORKS["recurrent"])
    wanted = program.run(**options)
    for again in (copy.deepcopy(program), pickle.loads(pickle.dumps(program)), program.variant(detached=("loop",))):
        assert again.dialect == TEXT and again.storage.device == program.storage.device
        assert np.array_equal(again.run(**options).spikes["cells"], wanted.spikes["cells"])
    assert program.in_dtype("float32").storage.device == program.storage.device


def test_a_module_moves_there_and_back(double: Doubling, monkeypatch: pytest.MonkeyPatch) -> None:
    module = backends.get("native").compile(NETWORK, dtype="float32").module()
    wanted = module({"x": SPIKES}, record=["p.v"]).traces["p.v"].detach()
    dialect_of = devices.dialect_of
    monkeypatch.setattr("backends.native.program.dialect_of", lambda d: TEXT if str(d) == "meta" else dialect_of(d))
    moved = module.to("meta")
    assert {p.device.type for p in moved.parameters()} == {"meta"} and moved.program.dialect == TEXT
    found = copy.deepcopy(moved)({"x": SPIKES}, record=["p.v"]).traces["p.v"]
    assert found.device.type == "meta"
    close(found.detach().cpu(), wanted, 1e-6)
    close(moved.to("cpu")({"x": SPIKES}, record=["p.v"]).traces["p.v"].detach(), wanted, 0.0)


@pytest.mark.gpu
def test_a_module_on_a_gpu_learns(on_device: Compile) -> None:
    program = on_device(NETWORK, dtype="float32")
    module = program.module()
    optimiser, losses = torch.optim.SGD(module.parameters(), lr=1e-3), []
    for _ in range(5):
        optimiser.zero_grad()
        loss = (module({"x": SPIKES}, record=["p.v"]).traces["p.v"] ** 2).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]

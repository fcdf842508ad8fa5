"""Native on a device: what travels, what the driver is asked for, and what is refused; on the device of `tests.elsewhere`."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

import backends
from backends.native import devices, executable, on_device
from backends.native.cuda import Cuda
from backends.native.on_device import Device
from neuro import RunError, UnsupportedError
from neuro.compiler.parameters import values
from tests.backends.native.driver import (
    BATCH,
    STEPS,
    STREAM,
    TEXT,
    Doubling,
    Result,
    close,
    given,
    native,
    total,
)  # fmt: skip
from tests.backends.native.emulation import record, wide
from tests.backends.networks import drive, networks
from tests.backends.test_modules import NETWORK, SPIKES

NETWORKS = networks()


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


def test_memory_of_a_pass_is_free_when_nobody_holds_it(double: Doubling, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: a circle that the collector finds later fills a device."""
    made, of_device = list[Any](), Device._made

    def remembered(self: Device, *options: Any) -> torch.Tensor:
        found = of_device(self, *options)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(Device, "_made", remembered)
    program = native(NETWORKS["recurrent"], TEXT)
    gc.disable()
    try:
        program.value_and_grad(
            total, {}, drive(NETWORKS["recurrent"], batch=BATCH, steps=STEPS), ["loop.w"], ["cells.v"]
        )
        assert len(made) > 5 and not any(a() is not None for a in made)
    finally:
        gc.enable()


def test_lists_of_many_trials_are_made_some_at_a_time(double: Doubling, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["delay"]
    program, options = native(network, TEXT), given(network)
    there = {n: torch.as_tensor(x, device=program.storage.device) for n, x in options["inputs"].items()}
    whole = program.run(**options | {"inputs": there})
    monkeypatch.setattr(on_device, "AT_ONCE", 1)
    parts = program.run(**options | {"inputs": there})
    assert np.array_equal(whole.spikes["cells"], parts.spikes["cells"]) and whole.spike_count() > 10


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


@pytest.mark.parametrize("device", ["cuda", "cuda-emulated"])
def test_without_torch_there_is_no_memory_of_a_device(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(
        UnsupportedError, match=rf"device '{device}': memory .* needs the package 'torch'; install it: pip install"
    ):
        devices.dialect_of(device)
    assert devices.dialect_of("auto") is devices.dialect_of("cpu")


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

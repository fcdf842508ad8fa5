"""NVIDIA's driver, for tests where there is none: its machine code is the text, which the C compiler builds, and its device is `tests.elsewhere`'s.

What `backends.native.launch.Driver` does on a GPU is done here, but for the context and the stream.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pytest
import torch

from backends.common.structure import Backward
from backends.native import compiled, launch
from backends.native.build import load
from backends.native.calls import PAUSED, SIGNATURE
from backends.native.cuda import Cuda
from backends.native.launch import PLACES, Driver
from backends.native.memory import Host
from backends.native.on_device import Device
from backends.native.program import NativeProgram
from neuro import Network
from tests.backends.native.emulation import record
from tests.backends.networks import drive
from tests.elsewhere import DEVICE, Travelled, elsewhere

Compile = Callable[..., NativeProgram]
TEXT = Cuda(emulated=True)  # of programs that run here
STEPS, BATCH = 40, 3
GPU = pytest.param("cuda", marks=pytest.mark.gpu)
ARGUMENTS = 10
STREAM = 7
SHARED = 227 * 2**10  # bytes of a block's shared memory


class Attribute(IntEnum):
    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8


class Result(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_INVALID_IMAGE = 200
    CUDA_ERROR_NOT_FOUND = 500


@dataclass(frozen=True)
class Launched:
    """What the driver was asked for. grid, block: in three directions. values: of the arguments."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    stream: int
    values: tuple[int, ...]


class Binding:
    """cuda.bindings.driver, as far as it is used. says: of machine code. launched: so far. unloaded: libraries. attributes: set, by kernel."""

    CUfunction_attribute = Attribute

    def __init__(self) -> None:
        self.says, self.version = Result.CUDA_SUCCESS, 13000
        self.launched, self.unloaded, self.attributes = (
            list[Launched](),
            list[Any](),
            dict[str, tuple[Attribute, int]](),
        )

    def cuLibraryLoadData(self, code: bytes, *options: Any) -> Any:  # noqa: N802
        assert options == ([], [], 0, [], [], 0)
        return (self.says, None) if self.says else (self.says, load(code.decode(), "", "float64"))

    def cuLibraryGetKernel(self, library: Any, name: bytes) -> Any:  # noqa: N802
        found = name.decode().removesuffix("_kernel")
        return (Result.CUDA_SUCCESS, (library, found)) if hasattr(library, found) else (Result.CUDA_ERROR_NOT_FOUND, None)  # fmt: skip

    def cuKernelGetFunction(self, kernel: Any) -> Any:  # noqa: N802
        return Result.CUDA_SUCCESS, kernel

    def cuFuncSetAttribute(self, function: Any, attribute: Attribute, value: int) -> Any:  # noqa: N802
        if value > SHARED:
            return (Result.CUDA_ERROR_INVALID_VALUE,)
        self.attributes[function[1]] = attribute, value
        return (Result.CUDA_SUCCESS,)

    def cuOccupancyMaxActiveBlocksPerMultiprocessor(self, function: Any, threads: int, shared: int) -> Any:  # noqa: N802
        return Result.CUDA_SUCCESS, 2

    def cuLibraryUnload(self, library: Any) -> Any:  # noqa: N802
        self.unloaded.append(library)
        return (Result.CUDA_SUCCESS,)

    def cuDriverGetVersion(self) -> Any:  # noqa: N802
        return Result.CUDA_SUCCESS, self.version

    def cuGetErrorString(self, error: Result) -> Any:  # noqa: N802
        return Result.CUDA_SUCCESS, b"what the driver says of it"

    def cuLaunchKernel(  # noqa: N802
        self, function: Any, x: int, y: int, z: int, p: int, q: int, r: int, shared: int, stream: int, parameters: int, extra: int
    ) -> Any:  # fmt: skip
        """Reads as many parameters as a kernel has, each where the table of pointers says, and runs the blocks."""
        places = (ctypes.c_void_p * ARGUMENTS).from_address(parameters)
        values = tuple(ctypes.c_long.from_address(place or 0).value for place in places)
        library, name = function
        self.launched.append(Launched(name, (x, y, z), (p, q, r), shared, stream, values))
        arrays, strides, statuses, run, first, until, begin, end, scratch, apart = values
        run_blocks = getattr(library, name)
        run_blocks.argtypes, run_blocks.restype = SIGNATURE, None
        status = (ctypes.c_long * PLACES).from_address(statuses)
        again = True
        while again:
            run_blocks(arrays, strides, status, run, begin, end, first, until, x, scratch, apart)
            again = status[0] == PAUSED
        return (Result.CUDA_SUCCESS,)


class Doubled(Driver):
    """On the device that isn't there."""

    def __init__(self) -> None:
        super().__init__(DEVICE)
        self.binding, self.room = Binding(), 2**40
        self.unwritten = 0.0  # type: ignore[assignment]  # so that two runs of a wrong text give the same

    def driver(self) -> Any:
        return self.binding

    def current(self) -> Any:
        return nullcontext()

    def stream(self) -> int:
        return STREAM

    def architecture(self) -> str:
        return "sm_90"

    def multiprocessors(self) -> int:
        return 20

    def free(self) -> int | None:
        return self.room


@dataclass
class Doubling:
    """driver: that launches. travelled: see `tests.elsewhere`."""

    driver: Doubled
    travelled: Travelled


@contextmanager
def doubled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doubling]:
    """Programs in the dialect TEXT run on that device, launched by that driver."""
    driver = Doubled()

    def memory_of(dialect: Any, real: Any) -> Any:
        return Device(real, DEVICE, driver) if dialect == TEXT else Host(real)

    monkeypatch.setattr(compiled, "memory_of", memory_of)
    monkeypatch.setattr(launch, "cubin", lambda source, network, dtype, architecture: source.encode())
    monkeypatch.setattr(launch, "version", lambda network: "13.5")
    with elsewhere() as travelled:
        yield Doubling(driver, travelled)


def native(network: Network, dialect: Any, dtype: str = "float64") -> NativeProgram:
    return NativeProgram(network, dtype, 1, "fast_sigmoid", Backward(), dialect)


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


def total(signals: Any) -> Any:
    return sum((s * torch.arange(s.shape[2], device=s.device)).sum() for s in signals.spikes.values()) + sum(
        (t**2).sum() for t in signals.traces.values()
    )

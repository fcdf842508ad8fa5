"""Launches of kernels: by NVIDIA's driver on a GPU, or by the library that the C compiler made of the same text.

Memory, streams and contexts are torch's: a kernel runs in the device's primary context, on the stream that torch uses just then.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy.typing as npt
import torch

from backends.native.build import OTHERS, load
from backends.native.calls import NO_MEMORY, PAUSED, SIGNATURE, WRONG, no_memory, wrong
from backends.native.memory import available
from backends.native.nvrtc import cubin, version
from neuro.protocols import RunError, UnsupportedError

Array = npt.NDArray[Any]
PLACES = 6  # of a status
ASKED = 48 * 2**10  # bytes of shared memory beyond which a kernel must ask
_LONG = ctypes.c_long


class Functions(dict[str, Any]):
    """By name. Whoever launches one holds them all: they go with this. shared: bytes of shared memory that a block is given, by name.

    resident: blocks that a device runs at once, by name.
    """

    shared: Mapping[str, int]
    resident: Mapping[str, int]


class Emulation:
    """Blocks are run by the processor, in the memory of the host: see cuda_on_cpu.h.

    unwritten: what is in place of numbers that nobody has written. Where two emulations differ in it, a kernel that reads such shows.
    """

    where = ""

    def __init__(self, unwritten: float = 0.0) -> None:
        self.unwritten = unwritten

    def functions(self, source: str, network: str, dtype: str, shared: Mapping[str, int], threads: int) -> Functions:
        """Those of a text. shared: see `Functions`; the emulation's is in its text. threads: of a block. Raises UnsupportedError."""
        library = load(source, network, dtype)
        for name in shared:
            getattr(library, name).argtypes = SIGNATURE
            getattr(library, name).restype = None
        return Functions({name: getattr(library, name) for name in shared})

    def launch(self, functions: Functions, name: str, blocks: int, threads: int, arguments: Sequence[int]) -> None:
        """arguments: a kernel's. blocks: 0 for as many as a launch has units, or fewer. Raises RunError where the text is wrong."""
        arrays, strides, statuses, run, first, until, begin, end, scratch, apart = arguments
        status = (_LONG * PLACES).from_address(statuses)
        while True:  # it comes back from time to time: Ctrl-C gets through
            functions[name](arrays, strides, statuses, run, begin, end, first, until, blocks, scratch, apart)
            if status[0] != PAUSED:
                break
        if status[0] == NO_MEMORY:
            raise no_memory()
        if status[0] == WRONG:
            raise wrong(status)

    def free(self) -> int | None:
        """Bytes, where the system tells."""
        return available()


class Driver:
    """device: of torch, a CUDA one."""

    unwritten = None

    def __init__(self, device: torch.device) -> None:
        self.device, self.where = device, f" on '{device}'"

    def functions(self, source: str, network: str, dtype: str, shared: Mapping[str, int], threads: int) -> Functions:
        """Those of a text, in the device's machine code. shared: see `Functions`. threads: of a block. Raises UnsupportedError, RunError."""
        code, driver = cubin(source, network, dtype, self.architecture()), self.driver()
        with self.current():
            error, library = driver.cuLibraryLoadData(code, [], [], 0, [], [], 0)
            if int(error):
                known = _done(driver, driver.cuDriverGetVersion())
                why = (
                    f"its driver says {error.name}; the driver knows CUDA {known // 1000}.{known % 1000 // 10}, and the code is NVRTC "
                    f"{version(network)}'s; where that is newer, install a newer driver, or an older nvidia-cuda-nvrtc"
                )
                raise UnsupportedError("native", f"network '{network}' on '{self.device}'", why, OTHERS)
            kernels = {n: _done(driver, driver.cuLibraryGetKernel(library, f"{n}_kernel".encode())) for n in shared}
            found = Functions({n: _done(driver, driver.cuKernelGetFunction(k)) for n, k in kernels.items()})
            found.shared = shared
            weakref.finalize(found, driver.cuLibraryUnload, library).atexit = False  # the driver is gone then
            for name, bytes_ in shared.items():
                if bytes_ > ASKED:
                    self._ask(found[name], network, bytes_)
            found.resident = {n: self._resident(f, threads, shared[n]) for n, f in found.items()}
        return found

    def _resident(self, function: Any, threads: int, shared: int) -> int:
        driver = self.driver()
        side_by_side = _done(driver, driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(function, threads, shared))
        return self.multiprocessors() * max(1, int(side_by_side))

    def _ask(self, function: Any, network: str, bytes_: int) -> None:
        """For more shared memory than a kernel has by itself. Raises UnsupportedError."""
        driver = self.driver()
        most = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        (error,) = driver.cuFuncSetAttribute(function, most, bytes_)
        if int(error):
            why = f"a block needs {bytes_} bytes of shared memory, and the driver says {error.name}; use device='cpu'"
            raise UnsupportedError("native", f"network '{network}' on '{self.device}'", why, OTHERS)

    def launch(self, functions: Functions, name: str, blocks: int, threads: int, arguments: Sequence[int]) -> None:
        """arguments: a kernel's, 8 bytes each. blocks: 0 for one a unit, or as many as run at once: each then does several units, and reads
        what they share once. It doesn't wait for the end. Raises RunError.
        """
        driver, values = self.driver(), (_LONG * len(arguments))(*arguments)
        begin, size = ctypes.addressof(values), ctypes.sizeof(_LONG)
        parameters = (ctypes.c_void_p * len(arguments))(*[begin + size * n for n in range(len(arguments))])
        first, until = arguments[4:6]
        with self.current():
            place = ctypes.addressof(parameters)
            grid = blocks or min(until - first, functions.resident[name]), 1, 1
            _done(
                driver,
                driver.cuLaunchKernel(
                    functions[name], *grid, threads, 1, 1, functions.shared[name], self.stream(), place, 0
                ),
            )

    def driver(self) -> Any:
        """NVIDIA's binding."""
        return import_module("cuda.bindings.driver")

    @contextmanager
    def current(self) -> Iterator[None]:
        """The device's context is the thread's."""
        with torch.cuda.device(self.device):  # whoever launches has made arrays in this thread, so there is a context
            yield

    def stream(self) -> int:
        return int(torch.cuda.current_stream(self.device).cuda_stream)

    def architecture(self) -> str:
        major, minor = torch.cuda.get_device_capability(self.device)
        return f"sm_{major}{minor}"

    def multiprocessors(self) -> int:
        return int(torch.cuda.get_device_properties(self.device).multi_processor_count)

    def free(self) -> int | None:
        """Bytes that the device has, those included that torch holds and doesn't use."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return free + torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)


def _done(driver: Any, answer: Sequence[Any]) -> Any:
    """What a call of the driver gave. Raises RunError where it failed."""
    error, *found = answer
    if int(error):
        said = _done(driver, driver.cuGetErrorString(error)).decode()
        raise RunError(f"CUDA's driver failed: {error.name}, {said}")
    return found[0] if found else None

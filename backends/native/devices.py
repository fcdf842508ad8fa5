"""Where a kernel runs, and so in which dialect it is written and where its arrays lie."""

from __future__ import annotations

import ctypes
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from math import nan
from typing import TYPE_CHECKING, Any

from backends.common.options import choice
from backends.native.build import OTHERS
from backends.native.cuda import SHARED, Cuda
from backends.native.dialect import C, Dialect
from backends.native.memory import Host
from neuro.protocols import UnsupportedError
from neuro.registry import missing

if TYPE_CHECKING:
    from backends.native.on_device import Device

EMULATED = {"cuda-emulated": Cuda(emulated=True), "cuda-checked": Cuda(emulated=True, checked=True)}
DEVICES = ("auto", "cpu", "cuda", *EMULATED)
_NUMBERED = re.compile(r"cuda:\d+")
_SLOWLY = ", or device='cuda-emulated' to run the text of a CUDA kernel on the CPU, which is slow"


def dialect_of(device: Any) -> Dialect:
    """The dialect of a device: a name, or torch's object for one. "auto" is a CUDA device where one can be used. Raises UnsupportedError."""
    name = str(device) if type(device).__module__ == "torch" else device
    if not (isinstance(name, str) and _NUMBERED.fullmatch(name)):
        choice("native", "device", name, DEVICES, OTHERS)
    if name == "auto":
        name = "cpu" if lacking("cuda") else "cuda"
    if name == "cpu":
        return C
    if name in EMULATED:
        _check(name, _emulation())
        return EMULATED[name]
    _check(name, lacking(name))
    index = int(name.partition(":")[2] or import_module("torch").cuda.current_device())
    return Cuda(device=f"cuda:{index}", shared=_shared(index))


def memory_of(dialect: Dialect, real: Any) -> Host | Device:
    """Where the arrays of its kernels lie. real: numpy's type of real numbers. Raises UnsupportedError."""
    if not isinstance(dialect, Cuda):
        return Host(real)
    _check("cuda-emulated", _emulation())
    if dialect.device != "cpu" and not dialect.emulated:  # a copy may have come from another machine
        _check(dialect.device, lacking(dialect.device))
    import torch

    from backends.native.launch import Driver, Emulation
    from backends.native.on_device import Device

    place = torch.device(dialect.device)
    return Device(real, place, Emulation(nan if dialect.checked else 0.0) if dialect.emulated else Driver(place))


def lacking(device: str) -> str:
    """Why kernels can't run on a CUDA device; empty where they can."""
    if find_spec("torch") is None:
        return missing("memory on a device", "torch")
    if not cuda_devices():
        return "there is no CUDA device here"
    torch = import_module("torch")
    if not torch.cuda.is_available():
        return "torch sees no CUDA device here, though there is one; install one of torch's wheels for CUDA"
    number = torch.cuda.device_count()
    if int(device.partition(":")[2] or 0) >= number:
        return f"torch sees {number} CUDA device{'s' if number > 1 else ''} here"
    try:
        import_module("cuda.bindings.driver")
    except ImportError:
        return missing("launching a kernel", "cuda-bindings")
    return ""


def _shared(index: int) -> int:
    """Bytes of shared memory that a block may have. index: of a CUDA device."""
    driver = import_module("cuda.bindings.driver")
    most = driver.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    error, found = driver.cuDeviceGetAttribute(most, driver.cuDeviceGet(index)[1])
    return SHARED if int(error) else int(found)


def _emulation() -> str:
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    return missing("memory of a device", "torch") if find_spec("torch") is None else ""


def _check(device: str, why: str) -> None:
    if why:
        more = "" if device in EMULATED else _SLOWLY
        raise UnsupportedError("native", f"device '{device}'", f"{why}; use device='cpu'{more}", OTHERS)


def cuda_devices() -> int:
    """Number of CUDA devices that this machine's driver knows; 0 where there is no driver."""
    number = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(number))
    except (OSError, AttributeError):
        return 0
    return 0 if failed else number.value

"""Where a kernel runs, and so in which dialect it is written.

`nvrtc` compiles CUDA's text. What launches a kernel on a GPU will stand beside `calls.Call`, with its methods: device arrays, one block a unit.
"""

from __future__ import annotations

import ctypes
import sys

from backends.common.options import choice
from backends.native.build import OTHERS
from backends.native.cuda import Cuda
from backends.native.dialect import C, Dialect
from neuro.protocols import UnsupportedError

EMULATED = {"cuda-emulated": Cuda(emulated=True), "cuda-checked": Cuda(emulated=True, checked=True)}
DEVICES = ("auto", "cpu", "cuda", *EMULATED)


def dialect_of(device: str) -> Dialect:
    """The dialect of a device; "auto" is the CPU until kernels can be launched elsewhere. Raises UnsupportedError."""
    choice("native", "device", device, DEVICES, OTHERS)
    if device in ("auto", "cpu"):
        return C
    if device in EMULATED:
        if not sys.platform.startswith("linux"):
            raise UnsupportedError("native", f"device '{device}'", "it needs Linux; use device='cpu'", OTHERS)
        return EMULATED[device]
    why = "what launches kernels on one isn't written yet" if cuda_devices() else "there is no CUDA device here"
    use = "use device='cpu', or device='cuda-emulated' to run the text of a CUDA kernel on the CPU, which is slow"
    raise UnsupportedError("native", f"device '{device}'", f"{why}; {use}", OTHERS)


def cuda_devices() -> int:
    """Number of CUDA devices that this machine's driver knows; 0 where there is no driver."""
    number = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(number))
    except (OSError, AttributeError):
        return 0
    return 0 if failed else number.value

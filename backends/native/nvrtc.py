"""CUDA text -> cubin: built by NVRTC, which needs neither a GPU nor its driver, kept by the hash of everything that decides about it."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from backends.native.build import OTHERS, ROOM, operation_at, prune
from neuro.io.files import cache_folder, replaced
from neuro.protocols import RunError, UnsupportedError
from neuro.registry import missing

OPTIONS = ("--device-as-default-execution-space", "--device-int128", "-std=c++17", "-w")
CONTRACTION = {"float64": ("--fmad=false",), "float32": ()}  # float64 rounds as numpy does
_FILE = "step.cu"
_ERROR = re.compile(rf"{re.escape(_FILE)}\((\d+)\): (?:catastrophic )?error(?: #[^:]*)?: (.*)")
_PRUNED = "0"  # keys that end like this look for room: every 16th
_SUM = hashlib.sha256().digest_size


def folder() -> Path:
    """Where cubins are kept, each followed by its checksum; nothing can be kept there for a user without a home."""
    return cache_folder("cubins")


def cubin(source: str, network: str, dtype: str, architecture: str) -> bytes:
    """The machine code of a kernel's CUDA text, an ELF file. network: what it is called in errors. architecture: such as "sm_90".

    Raises UnsupportedError: where NVRTC is missing, doesn't know the architecture, or refuses the text.
    """
    nvrtc, number = _binding(network)
    known = [f"sm_{arch}" for arch in _done(nvrtc.nvrtcGetSupportedArchs())]
    if architecture not in known:
        why = f"NVRTC {number} builds for {', '.join(known)}"
        raise UnsupportedError("native", f"network '{network}' for architecture '{architecture}'", why, OTHERS)
    options = (f"--gpu-architecture={architecture}", *OPTIONS, *CONTRACTION[dtype])
    key = hashlib.sha256("\n".join((source, *options, number)).encode()).hexdigest()
    path = folder() / f"{architecture}-{key}.cubin"
    found = _kept(path)
    if found is None:
        found = _built(nvrtc, source, network, options)
        _keep(path, found)
    return found


def version(network: str) -> str:
    """Of the NVRTC that is found. Raises UnsupportedError, for that network, where there is none."""
    return _binding(network)[1]


def _binding(network: str) -> tuple[Any, str]:
    """NVIDIA's own, and the version of the NVRTC that it found. Raises UnsupportedError, for that network, where there is none."""
    what, needs = f"network '{network}' in CUDA", "NVRTC, CUDA's compiler,"
    if not sys.platform.startswith("linux"):
        raise UnsupportedError("native", what, "its text is written for Linux, where a long has 8 bytes", OTHERS)
    try:
        nvrtc = import_module("cuda.bindings.nvrtc")
    except ImportError:
        raise UnsupportedError("native", what, missing(needs, "cuda-bindings"), OTHERS) from None
    try:
        return nvrtc, ".".join(map(str, _done(nvrtc.nvrtcVersion())))
    except RuntimeError:  # the binding's word for a library that it can't load
        raise UnsupportedError("native", what, missing(needs, "nvidia-cuda-nvrtc"), OTHERS) from None


def _kept(path: Path) -> bytes | None:
    """A cubin that is whole."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    code = found[:-_SUM]
    if hashlib.sha256(code).digest() != found[-_SUM:]:
        return None
    with suppress(OSError):
        os.utime(path)  # used now
    return code


def _keep(path: Path, code: bytes) -> None:
    """Where the folder can't be written to, it is built again the next time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replaced(path, lambda side: side.write_bytes(code + hashlib.sha256(code).digest()))
        if path.stem.endswith(_PRUNED):
            prune(path.parent, ROOM, "*.cubin*")  # what a killed writer left is among them


def _built(nvrtc: Any, source: str, network: str, options: Sequence[str]) -> bytes:
    program = _done(nvrtc.nvrtcCreateProgram(source.encode(), _FILE.encode(), 0, [], []))
    try:
        (error,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
        if int(error):
            said = _bytes(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).decode(errors="replace")
            line, why = _first(said.strip("\0 \n") or error.name)
            what = f"network '{network}', {operation_at(source, line)}"
            raise UnsupportedError("native", what, f"NVRTC refused it: {why}", OTHERS)
        return _bytes(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _first(said: str) -> tuple[int, str]:
    """Line and text of the compiler's first error; 0 for one that belongs to no line."""
    found = _ERROR.search(said)
    return (int(found.group(1)), found.group(2)) if found else (0, said.splitlines()[0])


def _bytes(size: Callable[..., Any], get: Callable[..., Any], program: Any) -> bytes:
    room = bytearray(_done(size(program)))
    _done(get(program, room))
    return bytes(room)


def _done(answer: Sequence[Any]) -> Any:
    """What a call of NVRTC gave: one thing, or several. Raises RunError where it failed."""
    error, *found = answer
    if int(error):
        raise RunError(f"NVRTC failed: {error.name}")
    return found[0] if len(found) == 1 else found

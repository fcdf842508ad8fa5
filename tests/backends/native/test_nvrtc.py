"""CUDA's compiler without it: what is refused, what decides about a cubin, what is kept. tests/hardware has the compiler itself."""

from __future__ import annotations

import sys
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from backends.native import nvrtc
from neuro import RunError, UnsupportedError

BINDING = "cuda.bindings.nvrtc"
TEXT = "/* functions */\n/* integrate of cells */\nint a;\n/* reset of cells */\nint b;\n"


class Result(IntEnum):
    SUCCESS = 0
    ERROR_OUT_OF_MEMORY = 1
    ERROR_COMPILATION = 6


class Binding:
    """Stands for NVIDIA's: code is the number of the call. log: of a text that it refuses. compiled: source and options of each call."""

    def __init__(self) -> None:
        self.version, self.log, self.result, self.compiled = (13, 5), b"", Result.SUCCESS, list[Any]()

    def nvrtcVersion(self) -> Any:  # noqa: N802
        return (Result.SUCCESS, *self.version)

    def nvrtcGetSupportedArchs(self) -> Any:  # noqa: N802
        return Result.SUCCESS, [80, 90]

    def nvrtcCreateProgram(self, source: bytes, name: bytes, *_: Any) -> Any:  # noqa: N802
        assert name == b"step.cu"
        return self.result, source

    def nvrtcCompileProgram(self, program: bytes, number: int, options: list[bytes]) -> Any:  # noqa: N802
        assert number == len(options)
        self.compiled.append((program.decode(), [o.decode() for o in options]))
        return (Result.ERROR_COMPILATION if self.log else Result.SUCCESS,)

    def nvrtcGetProgramLogSize(self, program: bytes) -> Any:  # noqa: N802
        return Result.SUCCESS, len(self.log)

    def nvrtcGetProgramLog(self, program: bytes, room: bytearray) -> Any:  # noqa: N802
        room[:] = self.log
        return (Result.SUCCESS,)

    def nvrtcGetCUBINSize(self, program: bytes) -> Any:  # noqa: N802
        return Result.SUCCESS, 100

    def nvrtcGetCUBIN(self, program: bytes, room: bytearray) -> Any:  # noqa: N802
        room[:] = bytes([len(self.compiled)]) * len(room)
        return (Result.SUCCESS,)

    def nvrtcDestroyProgram(self, program: bytes) -> Any:  # noqa: N802
        return (Result.SUCCESS,)


@pytest.fixture
def binding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Binding:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = Binding()
    monkeypatch.setitem(sys.modules, BINDING, found)  # type: ignore[arg-type]
    return found


def cubin(source: str = TEXT, dtype: str = "float64", architecture: str = "sm_90") -> bytes:
    return nvrtc.cubin(source, "net", dtype, architecture)


# -- refusals --------------------------------------------------------------------------------------------------


def test_a_missing_binding_is_refused_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, BINDING, None)  # type: ignore[arg-type]
    told = (
        r"network 'net' in CUDA: NVRTC.* needs the package 'cuda-bindings'; install it: pip install 'twinspike\[cuda\]'"
    )
    with pytest.raises(UnsupportedError, match=told):
        cubin()


def test_a_missing_nvrtc_is_refused_with_what_installs_it(binding: Binding, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Any:
        raise RuntimeError("Failure finding libnvrtc.so.13")

    monkeypatch.setattr(binding, "nvrtcVersion", absent)
    told = r"network 'net' in CUDA: NVRTC.* needs the package 'nvidia-cuda-nvrtc'; install it: pip install 'twinspike\[cuda\]'"
    with pytest.raises(UnsupportedError, match=told):
        cubin()


def test_other_systems_are_refused(binding: Binding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UnsupportedError, match="network 'net' in CUDA: its text is written for Linux"):
        cubin()


@pytest.mark.parametrize("architecture", ["sm_91", "90", "../sm_90"])
def test_an_unknown_architecture_is_refused(architecture: str, binding: Binding) -> None:
    with pytest.raises(UnsupportedError, match=r"for architecture '.*': NVRTC 13.5 builds for sm_80, sm_90;"):
        cubin(architecture=architecture)
    assert not binding.compiled


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (b'step.cu(3): warning: x\nstep.cu(5): error: identifier "c" is undefined\n', "'reset of cells': NVRTC refused it: identifier \"c\" is undefined"),
        (b"step.cu(3): catastrophic error: too deep\n\0", "'integrate of cells': NVRTC refused it: too deep"),
        (b'step.cu(3): error #20: identifier "c" is undefined\n', "'integrate of cells': NVRTC refused it: identifier \"c\" is undefined"),
        (b"nvrtc: error: invalid value\nmore\0", "its step: NVRTC refused it: nvrtc: error: invalid value"),
        (b"\0", "its step: NVRTC refused it: ERROR_COMPILATION"),
    ],
)  # fmt: skip
def test_an_error_names_the_place_in_the_model(log: bytes, told: str, binding: Binding) -> None:
    binding.log = log
    with pytest.raises(UnsupportedError) as error:
        cubin()
    assert f"network 'net', {told};" in str(error.value)
    assert not nvrtc.folder().exists()


def test_a_call_that_fails_is_an_error(binding: Binding) -> None:
    binding.result = Result.ERROR_OUT_OF_MEMORY
    with pytest.raises(RunError, match="NVRTC failed: ERROR_OUT_OF_MEMORY"):
        cubin()


# -- what is kept ----------------------------------------------------------------------------------------------


def test_whatever_decides_about_a_cubin_makes_another(binding: Binding) -> None:
    first = cubin()
    assert cubin() == first and len(binding.compiled) == 1
    others = [cubin(TEXT + "\n"), cubin(dtype="float32"), cubin(architecture="sm_80")]
    binding.version = (13, 6)
    others.append(cubin())
    assert len({first, *others}) == 5 == len(binding.compiled)
    kept = {path.name.split("-")[0] for path in nvrtc.folder().iterdir()}
    assert kept == {"sm_80", "sm_90"}
    binding.version = (13, 5)
    assert cubin() == first and len(binding.compiled) == 5


def test_options(binding: Binding) -> None:
    cubin(dtype="float32")
    cubin(dtype="float64")
    single, double = (options for _, options in binding.compiled)
    assert {"--gpu-architecture=sm_90", "--device-int128", "-std=c++17"} < set(single)
    assert "--device-as-default-execution-space" in single and set(double) - set(single) == {"--fmad=false"}


@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b"", lambda b: b[:-1], lambda b: b[:9] + b"x" + b[10:]])
def test_a_damaged_file_is_not_taken(damage: Any, binding: Binding) -> None:
    first = cubin()
    (path,) = nvrtc.folder().iterdir()
    whole = path.read_bytes()
    assert whole.startswith(first)
    path.write_bytes(damage(whole))
    again = cubin()
    assert len(binding.compiled) == 2 and again == b"\2" * 100 == cubin()


def test_without_a_folder_nothing_is_kept(binding: Binding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert cubin() == b"\1" * 100 and cubin() == b"\2" * 100


def test_the_folder_is_bounded_and_loses_what_killed_writers_left(
    binding: Binding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvrtc, "_PRUNED", "")
    monkeypatch.setattr(nvrtc, "ROOM", 300)
    nvrtc.folder().mkdir(parents=True)
    left = nvrtc.folder() / ".sm_90-0.cubin.1"
    left.write_bytes(bytes(100))
    cubin()
    assert left.exists()
    cubin(dtype="float32")
    assert not left.exists() and len(list(nvrtc.folder().iterdir())) == 2

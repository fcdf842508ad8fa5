"""C text -> loaded library: built by the system's compiler, kept by the hash of everything that decides about it.

What TWINSPIKE_NATIVE_FLAGS says is added to the compiler's flags, and is part of the hash: "-O1" builds kernels in half the time,
which pays where thousands are built and each runs once. The folder of libraries is bounded: the oldest go first.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path

from neuro.io.files import cache_folder
from neuro.protocols import UnsupportedError

FLAGS = (
    "-O3", "-march=native", "-std=gnu11", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-w",
    "-fno-thread-jumps", "-fno-tree-pre",  # both make branches of selects, which are no vectors: a tenth of a run's time
)  # fmt: skip
CONTRACTION = {"float64": "-ffp-contract=off", "float32": "-ffp-contract=fast"}  # float64 rounds as numpy does
OTHERS = ("torch", "reference", "brian2")
ROOM = 512 * 2**20  # bytes that the libraries kept may take together
_PRUNED = "0"  # keys that end like this look for room: every 16th
_loaded: dict[Path, int] = {}  # libraries that this process has open, and how often


def compiler() -> str | None:
    """The C compiler: $CC, or cc."""
    return shutil.which(os.environ.get("CC", "cc"))


def missing() -> str | None:
    """Why nothing can be built here; None where it can."""
    return None if compiler() else f"there is no C compiler '{os.environ.get('CC', 'cc')}'; install one, or set CC"


def compiler_for(network: str) -> str:
    """The C compiler. Raises UnsupportedError, for that network, where there is none."""
    path = compiler()
    if path is None:
        raise UnsupportedError("native", f"network '{network}'", str(missing()), OTHERS)
    return path


@cache
def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout + _cpu()


@cache
def _cpu() -> str:
    """The instruction set: a library built for another machine must not be loaded."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        import platform

        return platform.processor()
    return next((line for line in lines if line.startswith("flags")), "")


def folder() -> Path:
    """Where libraries are kept; nothing can be kept there for a user without a home."""
    return cache_folder("native")


def load(source: str, network: str, dtype: str) -> ctypes.CDLL:
    """The library of that C text. network: what it is called in errors. It is closed when nobody holds it any more.

    Raises UnsupportedError.
    """
    path = compiler_for(network)
    wide = ("-mprefer-vector-width=512",) if " avx512f" in _cpu() else ()
    flags = (*FLAGS, CONTRACTION[dtype], *wide, *os.environ.get("TWINSPIKE_NATIVE_FLAGS", "").split())
    key = hashlib.sha256("\n".join((source, *flags, _version(path))).encode()).hexdigest()
    library = folder() / f"{key}.so"
    try:
        if library.exists():
            return _opened(library)
    except OSError:  # damaged since it was built, removed by another process, or where this user can't look
        with suppress(OSError):
            library.unlink(missing_ok=True)
    try:
        _build([path, *flags], source, library, network)
        found = _opened(library)
    except OSError:
        return _unkept([path, *flags], source, network)
    if key.endswith(_PRUNED):
        prune(folder(), ROOM, "*.so")
    return found


def _unkept(command: list[str], source: str, network: str) -> ctypes.CDLL:
    """The library where the folder can't be written to, or what is in it can't be loaded: for this program alone."""
    try:
        with tempfile.TemporaryDirectory() as place:  # it stays mapped when its file goes
            library = Path(place) / "step.so"
            _build(command, source, library, network)
            return _opened(library)
    except OSError as error:
        why = f"can't build a library: {error}; set XDG_CACHE_HOME to a folder that you can write to and load libraries from"
        raise UnsupportedError("native", f"network '{network}'", why, OTHERS) from None


def _opened(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    _loaded[path] = _loaded.get(path, 0) + 1
    weakref.finalize(library, _close, library._handle, path).atexit = False  # the system closes what is open then
    with suppress(OSError):
        os.utime(path)  # used now
    return library


def _close(handle: int, path: Path) -> None:
    """Whoever calls its functions holds the library, so none of them runs now."""
    import _ctypes

    _ctypes.dlclose(handle)
    _loaded[path] -= 1


def prune(place: Path, room: int, pattern: str) -> None:
    """Remove the files not used for longest until the rest fits. A library that is open stays; on disk it may go, others have it mapped."""
    found = []
    for path in place.glob(pattern):
        with suppress(OSError):  # another process may remove it just now
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= room:
            return
        if not _loaded.get(path):
            path.unlink(missing_ok=True)
            total -= size


def _build(command: list[str], source: str, library: Path, network: str) -> None:
    """Beside its place first, then moved there: nobody loads half of a library, and two builders don't meet."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder_name:
        text, made = Path(folder_name) / "step.c", Path(folder_name) / "step.so"
        text.write_text(source, encoding="utf-8")
        done = subprocess.run(
            [*command, "-o", str(made), str(text), "-lm"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UnsupportedError(
                "native", f"network '{network}', {_place(source, done.stderr)}", _first(done.stderr), OTHERS
            )
        made.replace(library)


def _first(errors: str) -> str:
    """What the compiler said first."""
    line = next((x for x in errors.splitlines() if "error:" in x), errors.strip() or "no message")
    return f"the C compiler refused it: {line.partition('error:')[2].strip() or line}"


def _place(source: str, errors: str) -> str:
    """The operation of the model's step to which the compiler's first error belongs."""
    found = re.search(r"step\.c:(\d+):\d+: (?:fatal )?error:", errors)
    return operation_at(source, int(found.group(1)) if found else 0)


def operation_at(source: str, line: int) -> str:
    """What an operation of the model's step is called to which a line of a kernel's text belongs: the last title above it."""
    titles = [m.group(1) for m in map(re.compile(r"\s*/\* (.*) \*/$").match, source.splitlines()[:line]) if m]
    return f"'{titles[-1]}'" if titles else "its step"

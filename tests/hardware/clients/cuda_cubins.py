"""Kernels' texts through `backends.native.nvrtc`: `cuda_cubins.py FOLDER ARCHITECTURE [KILLED]`.

FOLDER: <name>.<dtype>.cu, where each <name>.<dtype>.cubin comes to stand, and answers.json: by name.dtype, whether it was `built` (not
taken from the cache), processor time in `seconds`, and the `error`. KILLED: before, writers of the first text's cubin die, one in the middle of
the file and one before it moves to its place; their answers.json says how many files they left, as "left".
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from backends.native import nvrtc
from neuro.protocols import UnsupportedError


def answer(text: Path, architecture: str) -> dict[str, Any]:
    name, dtype = text.stem.rsplit(".", 1)
    built: list[str] = []
    whole = nvrtc._built

    def counted(*given: Any) -> bytes:
        built.append(name)
        return whole(*given)

    nvrtc._built, begin = counted, time.process_time()
    try:
        text.with_suffix(".cubin").write_bytes(nvrtc.cubin(text.read_text(), name, dtype, architecture))
        error = None
    except UnsupportedError as refused:
        error = str(refused)
    finally:
        nvrtc._built = whole
    return {"built": bool(built), "seconds": time.process_time() - begin, "error": error}


def killed(text: Path, architecture: str, *, middle: bool) -> None:
    """A process that dies while it keeps a cubin."""
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        return
    write = Path.write_bytes

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def half(path: Path, data: bytes) -> None:
        write(path, data[: len(data) // 2])
        die()

    if middle:
        Path.write_bytes = half  # type: ignore[method-assign,assignment]
    else:
        os.replace = die  # type: ignore[assignment]
    try:
        answer(text, architecture)
    finally:
        os._exit(1)


def main(folder: str, architecture: str, *how: str) -> None:
    texts, left = sorted(Path(folder).glob("*.cu")), {}
    if how:
        for middle in (True, False):
            killed(texts[0], architecture, middle=middle)
        left = {"left": len(list(nvrtc.folder().iterdir()))}
    found = {text.stem: answer(text, architecture) for text in texts}
    (Path(folder) / "answers.json").write_text(json.dumps(found | left))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs the code of a page as a reader would: Python and commands in order, in one namespace and one folder, and compares what they print.

python docs/site/blocks.py PAGE.md          # runs it, and says where it prints something else
python docs/site/blocks.py --write PAGE.md  # puts what it prints into the page

A block ```python is executed; ```text right behind it is what it prints, exactly. ```sh has commands, `twinspike ...`, that are
called in this process. ```toml net.toml, or any other word with a file's name behind it, is written to that file; ```python needs:norse is executed
where that package is installed. Other blocks are shown alone.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NEEDS = "needs:"


class PageError(Exception):
    """A block of a page fails, or prints something else than the page says."""


@dataclass(frozen=True)
class Block:
    """kind: the fence's first word. file: its second one. line: of the page. start, end: of the code in the page's text."""

    kind: str
    file: str
    code: str
    line: int
    start: int
    end: int


def blocks(text: str) -> list[Block]:
    """All fenced blocks that stand at the margin, in order."""
    found = FENCE.finditer(text)
    return [Block(m[1], m[2] or "", m[3], text.count("\n", 0, m.start(3)) + 1, m.start(3), m.end(3)) for m in found]


def called(command: str) -> None:
    """One command line, `twinspike ...`, in this process. Raises PageError where it doesn't end well."""
    from twinspike.commands import app

    words = shlex.split(command, comments=True)
    if words[:1] != ["twinspike"]:
        raise PageError(f"{command}: a page shows commands of the form twinspike ...")
    if app(words[1:], standalone_mode=False):
        raise PageError(f"{command}: it ends with an error")


def run(block: Block, names: dict[str, Any], page: str) -> str:
    """What one block prints. Raises what it raises, with the place."""
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            if block.kind == "python":
                exec(compile("\n" * (block.line - 1) + block.code, page, "exec"), names)
            for command in block.code.replace("\\\n", " ").splitlines() if block.kind == "sh" else ():
                called(command)
    except Exception as error:
        error.add_note(f"{page}, line {block.line}")
        raise
    return shown.getvalue()


def outputs(path: Path) -> Iterator[tuple[Block, str]]:
    """Each ```text block behind code, and what the code printed; the folder that it works in is new and goes."""
    text = path.read_text("utf-8")
    names: dict[str, Any] = {"__name__": "__page__"}
    before, printed = None, ""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for block in blocks(text):
            if block.kind == "text" and before is not None and not text[before.end + 3 : block.start - 8].strip():
                yield block, printed
            elif block.file.startswith(NEEDS) and find_spec(block.file.removeprefix(NEEDS)) is None:
                before = None
            elif block.file and not block.file.startswith(NEEDS):
                Path(block.file).write_text(block.code, "utf-8")
            elif block.kind in ("python", "sh"):
                before, printed = block, run(block, names, path.name)


def check(path: Path) -> int:
    """Number of outputs that were compared. Raises PageError with the first that differs."""
    number = 0
    for block, printed in outputs(path):
        if printed.rstrip() != block.code.rstrip():
            raise PageError(
                f"{path.name}, line {block.line}: the page says\n{block.code}\nand the code prints\n{printed}"
            )
        number += 1
    return number


def write(path: Path) -> None:
    """Put what its code prints into the page."""
    text, found = path.read_text("utf-8"), list(outputs(path))
    for block, printed in reversed(found):
        text = f"{text[: block.start]}{printed.rstrip()}\n{text[block.end :]}"
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path.insert(0, str(root))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in sys.argv[1:]:
        if name != "--write":
            (write if "--write" in sys.argv else check)(Path(name).resolve())

"""Our docstrings are plain English: one sentence, then "name: what it is". Sphinx wants reStructuredText; this turns the one into the other."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

_QUOTED = re.compile(r"`+([^`]+)`+")
ALWAYS = frozenset(
    ("options", "Options", "state", "Loss", "loss", "Metric", "metric", "Reward", "Targets", "Source", "Sources")
)
_MARKED = re.compile(r"([\\*|_])")


def names_of(thing: Any) -> set[str]:
    """What a docstring may explain: arguments of a function, fields and annotated attributes of a class."""
    found: set[str] = set()
    if inspect.isclass(thing):
        found |= {f.name for f in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else set()
        found |= set(getattr(thing, "__annotations__", {}))
    with contextlib.suppress(TypeError, ValueError):
        found |= set(inspect.signature(thing).parameters)
    return found | ALWAYS


def escaped(text: str) -> str:
    """Text in which nothing but `code` is marked."""
    parts = _QUOTED.split(text)
    return "".join(f"``{p.strip()}``" if k % 2 else _MARKED.sub(r"\\\1", p) for k, p in enumerate(parts))


def items(text: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The parts of a paragraph: ("", what comes first), then (names, what is said of them)."""
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    start = re.compile(rf"(?:^|(?<=[.;!)\"] ))((?:{known})(?:(?:, | and )(?:{known}))*): ")
    found = list(start.finditer(text))
    yield "", text[: found[0].start() if found else len(text)].strip()
    for k, match in enumerate(found):
        yield match[1], text[match.end() : found[k + 1].start() if k + 1 < len(found) else len(text)].strip()


def paragraphs(lines: Iterable[str]) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines between empty ones, and whether they are indented, as code is."""
    run: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            run.append(line)
        elif run:
            yield run[0].startswith("    "), run
            run = []


def converted(lines: Iterable[str], names: Iterable[str]) -> list[str]:
    """A docstring's lines as reStructuredText: indented ones as code, names that are explained as a list."""
    found: list[str] = []
    for code, run in paragraphs(lines):
        if code:
            found += ["::", "", *(f"    {line}" for line in run), ""]
            continue
        for name, text in items(" ".join(line.strip() for line in run), names):
            if name:
                found += [f"- **{escaped(name)}**: {escaped(text)}"]
            elif text:
                found += [escaped(text), ""]
        found.append("")
    return found


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's event autodoc-process-docstring."""
    lines[:] = converted(lines, names_of(thing))

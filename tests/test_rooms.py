"""Who imports whom: no circle anywhere, between modules or between rooms, lazy imports and those for types included."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import backends

ROOT = Path(__file__).parents[1]
PACKAGES = ("neuro", "backends", "tasks")


def modules(folders: Iterable[str] = PACKAGES, root: Path = ROOT) -> dict[str, Path]:
    """Dotted name -> file."""
    found = {}
    for path in (p for folder in folders for p in sorted((root / folder).rglob("*.py"))):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Module -> the modules among the known ones that any line of it imports."""
    return {name: _imported(name, path, known) - {name} for name, path in known.items()}


def _imported(name: str, path: Path, known: Mapping[str, Path]) -> set[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return found & set(known)


def room(name: str, known: Mapping[str, Path]) -> str:
    """The folder that a module lies in; a package's __init__, its door ("neuro.io."), and a module that lies beside rooms stand for themselves."""
    if known[name].name == "__init__.py":
        return f"{name}."
    return name if "." not in name.partition(".")[2] else name.rpartition(".")[0]


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def between_rooms(graph: Mapping[str, set[str]], known: Mapping[str, Path]) -> dict[str, set[str]]:
    """Room -> the rooms that its modules import."""
    found: dict[str, set[str]] = {}
    for name, others in graph.items():
        here = room(name, known)
        found.setdefault(here, set()).update({room(o, known) for o in others} - {here})
    return found


def test_no_modules_import_each_other() -> None:
    known = modules()
    assert len(known) > 200
    assert circle(imports(known)) == []


def test_no_rooms_import_each_other() -> None:
    known = modules()
    assert circle(between_rooms(imports(known), known)) == []


def rooms_of_backends() -> set[str]:
    """The folder or module below `backends` of everything that is registered."""
    return {place.partition(":")[0].split(".")[1] for place in backends.REGISTRY.ours.values()}


def sideways(graph: Mapping[str, set[str]], rooms: set[str]) -> list[str]:
    """Imports by which a backend reads more of `backends` than its own room and the common one."""
    found = []
    for name, others in graph.items():
        mine = name.split(".")[1:2]
        if name.startswith("backends.") and mine[0] in rooms:
            theirs = (
                o for o in sorted(others) if o.startswith("backends.") and o.split(".")[1] not in (*mine, "common")
            )
            found += [f"{name} imports {other}" for other in theirs]
    return found


def test_no_backend_imports_another() -> None:
    rooms = rooms_of_backends()
    assert len(rooms) >= 5
    assert sideways(imports(modules()), rooms) == []
    assert sideways(
        {"backends.a.b": {"backends.a.c", "backends.common.x", "neuro", "backends.d.e"}, "backends.f": {"backends.d"}},
        {"a", "d"},
    ) == ["backends.a.b imports backends.d.e"]


LOWER = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from neuro.upper import Upper\n"


@pytest.mark.parametrize("text", [LOWER, "def late():\n    import neuro.upper\n", "from . import upper\n"])
def test_a_circle_is_seen(tmp_path: Path, text: str) -> None:
    (tmp_path / "neuro").mkdir()
    (tmp_path / "neuro" / "__init__.py").write_text("")
    (tmp_path / "neuro" / "lower.py").write_text(text)
    (tmp_path / "neuro" / "upper.py").write_text("from neuro.lower import something\n")
    known = modules(["neuro"], tmp_path)
    assert set(circle(imports(known))) == {"neuro.lower", "neuro.upper"}


def test_the_architecture_page_draws_every_room() -> None:
    known = modules(("neuro", "backends"))
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {room(name, known).rstrip(".").removeprefix("neuro.").removeprefix("backends.") for name in known} - {
        "neuro",
        "backends",
    }
    assert [r for r in sorted(rooms) if r.rpartition(".")[2] not in page] == []

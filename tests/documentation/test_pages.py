"""Pages with code do what they print; blocks that lie are found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "site"))

from blocks import PageError, blocks, check  # noqa: E402

FRAGMENTS = {  # why a page's code can't be run as it stands
    "gpu.md": "it needs a GPU, and the reader's own network and data",
    "clusters.md": "it reads the reader's own runs",
}
SLOW = {"distributed.md": "processes start"}
PAGES = [
    pytest.param(page, marks=pytest.mark.slow if page.name in SLOW else (), id=page.relative_to(DOCS).as_posix())
    for page in sorted(DOCS.rglob("*.md"))
    if page.name not in FRAGMENTS and any(b.kind == "python" for b in blocks(page.read_text("utf-8")))
]
OWN = "mine"  # what pages call a module of a reader's own
TUTORIALS = ("neuron", "training", "comparison", "rules", "evolution", "deployment")


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A page may import modules of its own folder and set Brian2's preferences."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, OWN, raising=False)  # another test's
    yield
    sys.modules.pop(OWN, None)
    if "brian2" in sys.modules:
        import brian2

        brian2.prefs.codegen.target = "auto"


def test_every_page_that_teaches_has_code_that_is_run() -> None:
    found = {page.id for page in PAGES}
    assert found >= {"start.md", "concepts.md", "coming-from.md", *(f"tutorials/{name}.md" for name in TUTORIALS)}


@pytest.mark.parametrize("page", PAGES)
def test_page_does_what_it_says(page: Path) -> None:
    said = sum(b.kind == "text" for b in blocks(page.read_text("utf-8")))
    assert 0 <= said - check(page) <= 2  # what a package that isn't here would print


@pytest.mark.parametrize(
    ("code", "said", "why"),
    [
        ("print(1 + 1)", "3", "the page says"),
        ("print(1 / 0)", "1", "division by zero"),
        ("print(2)\n", "", "prints\n2"),
    ],
)
def test_a_page_that_lies_is_found(tmp_path: Path, code: str, said: str, why: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```python\n{code}\n```\n\n```text\n{said}\n```\n")
    with pytest.raises((PageError, ZeroDivisionError), match=why):
        check(page)


def test_a_command_that_is_not_there_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\ntwinspike simulate --nowhere 3\n```\n")
    with pytest.raises(Exception, match="nowhere"):
        check(page)


def test_files_and_packages_that_are_missing(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```toml a.toml\nx = 1\n```\n```python needs:nowhere\nimport nowhere\n```\n```text\nnever\n```\n"
        "```python\nimport pathlib; print(pathlib.Path('a.toml').read_text())\n```\n```text\nx = 1\n```\n"
    )
    assert check(page) == 1

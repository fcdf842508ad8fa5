"""Links of every page lead somewhere: inside of the repository to a file and a heading that are there, outside to an address that can be one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / f"{n}.md" for n in ("README", "CONTRIBUTING", "CHANGELOG"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
STANDS_FOR = {ROOT / "docs" / f"{n.lower()}.md": ROOT / f"{n}.md" for n in ("README", "CONTRIBUTING", "CHANGELOG")}


def text_of(page: Path) -> str:
    """Without code."""
    return re.sub(
        r"^```.*?^```$|^(?: {4}[^\n]*\n)+|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub and the site name them."""
    text = re.sub(r"^```.*?^```$", "", STANDS_FOR.get(page, page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def broken(page: Path) -> Iterator[str]:
    """Links of a page that lead nowhere."""
    for link in LINK.findall(text_of(page)):
        parts = urlsplit(link)
        if parts.scheme:
            if parts.scheme != "https" or not re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc):
                yield link
            continue
        target = (page.parent / parts.path).resolve() if parts.path else page
        if not target.exists() or (parts.fragment and parts.fragment not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert [*broken(page)] == []


def test_there_are_links_and_broken_ones_are_found(tmp_path: Path) -> None:
    assert sum(len(LINK.findall(text_of(page))) for page in PAGES) > 100
    page = ROOT / "docs" / "start.md"
    assert "the-semantics-record" in anchors(ROOT / "docs" / "concepts.md") and "scripts" in anchors(
        ROOT / "docs" / "readme.md"
    )
    bad = tmp_path / "bad.md"
    links = (f"{page}#nowhere", "nowhere.md", "http://example.org/x", "https://nowhere")
    bad.write_text("# A\n" + "\n".join(f"[x]({link})" for link in links))
    assert [*broken(bad)] == [*links]

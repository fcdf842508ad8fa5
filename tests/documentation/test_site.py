"""`make docs` builds without a warning, and no page loads anything from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"
sys.path.insert(0, str(SITE))

from docstrings import converted, items  # noqa: E402

LOADED = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"'](?:https?:)?//|<link\b[^>]*\bhref=[\"'](?:https?:)?//|url\(['\"]?(?:https?:)?//|@import"
)
needs_sphinx = pytest.mark.skipif(find_spec("sphinx") is None, reason="the site needs Sphinx: install the extra 'docs'")


@pytest.mark.slow
@needs_sphinx
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "--quiet",
        "--fail-on-warning",
        "-c",
        SITE,
        "-d",
        tmp_path / "trees",
        ROOT / "docs",
        tmp_path / "site",
    ]
    done = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    pages = [*(tmp_path / "site").rglob("*.html"), *(tmp_path / "site").rglob("*.css")]
    assert len(pages) > 60
    assert [page.name for page in pages if LOADED.search(page.read_text("utf-8"))] == []
    words = (tmp_path / "site" / "reference" / "definition.html").read_text("utf-8")
    assert 'id="neuro.model.Network"' in words and "couplings</strong>" in words


def test_what_would_be_loaded_is_seen() -> None:
    for text in (
        '<script src="https://cdn.example.org/a.js">',
        "<link rel='x' href='//fonts.example.org/a.css'>",
        "url(https://x.org/a.woff)",
    ):
        assert LOADED.search(text)
    assert not LOADED.search('<a href="https://example.org">') and not LOADED.search(
        "url('data:image/svg+xml;http://x')"
    )


def test_docstrings_become_lists_of_what_they_explain() -> None:
    found = [*items("Runs. a, b: of a* cell. Raises X. c: `d_e`.", {"a", "b", "c"})]
    assert found == [("", "Runs."), ("a, b", "of a* cell. Raises X."), ("c", "`d_e`.")]
    lines = converted(["Runs.", "", "a: one|two", "", "    x = 1"], {"a"})
    assert lines == ["Runs.", "", "", "- **a**: one\\|two", "", "::", "", "        x = 1", ""]

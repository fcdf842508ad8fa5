"""Sphinx's settings: `make docs`. Nothing that a page loads is elsewhere (tests/documentation)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import neuro  # noqa: E402

project, author, copyright = "twinspike", "the twinspike authors", "the twinspike authors"
version = release = neuro.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "listings"]
exclude_patterns = ["site"]
default_role, highlight_language = "code", "none"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "none"  # the signature has no room; the docstring says shapes and units
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"twinspike {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# Pages that stand at the root of the repository, where GitHub and packages look for them.
ELSEWHERE = {"readme": "README.md", "contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}


def read(app: Any, page: str, text: list[str]) -> None:
    """Put in what stands at the root, and turn links to and from there into links of the site."""
    if page in ELSEWHERE:
        text[0] = (ROOT / ELSEWHERE[page]).read_text("utf-8").replace("](docs/", "](")
    for name, file in ELSEWHERE.items():
        text[0] = re.sub(rf"\]\((?:\.\./)?{file}", f"]({name}.md", text[0])
    text[0] = text[0].replace("](adr/)", "](records.md)")


def signature(
    app: Any, what: str, name: str, thing: Any, options: Any, given: str | None, answer: str | None
) -> tuple[str | None, str | None]:
    """A default that is made anew each time has no text; three dots stand for it."""
    return given and given.replace("<factory>", "..."), answer


def setup(app: Any) -> None:
    """Called by Sphinx."""
    import docstrings

    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", docstrings.process)
    app.connect("autodoc-process-signature", signature)

"""One HTML file that needs no other: text, tables, interactive plots and the library that draws them.

Its policy (Content-Security-Policy) lets nothing be fetched from anywhere and runs the scripts of this page alone, known by their checksums: a name that some text smuggles past
the escaping would still not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twinspike import cli

LIMIT = 5_000_000  # bytes of a page
_STYLE = """
:root { color-scheme: light; }
body { font-family: system-ui, sans-serif; color: #222; margin: 0; line-height: 1.45; background: #fff; }
header, section { max-width: 70em; margin: 0 auto; padding: 0.6em 1.5em; }
header { border-bottom: 3px solid #0072b2; padding-top: 1.2em; }
h1 { margin: 0 0 0.2em; font-size: 1.5em; overflow-wrap: anywhere; } h2 { font-size: 1.2em; margin: 1em 0 0.4em; } h3 { font-size: 1em; margin: 0.9em 0 0.2em; overflow-wrap: anywhere; }
nav a { margin-right: 1.1em; color: #0072b2; } pre { background: #f5f5f5; padding: 0.7em; overflow: auto; max-height: 28em; font-size: 0.85em; }
table { display: block; overflow-x: auto; } .note { color: #666; font-size: 0.9em; } .state { font-weight: 600; } .wide { overflow: auto; white-space: nowrap; }
.going { color: #b35900; } .done { color: #00704f; } .apart { border-left: 4px solid #d55e00; padding-left: 0.6em; } .equal { border-left: 4px solid #009e73; padding-left: 0.6em; }
"""
_DRAW = """
"use strict";
for (const item of JSON.parse(document.getElementById("plots").textContent)) { Bokeh.embed.embed_item(item); }
"""


@dataclass
class Page:
    """title, lead: HTML of the top. sections: (title, HTML). plots: Bokeh's items as JSON, each drawn where `place` stood."""

    title: str
    lead: str = ""
    sections: list[tuple[str, str]] = field(default_factory=list)
    plots: list[Any] = field(default_factory=list)
    refresh: int = 0  # seconds after which a browser looks again; 0: never

    def add(self, title: str, *parts: str) -> None:
        """A section; one without content isn't shown."""
        inner = "".join(parts)
        if inner:
            self.sections.append((title, inner))

    def place(self, plot: Any) -> str:
        """Where a plot will stand."""
        from bokeh.embed import json_item

        name = f"plot-{len(self.plots)}"
        self.plots.append(json_item(plot, name))
        return f'<div id="{name}"></div>'

    def html(self) -> str:
        """The page. Raises UserError where it is too large."""
        from neuro.display.html import escape

        scripts = [library(), _DRAW] if self.plots else []
        sums = " ".join(f"'sha256-{_checksum(script)}'" for script in scripts)
        policy = f"default-src 'none'; script-src {sums or _NONE}; style-src 'unsafe-inline'; img-src data: blob:"
        again = f'<meta http-equiv="refresh" content="{self.refresh}">' if self.refresh else ""
        links = "".join(f'<a href="#s{i}">{escape(title)}</a>' for i, (title, _) in enumerate(self.sections))
        body = "".join(
            f'<section id="s{i}"><h2>{escape(title)}</h2>{inner}</section>'
            for i, (title, inner) in enumerate(self.sections)
        )
        data = f'<script type="application/json" id="plots">{within_script(self.plots)}</script>' if self.plots else ""
        found = (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">{again}'
            f'<meta name="viewport" content="width=device-width"><title>{escape(self.title)}</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head>'
            f"<body><header><h1>{escape(self.title)}</h1>{self.lead}<nav>{links}</nav></header>{body}{data}"
            f"{''.join(f'<script>{script}</script>' for script in scripts)}</body></html>\n"
        )
        if len(found.encode()) > LIMIT:
            raise cli.UserError(
                f"the page would take {len(found.encode())} bytes, more than {LIMIT}; report a run that holds less"
            )
        return found


_NONE = "'none'"


def within_script(data: Any) -> str:
    """JSON that no text in it can end the script element of."""
    text = json.dumps(data, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def library() -> str:
    """Bokeh's script, as it stands in its package: drawing and tools, without widgets, tables, WebGL or mathematics."""
    from bokeh.settings import settings

    path = Path(settings.bokehjs_path()) / "js" / "bokeh.min.js"
    text = path.read_text(encoding="utf-8").partition("\n//# sourceMappingURL")[0]
    if "</script" in text.lower():
        raise cli.UserError(
            "this version of bokeh can't be put into a page; install another: pip install 'twinspike[report]'"
        )
    return text


def check_library() -> None:
    """Raises MissingPackageError without Bokeh."""
    from neuro.registry import needed

    needed("report.py", "bokeh")


def write(page: Page, path: Path) -> None:
    """Write the page whole or not at all."""
    from neuro.io.files import replaced_text

    replaced_text(path, page.html())


def _checksum(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def note(text: str) -> str:
    """A remark."""
    from neuro.display.html import escape

    return f'<p class="note">{escape(text)}</p>'


def heading(text: str) -> str:
    from neuro.display.html import escape

    return f"<h3>{escape(text)}</h3>"


def rows_of(data: dict[str, Any]) -> Sequence[tuple[str, Any]]:
    """A mapping as rows of a table."""
    return [(str(name), value if isinstance(value, int | float) else str(value)) for name, value in data.items()]

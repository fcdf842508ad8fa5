"""Tables and texts as HTML; whatever comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as _escape
from typing import Any

LONG = 30  # rows of a table in a notebook
_TABLE = "border-collapse:collapse;margin:0.3em 0 0.8em;font-size:0.9em"
_CELL = "padding:0.15em 0.7em;border-bottom:1px solid rgba(128,128,128,0.25);text-align:"


def escape(value: Any) -> str:
    """A text as HTML shows it, within attributes too. What no document may hold (control characters, halves of surrogate pairs) becomes a question mark."""
    text = "".join(
        c if c in "\n\t" or (c.isprintable() or c.isspace()) else "\N{REPLACEMENT CHARACTER}" for c in str(value)
    )
    return _escape(text, quote=True)


def cell(value: Any) -> str:
    """A number with four significant digits, an exact integer, or a text, as text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "", most: int | None = LONG) -> str:
    """A table; of more than `most` rows the first ones, and how many are left out. Empty without rows."""
    known = list(rows)
    if not known:
        return ""
    shown = known[:most]
    numeric = [all(_number(row[i]) for row in shown) for i in range(len(header))]
    head = "".join(f'<th style="{_CELL}{_side(n)}">{escape(h)}</th>' for h, n in zip(header, numeric, strict=True))
    lines = (
        "".join(f'<td style="{_CELL}{_side(n)}">{escape(cell(v))}</td>' for v, n in zip(row, numeric, strict=True))
        for row in shown
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    title = f'<caption style="text-align:left;font-weight:600">{escape(caption)}</caption>' if caption else ""
    more = f"<div>and {len(known) - len(shown)} more</div>" if len(known) > len(shown) else ""
    return f'<table style="{_TABLE}">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}'


def block(title: str, *parts: str) -> str:
    """What a notebook shows of one thing."""
    heading = f'<div style="font-weight:600">{escape(title)}</div>'
    return f'<div class="twinspike" style="max-width:60em">{heading}{"".join(parts)}</div>'


def folded(title: str, *parts: str) -> str:
    """Parts that are shown when somebody asks."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def plain(text: str) -> str:
    """Text whose spaces and lines matter."""
    return f'<pre style="overflow:auto;max-height:30em">{escape(text)}</pre>'


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _side(numeric: bool) -> str:
    return "right" if numeric else "left"

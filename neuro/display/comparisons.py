"""A comparison of two recordings as notebooks show it."""

from __future__ import annotations

from typing import Any

from neuro.display.html import block, escape, table


class ShownComparison:
    """What gives a Comparison its picture in a notebook."""

    def _repr_html_(self) -> str:
        return html_of(self)


def html_of(comparison: Any) -> str:
    """A neuro.analysis.comparison.Comparison: where the recordings part, and its tables."""
    first, *rest = comparison.lines()
    agree = first.startswith("no disagreement")
    colour = "#009e73" if agree else "#d55e00"
    lead = f'<div style="border-left:4px solid {colour};padding-left:0.6em">{escape(first)}</div>'
    notes = [line for line in rest if line.startswith(("only in ", "NaN in both"))]
    return block(
        f"{comparison.names[0]} and {comparison.names[1]}",
        lead,
        *(table(header, rows) for header, rows in comparison.tables()),
        *(f"<div>{escape(note)}</div>" for note in notes),
    )

"""The table of all answers at the end of a session."""

from __future__ import annotations

from typing import Any

from tests.hardware.harness import ROWS


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ROWS:
        return
    header = ("target", "network", "client", "spikes", "differences", "note")
    rows = [header, *((r.target, r.network, r.client, str(r.spikes), str(r.differences), r.note) for r in ROWS)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    terminalreporter.section("clients")
    for row in rows:
        terminalreporter.write_line("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())

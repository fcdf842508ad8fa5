"""The table of all answers at the end of a session."""

from __future__ import annotations

from typing import Any

from tests.hardware.harness import ROWS


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ROWS:
        return
    header = ("target", "network", "client", "spikes", "differences", "note")
    rows = [header]
    for r in ROWS:
        spikes, differences = ("-" if number is None else str(number) for number in (r.spikes, r.differences))
        rows.append((r.target, r.network, r.client, spikes, differences, r.note))
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    terminalreporter.section("clients")
    for row in rows:
        terminalreporter.write_line("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())

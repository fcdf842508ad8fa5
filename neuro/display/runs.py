"""A run file as notebooks show it."""

from __future__ import annotations

from typing import Any

from neuro.display import svg
from neuro.display.html import block, folded, plain, table

MOST = 6  # pictures


def run_html(reader: Any) -> str:
    """A neuro.io.results.Reader: what ran, with which settings, and its metrics so far."""
    import json

    metrics = {name: values for name, values in reader.metrics().items() if len(values)}
    last = [(name, int(values[-1, 0]), float(values[-1, 1]), len(values)) for name, values in metrics.items()]
    pictures = [
        svg.lines({name: (values[:, 0], values[:, 1])}, "update", name) for name, values in list(metrics.items())[:MOST]
    ]
    rows = [("created", reader.created), ("seed", reader.seed), ("command", reader.config.get("command", "-"))]
    return block(
        f"run {reader.path.name}: {'complete' if reader.complete else 'not complete'}",
        table(("what", "value"), [(a, str(b)) for a, b in rows]),
        table(("metric", "last update", "last value", "values"), last),
        "".join(pictures),
        folded("settings", plain(json.dumps(reader.config, indent=1, ensure_ascii=False, default=str))),
        folded("versions", table(("package", "version"), list(reader.versions.items()))),
    )

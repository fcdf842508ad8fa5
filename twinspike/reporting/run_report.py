"""The page about one run: everything that its file holds by now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from twinspike import cli
from twinspike.reporting import figures
from twinspike.reporting.activity import add_activity
from twinspike.reporting.page import Page, heading, note, rows_of

PARAMETERS = 8  # that are drawn
TEXT = 60_000  # characters of a text
CURVES = 24
STAGES = ("float32", "float64", "quantised", "integers")  # of an export, in their order


def page_of(path: Path, refresh: int = 0) -> tuple[Page, bool]:
    """The page, and whether the run is complete. refresh: seconds after which a browser looks again, as long as it isn't. Raises ResultsError."""
    from neuro.io.results import open_run

    reader = open_run(path)
    page = Page(f"{path.name}: {_what(reader.config)}", refresh=0 if reader.complete else refresh)
    metrics = {name: values for name, values in reader.metrics().items() if len(values)}
    page.lead = _lead(reader, metrics)
    _add_curves(page, metrics)
    comparison = _group(reader, "comparison")
    _add_recording(page, reader, comparison)
    _add_weights(page, reader)
    _add_comparison(page, comparison)
    _add_energy(page, reader)
    _add_export(page, reader)
    _add_network(page, reader)
    _add_settings(page, reader)
    return page, bool(reader.complete)


def _what(config: dict[str, Any]) -> str:
    parts = [str(config[name]) for name in ("task", "rule", "backend") if config.get(name)]
    return ", ".join(parts) or "a run"


def _lead(reader: Any, metrics: dict[str, Any]) -> str:
    from neuro.display.html import escape, table

    state = (
        ("done", "complete")
        if reader.complete
        else ("going", "not complete: this is what it had when the page was written")
    )
    last = [(name, int(values[-1, 0]), float(values[-1, 1])) for name, values in metrics.items()]
    return (
        f'<p><span class="state {state[0]}">{state[1]}</span>, begun {escape(reader.created)}, seed {escape(reader.seed)}</p>'
        + table(("metric", "last update", "last value"), last)
    )


def _add_curves(page: Page, metrics: dict[str, Any]) -> None:
    plots = [
        figures.curves({name: (v[:, 0], v[:, 1])}, "update", name, title=name, height=190, markers=True)
        for name, v in list(metrics.items())[:CURVES]
        if np.isfinite(v[:, 1]).any()
    ]
    page.add("Learning curves", page.place(figures.together(plots)) if plots else "")


def _group(reader: Any, name: str) -> dict[str, Any]:
    """A group of the file, empty where there is none."""
    from neuro.io.results import ResultsError

    try:
        return dict(reader.group(name))
    except ResultsError:
        return {}


def _add_recording(page: Page, reader: Any, comparison: dict[str, Any]) -> None:
    from neuro.io.results import ResultsError

    try:
        recording = reader.recording()
    except ResultsError as error:
        again = f"twinspike compare {reader.path}"
        page.add("Activity", note(f"Nothing to show: {error}. A replay of the test set is kept by: {again}"))
        return
    if recording.several_sets:
        recording = recording.of_set(0)
    if not recording.trials:
        return
    first = min(_firsts(comparison), key=lambda place: place["step"], default=None)
    trial = int(first["trial"]) if first and int(first["trial"]) < recording.trials else 0
    add_activity(page, recording, trial, None if first is None else int(first["step"]) * recording.dt * 1e3)


def _firsts(comparison: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """First differences that a comparison kept and that have a step."""
    for pair in comparison.get("pairs", {}).values():
        for kind in ("populations", "variables"):
            for found in pair.get(kind, {}).values():
                if "step" in found.get("first", {}):
                    yield found["first"]


def _add_weights(page: Page, reader: Any) -> None:
    from neuro.display.html import table
    from neuro.display.labels import in_usual

    if not reader.complete:
        page.add("Parameters", note("A run keeps its parameters in the file when it is complete."))
        return
    before, after, units = reader.snapshots()
    rows: list[tuple[Any, ...]] = []
    parts: list[str] = []
    for name, last in after.items():
        first, unit_text = before.get(name, last), units.get(name)
        (a, unit), (b, _) = in_usual(first, unit_text), in_usual(last, unit_text)
        same_shape = a.shape == b.shape
        change = float(np.sqrt(np.mean((b - a) ** 2))) if same_shape and b.size else float("nan")
        rows.append((name, " x ".join(map(str, b.shape)) or "1", unit, *_moments(a), *_moments(b), change))
        if b.size > 1 and len(parts) < PARAMETERS:
            parts.append(_parameter(page, name, a if same_shape else b, b, unit))
    header = ("parameter", "shape", "unit", "mean before", "std before", "mean after", "std after", "rms change")
    left = sum(np.size(v) > 1 for v in after.values()) - len(parts)
    page.add(
        "Parameters", table(header, rows, most=200), *parts, note(f"{left} more parameters aren't drawn.") if left > 0 else ""
    )  # fmt: skip


def _moments(values: Any) -> tuple[float, float]:
    return (float(np.mean(values)), float(np.std(values))) if values.size else (float("nan"), float("nan"))


def _parameter(page: Page, name: str, before: Any, after: Any, unit: str) -> str:
    """Distributions before and after, and of a matrix its values and what changed."""
    plots = [figures.histogram({"before": before, "after": after}, f"{name} ({unit})", "entries")]
    if after.ndim == 2 and min(after.shape) > 1:
        for value, what in ((after, "after training"), (after - before, "change")):
            limit = float(np.max(np.abs(value[np.isfinite(value)]), initial=0.0)) or 1.0
            plots.append(figures.matrix(value, f"{unit}", title=what, limit=limit))
    drawn = [plot for plot in plots if plot is not None]
    return heading(name) + (page.place(figures.together(drawn)) if drawn else "")


def _add_comparison(page: Page, comparison: dict[str, Any]) -> None:
    from neuro.display.html import escape, table

    if not comparison:
        return
    parts = [table(("backend", "accuracy"), rows_of(comparison.get("accuracies", {})))]
    for name, pair in comparison.get("pairs", {}).items():
        summary = str(pair.get("summary", ""))
        kind = "equal" if summary.startswith("no disagreement") else "apart"
        parts += [
            heading(f"{name} against {comparison.get('reference', '?')}"),
            f'<p class="{kind}">{escape(summary)}</p>',
        ]
        rows = [
            (n, int(p["spikes_a"]), int(p["spikes_b"]), int(p["differing"]), _place(p), float(p["coincidence"]))
            for n, p in pair.get("populations", {}).items()
        ]
        parts.append(
            table(("population", "spikes of the reference", "spikes", "differing", "first at", "coincidence"), rows)
        )
        values = [
            (n, float(v["max_abs"]), float(v["max_rel"]), int(v["divergent"]), int(v["entries"]), _place(v))
            for kind in ("variables", "finals")
            for n, v in pair.get(kind, {}).items()
        ]
        parts.append(table(("variable", "max abs error", "max rel error", "divergent", "entries", "first at"), values))
    if "refined" in comparison:
        fine = comparison["refined"]
        parts.append(note(f"accuracy at dt/{fine['factor']}: {float(fine['accuracy']):.4f}"))
    page.add("Comparison of backends", *parts)


def _place(found: dict[str, Any]) -> str:
    first = found.get("first")
    if not first:
        return "-"
    when = f"step {int(first['step'])}" if "step" in first else "the end"
    return f"{when}, trial {int(first['trial'])}, cell {int(first['neuron'])}"


def _add_energy(page: Page, reader: Any) -> None:
    from neuro.analysis.energy import CAVEAT
    from neuro.display.html import table

    found = _group(reader, "energy").get("summary", {})
    if found:
        page.add(
            "Energy", table(("what", "value"), rows_of(found), most=None), note(f"{CAVEAT[0].upper()}{CAVEAT[1:]}.")
        )


def _add_export(page: Page, reader: Any) -> None:
    from neuro.display.html import table
    from neuro.export import targets

    parts: list[str] = []
    for name in targets.names():
        data = _group(reader, f"export/{name}")
        stages = data.get("stages", {})
        if stages:
            columns = list(dict.fromkeys(key for s in stages.values() for key, v in s.items() if np.ndim(v) == 0))
            order = sorted(stages, key=lambda stage: (STAGES.index(stage) if stage in STAGES else len(STAGES), stage))
            rows = [(stage, *(stages[stage].get(column, "-") for column in columns)) for stage in order]
            parts += [heading(name), table(("stage", *columns), [tuple(map(_scalar, row)) for row in rows])]
    page.add("Export", *parts)


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _add_network(page: Page, reader: Any) -> None:
    from neuro.display.networks import html_of
    from neuro.io.serialisation import from_json
    from neuro.language.equations import ModelError

    try:
        page.add("Network", html_of(from_json(reader.model)))
    except (ModelError, ValueError) as error:
        page.add("Network", note(f"This version can't read the network of the file: {error}"))


def _add_settings(page: Page, reader: Any) -> None:
    from neuro.display.html import folded, plain, table

    settings = {n: v for n, v in reader.config.items() if n not in ("task_version", "command")}
    parts = [table(("package", "version"), rows_of(reader.versions))]
    command = str(reader.config.get("command", ""))
    if command:
        parts += [heading("How to run it again"), plain(command)]
        parts.append(
            note(
                "With a file of its own (--out), and with the versions above. The settings below are all that it had, the defaults too; as a file they go into --config."
            )
        )
    parts.append(folded("settings (JSON)", plain(_text(settings))))
    parts.append(
        folded("semantics: the conventions on which simulators can silently disagree", plain(_text(reader.semantics)))
    )
    page.add("Settings and versions", *parts)


def _text(data: Any) -> str:
    text = json.dumps(data, indent=1, ensure_ascii=False, default=str)
    return text if len(text) <= TEXT else f"{text[:TEXT]}\n... {len(text) - TEXT} characters more stand in the file"


def check_place(run: Path, out: Path) -> None:
    """Raises UserError where the page would replace the run."""
    if cli.writable(out).resolve() == run.resolve():
        raise cli.UserError(f"--out {out} is the run itself; name another file")

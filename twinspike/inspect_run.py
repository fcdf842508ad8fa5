"""Say what a run file holds.

twinspike inspect runs/digits.h5
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli

PROOF = ("trials", "spikes", "differences")
LOOK = 0.5  # seconds between two looks at a run that is watched
RESTART = 60.0  # seconds in which processes that train together may begin again, because one was lost


def summary(reader: Any) -> list[list[Any]]:
    """What was measured, and by whom."""
    from neuro.export import targets
    from neuro.io.results import ResultsError

    rows: list[list[Any]] = [["complete", reader.complete], ["created", reader.created], ["seed", reader.seed]]
    rows += [["command", reader.config.get("command", "")]]
    rows += [[name, version] for name, version in reader.versions.items()]
    for name, values in reader.metrics().items():
        if len(values):
            rows.append([f"last {name}", float(values[-1, 1])])
    exports = (f"export/{name}" for name in targets.names())
    for group in ("comparison", "energy", "quantisation", *exports):
        try:
            data = reader.group(group)
        except ResultsError:
            continue
        rows += [[f"{group}: accuracy, {n}", a] for n, a in data.get("accuracies", {}).items()]
        rows += [[f"{group}: identical spikes, {n}", c["identical_spikes"]] for n, c in data.get("pairs", {}).items()]
        rows += [[f"{group}: accuracy, dt/{d['factor']}", d["accuracy"]] for d in [data.get("refined")] if d]
        rows += [[f"{group}: accuracy, {n}", s["accuracy"]] for n, s in data.get("stages", {}).items()]
        rows += [[f"{group}: {n}", v] for n, v in data.get("proof", {}).items() if n in PROOF]
        rows += [[f"{group}: {n}", value] for n, value in data.get("summary", {}).items()]
        rows += [[f"{group}: {n}, {c['bits']} bits, error", c["error"]] for n, c in data.get("report", {}).items()]
    return rows


def curves(reader: Any, path: Path) -> None:
    """Draw every metric that has values."""
    from neuro.analysis.plots import plot_metrics

    if cli.writable(path).resolve() == reader.path.resolve():
        raise cli.UserError(f"--plot {path} is the run itself; name another file")
    found = {n: (v[:, 0], v[:, 1]) for n, v in reader.metrics().items() if len(v)}
    if not found:
        raise cli.UserError(f"run '{reader.path}' has no metrics to draw")
    print(f"drawn: {plot_metrics(path, found, title=reader.path.name)}")


def news(path: Path) -> Iterator[list[tuple[int, dict[str, float]]]]:
    """What a run has logged since the last look, by its step; ends with the run. The last step waits for the next one, as more of it may come.

    Raises ResultsError once nobody writes a run that isn't complete; where several processes do, after RESTART.
    """
    from neuro.io.hdf5 import in_use
    from neuro.io.results import ResultsError, open_run

    shown, since = -1, time.monotonic()
    while True:
        written = in_use(path) is not False  # before the look: what is whole afterwards was whole when its writer left
        try:
            reader = open_run(path)
            metrics = reader.metrics()
        except ResultsError:
            if not written or time.monotonic() - since > RESTART:
                raise
            time.sleep(LOOK)  # somebody makes the file anew
            continue
        rows: dict[int, dict[str, float]] = {}
        for name, values in metrics.items():
            for step, value in values:
                rows.setdefault(int(step), {})[name] = float(value)
        since = time.monotonic() if written else since
        patience = 0.0 if reader.config.get("processes", 1) == 1 else RESTART
        gone = not written and time.monotonic() - since >= patience
        over = reader.complete or gone
        known = sorted(step for step in rows if step > shown)
        known = known if over else known[:-1]
        yield [(step, rows[step]) for step in known]
        shown = max([shown, *known])
        if reader.complete:
            return
        if gone:
            raise ResultsError(
                f"nobody writes run '{path}' any more, and it isn't complete; go on with it: train.py --resume"
            )
        time.sleep(LOOK)


def watch(path: Path) -> None:
    """Print metrics as they come, until the run is complete."""
    for rows in news(path):
        for step, values in rows:
            print(f"update {step}: {', '.join(f'{n} {cli.cell(v)}' for n, v in values.items())}", flush=True)
    print(f"'{path}' is complete")


def main(
    run: Annotated[Path, typer.Argument(help="HDF5 file")],
    only_summary: Annotated[bool, typer.Option("--summary", help="leave out the list of datasets")] = False,
    follow: Annotated[
        bool, typer.Option("--watch", help="print metrics as they come, until the run is complete")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="PNG of the metrics, update by update")] = None,
) -> None:
    """Print what a run file holds; works while the run goes on."""
    from neuro.io.results import open_run

    if follow:
        watch(cli.existing(run))
        return
    reader = open_run(cli.existing(run))
    cli.table(str(run), ("what", "value"), summary(reader))
    if plot is not None:
        curves(reader, plot)
    if not only_summary:
        cli.table("datasets", ("path", "type", "attributes"), reader.contents())

"""Write what a run file holds as one HTML page that needs no network.

twinspike report runs/digits.h5
twinspike report runs/digits.h5 --watch
twinspike report runs/sweep/sweep.h5 --metric test_accuracy
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli

LOOK = 5.0  # seconds between two pages of a run that goes on


def merged(run: Path) -> bool:
    """Whether a file holds the table of many runs. Raises ResultsError for what is no HDF5 file."""
    from neuro.io.hdf5 import opened
    from neuro.io.merging import SCHEMA

    with opened(run) as contents:
        return bool(contents.attribute(contents.file, "schema", "") == SCHEMA)


def write(page: Any, out: Path) -> None:
    """Write the page, and say so."""
    from twinspike.reporting.page import write

    write(page, out)
    print(f"written: {out} ({out.stat().st_size / 1e6:.2f} MB)", flush=True)


def follow(run: Path, out: Path) -> None:
    """Write the page again and again until the run is complete; open it once, it looks for itself."""
    from neuro.io.hdf5 import in_use
    from neuro.io.results import ResultsError
    from twinspike.reporting.run_report import page_of

    while True:
        written = in_use(run) is not False  # before the look: what is whole afterwards was whole when its writer left
        page, complete = page_of(run, refresh=round(LOOK) if written else 0)
        write(page, out)
        if complete:
            return
        if not written:
            raise ResultsError(
                f"nobody writes run '{run}' any more, and it isn't complete; go on with it: train.py --resume"
            )
        time.sleep(LOOK)


def main(
    run: Annotated[
        Path, typer.Argument(help="HDF5 file of a run, also while it goes on, or of many (sweep.py, merge.py)")
    ],
    out: Annotated[Path | None, typer.Option(help="HTML file (default: beside the run)")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="write it anew until the run is complete")] = False,
    metric: Annotated[str, typer.Option(help="of many runs: what orders them")] = "",
    least: Annotated[bool, typer.Option("--least", help="of many runs: less of it is better")] = False,
) -> None:
    """Curves, activity, weights, comparison, energy, export, settings and versions of a run as one HTML page."""
    from twinspike.reporting.page import check_library
    from twinspike.reporting.run_report import check_place, page_of

    target = out or run.with_suffix(".html")
    check_place(cli.existing(run), target)
    check_library()
    if merged(run):
        from twinspike.reporting.sweep_report import page_of as page_of_many

        if watch:
            raise cli.UserError("--watch follows one run, and this file holds many; leave it out")
        write(page_of_many(run, metric, least), target)
        return
    if metric or least:
        raise cli.UserError("--metric and --least order many runs, and this file holds one; leave them out")
    if watch:
        follow(run, target)
        return
    write(page_of(run)[0], target)

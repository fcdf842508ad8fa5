"""Put many run files into one, with a table of what they were and what they reached.

twinspike merge runs/*.h5 --out runs/all.h5
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twinspike import cli


def main(
    runs: Annotated[list[Path], typer.Argument(help="HDF5 files of runs")],
    out: Annotated[Path, typer.Option(help="HDF5 file that is made of them")],
    partial: Annotated[
        bool, typer.Option("--partial", help="take incomplete and damaged runs as far as they go, and mark them")
    ] = False,
    parameters: Annotated[bool, typer.Option(help="copy parameters too")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a merged file")] = False,
) -> None:
    """Merge run files into one HDF5 file: a group for each run, and a table. The files stay as they are."""
    from neuro.io.merging import COMPLETE, merge, named

    rows = named([cli.existing(path) for path in runs])
    found = merge(cli.writable(out), rows, partial=partial, parameters=parameters, overwrite=overwrite)
    for row in found:
        if row.status != COMPLETE:
            cli.note(f"'{row.path}' is {row.status}{': ' * bool(row.error)}{row.error}")
    print(f"{len(found)} runs, {sum(row.status == COMPLETE for row in found)} complete; {out}")

"""Reproduce a published result: tables, criteria with the measured figures, plots and one HDF5 file.

twinspike reproduce perturbation
twinspike reproduce perturbation --quick
twinspike reproduce --list
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from twinspike import cli


def main(
    name: Annotated[str, typer.Argument(help="which study")] = "",
    list_: Annotated[bool, typer.Option("--list", help="name the studies and leave")] = False,
    out: Annotated[Path, typer.Option(help="folder for file and plots")] = Path("runs/studies"),
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    data: Annotated[str, typer.Option(help="what a study asks for that no package holds")] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="two minutes at most: judge what so short a run can show")
    ] = False,
) -> None:
    """Run one study; exit code 1 if a criterion that this run judges doesn't hold."""
    from twinspike import studies

    if quick:  # of networks this small, threads wait for each other longer than they compute
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if list_ or not name:
        rows = [(n, studies.minutes(n), studies.summary(n)) for n in studies.names()]
        cli.table("studies (--quick: two minutes at most each)", ("name", "minutes, full run", "what it shows"), rows)
        return
    if name not in studies.names():
        raise cli.UserError(f"there is no study '{name}'; known: {', '.join(studies.names())}")
    if data and not studies.data(name):
        raise cli.UserError(f"study '{name}' takes no data; leave --data out")
    if data and not Path(data).exists():
        raise cli.UserError(f"--data {data}: there is no such file; study '{name}' takes {studies.data(name)}")
    from importlib import import_module

    from twinspike.study import Study

    cli.writable(out / name)
    study = Study(name, out, seed, quick, studies.minutes(name), data)
    import_module(f"twinspike.studies.{name.replace('-', '_')}").run(study)
    print(f"written: {study.finish()}")
    if not study.holds:
        raise typer.Exit(1)

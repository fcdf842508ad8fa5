"""Reproduce a published result: tables, criteria with the measured figures, plots and one HDF5 file.

python scripts/reproduce.py perturbation
python scripts/reproduce.py --list
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cli
import typer


def main(
    name: Annotated[str, typer.Argument(help="which study")] = "",
    list_: Annotated[bool, typer.Option("--list", help="name the studies and leave")] = False,
    out: Annotated[Path, typer.Option(help="folder for file and plots")] = Path("runs/studies"),
    seed: Annotated[int, typer.Option(help="of everything random")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="fewer runs, where the study has such a version")] = False,
) -> None:
    """Run one study; exit code 1 if a criterion doesn't hold."""
    import studies

    if list_ or not name:
        cli.table("studies", ("name", "what it shows"), [(n, studies.summary(n)) for n in studies.names()])
        return
    if name not in studies.names():
        raise cli.UserError(f"there is no study '{name}'; known: {', '.join(studies.names())}")
    from importlib import import_module

    from study import Study

    cli.writable(out / name)
    study = Study(name, out, seed, quick)
    import_module(f"studies.{name.replace('-', '_')}").run(study)
    print(f"written: {study.finish()}")
    if any(not criterion.holds for criterion in study.criteria):
        raise typer.Exit(1)


if __name__ == "__main__":
    cli.run(main)

"""Run random networks through the oracles of differential testing, over several processes.

python scripts/fuzz.py --networks 1000 --oracle all --seed 0 --jobs 2
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cli
import typer

if TYPE_CHECKING:
    from fuzzing.report import Report


def main(
    networks: Annotated[int, typer.Option(help="how many")] = 1000,
    oracle: Annotated[str, typer.Option(help="forward,gradients,life,metamorphic or all")] = "all",
    seed: Annotated[int, typer.Option(help="of the first network; a new one where left out")] = -1,
    jobs: Annotated[int, typer.Option(help="processes")] = 2,
    minutes: Annotated[float, typer.Option(help="stop after so many")] = 1e9,
    out: Annotated[Path | None, typer.Option(help="report as JSON")] = None,
    shrink: Annotated[
        int, typer.Option(help="print the first failures of each kind as scripts, so many kinds at most")
    ] = 3,
) -> None:
    """Print what was examined, what occurred and what failed; exit code 1 where anything failed. Ctrl-C prints the report so far."""
    from fuzzing.campaign import Campaign
    from fuzzing.examination import ORACLES
    from fuzzing.report import Report

    chosen = list(ORACLES) if oracle == "all" else oracle.split(",")
    unknown = [name for name in chosen if name not in ORACLES]
    if unknown:
        raise cli.UserError(f"there is no oracle '{unknown[0]}'; known: {', '.join(ORACLES)}, all")
    first = secrets.randbelow(10**9) if seed < 0 else seed
    print(
        f"seeds {first} to {first + networks - 1}: python scripts/fuzz.py --networks {networks} --oracle {oracle} --seed {first}",
        flush=True,
    )
    report = Report()
    try:
        with cli.progress("fuzzing") as update:
            for found in Campaign(chosen, jobs).run(range(first, first + networks), minutes):
                report.add(found)
                update(report.networks, networks, f"{report.failed} failures, {len(report.failures)} kinds")
                if out is not None and report.networks % 100 == 0:
                    report.write(cli.writable(out))
    except KeyboardInterrupt:
        print("interrupted: the report so far")
    finish(report, out, shrink)


def finish(report: Report, out: Path | None, kinds: int) -> None:
    """Print the report, and a script for each of the first kinds of failure."""
    from fuzzing.reproduction import reproduce

    for title, rows in report.rows().items():
        if rows:
            cli.table(title, ("what", *("",) * (len(rows[0]) - 1)), rows)
    if out is not None:
        report.write(cli.writable(out))
    for failures in list(report.failures.values())[:kinds]:
        print(reproduce(*failures[0]))
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    cli.run(main)

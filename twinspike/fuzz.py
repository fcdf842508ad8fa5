"""Run random networks through the oracles of differential testing, over several processes.

twinspike fuzz --networks 1000 --oracle all --seed 0 --jobs 2 --out campaign.jsonl
twinspike fuzz --out campaign.jsonl --resume
twinspike fuzz --networks 100 --oracle forward,gradients --device cuda --minutes 1
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinspike import cli

if TYPE_CHECKING:
    from twinspike.fuzzing.journal import Journal, Plan
    from twinspike.fuzzing.report import Report


def main(
    networks: Annotated[int, typer.Option(help="how many")] = 1000,
    oracle: Annotated[
        str, typer.Option(help="forward,gradients,life,metamorphic,continuation,sharing,script or all")
    ] = "all",
    seed: Annotated[int, typer.Option(help="of the first network; a new one where left out")] = -1,
    device: Annotated[
        str, typer.Option(help="a CUDA device, such as cuda, in place of CUDA's text on the CPU; of every network")
    ] = "",
    jobs: Annotated[int, typer.Option(help="processes")] = 2,
    minutes: Annotated[float, typer.Option(help="stop after so many")] = 1e9,
    out: Annotated[
        Path | None, typer.Option(help="file of the campaign: a line for each network when it is done")
    ] = None,
    resume: Annotated[bool, typer.Option(help="go on with the campaign in that file, its seeds and oracles")] = False,
    shrink: Annotated[
        int, typer.Option(help="print the first failures of each kind as scripts, so many kinds at most")
    ] = 3,
) -> None:
    """Print what was examined, what occurred and what failed; exit code 1 where anything failed. Ctrl-C prints the report so far."""
    from twinspike.fuzzing.campaign import Campaign
    from twinspike.fuzzing.journal import Journal, Plan
    from twinspike.fuzzing.oracles.outcome import DEVICE
    from twinspike.fuzzing.report import Report

    if device:
        check_usable(device)
        os.environ[DEVICE] = device
    journal, report = Journal(cli.writable(out)) if out is not None else None, Report()
    if resume:
        plan = resumed(journal, report)
    else:
        first = secrets.randbelow(10**9) if seed < 0 else seed
        plan = Plan(first, networks, chosen(oracle))
        if journal is not None:
            journal.begin(plan)
    print(
        f"seeds {plan.first} to {plan.first + plan.networks - 1}: "
        f"twinspike fuzz --networks {plan.networks} --oracle {','.join(plan.oracles)} --seed {plan.first}"
        + (f" --device {device}" if device else ""),
        flush=True,
    )
    done = set(report.seeds)
    try:
        with cli.progress("fuzzing") as update:
            for found in Campaign(plan.oracles, jobs).run((s for s in plan.seeds() if s not in done), minutes):
                report.add(found)
                if journal is not None:
                    journal.add(found)
                update(report.networks, plan.networks, f"{report.failed} failures, {len(report.failures)} kinds")
    except KeyboardInterrupt:
        print("interrupted: the report so far")
    finish(report, shrink)


def check_usable(device: str) -> None:
    """Runs one cell there: that a device refuses every network would look like success. Raises UnsupportedError, RunError."""
    import backends
    from neuro import Network, Neuron, Population

    cell = Neuron("cell", "dv/dt = -v/second : 1", method="euler")
    native: Any = backends.get("native")
    native.compile(Network((Population("cells", cell, 1),), (), dt="1 ms"), device=device).run(steps=1)


def chosen(oracle: str) -> tuple[str, ...]:
    """The oracles of that list."""
    from twinspike.fuzzing.examination import ORACLES

    names = tuple(ORACLES) if oracle == "all" else tuple(oracle.split(","))
    unknown = [name for name in names if name not in ORACLES]
    if unknown:
        raise cli.UserError(f"there is no oracle '{unknown[0]}'; known: {', '.join(ORACLES)}, all")
    return names


def resumed(journal: Journal | None, report: Report) -> Plan:
    """The plan of a campaign's file; what it holds is added to the report."""
    if journal is None or not journal.path.exists():
        raise cli.UserError("nothing to resume: give the file of a campaign, --out FILE --resume")
    try:
        plan = journal.plan()
    except ValueError as error:
        raise cli.UserError(str(error)) from None
    for found in journal.examinations():
        report.add(found)
    return plan


def finish(report: Report, kinds: int) -> None:
    """Print the report, and a script for each of the first kinds of failure."""
    from twinspike.fuzzing.reproduction import reproduce

    for title, rows in report.rows().items():
        if rows:
            cli.table(title, ("what", *("",) * (len(rows[0]) - 1)), rows)
    for failures in list(report.failures.values())[:kinds]:
        print(reproduce(*failures[0]))
    sys.exit(bool(report.failures))

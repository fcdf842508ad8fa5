"""Train many networks: a grid, samples or a search over any setting of train.py.

twinspike sweep docs/examples/sweep.toml --out runs/sweep
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinspike import cli

if TYPE_CHECKING:
    from twinspike.sweeping.engines import Engine
    from twinspike.sweeping.folder import Folder
    from twinspike.sweeping.plans import Plan
    from twinspike.sweeping.spec import Best, Spec
    from twinspike.sweeping.trials import Trial

LOOK = 1.0  # seconds for which an engine is asked what has ended


def share_of(text: str) -> tuple[int, int]:
    """Number and count of a share such as 3/8. Raises UserError."""
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise cli.UserError(f"--share {text} is no share; write 0/8 to 7/8 for eight of them")
    return int(number), int(of)


def planned(spec: Spec, folder: Folder, share: tuple[int, int], code: str) -> Plan:
    """Raises UserError for settings that don't fit, before anything runs; says which trials aren't asked for any more."""
    from twinspike.sweeping.plans import Listing, Searching
    from twinspike.sweeping.spec import check

    before = set(folder.trials)
    folder.check(spec)
    folder.check_files(spec)
    if spec.search:
        if share[1] > 1:
            raise cli.UserError(
                "a search learns from all its trials, so it can't be cut into shares; leave --share out"
            )
        return Searching(spec, spec.search, folder, code)
    plan = Listing(spec, folder, share)
    added = [trial for key, trial in folder.trials.items() if key not in before]
    for trial in added:
        check(spec, trial.settings, code)
    folder.write(spec)
    removed = len(folder.trials) - len(plan.wanted)
    if before and added:
        cli.note(f"{len(added)} trials are new in '{folder.path}', which had {len(before)}")
    if removed:
        cli.note(
            f"{removed} trials of '{folder.path}' aren't asked for any more; their files stay, and the table is without them"
        )
    return plan


def carry_out(
    plan: Plan, engine: Engine, best: Best, code: str, retry: bool, update: Callable[[int, int, str], None]
) -> None:
    """Bring every trial to its end. Raises UserError where a file is of another run, or lacks the metric."""
    from twinspike.sweeping.report import value_of
    from twinspike.sweeping.trials import COMPLETE, FAILED

    values, begun, failed = dict[str, float | None](), set[str](), 0

    def ended(trial: Trial, standing: str) -> None:
        nonlocal failed
        values[trial.name] = value_of(trial, best) if standing == COMPLETE else None
        failed += standing == FAILED

    def say() -> None:
        known = [v for v in values.values() if v is not None]
        order = best.order(known)
        reached = f", {best.metric} {known[order[0]]:.4g}" if order else ""
        update(len(values), plan.total, f"{failed} failed{reached}")

    while True:
        while engine.free() and (trial := plan.next(values)) is not None:
            standing = trial.standing()
            if standing == COMPLETE:
                trial.check()
            if standing == COMPLETE or (standing == FAILED and not retry):
                ended(trial, standing)
            elif trial.name not in begun:  # a search may choose the same again
                begun.add(trial.name)
                engine.start(trial, code)
        say()
        if not engine.busy():
            return
        for trial, why in engine.ended(LOOK):
            ended(trial, trial.settled(why))


def main(
    spec: Annotated[
        Path, typer.Argument(help="TOML file: settings as for train.py, and what of them takes many values")
    ],
    out: Annotated[Path, typer.Option(help="folder of the sweep")],
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="trials at once on this machine; default: as many as it has processors for"),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="of a Ray cluster that runs the trials; local: one that starts for it")
    ] = None,
    share: Annotated[str, typer.Option(help="carry out only these trials: 0/8 to 7/8 of a job array")] = "0/1",
    retry: Annotated[bool, typer.Option("--retry", help="run trials again that failed")] = False,
    task: Annotated[str, typer.Option(help="your own module:Class, where the file names it as its task")] = "",
) -> None:
    """Run every trial of a sweep, each in a process and a file of its own, and say what came of it. Start it again to go on after a stop."""
    from twinspike.sweeping.engines import Local, Ray
    from twinspike.sweeping.folder import Folder, held
    from twinspike.sweeping.report import report
    from twinspike.sweeping.spec import THREADS, read

    if address and jobs:
        raise cli.UserError("--jobs is of this machine, and a cluster knows its processors; leave one of them out")
    found, part = read(spec), share_of(share)
    whole = part[1] == 1
    with held(out, "" if whole else f"-{part[0]}-of-{part[1]}"):
        plan = planned(found, Folder(out), part, task)
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = int(found.base.get("threads", THREADS))
        engine = Ray(address) if address else Local(jobs or max(1, processors // threads))
        try:
            with cli.progress(f"{spec.stem}, {plan.total} trials") as update:
                carry_out(plan, engine, found.best, task, retry, update)
        finally:
            engine.close()
        if not whole:
            print(
                f"{plan.total} trials of share {share} are done; when all shares are: twinspike sweep {spec} --out {out}"
            )
            return
        failed = report(out, found, plan.trials())
    sys.exit(1 if failed else 0)

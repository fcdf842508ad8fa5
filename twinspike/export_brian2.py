"""Write a network, trained or not, as a Brian2 script that gives the spikes of one of its trials here.

twinspike export-brian2 runs/digits.h5 --trial 3 --out digits.py
twinspike export-brian2 network.toml --steps 1000 --out network.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli


def trial_of(given: Any, trial: int) -> dict[str, Any]:
    """What comes from outside in one test trial of a run's task; nothing where there is no task."""
    if given.task is None:
        return {}
    found = {}
    for name, array in given.task.test_batch().inputs.items():
        if trial >= len(array):
            raise cli.UserError(f"--trial {trial}: the task has {len(array)} test trials, from 0 on")
        found[name] = array[trial : trial + 1]
    return found


def main(
    run: Annotated[Path, typer.Argument(help="HDF5 file of a complete run, or a network's .toml or .json")],
    out: Annotated[Path, typer.Option(help="the script; what it reads is written beside it, as .npz")] = Path(
        "runs/network.py"
    ),
    steps: Annotated[int, typer.Option(help="how many; of a run, those of its task's trials")] = 0,
    trial: Annotated[int, typer.Option(help="of the task's test set, or of the random numbers")] = 0,
    record: Annotated[str, typer.Option(help="variables that the script records, like cells.v,cells.I")] = "",
    task: Annotated[str, typer.Option(help="your own module:Class, where the run names it as its task")] = "",
) -> None:
    """Write the script, and the numbers that it reads."""
    from backends.brian import to_brian2_script
    from twinspike.given import read

    if out.suffix != ".py":
        raise cli.UserError(f"--out {out}: a script's name ends in .py")
    given = read(run, code=task)
    inputs = trial_of(given, trial)
    if not inputs and not steps:
        raise cli.UserError(f"'{run}' doesn't say how long to run; give --steps, such as --steps 1000")
    script = to_brian2_script(
        given.network,
        given.parameters,
        inputs,
        tuple(filter(None, record.split(","))),
        steps=steps or None,
        trial=trial,
    )
    written = script.write(cli.writable(out))
    print(f"written: {', '.join(map(str, written))}; run it with: python {written[0]}")

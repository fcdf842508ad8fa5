"""Read a NIR file, ours or another tool's: what it leaves open, and the network as JSON.

twinspike import net.nir --out net.json
twinspike import theirs.nir --dt "1 ms" --time-constants exact --out net.json
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from twinspike import cli


class TimeConstants(StrEnum):
    """exact: decay exp(-dt/tau). euler: 1 - dt/tau."""

    exact = "exact"
    euler = "euler"


def main(
    file: Annotated[Path, typer.Argument(help="NIR file")],
    out: Annotated[Path | None, typer.Option(help="JSON file of the network")] = None,
    convention: Annotated[str, typer.Option(help="whose reading counts: nir, spikingjelly, sinabs, rockpool")] = "nir",
    dt: Annotated[
        str | None, typer.Option(help="the step that the file was made for, which NIR doesn't keep: '1 ms'")
    ] = None,
    time_constants: Annotated[
        TimeConstants | None, typer.Option(help="how a step reads them (default: the convention's)")
    ] = None,
) -> None:
    """Print what a file leaves undetermined, then its network; --out writes it for every backend."""
    import warnings

    from neuro.checks.common import ModelWarning
    from neuro.export.nir.importer import import_nir
    from neuro.export.nir.lint import undetermined
    from neuro.io.files import replaced_text
    from neuro.io.serialisation import to_json

    problems = undetermined(cli.existing(file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelWarning)  # names that change are among the problems
        network = import_nir(file, convention, dt=dt, time_constants=time_constants.value if time_constants else None)
    for problem in problems:
        print(problem)
    rows = [[p.name, p.size, p.neuron.equations.splitlines()[0]] for p in network.populations]
    cli.table(f"{network.name}, dt {network.dt}", ("population", "cells", "equation"), rows)
    if out is not None:
        replaced_text(cli.writable(out), to_json(network))
        print(f"written: {out}")

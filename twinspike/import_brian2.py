"""Take over the network of a Brian2 script, as it stands at the script's first run, and compare what both compute.

The script is its author's code and is executed as such, up to its first run: only give scripts that you would run yourself.

twinspike import-brian2 cuba.py --out net.json            # then: train.py --network net.json, simulate.py net.json --inputs net.npz, ...
twinspike import-brian2 cuba.py --run --duration "200 ms"
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli


def show(found: Any) -> None:
    """What was compared, as tables."""
    compared = found.compared
    print(f"{compared.steps} steps of {found.dt * 1e3:g} ms, of {found.asked:g} s asked; {compared.spikes} spikes")
    print(f"states compared: {', '.join(compared.states) or 'none'}")
    header = (
        "against Brian2's numpy code",
        "differing",
        "first at step",
        "worst trace",
        "worst value at the end",
        "seconds",
    )
    rows = [("ours", *_row(compared))] + [(f"Brian2 {way}", *_row(item)) for way, item in found.itself.items()]
    cli.table(f"{found.outcome}", header, [*rows, ("Brian2", *(["-"] * 4), compared.theirs)])
    if found.compiled:
        print(f"Brian2's compiled code took {found.compiled:.4g} s")
    for what, error, name in (("trace", compared.trace, compared.worst), ("end", compared.end, compared.worst_end)):
        if name:
            print(f"{what}: '{name}' by {error:.2g} of its largest value")


def _row(item: Any) -> tuple[Any, ...]:
    return (item.differing, "none" if item.first is None else item.first, item.trace, item.end, item.ours)


def monitored(found: Any) -> Iterator[str]:
    """What the script's monitors watch, as a run would record it, and what none does."""
    if found.record:
        chosen = (f"{n} of {'all' if index is None else len(index)}" for n, index in found.record.items())
        yield f"the script's monitors watch: {', '.join(chosen)}"
    yield from (f"not recorded: {text}" for text in found.unrecorded)


def main(
    script: Annotated[Path, typer.Argument(help="a Brian2 script; it is executed")],
    run: Annotated[bool, typer.Option("--run", help="run Brian2's objects and our network, and compare")] = False,
    duration: Annotated[
        str, typer.Option(help='at most so long, such as "200 ms"; else as long as the script asks')
    ] = "",
    budget: Annotated[float, typer.Option(help="seconds after which Brian2's run is cut")] = 600.0,
    backend: Annotated[str, typer.Option(help="ours")] = "native",
    compiled: Annotated[bool, typer.Option("--compiled", help="time Brian2's compiled code (cython) as well")] = False,
    seed: Annotated[int, typer.Option(help="of what the script draws while it builds its network")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="write the network as JSON, and its inputs beside it as .npz, if it has any")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="write what was found as JSON")] = None,
) -> None:
    """Import a Brian2 script's network, say what came in, compare, and write it for other scripts."""
    from neuro.io.files import replaced_text
    from neuro.language.units import quantity
    from twinspike.brian2_runs.examined import Settings, examine

    longest = float(quantity(duration).to("s")) if duration else float("inf")
    settings = Settings(longest, budget, seed, backend, compiled)
    found = examine(cli.existing(script), settings, run=run, write=None if out is None else cli.writable(out))
    if report is not None:
        replaced_text(cli.writable(report), json.dumps(found.to_data()))
    if found.compared is None and found.outcome != "imported":
        raise cli.UserError(f"{script.name}, {found.outcome}: {found.reason}")
    print(found.network, end="")
    for text in found.warnings:
        cli.note(text)
    for line in monitored(found):
        print(line)
    if found.compared is not None:
        show(found)
    if out is not None:
        print(f"written: {' and '.join(filter(None, (str(out), found.inputs)))}")

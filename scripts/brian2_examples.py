"""Import every Brian2 script of a folder, compare each with Brian2 itself, and write the table of docs/brian2.md.

The scripts are executed, each in a process of its own with a time limit. What was found of each is kept in --results, one file a
script, and only what isn't there is done: an interrupted call goes on where it was. Runs are cut after --budget seconds of Brian2's
computing, and the table says at which step.

python scripts/brian2_examples.py brian2/examples --budget 10 --out docs/brian2.md
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli

BEGIN, END = "<!-- table: scripts/brian2_examples.py -->", "<!-- end of the table -->"
COMMAND = Path(__file__).parent / "import_brian2.py"
GOOD = ("equal", "diverges")


def scripts_in(folder: Path) -> list[Path]:
    """Every script below, in the order of their names."""
    if not folder.is_dir():
        raise cli.UserError(f"there is no folder '{folder}'")
    found = sorted(p for p in folder.rglob("*.py"))
    if not found:
        raise cli.UserError(f"folder '{folder}' has no scripts")
    return found


def examined(script: Path, name: str, kept: Path, options: list[str], limit: float) -> dict[str, Any]:
    """What import_brian2.py finds of a script, now or in an earlier call."""
    if not kept.exists():
        command = [sys.executable, str(COMMAND), str(script), "--run", *options, "--report", str(kept)]
        try:
            ended = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            kept.write_text(json.dumps({"outcome": "no time", "reason": f"not done within {limit:g} s"}))
        else:
            if not kept.exists():
                last = (ended.stderr.strip().splitlines() or ["it ended in silence"])[-1]
                kept.write_text(json.dumps({"outcome": "fails", "reason": last}))
    return {**json.loads(kept.read_text()), "script": name}


def line(found: dict[str, Any]) -> str:
    """A row of the table."""
    compared = found.get("compared")
    if compared is None:
        return _row(found["script"], found["outcome"], *[""] * 8, _short(found.get("reason", "")))
    speed = compared["theirs"] / max(compared["ours"], 1e-9)
    cython = _times(found["compiled"] / max(compared["ours"], 1e-9)) if found.get("compiled") else ""
    length = f"{compared['steps'] * found['dt']:.4g} of {found['asked']:.4g}"
    note = ""
    if compared["first"] is not None:
        note = f"first at step {compared['first']}"
    if found["outcome"] == "diverges":
        itself = found["itself"][found["reason"]]
        note += f"; Brian2 {found['reason']}: " + (
            f"at step {itself['first']}"
            if itself["first"] is not None
            else f"values by {max(itself['trace'], itself['end']):.1g}"
        )
    return _row(
        found["script"], found["outcome"], str(found["cells"]), str(found["synapses"]), length,
        str(compared["spikes"]), str(compared["differing"]), f"{max(compared['trace'], compared['end']):.1g}", _times(speed), cython, note.lstrip("; "),
    )  # fmt: skip


def _times(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.2g}x"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _short(reason: str) -> str:
    """One line, without what would break a table."""
    text = " ".join(reason.split("\n  fix:")[0].split()).replace("|", "\\|")
    return text if len(text) <= 160 else f"{text[:157]}..."


def written(found: list[dict[str, Any]]) -> str:
    """The table and its counts, as Markdown."""
    counts: dict[str, int] = {}
    for item in found:
        counts[item["outcome"]] = counts.get(item["outcome"], 0) + 1
    header = (
        "script", "outcome", "cells", "synapses", "seconds of model time", "spikes", "differing", "worst error", "speed", "against cython", "why",
    )  # fmt: skip
    lines = [f"{len(found)} scripts: {', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}.", ""]
    lines += [_row(*header), _row(*["---"] * len(header)), *(line(item) for item in found)]
    return "\n".join(lines)


def main(
    folder: Annotated[Path, typer.Argument(help="scripts, at any depth; they are executed")],
    results: Annotated[Path, typer.Option(help="folder for what was found, one file a script")] = Path("runs/brian2"),
    budget: Annotated[float, typer.Option(help="seconds of computing after which Brian2's run is cut")] = 10.0,
    limit: Annotated[float, typer.Option(help="seconds after which a script is given up")] = 180.0,
    only: Annotated[str, typer.Option(help="scripts whose path has this in it")] = "",
    backend: Annotated[str, typer.Option(help="ours")] = "native",
    compiled: Annotated[bool, typer.Option("--compiled", help="time Brian2's compiled code (cython) as well")] = False,
    seed: Annotated[int, typer.Option(help="of what scripts draw while they build their networks")] = 1,
    out: Annotated[Path | None, typer.Option(help="file whose table is replaced")] = None,
) -> None:
    """Examine every script, print the outcome of each, and replace the table."""
    results.mkdir(parents=True, exist_ok=True)
    options = [
        "--budget",
        str(budget),
        "--backend",
        backend,
        "--seed",
        str(seed),
        *(["--compiled"] if compiled else []),
    ]
    found = []
    for script in scripts_in(folder):
        name = script.relative_to(folder).as_posix()
        if only not in name:
            continue
        kept = results / f"{name.replace('/', '_')}.json"
        found.append(examined(script.resolve(), name, kept, options, limit))
        print(line(found[-1]), flush=True)
    if out is not None:
        text = cli.existing(out).read_text()
        if BEGIN not in text or END not in text:
            raise cli.UserError(f"'{out}' has no place for the table: put '{BEGIN}' and '{END}' there")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        out.write_text(f"{before}{BEGIN}\n{written(found)}\n{END}{after}")
        print(f"written: {out}")


if __name__ == "__main__":
    cli.run(main)

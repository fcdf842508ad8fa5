"""Import every Brian2 script of a folder, compare each with Brian2 itself, and write the table of docs/brian2.md.

The scripts are executed, each in a process of its own with a time limit. What was found of each is kept in --results, one file a
script, with the options that it was found by, and only what isn't there is done: an interrupted call goes on where it was. Runs are cut after --budget seconds of Brian2's
computing, and the table says at which step.

python scripts/brian2_examples.py brian2/examples --budget 10 --out docs/brian2.md
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
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
    """What import_brian2.py finds of a script, now or in an earlier call with the same options."""
    found = json.loads(kept.read_text()) if kept.exists() else {}
    if found.get("options") != options or found.get("limit", limit) != limit:
        kept.unlink(missing_ok=True)
        found = {**_found(script, kept, options, limit), "options": options}
        kept.write_text(json.dumps(found))
    return {**found, "script": name}


def _found(script: Path, kept: Path, options: list[str], limit: float) -> dict[str, Any]:
    command = [sys.executable, str(COMMAND), str(script), "--run", *options, "--report", str(kept)]
    try:
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return {"outcome": "no time", "reason": f"not done within {limit:g} s", "limit": limit}
    if kept.exists():
        reported: dict[str, Any] = json.loads(kept.read_text())
        return reported
    return {"outcome": "fails", "reason": (ended.stderr.strip().splitlines() or ["it ended in silence"])[-1]}


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


def rows_of(table: str) -> dict[str, str]:
    """Script -> its row, of a table that was written before."""
    rows = [text for text in table.splitlines() if text.startswith("| ")][2:]
    return {text.split(" | ")[0].removeprefix("| "): text for text in rows}


def written(rows: Mapping[str, str]) -> str:
    """The table and its counts, as Markdown. rows: by script."""
    counts = Counter(text.split(" | ")[1] for text in rows.values())
    header = (
        "script", "outcome", "cells", "synapses", "seconds of model time", "spikes", "differing", "worst error", "speed", "against cython", "why",
    )  # fmt: skip
    lines = [f"{len(rows)} scripts: {', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}.", ""]
    lines += [_row(*header), _row(*["---"] * len(header))]
    lines += [text for _, text in sorted(rows.items(), key=lambda item: PurePosixPath(item[0]))]
    return "\n".join(lines)


def main(
    folder: Annotated[Path, typer.Argument(help="scripts, at any depth; they are executed")],
    results: Annotated[Path, typer.Option(help="folder for what was found, one file a script")] = Path("runs/brian2"),
    budget: Annotated[float, typer.Option(help="seconds of computing after which Brian2's run is cut")] = 10.0,
    limit: Annotated[float, typer.Option(help="seconds after which a script is given up")] = 180.0,
    only: Annotated[str, typer.Option(help="scripts whose path has this in it; the table keeps its other rows")] = "",
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
    rows: dict[str, str] = {}
    for script in scripts_in(folder):
        name = script.relative_to(folder).as_posix()
        if only not in name:
            continue
        kept = results / f"{name.replace('/', '_')}.json"
        rows[name] = line(examined(script.resolve(), name, kept, options, limit))
        print(rows[name], flush=True)
    if out is not None:
        text = cli.existing(out).read_text()
        if BEGIN not in text or END not in text:
            raise cli.UserError(f"'{out}' has no place for the table: put '{BEGIN}' and '{END}' there")
        (before, rest), after = text.split(BEGIN), text.split(END)[1]
        if only:
            rows = rows_of(rest.split(END)[0]) | rows
        out.write_text(f"{before}{BEGIN}\n{written(rows)}\n{END}{after}")
        print(f"written: {out}")


if __name__ == "__main__":
    cli.run(main)

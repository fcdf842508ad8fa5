"""Run a network for as long as you like into a file that others can read meanwhile, and that outlives whoever writes it.

twinspike simulate net.toml --duration "100 s" --out run.h5 --record cells.v --every 10
twinspike simulate runs/digits.h5 --duration "2 s" --inputs spikes.npz --out run.h5
twinspike simulate --out run.h5 --resume
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli

LARGEST_INPUTS = 2**33  # bytes


@dataclass(frozen=True)
class Plan:
    """What a file says of its run, so that it can be resumed without a word. steps, chunk: of the whole, and of a part. checksums: of the files it was made from."""

    source: str
    steps: int
    chunk: int
    every: int
    record: tuple[str, ...]
    inputs: str
    backend: str
    dtype: str
    threads: int
    checksums: tuple[str, ...]

    @staticmethod
    def of(config: Any, path: Path) -> Plan:
        """As a run file keeps it. Raises UserError."""
        try:
            kept = dict(config["simulation"])
            return Plan(**{**kept, "record": tuple(kept["record"]), "checksums": tuple(kept["checksums"])})
        except (KeyError, TypeError, ValueError):
            raise cli.UserError(f"'{path}' wasn't written by simulate.py; go on with it as it was begun") from None

    @property
    def files(self) -> list[Path]:
        return [Path(f) for f in (self.source, self.inputs) if f]


def checksums(files: list[Path]) -> tuple[str, ...]:
    """SHA-256 of each."""
    found = []
    for path in files:
        with cli.existing(path).open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return tuple(found)


def steps_in(text: str, dt: Any, option: str) -> int:
    """Whole steps of a time such as "10 s". Raises UserError."""
    from neuro.language.units import UnitError, quantity

    try:
        value = float(quantity(text).to("s"))
    except UnitError as error:
        raise cli.UserError(f"--{option} '{text}': {error}") from None
    steps: int = round(value / dt.value) if math.isfinite(value / dt.value) else 0
    if steps < 1 or abs(steps * dt.value - value) > 1e-9 * value:
        raise cli.UserError(f"--{option} '{text}' is no whole number of steps of {dt}; give a multiple of it")
    return steps


def read_inputs(network: Any, path: Path | None, steps: int) -> dict[str, Any]:
    """Arrays [1, time, channel] of a file. Raises UserError where one is missing or too short."""
    from neuro.io.npz import NpzError, read_npz

    try:
        found = {} if path is None else read_npz(cli.existing(path), LARGEST_INPUTS)
    except NpzError as error:
        raise cli.UserError(f"--inputs '{path}': {error}") from None
    for item in network.inputs:
        if item.name not in found and item.rate is None:
            raise cli.UserError(
                f"input '{item.name}' has no rate to draw spikes from; give --inputs FILE.npz with an array '{item.name}' [time, {item.size}]"
            )
    for name, array in found.items():
        if array.ndim == 2:
            found[name] = array = array[None]
        if array.ndim != 3 or len(array) != 1 or array.shape[1] < steps:
            raise cli.UserError(
                f"--inputs: array '{name}' is {list(array.shape)}; give [time, channel] with at least {steps} steps"
            )
        found[name] = array[:, :steps]
    return found


def whole_files(plan: Plan, path: Path) -> None:
    """Raises UserError where a file that the run was made from is another one now."""
    for file, wanted, now in zip(plan.files, plan.checksums, checksums(plan.files), strict=True):
        if wanted != now:
            raise cli.UserError(f"'{file}' isn't what it was when '{path}' was begun; put it back, or begin anew")


def run(plan: Plan, file: Any, program: Any, parameters: Any, inputs: Any) -> None:
    """What is left of the run, part by part. Ctrl-C leaves the file with every whole part."""
    dt, begun, clock = program.network.dt.value, file.steps, time.monotonic()
    parts = program.stream(
        parameters, (lambda first, last: {n: a[:, begun + first : begun + last] for n, a in inputs.items()}), plan.record,
        steps=plan.steps - begun, chunk=plan.chunk, every=plan.every, state=file.state,
        **({} if inputs else {"batch": 1}),
    )  # fmt: skip
    with cli.progress("simulating") as update:
        update(begun, plan.steps, "")
        for part in parts:
            file.append(part)
            pace = (file.steps - begun) * dt / max(time.monotonic() - clock, 1e-9)
            update(
                file.steps,
                plan.steps,
                f"{file.steps * dt:.4g} of {plan.steps * dt:.4g} s, {pace:.3g} times real time",
            )


def resumed(out: Path) -> tuple[Plan, Any, Any]:
    """The plan of a file, the file, and what it is of, to go on with."""
    from neuro.io.appending import append_recording
    from neuro.io.results import open_run
    from neuro.io.serialisation import content_hash, network_in
    from twinspike import given

    reader = open_run(cli.existing(out))
    plan = Plan.of(reader.config, out)
    whole_files(plan, out)
    found, own = given.read(Path(plan.source)), network_in(reader.model)
    if own is None or content_hash(own) != content_hash(found.network):  # a file that holds others, which changed
        raise cli.UserError(
            f"'{plan.source}' gives another network than when '{out}' was begun; put back the files that it names, or begin anew"
        )
    return plan, append_recording(out, resume=True), found


def main(
    network: Annotated[
        Path | None, typer.Argument(help="a network's .toml or .json, or a run whose trained network it is")
    ] = None,
    duration: Annotated[str, typer.Option(help='model time, such as "10 s"')] = "1 s",
    out: Annotated[Path, typer.Option(help="HDF5 file")] = Path("runs/simulation.h5"),
    record: Annotated[list[str] | None, typer.Option(help="a variable, such as cells.v; may be given often")] = None,
    every: Annotated[int, typer.Option(min=1, help="record every so many steps; spikes are always whole")] = 1,
    inputs: Annotated[Path | None, typer.Option(help=".npz with an array [time, channel] for each input")] = None,
    backend: Annotated[str, typer.Option(help="what computes; auto: the fastest here")] = "auto",
    dtype: Annotated[str, typer.Option(help="float64 or float32")] = "float64",
    threads: Annotated[int, typer.Option(min=1, help="of backend native")] = 1,
    checkpoint_every: Annotated[str, typer.Option(help="model time after which what is done is in the file")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out, as it was begun")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the file")] = False,
) -> None:
    """Stream a run into an HDF5 file. Ctrl-C, or a kill, costs what came after the last checkpoint; --resume goes on to the same numbers."""
    import backends
    from backends.common.arrays import given_inputs
    from backends.common.recording import check_record
    from neuro.io.appending import append_recording
    from twinspike import given

    if resume:
        if network is not None:
            raise cli.UserError(f"--resume takes the network from '{out}'; leave '{network}' out")
        plan, file, found = resumed(out)
    elif network is None:
        raise cli.UserError("give a network's .toml or .json, or --resume with the file of a run that was stopped")
    else:
        found = given.read(network)
        plan = planned(found, duration, out, record, every, inputs, backend, dtype, threads, checkpoint_every)
    options = {"threads": plan.threads} if plan.backend == "native" else {}
    program = backends.get(plan.backend).compile(found.network, dtype=plan.dtype, **options)
    arrays = read_inputs(found.network, Path(plan.inputs) if plan.inputs else None, plan.steps)
    given_inputs(found.network, arrays, plan.steps, 1)  # refused before a file is begun
    check_record(found.network, plan.record, plan.every)
    if not resume:
        config = {"command": cli.command_line(), "simulation": asdict(plan)}
        file = append_recording(
            cli.writable(out), found.network, semantics=program.semantics.to_data(), config=config, overwrite=overwrite
        )
    with file:
        run(plan, file, program, found.parameters, arrays)
    print(f"written: {out}")


def planned(
    found: Any, duration: str, out: Path, record: list[str] | None, every: int, inputs: Path | None, backend: str, dtype: str, threads: int,
    checkpoint_every: str,
) -> Plan:  # fmt: skip
    """Of a new run. A part is a second of model time unless said otherwise. Raises UserError."""
    import backends

    dt, computes = found.network.dt, backends.resolved(backend)
    if threads > 1 and computes != "native":
        raise cli.UserError(f"--threads {threads} is of backend native; backend {computes} takes none")
    steps = steps_in(duration, dt, "duration")
    chunk = (
        steps_in(checkpoint_every, dt, "checkpoint-every")
        if checkpoint_every
        else max(1, min(steps, round(1 / dt.value)))
    )
    chunk += -chunk % every
    plan = Plan(
        str(found.path), steps, chunk, every, tuple(record or ()), str(inputs) if inputs else "", computes, dtype, threads, (),
    )  # fmt: skip
    return replace(plan, checksums=checksums(plan.files))

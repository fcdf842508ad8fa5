"""Export a trained network to a simulator or chip, with a fixture of expected spikes and a report of what each step lost.

twinspike export runs/digits.h5 --target nir --out runs/digits.nir
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli

TRIALS = 200
PROOFS = {"nir": "snntorch"}  # targets whose file is replayed here at once, and in what


def show_targets() -> None:
    """One row per target, from its profile."""
    from neuro.export import targets

    profiles = []
    for name in targets.names():
        try:
            profiles.append(targets.get(name).profile)
        except targets.UnknownTargetError as error:  # another package's, which doesn't keep ours from being shown
            cli.note(str(error))
    header = ("target", "title", "file", "neurons", "thresholds", "resets", "weights", "state bits")
    rows = [
        (p.name, p.title, p.suffix, ", ".join(p.neurons), ", ".join(p.thresholds), ", ".join(p.resets),
         p.weight or "float32", p.voltage.bits if p.voltage else "float32")
        for p in profiles
    ]  # fmt: skip
    cli.table("targets", header, rows)


def check(name: str, network: Any, parameters: Any) -> None:
    """Print every misfit; an error where one of them stops the export."""
    from neuro.export import targets
    from neuro.export.lint import lint

    problems = lint(network, targets.get(name).profile, parameters)
    for problem in problems:
        print(problem)
    wrong = sum(not p.warning for p in problems)
    if wrong:
        raise cli.UserError(f"{name} can't hold this network: {wrong} misfits")
    print(f"{name} holds this network")


def proved(target: str, network: Any, parameters: Any, path: Path, inputs: Any) -> dict[str, Any]:
    """Replay in another program's importer, and count differences."""
    from dataclasses import asdict

    from backends.nir_client import prove

    proof = prove(network, parameters, path, {name: value[:TRIALS] for name, value in inputs.items()})
    header = ("trials", "spikes", "differences", "in single precision", "near ties", "nearest margin")
    row = (proof.trials, proof.spikes, proof.differences, proof.single, proof.ties, proof.nearest)
    cli.table(f"{path} in {PROOFS[target]}'s importer, double precision", header, [row])
    if proof.unexplained:
        raise cli.UserError(f"'{path}' is not what was trained: {proof.unexplained} spikes differ")
    return asdict(proof)


def export(run: Path, target: str, out: Path, budget: float, force: bool, code: str) -> None:
    """Write the files and say what each stage lost."""
    import backends
    from neuro.export.bundle import write_bundle
    from neuro.io.results import write_group
    from twinspike.given import with_task

    alone = f"twinspike export {run} --target {target} --out {out} --files-only"
    given = with_task(run, "for a fixture and a report", alone, code)
    task, network, parameters = given.task, given.network, given.parameters
    batch = task.test_batch()
    with cli.progress(target) as update:
        found = write_bundle(
            target, network, parameters, task, out, backends.get("reference"), budget=budget, force=force, batch=batch, update=update,
        )  # fmt: skip
    rows = [(m.stage.name, f"{m.accuracy:.4f}", f"{m.lost:.2f}", m.spikes, m.differing) for m in found.stages]
    cli.table(f"{len(batch.targets)} test trials", ("stage", "accuracy", "points lost", "spikes", "differing"), rows)
    data = found.to_data()
    if target in PROOFS:
        data["proof"] = proved(target, network, parameters, found.export.files[0], batch.inputs)
    write_group(run, f"export/{target}", data)
    print(f"written: {', '.join(str(p) for p in (*found.export.files, found.fixture, found.report))}")


def export_files(run: Path, target: str, out: Path, code: str) -> None:
    """Write the target's files alone: of a network that has no test set, nothing can say what they lose."""
    from neuro.export import targets
    from neuro.export.bundle import main_file, refuse
    from neuro.export.lint import lint
    from twinspike.given import read

    given, found = read(run, code=code), targets.get(target)
    refuse(lint(given.network, found.profile, given.parameters))
    path = cli.writable(main_file(out, given.network, found.profile))
    written = found.export(given.network, given.parameters, path)
    print(f"written, without fixture and report: {', '.join(str(p) for p in written.files)}")


def main(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="HDF5 file of a complete run; for --check and --files-only also a network's .toml or .json"
        ),
    ] = None,
    target: Annotated[str, typer.Option(help="see --list")] = "nir",
    out: Annotated[Path, typer.Option(help="folder, or the main file with the target's suffix")] = Path("runs/export"),
    list_: Annotated[bool, typer.Option("--list", help="show the targets")] = False,
    check_: Annotated[bool, typer.Option("--check", help="say what the target can't hold; write nothing")] = False,
    budget: Annotated[float, typer.Option(help="points of accuracy that a stage may lose")] = 1.0,
    force: Annotated[bool, typer.Option(help="write even where a stage loses more")] = False,
    files_only: Annotated[bool, typer.Option("--files-only", help="no test set: no fixture, no report")] = False,
    task: Annotated[str, typer.Option(help="your own module:Class, where the run names it as its task")] = "",
) -> None:
    """Write a network's files for a target, a fixture and a report, and store all of it in the run (/export/<target>)."""
    if list_:
        show_targets()
        return
    if run is None:
        raise cli.UserError("name a run file, or use --list")
    from neuro.export import targets

    targets.get(target)  # a wrong name is said before anything is read
    if check_:
        from twinspike.given import read

        given = read(run, trained=False, code=task)
        check(target, given.network, given.parameters)
    elif files_only:
        export_files(run, target, out, task)
    else:
        export(run, target, out, budget, force, task)

"""Replay a trained network on the test set in several backends, and say where they differ.

python scripts/compare_backends.py runs/digits.h5 --backends brian2,torch,snntorch,reference
python scripts/compare_backends.py runs/digits.h5 --export loihi2 --backends brian2,reference
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import cli
import typer

FINER = 10


def load(path: Path) -> tuple[Any, Any, Any, Any]:
    """Reader, task, network, parameters of a complete run."""
    import tasks
    from neuro.results import open_run
    from neuro.serialisation import from_json

    reader = open_run(path)
    task = tasks.get(reader.config["task"], **reader.config["task_options"])
    return reader, task, from_json(reader.model), reader.parameters()


def rows_of(found: Any) -> list[list[Any]]:
    """One row a backend: accuracy, spikes, differences from the first, distances."""
    rows = []
    for name, recording in found.recordings.items():
        row = [name, f"{found.accuracies[name]:.4f}", recording.spike_count()]
        report = found.comparisons.get(name)
        if report is None:
            rows.append([*row, "-", "-", "-", "-", "-", "-"])
            continue
        firsts = [x.first.step for x in (*report.populations, *report.variables) if x.first is not None]
        rows.append(
            [*row, sum(p.differing for p in report.populations), max(v.max_rel for v in report.variables),
             min(firsts) if firsts else "none", f"{min(p.coincidence.same for p in report.populations):.4f}",
             max(p.van_rossum.mean for p in report.populations), max(p.victor_purpura.mean for p in report.populations)]
        )  # fmt: skip
    return rows


def energies(found: Any, network: Any, parameters: Any, inputs: Any) -> dict[str, Any]:
    """Print what each backend's run would cost; returns the reference's for the store."""
    from neuro.analysis.energy import CAVEAT, measure

    counted = {n: measure(network, r, inputs, parameters) for n, r in found.recordings.items()}
    summaries = [c.summary() for c in counted.values()]
    rows = [(name, *(float(s[name]) for s in summaries)) for name in summaries[0]]
    costs = counted[found.reference].costs
    title = f"energy: {costs.mac * 1e12:g} pJ a MAC, {costs.ac * 1e12:g} pJ an AC (45 nm)"
    cli.table(title, ("what", *counted), rows)
    print(CAVEAT)
    return counted[found.reference].to_data()


def compare_export(run: Path, target: str, names: list[str]) -> None:
    """What was trained, what was quantised and what the chip computes, each in every backend."""
    import backends as registry
    from neuro.export.stages import differing, measure, stored
    from neuro.protocols import UnsupportedError
    from neuro.results import write_group

    reader, task, network, parameters = load(run)
    stages, batch = stored(network, parameters, reader.group(f"export/{target}")), task.test_batch()
    found: dict[str, Any] = {}
    rows: list[list[Any]] = []
    for name in reversed(names):
        try:
            found[name] = measure(stages, task, batch, registry.get(name))
        except UnsupportedError as error:
            print(f"{name} left out: {error}")
    for i, stage in enumerate(stages):
        first = next((m[i].recording for m in found.values()), None)
        for name, measured in found.items():
            m = measured[i]
            apart = differing(first, m.recording) if first else 0
            rows.append([stage.name, name, f"{m.accuracy:.4f}", m.spikes, apart, m.differing])
    reference = next(iter(found), "none")
    header = (
        "stage",
        "backend",
        "accuracy",
        "spikes",
        f"differing from {reference}",
        "differing from the stage before",
    )
    cli.table(f"{target}, float64, {len(batch.targets)} test trials", header, rows)
    data = {n: {m.stage.name: m.to_data() for m in measured} for n, measured in found.items()}
    write_group(run, f"comparison_{target}", data)


HEADER = (
    "backend", "accuracy", "spikes", "differing", "max rel error", "first divergent step", "coincidence", "van Rossum",
    "Victor-Purpura",
)  # fmt: skip


def main(
    run: Annotated[Path, typer.Argument(help="HDF5 file of a complete run")],
    backends: Annotated[
        str, typer.Option(help="comma-separated; the last is the reference")
    ] = "brian2,torch,snntorch,reference",
    plot: Annotated[Path | None, typer.Option(help="PNG (default: beside the run)")] = None,
    export: Annotated[str, typer.Option(help="compare the stages of this target's export instead")] = "",
) -> None:
    """Replay a trained network in several backends in float64, in float32, and on a ten times finer clock."""
    import backends as registry
    from neuro.analysis.plots import plot_comparison
    from neuro.analysis.refinement import finer
    from neuro.analysis.replay import refined_accuracy, replay
    from neuro.results import write_group, write_recording

    names = [n.strip() for n in backends.split(",") if n.strip()]
    if not names:
        raise cli.UserError("--backends is empty")
    if export:
        compare_export(cli.existing(run), export, names)
        return
    compilers = {n: registry.get(n) for n in reversed(names)}
    _, task, network, parameters = load(cli.existing(run))
    with cli.progress("replay") as update:
        update(0, len(names) + 2, "compiling")
        programs = {n: c.compile(network, dtype="float64") for n, c in compilers.items()}
        batch = task.test_batch()
        found = replay(task, programs, parameters, batch, update=update)
        update(len(names), len(names) + 2, "float32")
        single = registry.get("torch")
        pair = {"float64": single.compile(network), "float32": single.compile(network, dtype="float32")}
        precision = replay(task, pair, parameters, batch)
        update(len(names) + 1, len(names) + 2, f"dt/{FINER}")
        fine = single.compile(finer(network, FINER))
        refined = refined_accuracy(task, fine, network, parameters, batch, FINER)
    cli.table(f"float64, {len(batch.targets)} test trials, against {found.reference}", HEADER, rows_of(found))
    cli.table("torch, float32 against float64", HEADER, rows_of(precision))
    write_group(run, "energy", energies(found, network, parameters, batch.inputs))
    before = found.accuracies[found.reference]
    print(f"accuracy at dt/{FINER} by rk4: {refined:.4f} ({refined - before:+.4f} from the clock it was trained on)")
    image = plot or run.with_suffix(".png")
    others = {n: r for n, r in found.recordings.items() if n != found.reference}
    title = f"{run.name}: {', '.join(names)}"
    plot_comparison(
        image,
        found.recordings[found.reference],
        others,
        accuracies=found.accuracies,
        reference_name=found.reference,
        title=title,
    )
    units = dict.fromkeys(found.recordings[found.reference].traces, "volt")
    write_recording(run, found.recordings[found.reference], units)
    data = {**found.to_data(), "precision": precision.to_data(), "refined": {"factor": FINER, "accuracy": refined}}
    write_group(run, "comparison", data)
    identical = all(c.identical_spikes for c in found.comparisons.values())
    print(f"rasters {'identical' if identical else 'DIFFER'}; written to {run} (/comparison) and {image}")


if __name__ == "__main__":
    cli.run(main)

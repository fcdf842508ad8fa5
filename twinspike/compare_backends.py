"""Run a network in several backends, a trained one on its test set, and say where they differ.

twinspike compare runs/digits.h5 --backends brian2,torch,snntorch,reference
twinspike compare runs/digits.h5 --export loihi2 --backends brian2,reference
twinspike compare net.toml --steps 1000 --backends brian2,native,reference
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli

FINER = 10


def rows_of(found: Any) -> list[list[Any]]:
    """One row per backend: accuracy, spikes, differences from the first, distances."""
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
             min(firsts) if firsts else "none", *distances(report.populations)]
        )  # fmt: skip
    return rows


def distances(populations: Any) -> tuple[Any, Any, Any]:
    """Worst of all populations that fire; none do in a network of graded cells."""
    if not populations:
        return "-", "-", "-"
    same = f"{min(p.coincidence.same for p in populations):.4f}"
    return same, max(p.van_rossum.mean for p in populations), max(p.victor_purpura.mean for p in populations)


def energies(found: Any, network: Any, parameters: Any, inputs: Any) -> dict[str, Any]:
    """Print what each backend's run would cost; returns the reference's for the store, nothing where it can't be counted."""
    from neuro.analysis.energy import CAVEAT, EnergyError, measure

    try:
        counted = {n: measure(network, r, inputs, parameters) for n, r in found.recordings.items()}
    except EnergyError as error:
        print(f"energy: left out, {error}")
        return {}
    summaries = [c.summary() for c in counted.values()]
    rows = [(name, *(float(s[name]) for s in summaries)) for name in summaries[0]]
    costs = counted[found.reference].costs
    title = f"energy: {costs.mac * 1e12:g} pJ a MAC, {costs.ac * 1e12:g} pJ an AC (45 nm)"
    cli.table(title, ("what", *counted), rows)
    print(CAVEAT)
    return counted[found.reference].to_data()


def compare_free(given: Any, names: list[str], steps: int, trials: int) -> None:
    """A network without a test set: its inputs are drawn from its seed."""
    import backends as registry
    from neuro.analysis.comparison import compare
    from neuro.io.results import write_group, write_recording
    from neuro.io.state_file import units_of
    from neuro.protocols import UnsupportedError

    for item in given.network.inputs:
        if item.rate is None:
            run = f"backends.get(name).compile(network).run(inputs={{'{item.name}': spikes}})"
            raise cli.UserError(
                f"input '{item.name}' has no rate to draw spikes from: make it"
                f" Input('{item.name}', {item.size}, kind='poisson', rate='20 Hz'), or call"
                f" neuro.analysis.comparison.compare(*({run} for name in ('{names[0]}', '{names[-1]}')))"
            )
    found: dict[str, Any] = {}
    states = [f"{p.name}.{v}" for p in given.network.populations for v in p.neuron.scope.states]
    for name in reversed(names):
        try:
            program = registry.get(name).compile(given.network)
            found[name] = program.run(given.parameters, record=states, steps=steps, batch=trials)
        except UnsupportedError as error:
            print(f"{name} left out: {error}")
    if not found:
        raise cli.UserError(f"none of {', '.join(names)} runs this network")
    reference, *others = found
    pairs = {name: compare(found[reference], found[name], names=(reference, name)) for name in others}
    print(f"{reference}: {found[reference].spike_count()} spikes in {trials} trials of {steps} steps")
    for name, pair in pairs.items():
        for what, (header, rows) in zip(("spikes", "values"), pair.tables(), strict=True):
            cli.table(f"{name} against {reference}: {what}", header, rows)
    if given.reader is not None:
        write_recording(given.path, found[reference], units_of(given.network))
        write_group(
            given.path, "comparison", {"reference": reference, "pairs": {n: p.to_data() for n, p in pairs.items()}}
        )
        print(f"written to {given.path} (/comparison)")


def compare_export(run: Path, target: str, names: list[str], code: str) -> None:
    """What was trained, what was quantised and what the chip computes, each in every backend."""
    import backends as registry
    from neuro.export.stages import differing, measure, stored
    from neuro.io.results import write_group
    from neuro.protocols import UnsupportedError
    from twinspike.given import with_task

    given = with_task(run, "for the stages of an export", f"twinspike compare {run} --steps 1000", code)
    task, batch = given.task, given.task.test_batch()
    stages = stored(given.network, given.parameters, given.reader.group(f"export/{target}"))
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
    run: Annotated[
        Path, typer.Argument(help="HDF5 file of a complete run; with --steps also a network's .toml or .json")
    ],
    backends: Annotated[
        str, typer.Option(help="comma-separated; the last is the reference")
    ] = "brian2,torch,snntorch,reference",
    plot: Annotated[Path | None, typer.Option(help="PNG (default: beside the run)")] = None,
    export: Annotated[str, typer.Option(help="compare the stages of this target's export instead")] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="run so long on drawn inputs, without a test set")] = None,
    trials: Annotated[int, typer.Option(min=1, help="with --steps")] = 1,
    task: Annotated[str, typer.Option(help="your own module:Class, where the run names it as its task")] = "",
) -> None:
    """Replay a trained network in several backends in float64, in float32, and on a ten times finer clock."""
    import backends as registry
    from neuro.analysis.plots import plot_comparison
    from neuro.analysis.refinement import finer
    from neuro.analysis.replay import refined_accuracy, replay
    from neuro.episodes import acts
    from neuro.io.results import write_group, write_recording
    from neuro.io.state_file import units_of
    from twinspike.given import read, with_task

    names = [n.strip() for n in backends.split(",") if n.strip()]
    if not names:
        raise cli.UserError("--backends is empty")
    if export:
        compare_export(run, export, names, task)
        return
    compilers = {n: registry.get(n) for n in reversed(names)}
    if steps is not None:
        compare_free(read(run, code=task), names, steps, trials)
        return
    given = with_task(run, "to replay", f"twinspike compare {run} --steps 1000", task)
    learned, network, parameters = given.task, given.network, given.parameters
    with cli.progress("replay") as update:
        update(0, len(names) + 2, "compiling")
        programs = {n: c.compile(network, dtype="float64") for n, c in compilers.items()}
        batch = learned.test_batch()
        found = replay(learned, programs, parameters, batch, update=update)
        update(len(names), len(names) + 2, "float32")
        single = registry.get("torch")
        pair = {"float64": single.compile(network), "float32": single.compile(network, dtype="float32")}
        precision = replay(learned, pair, parameters, batch)
        refined = None
        if not acts(learned):  # an environment has a clock of its own
            update(len(names) + 1, len(names) + 2, f"dt/{FINER}")
            fine = single.compile(finer(network, FINER))
            refined = refined_accuracy(learned, fine, network, parameters, batch, FINER)
    cli.table(f"float64, {len(batch.targets)} test trials, against {found.reference}", HEADER, rows_of(found))
    cli.table("torch, float32 against float64", HEADER, rows_of(precision))
    counted = energies(found, network, parameters, found.batch.inputs)
    if counted:
        write_group(run, "energy", counted)
    before = found.accuracies[found.reference]
    if refined is None:
        print(f"accuracy at dt/{FINER}: left out, the environment's steps are those of the network")
    else:
        print(
            f"accuracy at dt/{FINER} by rk4: {refined:.4f} ({refined - before:+.4f} from the clock it was trained on)"
        )
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
    write_recording(run, found.recordings[found.reference], units_of(network))
    data = {**found.to_data(), "precision": precision.to_data()}
    if refined is not None:
        data["refined"] = {"factor": FINER, "accuracy": refined}
    write_group(run, "comparison", data)
    identical = all(c.identical_spikes for c in found.comparisons.values())
    print(f"rasters {'identical' if identical else 'DIFFER'}; written to {run} (/comparison) and {image}")

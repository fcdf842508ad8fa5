"""Lyapunov exponents of a trained network before and after training, along its task's test trials.

twinspike lyapunov runs/match.h5
twinspike lyapunov runs/digits.h5 --exponents 5 --surrogate fast_sigmoid
twinspike lyapunov net.toml --steps 2000
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli


def stages(given: Any) -> dict[str, Any]:
    """Name -> parameters, in the order in which the network had them."""
    from neuro.compiler.parameters import values
    from neuro.io.results import ResultsError

    found: dict[str, Any] = {"as drawn": values(given.network)}
    if given.reader is not None:
        try:
            found["flossed"] = given.reader.group("first_parameters")
        except ResultsError:
            cli.note("nothing came before learning")
        found["trained"] = given.parameters
    return found


def driven(given: Any, trials: int, steps: int | None) -> tuple[dict[str, Any], dict[str, Any], int | None]:
    """Inputs of one long run, its options, and the steps at its beginning that only align. Raises UserError."""
    from neuro.analysis.lyapunov import in_sequence
    from neuro.learning.common.summed_inputs import silent

    if steps is not None:
        given_inputs = [i.name for i in given.network.inputs if i.rate is None]
        if given_inputs:
            raise cli.UserError(
                f"input '{given_inputs[0]}' has no rate to draw spikes from; leave --steps out of a run of a task"
            )
        return {}, {"steps": steps, "batch": 1}, None
    if given.task is None:
        raise cli.UserError(
            f"'{given.path}' names no task whose trials could drive the network; give --steps for a free run"
        )
    batch = given.task.test_batch()
    if batch.state is not None:
        raise cli.UserError(
            f"trials of task '{given.task.name}' begin in states of their own, so none can follow another; give --steps for a free run"
        )
    inputs, each = in_sequence(silent(given.network, batch.inputs), trials)
    several = next(iter(inputs.values())).shape[1] > each
    return inputs, {}, each if several else None


def rows(spectra: Mapping[str, Any]) -> list[list[Any]]:
    """One row an exponent."""
    names, some = list(spectra), next(iter(spectra.values()))
    found = []
    for i in range(len(some.per_step)):
        row: list[Any] = [i + 1]
        for name in names:
            s = spectra[name]
            row += [f"{s.per_step[i]:.4g} ± {s.error[i]:.1g}", f"{s.per_second[i]:.4g}"]
        found.append(row)
    return found


def main(
    run: Annotated[
        Path, typer.Argument(help="HDF5 file of a complete run; with --steps also a network's .toml or .json")
    ],
    exponents: Annotated[int, typer.Option(min=1, help="how many, the largest first")] = 10,
    trials: Annotated[
        int, typer.Option(min=1, help="test trials, one after another; the first only aligns the directions")
    ] = 20,
    steps: Annotated[int | None, typer.Option(min=2, help="run so long without the task's inputs")] = None,
    backend: Annotated[str, typer.Option(help="what runs the network")] = "auto",
    surrogate: Annotated[
        str, typer.Option(help="slope of spikes; none: they pass nothing on (default: what it was trained with)")
    ] = "",
    resets: Annotated[str, typer.Option(help="detached, attached or ignored")] = "detached",
    seed: Annotated[int, typer.Option(help="of the first directions")] = 0,
    plot: Annotated[Path | None, typer.Option(help="PNG (default: beside the run)")] = None,
    task: Annotated[str, typer.Option(help="your own module:Class, where the run names it as its task")] = "",
) -> None:
    """Print the spectrum of the network as it was drawn, after flossing if there was any, and trained; it goes to /lyapunov in the run."""
    import backends
    from neuro.analysis import lyapunov
    from neuro.analysis.plots import plot_exponents
    from neuro.io.results import write_group
    from twinspike.given import read

    image = plot or run.with_suffix(".lyapunov.png")
    if image.resolve() == run.resolve() or image.is_dir() or not image.parent.is_dir():
        raise cli.UserError(
            f"the plot '{image}' can't be written; name a file in a folder that exists, not the run itself"
        )
    chosen: dict[str, Any] = {"resets": resets, "seed": seed}  # `spectrum` says what it takes
    given = read(run, code=task)
    inputs, options, aligning = driven(given, trials, steps)
    record = given.reader.semantics if given.reader is not None else {}
    trained_with, scales = record.get("surrogate", ""), record.get("surrogate_scale", {})
    program = backends.get(backend).compile(given.network, dtype="float64")
    spectra = {}
    for name, parameters in stages(given).items():
        with cli.progress(f"exponents, {name}") as update:
            recording = program.run(parameters, inputs, record=lyapunov.needed(given.network), **options)
            spectra[name] = lyapunov.spectrum(
                given.network, recording, exponents, parameters=parameters, inputs=inputs, surrogate=surrogate or trained_with, scales=scales,
                transient=aligning, update=update, **chosen,
            )  # fmt: skip
    header = ("number", *(f"{n}, {unit}" for n in spectra for unit in ("1/step", "1/s")))
    cli.table(f"{run}: Lyapunov exponents ± standard error", header, rows(spectra))
    for name, found in spectra.items():
        print(f"{name}: Kaplan-Yorke dimension {found.dimension:.3g} of {exponents} exponents")
    print(f"drawn: {plot_exponents(image, spectra, title=run.name)}")
    if given.reader is not None:
        data = {n: {"per_step": s.per_step, "error": s.error, "dt": s.dt} for n, s in spectra.items()}
        write_group(run, "lyapunov", data)
        print(f"written to {run} (/lyapunov)")

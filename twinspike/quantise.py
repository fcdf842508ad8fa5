"""Quantise a trained network's parameters, and say what that loses.

twinspike quantise runs/digits.h5 --to linear8 --per neuron
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twinspike import cli

HEADER = ("parameter", "bits", "least scale", "largest", "saturated", "error", "zeros")


def main(
    run: Annotated[Path, typer.Argument(help="HDF5 file of a complete run, or a network's .toml or .json")],
    to: Annotated[str, typer.Option(help="binary, ternary, linear8, log4, ... or a target's name")] = "linear8",
    per: Annotated[str, typer.Option(help="one scale a tensor or neuron (not for targets)")] = "tensor",
    power_of_two: Annotated[bool, typer.Option("--power-of-two", help="scales are powers of two")] = False,
    backend: Annotated[str, typer.Option(help="what runs both networks")] = "torch",
    task: Annotated[str, typer.Option(help="your own module:Class, where the run names it as its task")] = "",
) -> None:
    """Print calibration, accuracy and spikes before and after; codes and report go to /post_training in the run file."""
    from neuro.export.quantisation.calibration import NetworkQuantiser, Scheme, options_of
    from neuro.io.results import write_group
    from twinspike.given import read

    options = options_of(to)
    for quantiser in options.get("weights", {}).values():
        quantiser |= {"per": per, "power_of_two": power_of_two}
    given = read(run, code=task)
    found = NetworkQuantiser(given.network, Scheme.of(options)).calibrate(given.parameters)
    cli.table(f"{run}, {to}", HEADER, found.rows())
    cli.table("accumulators", ("population", "bits"), found.accumulators.items())
    data = found.to_data()
    if given.task is None:
        print(f"'{run}' names no task: there is no test set to measure what quantisation loses")
    else:
        data["accuracies"] = accuracies(given, found, to, backend)
    if given.reader is not None:
        write_group(run, f"post_training/{to}", data)


def accuracies(given: Any, found: Any, to: str, backend: str) -> dict[str, float]:
    """On the test set, with the parameters as they are and as their integers stand for them."""
    import backends as registry
    from neuro.analysis.replay import replay

    batch, compiler = given.task.test_batch(), registry.get(backend)
    before = replay(given.task, {"float": compiler.compile(given.network)}, given.parameters, batch)
    after = replay(given.task, {to: compiler.compile(found.network)}, found.parameters, batch)
    both = {**before.accuracies, **after.accuracies}
    rows = [(n, f"{both[n]:.4f}", r.spike_count()) for n, r in {**before.recordings, **after.recordings}.items()]
    cli.table(f"{len(batch.targets)} test trials on {backend}", ("parameters", "accuracy", "spikes"), rows)
    return both

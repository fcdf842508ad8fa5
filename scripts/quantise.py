"""Quantise a trained network's parameters, and say what that loses.

python scripts/quantise.py runs/digits.h5 --to linear8 --per neuron
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cli
import typer

HEADER = ("parameter", "bits", "least scale", "largest", "saturated", "error", "zeros")


def main(
    run: Annotated[Path, typer.Argument(help="HDF5 file of a complete run")],
    to: Annotated[str, typer.Option(help="binary, ternary, linear8, log4, ... or a target's name")] = "linear8",
    per: Annotated[str, typer.Option(help="one scale a tensor or neuron (not for targets)")] = "tensor",
    power_of_two: Annotated[bool, typer.Option("--power-of-two", help="scales are powers of two")] = False,
    backend: Annotated[str, typer.Option(help="what runs both networks")] = "torch",
) -> None:
    """Print calibration, accuracy and spikes before and after; codes and report go to /post_training in the run file."""
    from compare_backends import load

    import backends as registry
    from neuro.analysis.replay import replay
    from neuro.export.calibration import NetworkQuantiser, Scheme, options_of
    from neuro.results import write_group

    options = options_of(to)
    for quantiser in options.get("weights", {}).values():
        quantiser |= {"per": per, "power_of_two": power_of_two}
    _, task, network, parameters = load(cli.existing(run))
    found = NetworkQuantiser(network, Scheme.of(options)).calibrate(parameters)
    cli.table(f"{run}, {to}", HEADER, found.rows())
    cli.table("accumulators", ("population", "bits"), found.accumulators.items())
    batch, compiler = task.test_batch(), registry.get(backend)
    before = replay(task, {"float": compiler.compile(network)}, parameters, batch)
    after = replay(task, {to: compiler.compile(found.network)}, found.parameters, batch)
    accuracies = {**before.accuracies, **after.accuracies}
    rows = [(n, f"{accuracies[n]:.4f}", r.spike_count()) for n, r in {**before.recordings, **after.recordings}.items()]
    cli.table(f"{len(batch.targets)} test trials on {backend}", ("parameters", "accuracy", "spikes"), rows)
    write_group(run, f"post_training/{to}", {**found.to_data(), "accuracies": accuracies})


if __name__ == "__main__":
    cli.run(main)

"""Export a trained network to another simulator's file, and prove the file there.

python scripts/export_weights.py runs/digits.h5 --target nir --out runs/digits.nir
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cli
import typer

TARGETS = ("nir",)
TRIALS = 200


def main(
    run: Annotated[Path, typer.Argument(help="HDF5 file of a complete run")],
    target: Annotated[str, typer.Option(help=f"one of: {', '.join(TARGETS)}")] = "nir",
    out: Annotated[Path, typer.Option(help="file to write")] = Path("runs/network.nir"),
) -> None:
    """Write the file and its semantics record, then replay test trials in snntorch's own importer."""
    if target not in TARGETS:
        raise cli.UserError(f"there is no target '{target}'; known: {', '.join(TARGETS)}")
    from compare_backends import load

    _, task, network, parameters = load(cli.existing(run))
    cli.writable(out)
    from dataclasses import asdict

    from backends.nir_client import prove
    from neuro.export.nir import export_nir
    from neuro.results import write_group

    export_nir(network, parameters, out)
    batch = task.test_batch()
    inputs = {name: value[:TRIALS] for name, value in batch.inputs.items()}
    proof = prove(network, parameters, out, inputs)
    header = ("trials", "spikes", "differences", "in single precision", "near ties", "nearest margin")
    row = (proof.trials, proof.spikes, proof.differences, proof.single, proof.ties, proof.nearest)
    cli.table(f"{out} in snntorch's importer, double precision", header, [row])
    write_group(run, f"export/{target}", {"file": str(out), **asdict(proof)})
    if proof.unexplained:
        raise cli.UserError(f"'{out}' is not what was trained: {proof.unexplained} spikes differ")


if __name__ == "__main__":
    cli.run(main)

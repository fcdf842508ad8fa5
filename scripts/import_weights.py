"""Read a NIR file, ours or another tool's: what it leaves open, and the network as JSON.

python scripts/import_weights.py net.nir --out net.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cli
import typer


def main(
    file: Annotated[Path, typer.Argument(help="NIR file")],
    out: Annotated[Path | None, typer.Option(help="JSON file of the network")] = None,
    convention: Annotated[str, typer.Option(help="whose reading counts: nir, spikingjelly, sinabs, rockpool")] = "nir",
) -> None:
    """Print what a file leaves undetermined, then its network; --out writes it for every backend."""
    from neuro.export.files import replaced_text
    from neuro.export.nir_import import import_nir
    from neuro.export.nir_lint import undetermined
    from neuro.serialisation import to_json

    problems = undetermined(cli.existing(file))
    network = import_nir(file, convention)
    for problem in problems:
        print(problem)
    rows = [[p.name, p.size, p.neuron.equations.splitlines()[0]] for p in network.populations]
    cli.table(f"{network.name}, dt {network.dt}", ("population", "cells", "equation"), rows)
    if out is not None:
        replaced_text(cli.writable(out), to_json(network))
        print(f"written: {out}")


if __name__ == "__main__":
    cli.run(main)

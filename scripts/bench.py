"""Time our backends against other libraries on the same work: interleaved rounds, CPU time, medians, ratios.

python scripts/bench.py training --rounds 7
python scripts/bench.py --list
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cli
import typer


def main(
    benchmark: Annotated[str, typer.Argument(help="which one")] = "",
    list_: Annotated[bool, typer.Option("--list", help="name the benchmarks and leave")] = False,
    rounds: Annotated[int, typer.Option(min=5, help="interleaved rounds")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="torch threads")] = 1,
    out: Annotated[Path, typer.Option(help="folder for file and plots")] = Path("runs/bench"),
) -> None:
    """Run one benchmark and write its tables to one HDF5 file."""
    import benches

    if list_ or not benchmark:
        print("\n".join(benches.names()))
        return
    if benchmark not in benches.names():
        raise cli.UserError(f"there is no benchmark '{benchmark}'; known: {', '.join(benches.names())}")
    import warnings
    from importlib import import_module

    import torch
    from study import Study

    warnings.simplefilter("ignore")  # the peers' own deprecation warnings
    torch.set_num_threads(threads)
    cli.writable(out / benchmark)
    study = Study(benchmark, out)
    import_module(f"benches.{benchmark}").run(study, rounds)
    print(f"written: {study.finish()}")


if __name__ == "__main__":
    cli.run(main)

"""Time our backends against other libraries on the same work: interleaved rounds, CPU time, medians, ratios.

python scripts/bench.py training --rounds 7
python scripts/bench.py microcircuit --scale 1 --threads 2
python scripts/bench.py microcircuit --scale 0.1 --threads 2
python scripts/bench.py all
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cli
import typer

if TYPE_CHECKING:
    from benchmark import Bench


def main(
    benchmark: Annotated[str, typer.Argument(help="which one, or 'all'; none lists them")] = "",
    list_: Annotated[bool, typer.Option("--list", help="name the benchmarks and leave")] = False,
    rounds: Annotated[int, typer.Option(min=7, help="interleaved rounds")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="of every library")] = 1,
    backend: Annotated[str, typer.Option(help="ours; the first must reach the targets")] = "native,torch",
    scale: Annotated[float, typer.Option(help="of the microcircuit: 1 for all of its cells")] = 0.1,
    seconds: Annotated[
        float,
        typer.Option(
            min=0, max=1000, help="of the microcircuit's time that is judged; 0: ten, at more than 0.1 of it one"
        ),
    ] = 0.0,
    quick: Annotated[bool, typer.Option("--quick", help="smaller networks, to see that everything runs")] = False,
    out: Annotated[Path, typer.Option(help="folder for file and plots")] = Path("runs/bench"),
) -> None:
    """Run one benchmark or all, print one table, and write an HDF5 file and plots."""
    import benches

    if list_ or not benchmark:
        print("\n".join((*benches.names(), "all")))
        return
    if benchmark not in (*benches.names(), "all"):
        raise cli.UserError(f"there is no benchmark '{benchmark}'; known: {', '.join((*benches.names(), 'all'))}")
    import timing

    timing.limit_threads(threads)
    import warnings
    from importlib import import_module

    import torch
    from benchmark import Bench

    import backends

    ours = tuple(name for name in backend.split(",") if name in backends.names())
    if not ours:
        raise cli.UserError(f"none of '{backend}' is a backend; known: {', '.join(backends.names())}")
    warnings.simplefilter("ignore")  # the peers' own deprecation warnings
    torch.set_num_threads(threads)
    cli.writable(out / benchmark)
    bench = Bench(
        benchmark, out, quick=quick, rounds=rounds, backends=ours, threads=threads, scale=scale, seconds=seconds
    )
    if benchmark == "all":
        run_all(bench, benches.names())
    else:
        import_module(f"benches.{benchmark}").run(bench)
    print(f"written: {bench.finish()}")


def run_all(bench: Bench, names: tuple[str, ...]) -> None:
    """One after the other; what was measured is kept when a later one fails, and the report names the failure."""
    from importlib import import_module

    for name in names:
        try:
            import_module(f"benches.{name}").run(bench)
        except Exception as error:
            bench.criterion(f"{name} ran", f"{type(error).__name__}: {error}", "no error", False)
        bench.write()


if __name__ == "__main__":
    cli.run(main)

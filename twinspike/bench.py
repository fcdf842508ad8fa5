"""Time our backends against other libraries on the same work: interleaved rounds, CPU time, medians, ratios.

twinspike bench training --rounds 7
twinspike bench training --device cuda
twinspike bench microcircuit --scale 1 --threads 2
twinspike bench microcircuit --scale 0.1 --threads 2
twinspike bench distributed --page docs/scaling.md
twinspike bench all
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinspike import cli

if TYPE_CHECKING:
    from twinspike.benchmark import Bench


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
    device: Annotated[
        str,
        typer.Option(
            help="time whole calls there, by a clock on the wall: cuda, cuda:1, cpu; left out: processor time of the processor's benchmark"
        ),
    ] = "",
    page: Annotated[
        Path | None, typer.Option(help="of distributed: write its tables into this page (docs/scaling.md)")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="of distributed: take these measurements (docs/scaling.json) and make none")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="smaller networks, to see that everything runs")] = False,
    out: Annotated[Path, typer.Option(help="folder for file and plots")] = Path("runs/bench"),
) -> None:
    """Run one benchmark or all, print one table, and write an HDF5 file and plots."""
    from twinspike import benches
    from twinspike.benches import on_device
    from twinspike.summaries import summary

    package, names = (on_device, on_device.names()) if device else (benches, benches.names())
    if list_ or not benchmark:
        rows = [(n, summary(Path(package.__path__[0]) / f"{n}.py")) for n in names]
        cli.table("benchmarks, or 'all' of them", ("name", "what is measured"), rows)
        return
    if benchmark not in (*names, "all"):
        where = f" with --device {device}" if device else ""
        raise cli.UserError(f"there is no benchmark '{benchmark}'{where}; known: {', '.join((*names, 'all'))}")
    for option, value in (("--page", page), ("--measured", measured)):
        if value is not None and benchmark != "distributed":
            raise cli.UserError(f"{option} is of benchmark 'distributed'; leave it out, or name that one")
        if value is not None:
            cli.existing(value)
    from twinspike import timing

    timing.limit_threads(threads)
    import warnings
    from functools import partial
    from importlib import import_module

    import torch

    import backends
    from twinspike.benchmark import Bench
    from twinspike.device import Device

    ours = tuple(name for name in backend.split(",") if name in backends.names())
    if not ours:
        raise cli.UserError(f"none of '{backend}' is a backend; known: {', '.join(backends.names())}")
    warnings.simplefilter("ignore")  # the peers' own deprecation warnings
    torch.set_num_threads(threads)
    cli.writable(out / benchmark)
    given = [Device.found(device)] if device else []
    name = benchmark + (f"-{device.replace(':', '-')}" if device else "")
    bench = Bench(
        name,
        out,
        quick=quick,
        rounds=rounds,
        backends=ours,
        threads=threads,
        scale=scale,
        seconds=seconds,
        place=given[0].card if given else "",
        page=page,
        measured=measured,
    )
    runs = {
        n: partial(import_module(f"{package.__name__}.{n}").run, bench, *given)
        for n in names
        if benchmark in (n, "all")
    }
    if benchmark == "all":
        run_all(bench, runs)
    else:
        runs[benchmark]()
    print(f"written: {bench.finish()}")


def run_all(bench: Bench, runs: Mapping[str, Callable[[], None]]) -> None:
    """One after the other; what was measured is kept when a later one fails, and the report names the failure."""
    for name, run in runs.items():
        try:
            run()
        except Exception as error:
            bench.criterion(f"{name} ran", f"{type(error).__name__}: {error}", "no error", False)
        bench.write()

"""Time our backends against other libraries on the same work: interleaved rounds, CPU time, medians, ratios.

python scripts/bench.py training --rounds 7
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import cli
import typer

Timed = Callable[[], Any]


def interleaved(
    functions: Mapping[str, Timed], rounds: int, update: Callable[[int, int, str], None]
) -> dict[str, list[float]]:
    """CPU seconds of each function in each round; every round calls all of them, in turning order."""
    names = list(functions)
    for function in functions.values():
        function()  # first calls compile and fill caches
    found: dict[str, list[float]] = {name: [] for name in names}
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.process_time()
            functions[name]()
            found[name].append(time.process_time() - start)
        update(i + 1, rounds, "")
    return found


def training_network() -> Any:
    """700 spike inputs -> 128 recurrent LIF -> 20 leaky readouts."""
    import numpy as np
    import peers

    from neuro import Input, Network, Normal, Population, Projection, library, quantity

    lif = library.get("lif").with_parameters(tau_m=quantity("20 ms"))
    leaky = library.get("leaky_integrator").with_parameters(tau_m=quantity("20 ms"))
    pulse = library.get("pulse")

    def weights(fan_in: int) -> Normal:
        return Normal(quantity("0 nA"), quantity(4.0 / np.sqrt(fan_in), "nA"))

    return Network(
        (Population("hidden", lif, peers.HIDDEN), Population("readout", leaky, peers.CLASSES)),
        (
            Projection("feed", "x", "hidden", pulse, weights(peers.INPUTS // 50)),
            Projection("loop", "hidden", "hidden", pulse, weights(peers.HIDDEN)),
            Projection("out", "hidden", "readout", pulse, weights(peers.HIDDEN)),
        ),
        (Input("x", peers.INPUTS),),
        dt=quantity("1 ms"),
        name="bench",
    )


def ours() -> Callable[[Any, Any], float]:
    """One training step of our torch backend, weights as leaf tensors; x: [time, batch, channel]."""
    import torch

    import backends
    from neuro.parameters import parameters

    network = training_network()
    program: Any = backends.get("torch").compile(network, dtype="float32")
    names = [n for n in parameters(network) if n.endswith(".w")]
    weights = {n: torch.tensor(parameters(network)[n].value, dtype=torch.float32, requires_grad=True) for n in names}

    def step(x: Any, labels: Any) -> float:
        for w in weights.values():
            w.grad = None
        found = program.forward(weights, {"x": x.transpose(0, 1)}, record=["readout.v"])
        logits = found.traces["readout.v"].mean(1) * 100  # volt -> units of 10 mV
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    return step


def training(batch: int, rounds: int, update: Callable[[int, int, str], None]) -> tuple[list[list[Any]], list[str]]:
    """Rows (library, version, median CPU seconds, ratio of ours to it, differences) and the peers that are missing."""
    import peers
    import torch

    torch.manual_seed(0)
    x = (torch.rand(100, batch, peers.INPUTS) < 0.02).float()
    labels = torch.randint(0, peers.CLASSES, (batch,))
    builders: dict[str, Callable[[], Callable[[Any, Any], float]]] = {"twinspike": ours, "twinspike again": ours}
    missing = []
    for name, peer in peers.PEERS.items():
        try:
            version(peer.package)
            builders[name] = peer.build
        except PackageNotFoundError:
            missing.append(f"{peer.package} (not installed)")
    steps = {}
    for name, build in builders.items():
        try:
            steps[name] = build()
        except ImportError as error:
            missing.append(f"{name} ({error})")
    times = interleaved({n: lambda f=f: f(x, labels) for n, f in steps.items()}, rounds, update)  # type: ignore[misc]
    mine = median(times["twinspike"])
    rows = []
    for name, found in times.items():
        peer_or_us = peers.PEERS.get(name)
        spread = (max(found) - min(found)) / median(found)
        rows.append(
            [name, version(peer_or_us.package if peer_or_us else "twinspike"), median(found), mine / median(found), f"{spread:.0%}",
             peer_or_us.differs if peer_or_us else "A/A control" if "again" in name else ""]
        )  # fmt: skip
    return rows, missing


def main(
    benchmark: Annotated[str, typer.Argument(help="which one: training")] = "training",
    batch: Annotated[list[int] | None, typer.Option(help="batch sizes")] = None,
    rounds: Annotated[int, typer.Option(min=5, help="interleaved rounds")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="torch threads")] = 1,
    out: Annotated[Path | None, typer.Option(help="write the table as JSON")] = None,
) -> None:
    """Time one training step against snnTorch, Norse and SpikingJelly."""
    if benchmark != "training":
        raise cli.UserError(f"there is no benchmark '{benchmark}'; known: training")
    import json
    import warnings

    import torch

    warnings.simplefilter("ignore")  # the peers' own deprecation warnings
    torch.set_num_threads(threads)
    results: dict[str, Any] = {"torch": torch.__version__, "threads": threads, "rounds": rounds}
    header = ("library", "version", "CPU s", "ours/theirs", "spread", "differs")
    for size in batch or [32, 256]:
        with cli.progress(f"training, batch {size}") as update:
            rows, missing = training(size, rounds, update)
        cli.table(f"Training step, batch {size}, float32, torch {torch.__version__}, {threads} thread(s)", header, rows)
        for name in missing:
            print(f"left out: {name}")
        results[f"batch {size}"] = [dict(zip(header, row, strict=True)) for row in rows]
    if out is not None:
        cli.writable(out).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    cli.run(main)

"""One training step, forward and backward: 700 inputs at 2 % -> 128 recurrent LIF -> 20 leaky readouts, T = 100."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from study import Study
from timing import CONTROL, interleaved, ratio_rows

from benches import training_peers as peers

BATCHES = (32, 256)
STEPS, DENSITY = 100, 0.02


def network() -> Any:
    """The network as a twinspike definition."""
    import numpy as np

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

    model = network()
    program: Any = backends.get("torch").compile(model, dtype="float32")
    declared = parameters(model)
    names = [n for n in declared if n.endswith(".w")]
    weights = {n: torch.tensor(declared[n].value, dtype=torch.float32, requires_grad=True) for n in names}

    def step(x: Any, labels: Any) -> float:
        for w in weights.values():
            w.grad = None
        found = program.forward(weights, {"x": x.transpose(0, 1)}, record=["readout.v"])
        logits = found.traces["readout.v"].mean(1) * 100  # volt -> units of 10 mV
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    return step


def run(study: Study, rounds: int) -> None:
    import torch

    steps: dict[str, Callable[[Any, Any], float]] = {"twinspike torch": ours()}
    steps["twinspike torch" + CONTROL] = ours()
    notes = {}
    for name, peer in peers.PEERS.items():
        try:
            label = f"{name} {version(peer.package)}"
            steps[label] = peer.build()
            notes[label] = peer.differs
        except (PackageNotFoundError, ImportError):
            print(f"left out: {name} (not installed)")
    for batch in BATCHES:
        torch.manual_seed(0)
        x = (torch.rand(STEPS, batch, peers.INPUTS) < DENSITY).float()
        labels = torch.randint(0, peers.CLASSES, (batch,))
        with study.progress(f"batch {batch}") as update:
            times = interleaved({n: _call(f, x, labels) for n, f in steps.items()}, rounds, update)
        rows = ratio_rows(times, "twinspike torch", notes)
        title = f"Training step, batch {batch}, float32, torch {torch.__version__}, {torch.get_num_threads()} thread(s)"
        study.table(title, ("library", "CPU s", "ours/theirs", "range", "differs"), rows)
        for name, found in times.items():
            study.array(f"batch {batch}/{name}", found)
        snntorch = next((row for row in rows if row[0].startswith("snntorch")), None)
        if snntorch is not None:
            study.criterion(f"batch {batch}, against snnTorch", snntorch[2], "<= 1", snntorch[2] <= 1)


def _call(step: Callable[[Any, Any], float], x: Any, labels: Any) -> Callable[[], float]:
    return lambda: step(x, labels)

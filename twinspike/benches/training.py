"""One training step, forward and backward: 700 inputs at 2 % -> 128 recurrent LIF -> 20 leaky readouts, T = 100."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from twinspike.benches.peers import training as peers
from twinspike.benchmark import Bench
from twinspike.timing import CONTROL, interleaved

STEPS, DENSITY = 100, 0.02
DENSE = "native, dense spikes"
TARGETS = {
    256: {"snnTorch": 0.12, "Spyx": 0.13, "SpikingJelly": 0.07},
    32: {"snnTorch": 0.06, "Spyx": 0.13},
}  # by batch


def network(layers: Sequence[int] = (peers.HIDDEN,)) -> Any:
    """The network as a twinspike definition. layers: cells of each; those after the first see spikes of a twentieth of the cells before."""
    import numpy as np

    from neuro import Input, Network, Normal, Population, Projection, library, quantity

    lif = library.get("lif").with_parameters(tau_m=quantity("20 ms"))
    leaky = library.get("leaky_integrator").with_parameters(tau_m=quantity("20 ms"))
    pulse = library.get("pulse")

    def weights(fan_in: int) -> Normal:
        return Normal(quantity("0 nA"), quantity(4.0 / np.sqrt(fan_in), "nA"))

    cells, projections, before, active = [], [], "x", peers.INPUTS // 50
    for number, size in zip(("", *range(2, len(layers) + 1)), layers, strict=True):
        name = f"hidden{number}"
        cells.append(Population(name, lif, size))
        projections.append(Projection(f"feed{number}", before, name, pulse, weights(active)))
        projections.append(Projection(f"loop{number}", name, name, pulse, weights(size)))
        before, active = name, max(size // 20, 1)
    cells.append(Population("readout", leaky, peers.CLASSES))
    projections.append(Projection("out", before, "readout", pulse, weights(layers[-1])))
    return Network(tuple(cells), tuple(projections), (Input("x", peers.INPUTS),), dt=quantity("1 ms"), name="bench")


def ours(backend: str, x: Any, labels: Any, *, dense: bool = False) -> Callable[[], float]:
    """One training step of our backend; see `step_of`.

    native is given events, as tasks deliver them, or with `dense` a boolean array; torch what the peers are given.
    """
    from neuro.events import Events

    spikes = x.transpose(0, 1)
    if backend == "native":
        raster = spikes.numpy() > 0
        spikes = raster if dense else Events.of(raster)
    return peers.loss_of(step_of(backend, network(), spikes, labels)[0])


def step_of(
    backend: str, model: Any, spikes: Any, labels: Any, **options: Any
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """One training step, which gives the loss, a tensor where the labels lie, and its weights, leaf tensors by name. options: of compile."""
    import torch

    import backends
    from neuro.compiler.parameters import parameters

    program: Any = backends.get(backend).compile(model, dtype="float32", **options)
    declared = parameters(model)
    weights = {
        n: torch.tensor(p.value, dtype=torch.float32, device=labels.device, requires_grad=True)
        for n, p in declared.items()
        if n.endswith(".w")
    }

    def step() -> Any:
        for w in weights.values():
            w.grad = None
        found = program.forward(weights, {"x": spikes}, record=["readout.v"])
        logits = found.traces["readout.v"].mean(1) * 100  # volt -> units of 10 mV
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return step, weights


def weights_of(model: Any) -> dict[str, Any]:
    """The network's weights in nA, [pre, post], by projection."""
    from neuro.compiler.parameters import values

    return {n.removesuffix(".w"): 1e9 * w for n, w in values(model).items() if n.endswith(".w")}


def data(batch: int, steps: int) -> tuple[Any, Any]:
    """Spikes, float32 [time, batch, channel], made without arrays beside them, and labels."""
    import torch

    torch.manual_seed(0)
    x = torch.zeros(steps, batch, peers.INPUTS)
    x.view(-1)[torch.randint(x.numel(), (int(DENSITY * x.numel()),))] = 1.0
    return x, torch.randint(0, peers.CLASSES, (batch,))


def installed() -> Iterator[str]:
    """The peers that are there; names the others."""
    for name, peer in peers.PEERS.items():
        try:
            version(peer.package)
        except PackageNotFoundError:
            print(f"left out: {name} (the package {peer.package} is not installed)")
        else:
            yield name


def spike_rate(x: Any) -> float:
    """Spikes of one of our hidden cells a step."""
    import backends

    run = backends.get("torch").compile(network(), dtype="float32").run
    return float(run(inputs={"x": x.transpose(0, 1).numpy() > 0}).spikes["hidden"].mean())


def run(bench: Bench) -> None:
    known, given = list(installed()), weights_of(network())
    for batch in (8,) if bench.quick else TARGETS:
        x, labels = data(batch, STEPS)
        steps = {name + end: ours(name, x, labels) for name in bench.backends for end in ("", CONTROL)}
        if "native" in bench.backends:
            steps[DENSE] = ours("native", x, labels, dense=True)
        steps |= {name: peers.loss_of(peers.PEERS[name].build(x, labels, given)) for name in known}
        title = f"training, batch {batch}"
        with bench.progress(title) as update:
            times = interleaved(steps, bench.rounds, update)
        differs = {name: peers.PEERS[name].differs for name in known}
        differs[DENSE] = "the same with spikes given as a boolean array, of which it makes events in every step"
        bench.ratios(title, times, bench.ours, targets=TARGETS.get(batch), differs=differs)
        if bench.ours != "torch" and "torch" in bench.backends:
            some = {n: t for n, t in times.items() if n in ("torch", "torch" + CONTROL, "snnTorch")}
            bench.ratios(title, some, "torch", targets={"snnTorch": 1.0}, differs=differs)
        rate = spike_rate(x)  # what the event-driven part of the work depends on
        bench.criterion(f"{title}: spikes of a hidden cell a step", rate, "0.01 to 0.2", 0.01 < rate < 0.2)

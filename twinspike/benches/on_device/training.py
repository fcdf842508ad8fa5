"""Training steps, forward and backward, on a device: 700 inputs at 2 % -> recurrent LIF -> 20 leaky readouts."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twinspike.benches import training
from twinspike.benches.on_device.measuring import Goal, absolute, built, installed, measure
from twinspike.benches.peers import training as peers
from twinspike.benchmark import Bench
from twinspike.device import Device
from twinspike.timing import in_fresh_process

GRAPH = "torch, graph"
JAX, FIRST_USE, MEMORY = "JAX by hand", 2.0, 150.0  # seconds, MB
FAST = (JAX, "Spyx", "torch by hand, graph")
REMEMBERED = ("torch by hand", JAX)  # peers whose memory is measured, in a process each


@dataclass(frozen=True)
class Work:
    """everyone: also those who take an operation after the other, each for a tenth of a second and more. memory: whether that of a
    step is measured too, and a first use."""

    name: str
    batch: int
    steps: int
    layers: tuple[int, ...] = (peers.HIDDEN,)
    goal: Goal = field(default_factory=Goal)
    everyone: bool = False
    memory: bool = False


WORKS = (
    Work("256 x 100", 256, 100, goal=Goal(1.0, {"snnTorch": 0.01, JAX: 0.35}), everyone=True),
    Work("1,024 x 100", 1024, 100, goal=Goal(1.8, {JAX: 0.45})),
    Work("256 x 1,000", 256, 1000, goal=Goal(5.0, {JAX: 0.2}), memory=True),
    Work("256 x 100, 1,024 recurrent cells", 256, 100, (1024,)),
    Work("256 x 100, three recurrent layers of 512", 256, 100, (512, 512, 512)),
)
QUICK = (Work("4 x 20", 4, 20, (16,), everyone=True, memory=True), Work("4 x 20, three layers", 4, 20, (16, 12, 8)))


def makers(
    backends: Sequence[str], device: Device, work: Work, chosen: Sequence[str] = ()
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """What builds each step, ours and the peers that are there. chosen: their names; left out: all."""
    x, labels = (a.to(device.name) for a in training.data(work.batch, work.steps))
    model = training.network(work.layers)
    weights = training.weights_of(model)
    names = {name: peer.package for name, peer in peers.ALL.items() if name in chosen or not chosen}
    found: dict[str, Callable[[], Callable[[], Any]]] = {
        n: _ours(n, model, x, labels, device) for n in ours(backends) if n in chosen or not chosen
    }
    for name in installed(names, device, of_jax() & names.keys()):
        found[name] = lambda name=name: peers.ALL[name].build(x, labels, weights)  # type: ignore[misc]
    return found


def ours(backends: Sequence[str]) -> tuple[str, ...]:
    """Our backends, and torch with its whole step in one graph."""
    return (*backends, *([GRAPH] if "torch" in backends else []))


def of_jax() -> frozenset[str]:
    return frozenset(name for name, peer in peers.ALL.items() if peer.of_jax)


def _ours(name: str, model: Any, x: Any, labels: Any, device: Device) -> Callable[[], Callable[[], Any]]:
    spikes = x.transpose(0, 1)
    if name == "native":
        spikes = given(spikes, device)
    options = {"compile": "graph"} if name == GRAPH else {}
    backend = name.partition(",")[0]
    return lambda: training.step_of(backend, model, spikes, labels, device=device.name, **options)[0]


def given(spikes: Any, device: Device) -> Any:
    """What native is given: truth values on a GPU, of which it makes lists itself; lists on the processor."""
    from neuro.events import Events

    return (spikes > 0).contiguous() if device.cuda else Events.of(spikes.numpy() > 0)


def peak(name: str, backends: tuple[str, ...], device: Device, work: Work) -> float:
    """Most MB on the device in three steps, without the spikes that are given; in a process of its own."""
    step = makers(backends, device, work, [name])[name]()
    device.forget_peak()
    for _ in range(3):
        float(step())
    jax = name in of_jax()
    spikes = work.batch * work.steps * peers.INPUTS * (1 if name == "native" else 4)
    return (device.peak(of_jax=jax) - spikes) / 1e6


def first_use(backend: str, device: Device, work: Work) -> float:
    """Seconds from a definition to its first gradient, with nothing kept; the device has been used before. In a process of its own."""
    import torch

    x, labels = (a.to(device.name) for a in training.data(work.batch, work.steps))
    spikes = given(x.transpose(0, 1), device) if backend == "native" else x.transpose(0, 1)
    (torch.eye(2, device=device.name, requires_grad=True) ** 2).sum().backward()  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        start = time.perf_counter()
        float(training.step_of(backend, training.network(work.layers), spikes, labels, device=device.name)[0]())
        return time.perf_counter() - start


def remember(bench: Bench, device: Device, work: Work, known: list[str]) -> None:
    """Peak memory of ours and some peers, and the time of a first use."""
    title, judged = f"training, {work.name}", device.cuda and not bench.quick
    found = [in_fresh_process(first_use, bench.ours, device, work) for _ in range(2)]
    absolute(bench, f"{title}: first use", bench.ours, found, "s", FIRST_USE if judged else None)
    if not device.cuda:
        print("not measured: memory on the device (bench.py memory measures the processor's)")
        return
    names = [n for n in (*ours(bench.backends), *REMEMBERED) if n in known or n in REMEMBERED[:1]]
    memory = {n: in_fresh_process(peak, n, bench.backends, device, work) for n in names}
    bench.table(f"{title}: peak memory", ("who", "MB beside the spikes given"), list(memory.items()))
    absolute(bench, f"{title}: memory", bench.ours, [memory[bench.ours]], "MB", MEMORY if judged else None)


def run(bench: Bench, device: Device) -> None:
    for work in QUICK if bench.quick else WORKS:
        title = f"training, {work.name}"
        fast = [n for n in (*ours(bench.backends), *FAST) if n != "torch" or bench.ours == "torch"]
        steps = built(makers(bench.backends, device, work, [] if work.everyone else fast), device)
        agree(bench, title, steps)
        differs = {name: peer.differs for name, peer in peers.ALL.items()}
        measure(bench, device, title, steps, work.goal, float, differs, of_jax())
        if work.memory and bench.ours in steps:
            remember(bench, device, work, list(steps))
        bench.write()


def agree(bench: Bench, title: str, steps: dict[str, Callable[[], Any]]) -> None:
    """The loss of ours and of the same network by hand."""
    names = [n for n in steps if n in ours(bench.backends) or n.removesuffix(", graph").endswith("by hand")]
    losses = {name: float(steps[name]()) for name in names}
    if not losses:
        return
    spread = max(losses.values()) / min(losses.values()) - 1
    bench.criterion(f"{title}: losses of {', '.join(names)} are the same", spread, "<= 1e-3", spread <= 1e-3)

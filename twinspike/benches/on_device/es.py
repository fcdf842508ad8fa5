"""Losses of 64 to 4,096 candidates for 100 all-to-all Morris-Lecar cells, 2,000 steps of Euler, on a device: spike counts of every cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from twinspike.benches import es
from twinspike.benches.on_device.measuring import Goal, built, installed, measure
from twinspike.benches.peers import es as peers
from twinspike.benchmark import Bench
from twinspike.device import Device

JAX, COMPARED, METHOD = es.JAX, 4, "euler"  # so many candidates are compared with the interpreter
SLOW, MANY = ("torch", es.BY_HAND), 64  # who take an operation after the other are left out of more candidates
GOALS = {
    64: Goal(2.0, {JAX: 0.1}),
    512: Goal(3.0, {JAX: 0.12}),
    4096: Goal(18.0, {JAX: 0.2}),
}  # by candidates
PEERS: dict[str, tuple[str, Callable[..., Callable[[], Any]]]] = {
    es.BY_HAND: ("torch", peers.torch_loop),
    f"{es.BY_HAND}, graph": ("torch", peers.torch_graph),
    JAX: ("jax", lambda method, candidates, steps, device: peers.jax_scan(method, candidates, steps)),
}


def ours(backend: str, candidates: Any, steps: int, device: Device) -> Callable[[], Any]:
    """Spike counts [candidate, cell] of a run; candidates and currents lie on the device."""
    import torch

    import backends

    program: Any = backends.get(backend).compile(es.network(METHOD), dtype="float32", device=device.name)
    w, drive = (torch.as_tensor(a, dtype=torch.float32, device=device.name) for a in (candidates, peers.CURRENT))
    given = {"loop.w": w}, {"drive": drive.expand(1, steps, -1)}

    def listed() -> Any:
        (spikes,) = program.run(*given, population=len(w)).spikes.events.values()
        candidate = np.repeat(np.arange(len(w)), np.diff(spikes.offsets[::steps]))
        found = np.bincount(candidate * peers.CELLS + spikes.channels, minlength=len(w) * peers.CELLS)
        return found.reshape(len(w), peers.CELLS)

    def tensors() -> Any:
        with torch.no_grad():
            return program.forward(*given, population=len(w)).spikes["cells"].sum((1, 2))

    return listed if backend == "native" else tensors


def counts(found: Any) -> Any:
    """As numpy's."""
    return np.asarray(found.cpu() if hasattr(found, "cpu") else found)


def run(bench: Bench, device: Device) -> None:
    steps = 200 if bench.quick else es.STEPS
    for count, goal in {4: Goal()}.items() if bench.quick else GOALS.items():
        candidates = np.random.default_rng(bench.seed).normal(0.0, 0.02, (count, peers.CELLS, peers.CELLS))
        names = [n for n in (*bench.backends, *PEERS) if count <= MANY or n not in SLOW or n == bench.ours]
        makers = {
            name: lambda name=name, candidates=candidates: ours(name, candidates, steps, device)
            for name in bench.backends
            if name in names
        }
        packages = {n: package for n, (package, _) in PEERS.items() if n in names}
        for name in installed(packages, device, frozenset({JAX})):
            makers[name] = lambda name=name, candidates=candidates: PEERS[name][1](
                METHOD, candidates, steps, device.name
            )
        functions, title = built(makers, device), f"ES, {count:,} candidates"
        differs = same_work(bench, title, functions, candidates, steps)
        measure(bench, device, title, functions, goal, counts, differs, frozenset({JAX}))
        bench.write()


def same_work(
    bench: Bench, title: str, functions: dict[str, Callable[[], Any]], candidates: Any, steps: int
) -> dict[str, str]:
    """Spike counts of the first candidates against the interpreter's in float64, to one spike a cell; what differs, by name."""
    expected = es.ours("reference", METHOD, candidates[:COMPARED], steps, dtype="float64")()
    differs = {}
    for name, function in functions.items():
        found = counts(function())[:COMPARED]
        apart = np.abs(found - expected)
        same = apart.max() <= 1 and found.sum() > 0
        wanted = "<= 1 a cell apart, and there are some"
        bench.criterion(f"{title}, {name}: spikes as the interpreter's", int(apart.max()), wanted, bool(same))
        differs[name] = f"{int((apart > 0).sum())} of {found.size} cells' counts differ from float64"
    return differs

"""Memory that one step of time adds to a training step: peak in fresh processes, long against short trials.

The dense spikes that every library is given grow too, by the same; they are not counted, what a library makes of them is.
"""

from __future__ import annotations

from typing import Any

from twinspike.benches import training
from twinspike.benches.peers import training as peers
from twinspike.benchmark import Bench
from twinspike.timing import CONTROL, forget_peak, in_fresh_process, peak_memory

BATCH, SHORT, LONG, REPEATS = 256, 100, 500, 3
TARGETS = {"snnTorch": 0.15}


def peak(name: str, batch: int, steps: int) -> int:
    """Peak bytes of two training steps, without the given spikes."""
    x, labels = training.data(batch, steps)
    step: Any
    if name in peers.PEERS:
        step = peers.PEERS[name].build(x, labels, training.weights_of(training.network()))
    else:
        step = training.ours(name, x, labels)
    forget_peak()
    for _ in range(2):
        step()
    return peak_memory() - int(x.numel() * x.element_size())


def run(bench: Bench) -> None:
    batch = 32 if bench.quick else BATCH
    known = list(training.installed())
    names = [*(name + end for name in bench.backends for end in ("", CONTROL)), *known]
    found: dict[str, list[float]] = {name: [] for name in names}
    with bench.progress("memory") as update:
        for i in range(REPEATS):
            for name in names:
                short, long = (in_fresh_process(peak, name.removesuffix(CONTROL), batch, n) for n in (SHORT, LONG))
                found[name].append((long - short) / (LONG - SHORT) / 2**20)
            update(i + 1, REPEATS, "")
    differs = {name: peers.PEERS[name].differs for name in known}
    bench.ratios(f"memory a step, batch {batch}", found, bench.ours, targets=TARGETS, differs=differs, unit="MB")

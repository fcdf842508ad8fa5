"""Runs that go on: overhead of a session's step, memory of a stream and of noisy cells against the number of steps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse, append_recording
from twinspike.benchmark import Bench, Figure
from twinspike.timing import CONTROL, in_fresh_process, interleaved, peak_memory

CELLS, OVERHEAD = 100, 60e-6  # seconds a step, of native
STREAMED, CHUNK, NOISY = 500, 10_000, 20_000
GROWTH = 1.1  # of the peak at ten times the length
SPIKES = Synapse("pulse", "w : 1", on_pre="I_post += w")


def cells(size: int, *, noise: bool = False) -> Network:
    """Cells that fire: by a hundred input channels, or by noise alone."""
    text = "dv/dt = (1.1 - v)/(10*ms) + 0.1*xi/sqrt(10*ms) : 1" if noise else "dv/dt = (I - v)/(10*ms) : 1\nI : 1"
    neuron = Neuron("lif", text, threshold="v > 1", reset="v = 0", method="euler")
    population = Population("cells", neuron, size)
    if noise:
        return Network((population,), dt="0.1 ms", seed=1)
    feed = Projection("feed", "x", "cells", SPIKES, 15.0)
    return Network((population,), (feed,), (Input("x", 10, "poisson", rate="100 Hz"),), dt="0.1 ms", seed=1)


def streamed(steps: int) -> int:
    """Peak bytes of a stream that is appended to a file."""
    program = backends.get("native").compile(cells(STREAMED))
    with tempfile.TemporaryDirectory() as folder, append_recording(Path(folder) / "long.h5", program.network) as file:
        for part in program.stream(steps=steps, chunk=CHUNK):
            file.append(part)
    return peak_memory()


def noisy(steps: int) -> int:
    """Peak bytes of one run of noisy cells."""
    backends.get("native").compile(cells(NOISY, noise=True)).run(steps=steps)
    return peak_memory()


def run(bench: Bench) -> None:
    sessions(bench)
    for name, peak, short in (("stream", streamed, 10_000 if bench.quick else 100_000), ("noise", noisy, 500)):
        few, many = (in_fresh_process(peak, steps) / 2**20 for steps in (short, 10 * short))
        bench.array(f"going on/{name}", [few, many])
        grown, label = many / few, f"peak, {name}, {10 * short:,} steps"
        bench.figures.append(
            Figure(
                "going on",
                label,
                f"{short:,} steps",
                f"{many:.0f} MB",
                f"{few:.0f} MB",
                grown,
                grown,
                grown,
                target=GROWTH,
            )
        )


def sessions(bench: Bench) -> None:
    """A session's step beside a run of one step that goes on from a state; the whole call, the kernel included."""
    program = backends.get("native").compile(cells(CELLS))
    spikes = {"x": np.random.default_rng(0).random((1, 1, 10)) < 0.05}
    state = program.run(inputs=spikes).state
    session = program.session()

    def step() -> Any:
        return session.step(spikes)

    functions = {
        "session": step, f"session{CONTROL}": step, "run(state=...)": lambda: program.run(inputs=spikes, state=state).state
    }  # fmt: skip
    times = interleaved(functions, bench.rounds)
    bench.ratios(f"a step of {CELLS} cells", times, "session")
    alone = sorted(times["session"])
    said = f"{median(alone) * 1e6:.1f} us"
    bench.figures.append(
        Figure("going on", "a session's step", "", said, "", median(alone), alone[0], alone[-1], target=OVERHEAD)
    )

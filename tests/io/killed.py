"""A recording whose writer is killed again and again, while somebody reads it: python -m tests.io.killed FOLDER KILLS SEED.

A process of its own, so that its children can be forked: each begins at once, and may be killed at any moment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import backends
from neuro import Input, Network, Neuron, Population, Projection, Recording, Synapse
from neuro.io.results import ResultsError, append_recording, open_run

STEPS, CHUNK, EVERY = 12_000, 60, 20
RECORD = ("c.v",)


def network() -> Network:
    """Noise, delays, Poisson spikes, plastic weights: everything that a run must go on with."""
    noisy = Neuron(
        "noisy",
        "dv/dt = (1.02 - v)/(10*ms) + 0.02*xi*ms**-0.5 : 1",
        "v > 1",
        "v = 0",
        refractory="2 ms",
        method="euler",
    )
    plastic = Synapse(
        "plastic",
        "w : 1\ndA/dt = -A/(20*ms) : 1",
        on_pre="v_post += w\nA += 1",
        on_post="w = clip(w + 0.001*A, 0, 0.3)",
        method="exact",
    )
    return Network(
        [Population("c", noisy, 20)],
        [Projection("j", "x", "c", plastic, weights=0.1, delay="1.5 ms")],
        [Input("x", 10, "poisson", rate="20 Hz")],
        dt="0.5 ms",
        seed=5,
    )


def record(program: Any, path: Path, total: int = STEPS) -> None:
    begun = path.exists() and path.stat().st_size > 0
    with append_recording(path, program.network, resume=begun) as file:
        for part in program.stream(record=RECORD, steps=total - file.steps, chunk=CHUNK, every=EVERY, state=file.state):
            file.append(part)


def by_now(path: Path) -> Recording | None:
    """What a reader finds: nothing yet, or a recording."""
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        return open_run(path).recording()
    except ResultsError as error:
        if "holds no recording" in str(error):
            return None
        raise


def check(found: Recording, whole: Recording) -> int:
    """Steps of a prefix of the whole, equal bit for bit."""
    steps = found.spikes["c"].shape[1]
    assert found.state.step == steps
    np.testing.assert_array_equal(found.spikes["c"], whole.spikes["c"][:, :steps])
    np.testing.assert_array_equal(found.traces["c.v"], whole.traces["c.v"][:, : steps // EVERY])
    for name, values in found.final.items():
        np.testing.assert_array_equal(values, found.state.variables[name])
    return int(steps)


def attempt(program: Any, path: Path, life: float, whole: Recording) -> tuple[int, int]:
    """Times that somebody read, and the exit status of one who writes that long."""
    child = os.fork()
    if not child:
        try:
            record(program, path)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    end, reads, before = time.monotonic() + life, 0, 0
    while time.monotonic() < end and (done := os.waitpid(child, os.WNOHANG))[0] == 0:
        found = by_now(path)
        if found is not None:
            steps = check(found, whole)
            assert steps >= before
            before, reads = steps, reads + 1
    if done[0] == 0:
        os.kill(child, signal.SIGKILL)
        done = os.waitpid(child, 0)
    found = by_now(path)
    assert (0 if found is None else check(found, whole)) >= before
    return reads, done[1]


def same_bytes(a: Path, b: Path) -> None:
    """Every dataset of a recording, but for the list of its parts."""
    with h5py.File(a) as one, h5py.File(b) as other:
        names: list[str] = []
        one.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        recorded = [n for n in names if n.partition("/")[0] in ("spikes", "traces", "report", "final", "state")]
        assert len(recorded) > 10
        for name in recorded:
            assert (one[name].dtype, one[name].shape) == (other[name].dtype, other[name].shape)
            assert one[name][()].tobytes() == other[name][()].tobytes()
            assert [*one[name].attrs.items()] == [*other[name].attrs.items()]
        for name in one["spikes"]:
            np.testing.assert_array_equal(one[f"spikes/{name}"].attrs["shape"], other[f"spikes/{name}"].attrs["shape"])


def main(folder: Path, kills: int, seed: int) -> None:
    program, moments, path = backends.get("native").compile(network()), random.Random(seed), folder / "killed.h5"
    whole = program.run(record=RECORD, steps=STEPS, every=EVERY)
    assert whole.spike_count() > 1000
    took = []
    for name, total in (
        ("once.h5", CHUNK),
        ("short.h5", CHUNK),
        ("whole.h5", STEPS),
    ):  # what is made only once, is made first
        begin = time.monotonic()
        record(program, folder / name, total)
        took.append(time.monotonic() - begin)
    life = took[1] + took[2] / kills
    stops, reads = [], 0
    for _ in range(kills):
        more, status = attempt(program, path, moments.uniform(0, life), whole)
        assert os.WIFSIGNALED(status), f"it ended by itself, with {status}, after {stops}"
        found = by_now(path)
        stops.append(0 if found is None else found.spikes["c"].shape[1])
        reads += more
    more, status = attempt(program, path, 100.0, whole)
    assert status == 0 and open_run(path).complete
    found = by_now(path)
    assert found is not None and check(found, whole) == STEPS
    assert found.state.differences(whole.state) == {}
    for name, values in whole.final.items():
        np.testing.assert_array_equal(found.final[name], values)
    same_bytes(folder / "whole.h5", path)
    assert {p.name for p in folder.iterdir()} == {"once.h5", "short.h5", "whole.h5", "killed.h5"}
    print(json.dumps({"stops": stops, "reads": reads + more}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

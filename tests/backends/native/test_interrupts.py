"""A kernel comes back from time to time: Ctrl-C ends a long run at once, and what is called again gives the same numbers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

import backends
from backends.native.calls import PAUSED, Call
from neuro.compiler.parameters import parameters
from tests.backends.native.test_gradients import loss
from tests.backends.networks import drive, networks
from tests.children import ROOT, environment

NETWORKS = networks()
LONG = """
import sys, time
import numpy as np
import backends
from neuro import Network, Population
from tests.backends.networks import LEAKY

what, threads = sys.argv[1], int(sys.argv[2])
network = Network((Population("cells", LEAKY, 20_000),), dt="1 ms", name="long")
program = backends.get("native").compile(network, threads=threads)
small = dict(record=["cells.v"], steps=3, batch=16)
before = program.run({"cells.R": 2e8}, **small)
given = np.array(1e8)
training = program.value_and_grad if what in ("gradient", "backward") else None
if training:
    training(lambda s: s.traces["cells.v"].sum(), {}, {}, ["cells.R"], ["cells.v"], steps=3, batch=16)
session = program.session(16)
session.step()

def loss(signals):
    print("ready", flush=True)
    return signals.traces["cells.v"].sum()

if what != "backward":
    print("ready", flush=True)
try:
    if what == "backward":
        training(loss, {}, {}, ["cells.R"], ["cells.v"], every=500, steps=10_000, batch=16)
    elif training:
        every = {"every": 100_000, "steps": 10**6, "batch": 16}
        training(lambda s: s.traces["cells.v"].sum(), {}, {}, ["cells.R"], ["cells.v"], **every)
    elif what == "session":
        while True:
            session.step(steps=250)
    elif what == "one trial":
        program.run(steps=10**7)
    else:
        program.run(steps=10**6, batch=16)
except KeyboardInterrupt:
    print(time.time(), flush=True)
after = program.run({"cells.R": 2e8}, **small)
assert np.array_equal(before.traces["cells.v"], after.traces["cells.v"])
if training:
    training(lambda s: s.traces["cells.v"].sum(), {}, {}, ["cells.R"], ["cells.v"], steps=3, batch=16)
at = session.state.step
assert session.step().state.step == at + 1
print("works", flush=True)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("what", ["run", "one trial", "session", "gradient", "backward"])
def test_ctrl_c_ends_a_long_run_within_a_second(what: str, threads: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", LONG, what, str(threads)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
    )  # fmt: skip
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.7)
        assert child.poll() is None
        sent = time.time()
        child.send_signal(signal.SIGINT)
        assert 0 <= float(child.stdout.readline()) - sent < 1
        assert child.stdout.read() == "works\n"
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.parametrize(
    ("feature", "threads"),
    [
        *((f, 1) for f in ("recurrent", "heterogeneous delays", "noise", "pairs", "graded", "plastic loop")),
        ("plastic", 2),
        ("delay", 2),
    ],
)
def test_a_kernel_that_comes_back_after_each_step(feature: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs, gradients and sessions, in tiles and spans of tape: the same bits, and as many calls as there are steps."""
    network = NETWORKS[feature]
    inputs = drive(network, steps=30, batch=19)
    names = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    wrt = list(parameters(network))
    monkeypatch.setattr("backends.native.executable.TAPE", 13)

    def numbers() -> list[Any]:
        made: Any = backends.get("native").compile(network, threads=threads)
        whole = made.run(inputs=inputs, record=names, steps=30, batch=19)
        _, slopes = made.value_and_grad(loss, {}, inputs, wrt, names, steps=30, batch=19)
        with made.session(19, record=names) as session:
            part = session.step({n: a[:, :20] for n, a in inputs.items()}, 20)
        return [
            *whole.spikes.values(), *whole.traces.values(), *whole.final.values(), *slopes.values(), *part.traces.values(),
            *whole.state.variables.values(), *part.state.variables.values(),
        ]  # fmt: skip

    paused = 0
    one = Call._one

    def counted(self: Call, i: int, begin: int, end: int) -> None:
        function = self.function

        def called(*arguments: Any) -> None:
            nonlocal paused
            function(*arguments)
            paused += self.statuses[i][0] == PAUSED

        self.function = called
        one(self, i, begin, end)
        self.function = function

    expected = numbers()
    monkeypatch.setenv("TWINSPIKE_NATIVE_FLAGS", "-DLONG_ENOUGH=-1 -DSELDOM=1")
    if threads == 1:
        monkeypatch.setattr(Call, "_one", counted)
    found = numbers()
    assert threads == 2 or paused > 300
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)

"""Threads that share one trial: whoever is there does what there is to do, and the numbers are the same."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from backends.native import compiled
from neuro import FixedInDegree, FixedTotal, Network, Neuron, Normal, Population, Projection, Synapse, Uniform
from neuro.compiler.sharing import PART
from neuro.protocols import RunError
from tests.backends.native.test_compact import FORMS, native, network, same
from tests.backends.networks import drive

ASKED: dict[str, Any] = {"record": ["cells.v"]}


@pytest.fixture(autouse=True)
def small_teams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads share the cells of small networks too."""
    monkeypatch.setattr(compiled, "WORTH", 1)


def gives(number: int, monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """A system that starts so many threads, and refuses the rest. Gives those that it started."""
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def perhaps(self: threading.Thread) -> None:
        if len(started) == number:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", perhaps)
    return started


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_system_that_gives_fewer_threads(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there do the work of the others; without any, whoever asks does it."""
    item = network("own delays")
    inputs = drive(item, batch=1, steps=60)
    alone, program = native(item).run(inputs=inputs, **ASKED), native(item, threads=3)
    with monkeypatch.context() as patch:
        started = gives(number, patch)
        same(program.run(inputs=inputs, **ASKED), alone)
    assert len(started) == number
    same(program.run(inputs=inputs, **ASKED), alone)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_system_that_gives_fewer_threads_to_build(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    item = network("own delays")
    many = Normal("0.02 mV", "0.01 mV", low="0 mV")  # type: ignore[arg-type]
    loop = replace(
        item.projection("loop"), weights=many, connectivity=FixedTotal(3 * PART), delay=Normal("3 ms", "2 ms")  # type: ignore[arg-type]
    )  # fmt: skip
    for one in (item, replace(item, projections=(item.projection("feed"), loop))):
        inputs = drive(one, batch=1, steps=60)
        alone = native(one).run(inputs=inputs, **ASKED)
        with monkeypatch.context() as patch:
            gives(number, patch)
            same(native(replace(one, name="again"), threads=3).run(inputs=inputs, **ASKED), alone)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 9])
def test_a_session_whose_threads_come_later(number: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked of them in a step that was done without them is over."""
    item = network("own delays")
    inputs = drive(item, batch=batch, steps=80)
    whole, session = native(item).run(inputs=inputs, **ASKED), native(item, threads=3).session(batch, **ASKED)
    parts = []
    for first in range(0, 80, 10):
        with monkeypatch.context() as patch:
            if first in (0, 10, 40):
                gives(number, patch)
            parts.append(session.step({"x": inputs["x"][:, first : first + 10]}).traces["cells.v"])
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole.traces["cells.v"])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_who_comes_late_says_the_same(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is another's work has no news of its own: what left the finite numbers, and when, is what one thread finds."""
    item = network("own delays")
    inputs, said = drive(item, batch=1, steps=60), []
    for threads in (1, 3):
        with monkeypatch.context() as patch, pytest.raises(RunError) as error:
            program = native(item, threads=threads)
            gives(number, patch)
            program.run({"loop.w": np.full(6000, 1e308)}, inputs)
        said.append(str(error.value))
    assert said[0] == said[1] and "is not finite at step" in said[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("patience", [0, 1])
def test_threads_that_sleep_at_once(form: str, patience: int, monkeypatch: pytest.MonkeyPatch) -> None:
    item = network(form)
    inputs = drive(item, batch=1, steps=60)
    alone = native(item).run(inputs=inputs, **ASKED)
    monkeypatch.setenv("TWINSPIKE_NATIVE_FLAGS", f"-DPATIENCE={patience}")
    program = native(item, threads=3)
    for _ in range(5):
        same(program.run(inputs=inputs, **ASKED), alone)


FORKED = """
import os, signal, sys
import numpy as np
from backends.native import compiled
from tests.backends.native.test_compact import native, network
from tests.backends.networks import drive

compiled.WORTH = 1
program = native(network("own delays"), threads=int(sys.argv[1]))
inputs = [drive(program.network, batch=1, steps=400, seed=s) for s in (1, 2)]
wanted = [program.run(inputs=i).spikes["cells"] for i in inputs]
session = program.session(1)
whole = program.session(1)
after = [whole.step(inputs[i]).spikes["cells"] for i in (0, 0, 1)][-1]
session.step(inputs[0]), session.step(inputs[0])
child = os.fork()
signal.alarm(20)  # threads that aren't there are waited for in vain
mine = [np.array_equal(session.step(inputs[1]).spikes["cells"], after)]
for _ in range(20):
    mine.append(np.array_equal(program.run(inputs=inputs[child > 0]).spikes["cells"], wanted[child > 0]))
if not child:
    os._exit(not all(mine))
sys.exit(not all(mine) or os.waitpid(child, 0)[1] != 0)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fork_and_its_parent_go_on_each_by_itself(threads: int) -> None:
    """Both run what was compiled before, at once: neither sees the other's lists of spikes, nor waits for the other's threads."""
    code = [sys.executable, "-c", FORKED, str(threads)]
    subprocess.run(code, cwd=Path(__file__).parents[3], check=True, timeout=60)


def curved() -> Network:
    """Cells and synapses that call functions which vectors round otherwise, in numbers that no vector divides."""
    cell = Neuron(
        "c", "dv/dt = (1.2 + 0.3*tanh(v*1.3)*exp(-u/3) + I - v)/(5*ms) : 1\ndu/dt = (exp(-v*v) - u)/(7*ms) : 1\nI : 1",
        "v > 1 + 0.01*exp(-u)", "v = 0.1*exp(-u)", refractory="1 ms", method="rk4", initial={"v": Uniform("0", "1")},
    )  # fmt: skip
    plastic = Synapse(
        "s", "w : 1\nda/dt = (tanh(b) - a)/(9*ms) : 1\ndb/dt = -b/(5*ms) : 1",
        "I_post += w*tanh(a + 0.1)\nb += exp(-a*a)\nw = clip(w*exp(-0.01*tanh(v_post*a)), 0, 1)", "a += 0.1*tanh(b)",
    )  # fmt: skip
    followed = Synapse(
        "f", "w : 1\nda/dt = (tanh(1 - a) - a)/(9*ms) : 1", "I_post += w\na += exp(-a*a)\nu_post += 0.01*tanh(a)"
    )
    some, late = FixedInDegree(11), Uniform("0.1 ms", "1.5 ms")
    return Network(
        (Population("few", cell, 5), Population("cells", cell, 331)),
        (
            Projection("p", "cells", "cells", plastic, Uniform("0", "0.1"), some, delay=late),
            Projection("q", "cells", "few", followed, Uniform("0", "0.1"), some),
            Projection("r", "cells", "cells", followed, Uniform("0", "0.05"), some, delay=late),
        ),
        dt="0.1 ms",
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_no_bit_depends_on_the_number_of_threads(dtype: str) -> None:
    item, record = curved(), ["few.v", "few.u", "cells.v", "cells.u", "p.a", "p.b", "p.w", "q.a", "r.a"]
    one = backends.get("native").compile(item, dtype=dtype, threads=1).run(steps=150, record=record)
    assert one.spikes["few"].sum() > 5
    assert one.spikes["cells"].sum() > 300
    for threads in (2, 3):
        found = backends.get("native").compile(item, dtype=dtype, threads=threads).run(steps=150, record=record)
        for name, wanted in {**one.spikes, **one.traces}.items():
            np.testing.assert_array_equal({**found.spikes, **found.traces}[name], wanted, err_msg=f"{name}, {threads}")

"""Populations at full size: 1, 2 and 4 workers, a node that is killed, a build a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import backends
from backends.parallel import ParallelProgram
from neuro import learning
from tests.children import ROOT, environment
from tests.learning.test_spread import ONE, TASK, learned, same, spread

RAY = pytest.mark.skipif(find_spec("ray") is None, reason="engine 'ray' needs ray: install the extra 'distributed'")

LOST_NODE = """
import json, os, sys, threading, time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
from ray.cluster_utils import Cluster

from neuro import learning
from tests.learning.test_lost_nodes import digest, nodes
from tests.learning.test_spread import TASK, learned, spread

if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = cluster.add_node(num_cpus=1)
    program = spread(TASK.network(0), engine="ray", address=cluster.address, chunk=1)
    rule = learning.get("es", samples=12)
    learned(rule, program, 1)
    where = set(program.each(nodes, [(0.3,)] * 4))
    threading.Timer(0.5, other.kill_raylet).start()
    found, lost, end = set(), 0, time.monotonic() + 60
    while not lost and time.monotonic() < end:
        made = learned(rule, program, 4)
        found.add(digest(made))
        lost = sum(m["workers_lost"] for m in made[1])
    found.add(digest(learned(rule, program, 4)))
    print("RESULT", json.dumps([len(where), sorted(found), lost]))
    program.crew.close()
    cluster.shutdown()
"""


def nodes(program: Any, wait: float) -> str:
    import ray

    time.sleep(wait)
    return str(ray.get_runtime_context().get_node_id())


def digest(found: tuple[dict[str, Any], list[Any]]) -> str:
    """Of parameters and losses, to the bit."""
    import hashlib

    text = b"".join(np.ascontiguousarray(found[0][n]).tobytes() for n in sorted(found[0]))
    return hashlib.sha256(text + np.array([m["loss"] for m in found[1]]).tobytes()).hexdigest()


@RAY
@pytest.mark.slow
def test_a_node_that_is_lost_changes_no_number() -> None:
    """The raylet of the second of two nodes is killed while updates are made on both."""
    import json

    call = [sys.executable, "-c", LOST_NODE]
    done = subprocess.run(call, check=False, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [t for t in done.stdout.splitlines() if t.startswith("RESULT")]
    where, found, lost = json.loads(line.removeprefix("RESULT"))
    alone = digest(learned(learning.get("es", samples=12), backends.get("native").compile(TASK.network(0), **ONE), 4))
    assert where == 2 and lost >= 1
    assert found == [alone]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["joblib", pytest.param("ray", marks=RAY)])
def test_one_two_and_four_workers_find_the_same(engine: str) -> None:
    rule, network = learning.get("es", samples=10), TASK.network(0)
    alone = learned(rule, backends.get("native").compile(network, **ONE), 5)
    for workers in (1, 2, 4):
        program = spread(network, workers, engine=engine, chunk=1)
        for chunk in (1, 3, 8, 20):
            program.chunk = chunk
            same(alone, learned(rule, program, 5))
        program.crew.close()


def builds(program: Any) -> tuple[int, int]:
    time.sleep(0.3)
    return os.getpid(), program.builds


@pytest.mark.slow
def test_a_program_in_c_is_built_once_a_worker() -> None:
    network = TASK.network(0)
    program = ParallelProgram("brian2", network, workers=2, chunk=2, options={"target": "cpp_standalone"})
    rule = learning.get("wp", samples=4)  # five sets: 2, 2 and 1, filled up
    found = learned(rule, program, 3)
    assert set(dict(program.each(builds, [()] * 6)).values()) == {1}
    for name, value in learned(rule, backends.get("reference").compile(network), 3)[0].items():
        np.testing.assert_allclose(found[0][name], value, rtol=1e-6)
    program.crew.close()

"""Backends and tasks are found whatever folder somebody works in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import backends
import neuro
import tasks
from tests.children import environment

CALL = "import sys; sys.path.insert(0, ''); import neuro; {before}print(neuro.task('xor').name, neuro.beside.package('backends').names()[0])"


def test_one_call_is_the_other() -> None:
    cell = neuro.Neuron("cell", "dv/dt = -v/second : 1", method="euler")
    network = neuro.Network((neuro.Population("cells", cell, 1),), (), dt="1 ms")
    assert type(neuro.task("xor")) is type(tasks.get("xor"))
    assert type(neuro.compile(network, "reference")) is type(backends.get("reference").compile(network))
    with pytest.raises(backends.UnknownBackendError, match="did you mean 'native'"):
        neuro.compile(network, "nativ")


@pytest.mark.parametrize(("before", "said"), [("", "xor reference"), ("import tasks; ", "rename one's own package")])
def test_folders_of_the_same_names(tmp_path: Path, before: str, said: str) -> None:
    for name in ("backends", "tasks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    command = [sys.executable, "-c", CALL.format(before=before)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr

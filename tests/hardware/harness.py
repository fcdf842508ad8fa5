"""Clients in environments of their own, trained networks to give them, and the table of what they answered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.reference import ReferenceBackend
from neuro.model import Network
from neuro.protocols import Parameters, Recording
from twinspike.given import read

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ENVIRONMENTS = ROOT / ".clients"
TRIALS, EPOCHS, LIMIT = 200, 8, 900  # LIMIT: seconds for one client
TASKS: dict[str, dict[str, Any]] = {
    "lif": {"hidden": 64},
    "cuba_lif": {"hidden": 64, "neuron": "cuba_lif", "recurrent": True},
    "xylo": {"hidden": 64, "neuron": "cuba_lif", "recurrent": True, "reset": "subtract", "pixels": 16},
    "xylo_8": {
        "hidden": 64, "neuron": "cuba_lif", "recurrent": True, "reset": "subtract", "pixels": 16, "classes": 8,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One answer. spikes: in our network; differences: entries of the rasters that differ; None where nothing runs."""

    target: str
    network: str
    client: str
    spikes: int | None
    differences: int | None
    note: str = ""


ROWS: list[Row] = []


@dataclass(frozen=True)
class Trained:
    """images: spikes of the first test images, bool [trial, time, channel]."""

    network: Network
    parameters: Parameters
    images: np.ndarray


def python(environment: str) -> Path:
    """A client's interpreter; skips the test where `make hardware` hasn't made it."""
    found = ENVIRONMENTS / environment / "bin" / "python"
    if not found.is_file():
        pytest.skip(f"no environment '{environment}': make hardware builds it")
    return found


def version(environment: str, package: str) -> str:
    """ "package version"; skips the test where it isn't installed."""
    code = f"import importlib.metadata as m; print(m.version('{package}'))"
    done = subprocess.run([python(environment), "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{package} isn't installed in environment '{environment}'")
    return f"{package} {done.stdout.strip()}"


def run(environment: str, script: str, *arguments: object) -> None:
    """Run clients/SCRIPT.py in a client's environment."""
    command = [python(environment), HERE / "clients" / f"{script}.py", *map(str, arguments)]
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=env, check=False)
    if done.returncode:
        pytest.fail(f"{script}: {done.stderr[-2000:]}")


def raster(environment: str, script: str, file: Path, spikes: np.ndarray, *options: object) -> np.ndarray:
    """A client's answer, bool [trial, time, cell], to a file and spikes of the same shape."""
    given, found = file.with_suffix(".in.npy"), file.with_suffix(".out.npy")
    np.save(given, spikes)
    run(environment, script, file, given, found, *options)
    return np.asarray(np.load(found))


def reference(network: Network, inputs: Mapping[str, np.ndarray], *record: str, parameters: Any = None) -> Recording:
    return ReferenceBackend().compile(network).run(parameters, inputs, record)


def differences(ours: np.ndarray, theirs: np.ndarray, late: int = 0) -> int:
    """Entries of rasters [..., time, cell] that differ, ours being `late` steps later (earlier where negative)."""
    if late < 0:
        return differences(theirs, ours, -late)
    return int((ours[..., late:, :] != theirs[..., : theirs.shape[-2] - late, :]).sum())


def note(target: str, network: str, client: str, spikes: Any, differing: int | None, remark: str = "") -> None:
    """Remember an answer for the table."""
    ROWS.append(Row(target, network, client, None if spikes is None else int(spikes), differing, remark))


def trained(name: str) -> Trained:
    """A network trained on digits, once for all sessions."""
    path = ENVIRONMENTS / "runs" / f"{name}.h5"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        _train(name, path)
    found = read(path)
    return Trained(found.network, found.parameters, np.asarray(found.task.test_batch().inputs["pixels"][:TRIALS]))


def _train(name: str, path: Path) -> None:
    side, config = path.with_name(f"{name}.{os.getpid()}.h5"), path.with_suffix(".toml")
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else value!r}" for key, value in TASKS[name].items()
    ]
    config.write_text("[task_options]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    command = [
        sys.executable,
        ROOT / "scripts" / "train.py",
        "--config",
        config,
        "--task",
        "digits",
        "--epochs",
        EPOCHS,
    ]
    subprocess.run([*map(str, command), "--out", str(side)], check=True, cwd=ROOT, timeout=LIMIT)
    os.replace(side, path)

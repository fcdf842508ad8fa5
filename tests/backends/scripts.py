"""Brian2 scripts, run as their readers would run them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from backends.brian.export.script import BrianScript
from backends.brian.functions import settings
from neuro.protocols import Recording


def run(script: BrianScript, folder: Path) -> dict[str, Any]:
    """What the script's names mean after it ran."""
    path, *_ = script.write(folder / "network.py")
    found: dict[str, Any] = {"__file__": str(path), "__name__": "script"}
    with settings("numpy"), contextlib.redirect_stdout(io.StringIO()):
        exec(compile(path.read_text(), str(path), "exec"), found)
    return found


def recorded(script: BrianScript, wanted: Recording, folder: Path) -> dict[str, np.ndarray]:
    """Rasters [1, time, cell] of the script's run, of the populations that the recording has."""
    found, rasters = run(script, folder), {}
    for name, raster in wanted.spikes.items():
        monitor = found[script.monitors[name]]
        rasters[name] = np.zeros(np.shape(raster), bool)
        rasters[name][0, np.round(np.asarray(monitor.t) / wanted.dt).astype(int), np.asarray(monitor.i)] = True
    return rasters

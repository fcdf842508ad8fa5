"""From what was trained to what a chip computes, step by step: accuracy and spikes of each, and what each step loses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuro.episodes import run_of
from neuro.export.targets import Export
from neuro.io.serialisation import from_json
from neuro.model import Network
from neuro.protocols import Backend, Batch, Parameters, Recording, Task


@dataclass(frozen=True)
class Stage:
    """A network on its way to the chip. parameters: SI, its own where None. guards: variables that must stay 0."""

    name: str
    network: Network
    parameters: Parameters | None
    dtype: str = "float64"
    guards: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """A stage that ran. differing: (trial, step, cell) entries of all rasters that differ from the stage before, 0 for the
    first. lost: accuracy below the best stage before, in points (negative: gained).
    """

    stage: Stage
    accuracy: float
    spikes: int
    differing: int
    lost: float
    recording: Recording

    @property
    def doubtful(self) -> dict[str, int]:
        """Guards that rose: variable -> cells of all trials."""
        risen = {n: int(np.count_nonzero(self.recording.traces[n][:, -1])) for n in self.stage.guards}
        return {name: cells for name, cells in risen.items() if cells}

    def to_data(self) -> dict[str, Any]:
        """Plain numbers for the store."""
        return {n: getattr(self, n) for n in ("accuracy", "spikes", "differing", "lost")}


def stages_of(network: Network, parameters: Parameters | None, export: Export | None = None) -> tuple[Stage, ...]:
    """float32, float64, and what the export says of the target: quantised floats, integers."""
    found = [Stage("float32", network, parameters, "float32"), Stage("float64", network, parameters)]
    if export is not None and export.quantised is not None:
        found.append(Stage("quantised", network, export.quantised))
    if export is not None and export.integers is not None:
        found.append(Stage("integers", export.integers, export.integer_parameters, guards=export.guards))
    return tuple(found)


def stored(network: Network, parameters: Parameters, data: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of an export in a run's file, from /export/<target>; in double precision, so without float32."""
    found = [Stage("trained", network, parameters)]
    if "quantised" in data:
        found.append(Stage("quantised", network, data["quantised"]))
    if "integers" in data:
        found.append(Stage("integers", from_json(data["integers"]), data.get("integer_parameters")))
    return tuple(found)


def measure(
    stages: Sequence[Stage], task: Task, batch: Batch, backend: Backend,
    update: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> tuple[Measured, ...]:  # fmt: skip
    """Run each stage on the batch. Raises UnsupportedError, RunError."""
    found: list[Measured] = []
    for i, stage in enumerate(stages):
        update(i, len(stages), stage.name)
        program = backend.compile(stage.network, dtype=stage.dtype)
        recording, own = run_of(program, stage.parameters, task, batch, stage.guards)
        accuracy = task.metric(recording, own)
        best = max((m.accuracy for m in found), default=accuracy)
        apart = differing(found[-1].recording, recording) if found else 0
        found.append(Measured(stage, accuracy, recording.spike_count(), apart, 100 * (best - accuracy), recording))
    return tuple(found)


def differing(a: Recording, b: Recording) -> int:
    """Entries of all rasters that differ; a raster that only one has counts with all its spikes."""
    names = {*a.spikes, *b.spikes}
    return sum(int(np.count_nonzero(_raster(a.spikes, n, b.spikes) != _raster(b.spikes, n, a.spikes))) for n in names)


def _raster(rasters: Mapping[str, Any], name: str, others: Mapping[str, Any]) -> Any:
    return rasters[name] if name in rasters else np.zeros_like(others[name])

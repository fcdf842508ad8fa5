"""A training run's metrics in TensorBoard's event files too, beside its HDF5 file."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.io.results import Run
from neuro.registry import needed

Array = npt.NDArray[Any]
_SECONDS = 5  # until what was logged can be seen


def check_writer() -> None:
    """Raises MissingPackageError without the package that writes event files."""
    needed("--tensorboard", "tensorboardX")


class Beside:
    """Takes the place of a Run for whoever trains: whatever it is told goes into the run's file first, then into the folder.

    run: afresh, or resumed; TensorBoard forgets what stands in the folder from the run's next update on, so that nothing is shown twice. At the end come histograms of
    parameters (SI), before the first and after the last update. Raises MissingPackageError, OSError.
    """

    def __init__(self, run: Run, folder: str | os.PathLike[str]) -> None:
        writer = needed("--tensorboard", "tensorboardX").SummaryWriter
        self.run = run
        begin = max((step for rows in run.history.values() for step, _ in rows), default=-1) + 1
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._writer = writer(str(folder), purge_step=begin, flush_secs=_SECONDS, filename_suffix=f".{time.time_ns()}")

    @property
    def history(self) -> dict[str, list[tuple[int, float]]]:
        return self.run.history

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See Run.log."""
        self.run.log(step, values)
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), step)

    def checkpoint(self, state: Mapping[str, Array]) -> None:
        """See Run.checkpoint."""
        self.run.checkpoint(state)
        self._writer.flush()

    def finish(
        self, parameters: Mapping[str, Array], declared: Mapping[str, Any], step: int, groups: Any = None
    ) -> None:
        """See Run.finish."""
        self.run.finish(parameters, declared, step, groups)
        for when, values in ((0, {n: p.value for n, p in declared.items()}), (step, parameters)):
            for name, value in values.items():
                found = np.asarray(value, np.float64).ravel()
                if len(found) > 1 and np.isfinite(found).all():
                    self._writer.add_histogram(f"parameters/{name}", found, when)
        self._writer.close()

    def discard(self) -> None:
        """See Run.discard; the folder stays."""
        self.run.discard()
        self._writer.close()

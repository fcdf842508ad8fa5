"""A task that ends the process of whoever first computes its loss once a file is there; a process that it has ended leaves another one."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuro.protocols import Batch
from tasks.periodic import Periodic


class Fatal(Periodic):
    def __init__(self, folder: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.folder = folder

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        if self.folder:
            try:
                Path(self.folder, "armed").rename(Path(self.folder, "killed"))
            except FileNotFoundError:
                return super().loss(spikes, traces, batch)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(spikes, traces, batch)

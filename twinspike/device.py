"""What a benchmark asks of the device on which it measures: its name, a clock that waits for it, its memory; and JAX on the same one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Device:
    """name: as torch calls it, "cpu", "cuda" or "cuda:1"."""

    name: str

    @staticmethod
    def found(name: str) -> Device:
        """That of this name. Raises UnsupportedError where it isn't there."""
        import torch

        from backends.common.storage import device_of

        return Device(str(device_of("torch", name, torch.float32)))

    @property
    def cuda(self) -> bool:
        return self.name.startswith("cuda")

    def clock(self) -> float:
        """Seconds of the wall, when all that was sent to the device is done."""
        if self.cuda:
            import torch

            torch.cuda.synchronize(self.name)
        return time.perf_counter()

    @property
    def card(self) -> str:
        """What it is called."""
        if not self.cuda:
            return "the processor"
        import torch

        return torch.cuda.get_device_name(self.name)

    def stream_seconds(self, function: Callable[[], Any], calls: int) -> float:
        """Median time from a call's first to its last operation on torch's stream of this CUDA device."""
        import torch

        found, stream = list[float](), torch.cuda.current_stream(self.name)
        for _ in range(calls):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record(stream)
            function()
            end.record(stream)
            end.synchronize()
            found.append(start.elapsed_time(end) / 1e3)
        return median(found)

    def forget_peak(self) -> None:
        """Let torch's peak be what it holds now; JAX's can't be."""
        import torch

        torch.cuda.reset_peak_memory_stats(self.name)

    def peak(self, *, of_jax: bool) -> int:
        """Most bytes that torch, or JAX, has held there in this process."""
        if of_jax:
            import jax

            return int(jax.local_devices()[0].memory_stats()["peak_bytes_in_use"])
        import torch

        return torch.cuda.max_memory_allocated(self.name)

    def prepare_jax(self) -> str:
        """Has JAX compute there, in single precision, and leave room for others; gives why it can't, nothing where it can.

        To be called before JAX is used.
        """
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        try:
            import jax

            places = jax.devices("cuda" if self.cuda else "cpu")
        except (ImportError, RuntimeError) as error:
            return str(error).splitlines()[0]
        number = self.name.partition(":")[2]
        jax.config.update("jax_default_device", places[int(number or 0)])
        jax.config.update("jax_default_matmul_precision", "highest")  # torch's default: no TF32
        return ""

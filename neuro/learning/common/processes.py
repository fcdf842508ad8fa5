"""The processes that train one network together: what they tell each other by torch.distributed, and what that costs. Alone, nothing is sent."""

from __future__ import annotations

import gc
import pickle
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from neuro.protocols import Array

METRICS: tuple[str, str] = ("communication_s", "communication_bytes")
CPU = torch.device("cpu")
Value = TypeVar("Value")


class ProcessesError(Exception):
    """Processes that train one network can't go on together."""


class ElsewhereError(ProcessesError):
    """Another process had an error, which is raised there."""


class LostError(ProcessesError):
    """Another process is gone, or doesn't answer."""


@dataclass
class Processes:
    """rank: of this one, from 0. number: of all. group: torch's, None where this one is alone.

    seconds: in which this one sent, received, and waited for the others. sent: bytes that it gave to be added up, or passed on.
    """

    rank: int = 0
    number: int = 1
    group: Any = None
    seconds: float = 0.0
    sent: int = 0
    on_cuda: Any = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, prints and measures."""
        return self.rank == 0

    def spent(self) -> dict[str, float]:
        """METRICS since the last call; nothing where this process is alone."""
        found = dict(zip(METRICS, (self.seconds, float(self.sent)), strict=True)) if self.number > 1 else {}
        self.seconds, self.sent = 0.0, 0
        return found

    def summed(self, numbers: Array, device: torch.device = CPU) -> Array:
        """The sum over all processes. device: where the program computes; NCCL adds what lies on a GPU. Raises LostError."""
        if self.number == 1:
            return numbers
        with self._sending(numbers.nbytes):
            tensor, group = self._placed(torch.from_numpy(np.array(numbers)), device)
            dist.all_reduce(tensor, group=group)
        return np.asarray(tensor.cpu().numpy())

    def gathered(self, numbers: Array, device: torch.device = CPU) -> list[Array]:
        """The arrays of all processes, which have one shape, by rank. Raises LostError."""
        if self.number == 1:
            return [numbers]
        with self._sending(numbers.nbytes):
            tensor, group = self._placed(torch.from_numpy(np.array(numbers)), device)
            found = [torch.empty_like(tensor) for _ in range(self.number)]
            dist.all_gather(found, tensor, group=group)
        return [t.cpu().numpy() for t in found]

    def collected(self, value: Value) -> list[Value]:
        """What all processes have, by rank. Raises LostError."""
        if self.number == 1:
            return [value]
        data, found = pickle.dumps(value), [b""] * self.number
        with self._sending(len(data)):
            dist.all_gather_object(found, data, group=self.group)
        return [pickle.loads(d) for d in found]  # of our own processes

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, in all of them. What it raises, it raises; the others raise ElsewhereError."""
        if self.number == 1:
            return make()
        error, sent = None, [b""]
        if self.first:
            try:
                sent = [pickle.dumps((make(), ""))]
            except Exception as raised:
                error, sent = raised, [pickle.dumps((None, str(raised) or type(raised).__name__))]
        with self._sending(len(sent[0])):
            dist.broadcast_object_list(sent, src=0, group=self.group)
        if error is not None:
            raise error
        value, wrong = pickle.loads(sent[0])
        if wrong:
            raise ElsewhereError(f"process 0 of {self.number}: {wrong}")
        return value  # type: ignore[no-any-return]

    def raise_first(self, error: Exception | None) -> None:
        """Raises the error of the first process that has one: there, and in the others ElsewhereError, which says the same."""
        said = self.collected(None if error is None else str(error) or type(error).__name__)
        culprit = next((rank for rank, text in enumerate(said) if text is not None), None)
        if culprit == self.rank and error is not None:
            raise error
        if culprit is not None:
            raise ElsewhereError(f"process {culprit} of {self.number}: {said[culprit]}")

    def check_same(self, arrays: Mapping[str, Any]) -> None:
        """Raises ProcessesError where the processes don't hold the same numbers, naming the first that differs."""
        if self.number == 1:
            return
        own = {n: zlib.crc32(np.ascontiguousarray(a).tobytes()) for n, a in arrays.items()}
        every = self.collected(own)
        for rank, others in enumerate(every):
            for name in (n for n in every[0] if others.get(n) != every[0][n]):
                raise ProcessesError(
                    f"process {rank} of {self.number} has other numbers of '{name}' than process 0, so they no longer train one network; "
                    "give all of them the same kind of processor, the same packages and as many threads"
                )

    def _placed(self, tensor: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, Any]:
        """A tensor where it is added up, and the group that does it."""
        if device.type != "cuda" or not dist.is_nccl_available():
            return tensor, self.group
        if self.on_cuda is None:  # all processes come here at the same time
            self.on_cuda = dist.new_group(backend="nccl")
        return tensor.to(device), self.on_cuda

    @contextmanager
    def _sending(self, size: int) -> Iterator[None]:
        begun = perf_counter()
        try:
            yield
        except RuntimeError as error:  # torch has no other word for a peer that is gone
            raise LostError(
                f"process {self.rank} of {self.number} lost another one ({_line(error)}); continue the run with --resume"
            ) from error
        finally:
            self.seconds += perf_counter() - begun
            self.sent += size


_ALONE = Processes()
_together: list[Processes] = []  # of the group that there is


def here() -> Processes:
    """The processes that this one trains with: those of torch.distributed's group, or itself alone."""
    if not (dist.is_available() and dist.is_initialized()):
        return _ALONE
    if not _together or _together[0].group is not dist.group.WORLD:
        _together[:] = [Processes(dist.get_rank(), dist.get_world_size(), dist.group.WORLD)]
    return _together[0]


def leave() -> None:
    """Close what joins this process to the others: who waits for it gets LostError at once, though the process lives on."""
    if dist.is_available() and dist.is_initialized():
        _together.clear()
        dist.destroy_process_group()
        gc.collect()  # errors on their way hold frames, and these the group


def _line(error: Exception) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

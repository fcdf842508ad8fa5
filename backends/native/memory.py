"""Where the arrays of kernels lie: in the memory of the host, as numpy's. `on_device.Device` has the same methods, for tensors."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed
from backends.native.layout import Arrays
from backends.native.spike_lists import input_lists, list_before, listed
from neuro.events import Events
from neuro.language.mangling import mangled

if TYPE_CHECKING:
    import torch

    from backends.common.storage import Storage

Array = npt.NDArray[Any]
Pool = dict[tuple[str, tuple[int, ...]], list[Array]]


class Loan:
    """Arrays that only kernels read; they go back to their pool when nobody needs the run any more."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.lent = pool, list[tuple[tuple[str, tuple[int, ...]], Array]]()

    def take(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        waiting = self.pool.setdefault((name, shape), [])
        array = waiting.pop() if waiting else _reserved(shape, dtype)
        self.lent.append(((name, shape), array))
        return array

    def __del__(self) -> None:
        for key, array in self.lent:
            self.pool[key].append(array)


class Host:
    """real: numpy's type of real numbers. where: it is, in errors."""

    where = ""

    def __init__(self, real: Any) -> None:
        self.real = real

    @cached_property
    def storage(self) -> Storage:
        """Of the tensors that come in and go out."""
        import torch

        from backends.common.storage import Storage

        return Storage(torch.float64 if self.real is np.float64 else torch.float32)

    def free(self) -> int | None:
        """Bytes, where the system tells."""
        return available()

    # -- arrays of kernels ---------------------------------------------------------------------------------

    def lasting(self, arrays: Mapping[str, Array]) -> None:
        """Says that these stay as they are, however often a kernel is given them."""

    def given(self, values: Mapping[str, tuple[Any, np.dtype[Any]]]) -> Arrays:
        """What kernels are given. values: each with the type of its numbers."""
        return {n: np.asarray(value, dtype, order="C") for n, (value, dtype) in values.items()}

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def lent(self, loan: Loan, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array that nobody but kernels reads."""
        return loan.take(name, shape, dtype)

    def cleared(self, loan: Loan, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """The same, set to 0."""
        array = loan.take(name, shape, dtype)
        array.fill(0)
        return array

    # -- between the host, kernels and torch ---------------------------------------------------------------

    def placed(self, array: Array) -> Any:
        """An array of the host, as it is, beside a kernel's."""
        return array

    def held(self, key: Any, array: Any) -> Any:
        """The same for one that is needed again and again. key: whose it is, such as a projection's order."""
        return array

    def fetched(self, array: Any) -> Array:
        """A kernel's array, on the host."""
        found: Array = array
        return found

    def of_tensor(self, tensor: torch.Tensor) -> Any:
        """A tensor's numbers, for a kernel."""
        return tensor.numpy()

    def tensor(self, array: Any) -> torch.Tensor:
        """A kernel's array as a tensor."""
        import torch

        return torch.from_numpy(array)

    def turned(self, matrix: Any) -> Any:
        """A matrix by its other side. matrix: or something like one."""
        return np.ascontiguousarray(np.asarray(matrix).T, self.real)

    # -- spikes --------------------------------------------------------------------------------------------

    def begin(self, arrays: Arrays, feed: Feed, name: str, size: int) -> None:
        """Writes a population's spikes before the run into the first rows of what a kernel keeps of them."""
        list_before(arrays, feed, name, size)

    def fired(self, arrays: Arrays, name: str, size: int, rows: tuple[int, int]) -> Events:
        """A population's spikes, on the host. rows: the first of what a kernel keeps of them, and the last + 1."""
        offsets, events = arrays[mangled("offsets", name)], arrays[mangled("events", name)]
        return listed(offsets, events, np.arange(len(offsets)) * events[0].size, rows, size)

    def input_lists(self, feed: Feed, name: str, spikes: Any) -> tuple[Any, Any]:
        """Offsets and channels of an input's spikes: see `spike_lists.input_lists`."""
        return input_lists(feed, name, spikes)

    def raster(self, before: Array, spikes: Any) -> Any:
        """An input's spikes as bytes [batch, time, channel]. before: those of the steps before the run."""
        return np.concatenate([before, np.asarray(spikes)], axis=1).astype(np.uint8)

    def events(self, spikes: Any, steps: int) -> Events:
        """An input's spikes in at least its last steps, on the host."""
        return Events.of(spikes)


def _reserved(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array whose pages get memory when they are written to, one by one: most of a list of spikes is never used.

    A fork has its own.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not size:
        return np.empty(shape, dtype)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype).reshape(shape)


def available() -> int | None:
    """Free memory in bytes, where the system tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in file}
    except OSError:
        return None
    return found.get("MemAvailable")

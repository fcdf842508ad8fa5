"""The arrays of kernels in the memory of a device, as torch's tensors: from its allocator, copied by it, on its current stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backends.common.arrays import Feed
from backends.common.storage import Storage, outside_inference
from backends.native.calls import DONE
from backends.native.launch import PLACES, Driver, Emulation, Functions
from backends.native.layout import Arrays
from backends.native.memory import Loan
from backends.native.spike_lists import history, input_lists, packed, past_of
from neuro.events import Events
from neuro.language.foreign import numbers
from neuro.language.mangling import mangled
from neuro.protocols import RunError

Array = npt.NDArray[Any]
AT_ONCE = 2**26  # places of a raster of which lists are made at once
LINE = 256  # bytes: where an array may begin
TYPES = {
    np.dtype(np.uint8): torch.uint8, np.dtype(np.uint16): torch.uint16, np.dtype(np.int32): torch.int32, np.dtype(np.int64): torch.int64,
    np.dtype(np.float32): torch.float32, np.dtype(np.float64): torch.float64,
}  # fmt: skip


class Device:
    """See `memory.Host`. machine: that launches. A program's own arrays travel once, a run's together."""

    def __init__(self, real: Any, place: torch.device, machine: Emulation | Driver) -> None:
        self.real, self.machine, self.where = real, machine, machine.where
        self.storage = Storage(TYPES[np.dtype(real)], place)
        self._lasting: dict[int, Array] = {}
        self._held: dict[Any, tuple[Any, torch.Tensor]] = {}

    def free(self) -> int | None:
        return self.machine.free()

    def launch(self, functions: Functions, name: str, arrays: Sequence[Any], *given: Any, **options: Any) -> Launch:
        """See `Launch`."""
        return Launch(self, functions, name, arrays, *given, **options)

    # -- arrays of kernels ---------------------------------------------------------------------------------

    def lasting(self, arrays: Mapping[str, Array]) -> None:
        self._lasting |= {id(a): a for a in arrays.values()}

    def given(self, values: Mapping[str, tuple[Any, np.dtype[Any]]]) -> Arrays:
        found, travels = dict[str, Any](), dict[str, Array]()
        for name, (value, dtype) in values.items():
            if isinstance(value, torch.Tensor):
                found[name] = value.to(self.storage.device, TYPES[dtype]).contiguous()
            elif id(value) in self._lasting:
                found[name] = self.held((id(value), dtype), value, dtype)
            else:
                travels[name] = np.asarray(value, dtype, order="C")
        return found | self._sent(travels)

    def _sent(self, arrays: Mapping[str, Array]) -> dict[str, torch.Tensor]:
        """Arrays of a run, in one transfer."""
        places, room = dict[str, slice](), 0
        for name, array in arrays.items():
            places[name] = slice(room, room + array.nbytes)
            room += -(-array.nbytes // LINE) * LINE
        sent = np.empty(room, np.uint8)
        for name, array in arrays.items():
            sent[places[name]] = array.reshape(-1).view(np.uint8)
        there = self.placed(sent)
        return {n: there[places[n]].view(TYPES[a.dtype]).reshape(a.shape) for n, a in arrays.items()}

    def empty(self, shape: tuple[int, ...], dtype: Any) -> torch.Tensor:
        return self._made(torch.empty, shape, dtype)

    def lent(self, loan: Loan, name: str, shape: tuple[int, ...], dtype: Any) -> torch.Tensor:
        return self._made(torch.empty, shape, dtype)

    def cleared(self, loan: Loan, name: str, shape: tuple[int, ...], dtype: Any) -> torch.Tensor:
        return self._made(torch.zeros, shape, dtype)

    def _made(self, make: Any, shape: tuple[int, ...], dtype: Any) -> torch.Tensor:
        kind, unwritten = np.dtype(dtype), self.machine.unwritten
        if make is torch.empty and unwritten is not None:
            return torch.full(
                shape, unwritten if kind.kind == "f" else 0, dtype=TYPES[kind], device=self.storage.device
            )
        try:
            found: torch.Tensor = make(shape, dtype=TYPES[kind], device=self.storage.device)
        except torch.OutOfMemoryError:
            size = prod(shape) * kind.itemsize / 2**20
            raise RunError(
                f"there is no room for {size:.0f} MiB{self.where}; use a smaller batch, fewer steps, or a larger every"
            ) from None
        return found

    # -- between the host, kernels and torch ---------------------------------------------------------------

    def placed(self, array: Array) -> torch.Tensor:
        return self.storage.as_it_is(array)

    @outside_inference
    def held(self, key: Any, array: Any, dtype: Any = None) -> torch.Tensor:
        known = self._held.get(key)
        if known is None or known[0] is not array:
            known = self._held[key] = array, self.placed(np.array(array, dtype, order="C"))
        return known[1]

    def fetched(self, array: Any) -> Array:
        found: Array = array.cpu().numpy()
        return found

    def of_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    def tensor(self, array: torch.Tensor) -> torch.Tensor:
        """Another one with the same numbers: autograd changes what it is given, and a run holds its own."""
        return array.detach()

    def turned(self, matrix: Any) -> torch.Tensor:
        kind = np.dtype(self.real)
        here: Any = self.given({"matrix": (matrix, kind)})["matrix"]
        found: torch.Tensor = here.T.contiguous()
        return found

    # -- spikes --------------------------------------------------------------------------------------------

    def input_lists(self, feed: Feed, name: str, spikes: Any) -> tuple[Any, Any]:
        if not isinstance(spikes, torch.Tensor):
            return input_lists(feed, name, spikes)
        if past_of(feed):  # with those before the run
            return input_lists(feed, name, Events.of(numbers(spikes)))
        return self._listed(spikes, feed.batch * feed.steps * spikes.shape[2], lambda some: some != 0)

    def _listed(
        self, trials: torch.Tensor, size: int, raster: Callable[[torch.Tensor], torch.Tensor]
    ) -> tuple[Any, Any]:
        """Offsets and channels, as those of Events. size: of all rasters. raster: truth values [trial, time, channel] of some trials."""
        counts, channels = list[torch.Tensor](), list[torch.Tensor]()
        for some in torch.split(trials, max(1, AT_ONCE * len(trials) // max(size, 1))):
            fired = raster(some)
            counts.append(fired.sum(dim=2).reshape(-1))
            channels.append(fired.nonzero()[:, 2].to(torch.int32))
        ends = torch.cat(counts).cumsum(0)
        return torch.cat([torch.zeros_like(ends[:1]), ends]), torch.cat(channels)

    def raster(self, before: Array, spikes: Any) -> torch.Tensor:
        after = spikes if isinstance(spikes, torch.Tensor) else self.placed(np.asarray(spikes))
        return torch.cat([self.placed(before), after != 0], dim=1).to(torch.uint8)

    def events(self, spikes: Any, steps: int) -> Events:
        return Events.of(numbers(spikes[:, -steps:]) if isinstance(spikes, torch.Tensor) else spikes)

    def begin(self, arrays: Arrays, feed: Feed, name: str, size: int) -> None:
        words = arrays[mangled("words", name)]
        before = packed(history(feed, name, size).reshape(len(words), -1, size))
        words[:, : before.shape[1]] = self.placed(before)

    def fired(self, arrays: Arrays, name: str, size: int, rows: tuple[int, int]) -> Events:
        words = arrays[mangled("words", name)][:, slice(*rows)]
        shape = len(words), rows[1] - rows[0], size
        lists = self._listed(words, prod(shape), lambda some: self._bits(some, size) != 0)
        offsets, channels = map(self.fetched, lists)
        return Events(shape, offsets, channels)

    def spikes(self, words: torch.Tensor, size: int, steps: int) -> torch.Tensor:
        """A population's bits as numbers [trial, time, neuron] of a run's steps. words: as a kernel leaves them, a row a step."""
        return self._bits(words[:, words.shape[1] - steps :], size).to(self.storage.dtype)

    @staticmethod
    def _bits(words: torch.Tensor, size: int) -> torch.Tensor:
        places = torch.arange(32, dtype=words.dtype, device=words.device)
        return ((words[..., None] >> places) & 1).flatten(2)[:, :, :size]


class Launch:
    """A function that is launched for spans of steps with the same arrays: `calls.Call` on a device.

    functions: which `name` is one of. arrays: in the order of the kernel's slots, None for one that it doesn't read. strides: bytes from one
    parameter set's values to the next's. numbers: of the run (run_t). blocks: see `Emulation.launch`. scratch: bytes. apart: of a unit's, where
    units keep theirs from one span to the next; 0 where they don't.
    """

    def __init__(
        self, device: Device, functions: Functions, name: str, arrays: Sequence[Any], strides: Sequence[int],
        numbers: Sequence[int], units: int, *, blocks: int, threads: int, scratch: int = 0, apart: int = 0,
    ) -> None:  # fmt: skip
        self.device, self.functions, self.name = device, functions, name
        self.blocks, self.threads, self.units, self.apart = blocks, threads, units, apart
        self.statuses: Sequence[Sequence[int]] | Array = ()
        self._status = device.storage.as_it_is(np.zeros((blocks or units, PLACES), np.int64))
        self.scratch = device.empty((scratch,), np.uint8)
        pointers = [0 if a is None else a.data_ptr() for a in arrays]
        table = np.array([*pointers, *strides, *numbers, 0], np.int64)
        self._held = arrays, device.placed(table)  # until nobody launches this any more
        begin, size = self._held[1].data_ptr(), table.itemsize
        self._places = begin, begin + size * len(pointers), begin + size * (len(pointers) + len(strides))

    def start(self, begin: int, end: int) -> None:
        """Steps begin ... end - 1, without waiting for what they say. Raises RunError."""
        arrays, strides, run = self._places
        statuses, scratch = self._status.data_ptr(), self.scratch.data_ptr()
        arguments = arrays, strides, statuses, run, 0, self.units, begin, end, scratch, self.apart
        self.device.machine.launch(self.functions, self.name, self.blocks, self.threads, arguments)

    def __call__(self, begin: int, end: int) -> bool:
        """The same. Whether everything went well; `statuses` say what didn't."""
        self.start(begin, end)
        self.statuses = self.device.fetched(self._status)
        if (self.statuses[:, 0] == DONE).all():
            return True
        self.statuses = self.statuses.copy()
        self._status.zero_()
        return False

    def kept(self) -> torch.Tensor:
        """What is in the scratch of all units now."""
        return self.scratch.clone()

    def put_back(self, kept: torch.Tensor) -> None:
        """What was there then."""
        self.scratch.copy_(kept)

    def close(self) -> None:
        """As of a call: nothing is left running."""

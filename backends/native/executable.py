"""A built kernel: its C text, its functions, and the arrays with which they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed
from backends.native import synaptic
from backends.native.adjoint import Adjoint
from backends.native.arrangement import Arrangement
from backends.native.build import load
from backends.native.calls import CUT, FAILED, LINE, SIGNATURE, Call
from backends.native.constants import Constants
from backends.native.dialect import C, Dialect, Facts
from backends.native.forward import Forward
from backends.native.kernel import Kernel
from backends.native.layout import C_TYPES, Arrays, Slot
from backends.native.memory import Host, Loan, Pool
from backends.native.recording import Recorded
from backends.native.spike_lists import past_of
from backends.native.training import Training
from neuro.compiler.step import Step
from neuro.language.mangling import unmangled
from neuro.protocols import RunError

if TYPE_CHECKING:
    from backends.native.on_device import Device, Launch

Array = npt.NDArray[Any]
TAPE = 256  # steps whose versions are kept at once
LAUNCH = 1024  # steps of one launch on a device, at most: what runs too long can't be interrupted, and a display's device ends it
ADDING = 1024  # blocks that add lanes of gradients, at most
CHECKED = 2**28  # bytes from which a run's memory is compared with what is free


@dataclass
class Run:
    """One run of a forward function. spans: of steps, whose versions are on the tape one at a time. before: scratch
    before each span, where there are several. counts: of chosen places to record, by C name.
    on_tape: index of the span whose versions are there. failure: numbers of population, variable, step, trial, cell, where it left the finite numbers.
    """

    feed: Feed
    every: int
    threads: int
    units: int
    spans: list[tuple[int, int]]
    loan: Loan
    arrays: Arrays = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    before: list[Any] = field(default_factory=list)
    on_tape: int = 0
    failure: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self.past = past_of(self.feed)


@dataclass
class _Border:
    """What is known of an array before any run. rank: of one parameter set's values, None where all sets share one array.

    bytes: of memory, for each number that there is room for. nothing: in place of an array that nobody gives.
    """

    slot: Slot
    dtype: np.dtype[Any]
    role: str
    rank: int | None
    bytes: float

    def __post_init__(self) -> None:
        self.nothing = np.zeros(1, self.dtype)

    def stride(self, array: Array) -> int:
        """Bytes from one parameter set's values to the next's; 0 where all sets share them."""
        return 0 if self.rank is None or array.ndim <= self.rank else array.nbytes // len(array)


class Executable:
    """A kernel: its text, its functions, and what is known of their arrays before any run."""

    def __init__(
        self, step: Step, constants: Constants, record: tuple[Recorded, ...], training: Training | None, tile: int, real: Any,
        network: str, arrangements: Mapping[str, Arrangement], parts: int = 1, divided: bool = False, dialect: Dialect = C,
        memory: Host | Device | None = None,
    ) -> None:  # fmt: skip
        self.step, self.constants, self.tile, self.real = step, constants, tile, real
        self.memory = Host(real) if memory is None else memory
        self.kernel = Kernel(
            step,
            constants,
            record,
            training,
            tile,
            arrangements,
            parts if tile == 1 and training is None else 1,
            divided and tile == 1 and training is None,
            dialect,
        )
        self.rooms: dict[str, int] = {}  # bytes of a function's scratch, of one unit
        dtype, layout = np.dtype(real).name, self.kernel.layout
        bytes_ = np.dtype(real).itemsize
        back, rooms = None, layout.scratch
        if training is not None:  # first: it says what the loop must keep
            adjoint = Adjoint(self.kernel)
            each = adjoint.each()
            back = adjoint.start(), adjoint.past(), each, adjoint.finish()
            self.rooms["backward"], layout.scratch = layout.scratch_bytes(bytes_), {}
        loop = Forward(self.kernel)
        self.ends = loop.ends
        each = loop.each()
        forth = loop.start(), loop.past(), each, loop.finish()
        self.rooms["forward"] = layout.scratch_bytes(bytes_)
        widest = max((c.size for c in step.cells), default=1)
        facts = Facts(layout, self.kernel.parts, widest, bytes_, network, self.kernel.fixed())
        drawn = synaptic.text(driven=any(c.counts for c in step.cells), drawing=any(s.noise for s in step.synapses))
        written = {"forward": dialect.function("forward", facts, forth, back=False)}
        if back is not None:
            layout.scratch = rooms
            written["backward"] = dialect.function("backward", facts, back, back=True)
            written["added"] = dialect.added(facts)
        self.shared = {name: w.shared for name, w in written.items()}  # bytes of a block's
        texts = [dialect.prelude(facts, dtype, tile, step.dt), drawn, *(w.text for w in written.values() if w.text)]
        self.source, self.threads = "\n".join(texts), dialect.block(facts)
        self.network = network
        self.formulas: dict[str, Any] = {}  # constants as torch code
        self._pool: Pool = {}
        self._borders = {n: self._border(n, slot) for n, slot in self.kernel.layout.slots.items()}
        self.roles = {n: border.role for n, border in self._borders.items()}
        self.memory.lasting({n: border.nothing for n, border in self._borders.items()})
        self.constants_read = [n for n in self._borders if n in constants.table]
        self.places = {n: i for i, n in enumerate(self._borders)}  # in the table of pointers
        self.left_behind = [n for n, border in self._borders.items() if border.role in ("end", "final")]

    @cached_property
    def functions(self) -> Any:
        """By name, built when the first is called. Raises UnsupportedError."""
        dtype = np.dtype(self.real).name
        if not isinstance(self.memory, Host):
            return self.memory.machine.functions(self.source, self.network, dtype, self.shared, self.threads)
        library = load(self.source, self.network, dtype)
        for name in self.rooms:
            getattr(library, name).argtypes = SIGNATURE
            getattr(library, name).restype = None
        return {name: getattr(library, name) for name in self.rooms}

    def forward(self, given: Mapping[str, Any], feed: Feed, every: int, threads: int) -> Run:
        """Run. given: by C name. Inner arrays are lent while somebody holds the run."""
        spans = self.spans(feed.steps)
        run, call = self.begun(given, feed, every, threads, spans, kept=len(spans) > 1)
        try:
            for span in spans:
                if len(spans) > 1:
                    run.before[:] = [*(run.before if self.kernel.training else ()), call.kept()]
                run.failure = self.finish(call, span, run.before)
                if run.failure is not None:
                    break
        finally:
            call.close()
        run.on_tape = len(spans) - 1
        return run

    def begun(
        self, given: Mapping[str, Any], feed: Feed, every: int, threads: int, spans: list[tuple[int, int]], *, kept: bool
    ) -> tuple[Run, Call | Launch]:  # fmt: skip
        """A run with its arrays, and the function that is to be called for its steps."""
        units = (feed.population or 1) * -(-feed.batch // self.tile)
        counts = {r.places: int(given[r.places][0]) for r in self.kernel.record if r.chosen}
        run = Run(feed, every, threads, units, spans, Loan(self._pool), counts=counts)
        run.arrays = self._arrays(given, self.numbers(run), run.loan)
        for cells in self.step.cells if run.past else ():
            if cells.spikes:
                self.memory.begin(run.arrays, feed, cells.name, cells.size)
        return run, self.bound("forward", run, run.arrays, kept=kept)

    def spans(self, steps: int) -> list[tuple[int, int]]:
        """Steps whose versions are kept at once: all, at most TAPE or the dialect's; a longer trial is run again, part by part."""
        most = steps if isinstance(self.memory, Host) else LAUNCH
        longest = min(steps, most if self.kernel.training is None else min(TAPE, self.kernel.dialect.tape))
        return [(begin, min(begin + longest, steps)) for begin in range(0, steps, longest)]

    def backward(self, run: Run, given: Mapping[str, Any]) -> Arrays:
        """The adjoint of that run. given: gradients of what it gave, by C name. Returns the gradients."""
        loan, shapes = Loan(self._pool), self.kernel.layout.shapes(self.numbers(run))
        gradients = [n for n in shapes if self.roles[n] == "G"]
        sums: Arrays = {n: self.memory.cleared(loan, n, shapes[n], self.real) for n in gradients}
        arrays, kept = {**run.arrays, **given, **sums}, len(run.spans) > 1
        back = self.bound("backward", run, arrays, kept=kept)
        again = self._again(run, arrays) if kept else None
        try:
            for i, span in reversed(list(enumerate(run.spans))):
                if again is not None and run.on_tape != i:
                    again.put_back(run.before[i])
                    run.on_tape = i
                    again.start(*span)
                back.start(*span)
        finally:
            for call in (back, again):
                if call is not None:
                    call.close()
        lanes = {n: a for n, a in sums.items() if unmangled(n)[1] not in ("current", "state")}
        if isinstance(self.memory, Host):
            return {n: a.sum(axis=0) if n in lanes else a.copy() for n, a in sums.items()}
        return sums | self._added(lanes)

    def _again(self, run: Run, arrays: Arrays) -> Call | Launch:
        """The forward function for spans whose versions aren't on the tape: what the run gave and left stays as it is."""
        spare = {
            n: self.memory.empty(tuple(arrays[n].shape), self._borders[n].dtype)
            for n in self.left_behind if n in arrays
        }  # fmt: skip
        return self.bound("forward", replace(run, every=run.feed.steps + 1), {**arrays, **spare}, kept=True)

    def _added(self, sums: Arrays) -> Arrays:
        """Lanes of gradients added in order, by a kernel; on the host numpy does it."""
        memory = self.memory
        assert not isinstance(memory, Host)
        if not sums or len(next(iter(sums.values()))) == 1:
            return {n: a[0] for n, a in sums.items()}
        found: Arrays = {n: memory.empty(tuple(a.shape[1:]), self.real) for n, a in sums.items()}
        sizes = [prod(a.shape) for a in found.values()]
        blocks = min(-(-max(1, *sizes) // self.threads), ADDING)
        arrays = [a for pair in zip(sums.values(), found.values(), strict=True) for a in pair]
        lanes = len(next(iter(sums.values())))
        add = memory.launch(self.functions, "added", arrays, sizes, (), lanes, blocks=blocks, threads=self.threads)
        add.start(0, len(sums))
        return found

    # -- calls ---------------------------------------------------------------------------------------------

    def numbers(self, run: Run) -> dict[str, int]:
        feed, (begin, end) = run.feed, run.spans[0]
        return {
            "steps": feed.steps, "rows": run.past + feed.steps, "bounds": run.past + feed.steps + 1,
            "span": end - begin, "records": feed.steps // run.every,
            "units": run.units, "lanes": self.kernel.dialect.lanes(run.units), "trials": (feed.population or 1) * feed.batch, "batch": feed.batch,
            **run.counts,
        }  # fmt: skip

    def _arrays(self, given: Mapping[str, Any], numbers: Mapping[str, int], loan: Loan) -> Arrays:
        memory, shapes = self.memory, self.kernel.layout.shapes(numbers)
        found, outside = dict[str, Any](), dict[str, tuple[Any, np.dtype[Any]]]()
        self._check_memory(shapes)
        for name, border in self._borders.items():
            dtype, slot = border.dtype, border.slot
            if slot.shape is None:
                value = given.get(name)
                outside[name] = border.nothing if value is None else value, dtype
            elif border.role != "G":
                shape = shapes[name]
                found[name] = memory.lent(loan, name, shape, dtype) if slot.inner else memory.empty(shape, dtype)
        return found | memory.given(outside)

    def _check_memory(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raises RunError before the run where its arrays won't fit."""
        sizes = {n: prod(shape) * self._borders[n].bytes for n, shape in shapes.items()}
        total = sum(sizes.values())
        free = self.memory.free() if total > CHECKED else None
        if free is None or total < free:
            return
        largest = max(sizes, key=lambda n: sizes[n])
        role, *names = unmangled(largest)
        of_what = f"the {role} of '{'.'.join(names)}'"
        raise RunError(
            f"this run needs {total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free{self.memory.where}; most of it is {of_what} "
            f"({sizes[largest] / 2**30:.1f} GiB); use a smaller batch, fewer steps, or a larger every"
        )

    def bound(self, name: str, run: Run, arrays: Arrays, *, kept: bool) -> Call | Launch:
        """A function with a run's arrays. kept: whether units keep their scratch between spans."""
        back, units, feed, lanes = name == "backward", run.units, run.feed, self.kernel.dialect.lanes(run.units)
        given = [arrays.get(n) for n in self._borders]
        strides = [
            0 if a is None else border.stride(a) for border, a in zip(self._borders.values(), given, strict=True)
        ]
        numbers = feed.steps, run.every, feed.batch, feed.start, run.past, int(feed.state is not None)
        room = self.rooms[name]
        if not isinstance(self.memory, Host):
            room = -(-room // LINE) * LINE  # so that those of all units begin at a line
            blocks, apart = lanes if back else 0, room if kept else 0
            scratch = self.kernel.dialect.scratch(room, units, blocks or units, kept=kept)
            options = {"blocks": blocks, "threads": self.threads, "scratch": scratch, "apart": apart}
            return self.memory.launch(self.functions, name, given, strides, numbers, units, **options)
        together = not back and units == 1 and self.kernel.parts > 1
        work = (
            [(0, 1, part) for part in range(self.kernel.parts)]
            if together
            else [(start, stop, lane) for lane, (start, stop) in enumerate(parts(units, lanes))]
            if back
            else [(start, stop, 0) for start, stop in parts(units, min(run.threads, units))]
        )
        return Call(
            self.functions[name], given, strides, numbers, work, run.threads, room,
            kept=kept, together=together, held=run.loan,
        )  # fmt: skip

    def finish(self, call: Call | Launch, steps: tuple[int, int], before: Sequence[Any]) -> tuple[int, ...] | None:
        """Calls it. Gives what left the finite numbers first: see `Run.failure`. before: scratch before each span, this one's the last."""
        if call(*steps):
            return None
        cut = [int(s[3]) for s in call.statuses if s[0] == CUT]
        failed = [tuple(s[1:]) for s in call.statuses if s[0] == FAILED]
        found = None if cut else min(failed, key=lambda f: (f[2], f[3]))
        # What left the finite numbers before a step where it was cut is named at the end of a run that ends there. And who fails
        # leaves the units that were to follow undone: one of them may have failed earlier.
        end = min(cut) if found is None else found[2]
        if found is not None and end <= steps[0]:
            return found
        if before:
            call.put_back(before[-1])
        return self.finish(call, (steps[0], end), before) or found

    def _border(self, name: str, slot: Slot) -> _Border:
        dtype, role = np.dtype(self.real) if slot.kind == "real" else C_TYPES[slot.kind], unmangled(name)[0]
        # lists of spikes have room for all cells in all steps; what no spike reaches costs nothing
        share = 16 if role in ("events", "recent") else 1
        return _Border(slot, dtype, role, self._own_rank(name) if slot.sets else None, dtype.itemsize / share)

    def _own_rank(self, name: str) -> int:
        """Rank of one parameter set's values."""
        if name in self.constants.table and self.constants.table[name].one:
            return 0
        constant = self.constants.table.get(name)
        owner = constant.owner if constant is not None else unmangled(name)[1]
        synapses = next((s for s in self.step.synapses if s.name == owner), None)
        return 1 if synapses is None else len(synapses.shape)


def parts(units: int, number: int) -> list[tuple[int, int]]:
    """Units 0 ... units - 1 in as many spans of equal length, or nearly so."""
    return list(pairwise(i * units // number for i in range(number + 1)))

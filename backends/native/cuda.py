"""CUDA as a dialect: a trial is a block, and a cell's owner is a thread of it. See docs/adr/0030.

The text is C and C++ at once: NVRTC's with `--device-as-default-execution-space --device-int128` (and `--fmad=false` for float64,
which rounds as numpy does), and the C compiler's after a header that defines CUDA's words for one processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from backends.native.barriers import BARRIER, needed, parts
from backends.native.build import OTHERS
from backends.native.dialect import Dialect, Facts, Written
from backends.native.printer import definitions, header
from backends.native.text import SIGNATURE, Operations, Piece, indented
from neuro.language.mangling import unmangled
from neuro.protocols import UnsupportedError

WARP, MOST = 32, 1024  # threads
SHARED = 227 * 2**10  # bytes of shared memory that a block may have on sm_90; others have 48 KiB at least
_ALIGNED = 64
_FAILING = "failing"  # what an operation gives: whether a thread has found a number that isn't finite
_BYTES = {"byte": 1, "ushort": 2, "int": 4, "long": 8}
LANES = 128  # partial sums of gradients, at most: about one a multiprocessor, and as many copies of every weight
_ARGUMENTS = "void *const *arrays, const long *strides, long *statuses, const run_t *run, long from, long until, long begin, long end, char *scratch, long apart"


@dataclass(frozen=True)
class Cuda(Dialect):
    """device: of torch, on which its kernels' arrays lie. threads: of a block, a multiple of 32; 0 for as many as the largest population has cells.
    shared: bytes of shared memory that a block may have. emulated: with the header that lets a C compiler build it. checked: the emulation's threads
    run in descending order, nothing is in shared memory, and two threads that change the same scratch between two barriers are an error.
    """

    threads: int = 0
    emulated: bool = False
    checked: bool = False
    device: str = "cpu"
    shared: int = SHARED
    name = "CUDA"
    lists = False
    owners = True
    teams = False
    gathers = False
    tape = 128
    handed = 2

    def tile(self, batch: int) -> int:
        return 1

    def lanes(self, units: int) -> int:
        """Blocks of a backward launch: by the units alone, so that every device gives the same bits."""
        return min(units, LANES)

    def scratch(self, room: int, units: int, blocks: int, *, kept: bool) -> int:
        """None where it is in shared memory and stays there; the emulation brings its own."""
        if kept:
            return room * units + _ALIGNED
        return 0 if self.emulated or room <= self.most else room * blocks + _ALIGNED

    @property
    def most(self) -> int:
        """Bytes of a block's shared memory that a kernel may take."""
        return 0 if self.checked else self.shared

    # -- inside of an operation ----------------------------------------------------------------------------

    def loop(self, index: str, first: str, last: str) -> str:
        return f"OWN({index}, {last})"

    def spread(self, index: str, first: str, last: str) -> str:
        return f"for (long {index} = {first} + threadIdx.x; {index} < {last}; {index} += THREADS)"

    def own(self, index: str) -> list[str]:
        return [f"if (!MINE({index})) continue;"]

    def copied(self, to: str, source: str, number: int | str, kind: str = "real") -> str:
        return f"COPY({to}, {source}, {number})"

    def cleared(self, to: str, number: int | str, kind: str = "real") -> str:
        return f"CLEAR({to}, {number})"

    def summed(self, total: str, amount: str) -> str:
        return f"ADD({total}, {amount});"

    def between(self) -> list[str]:
        return [BARRIER]

    def ranges(self, first: str, last: str, text: Callable[[str, str], list[str]]) -> list[str]:
        found = text("own", "own + 1")
        return [f"OWN(own, {last}) {{", *found, "}"] if found else []

    def stopped(self) -> str:
        return f"{_FAILING} |= bad && k > 0;"

    # -- whole texts ---------------------------------------------------------------------------------------

    def block(self, facts: Facts) -> int:
        """Threads of a block."""
        return self.threads or min(MOST, -(-max(facts.cells, 1) // WARP) * WARP)

    def prelude(self, facts: Facts, dtype: str, tile: int, dt: float) -> str:
        checked = "#define CHECKED\n" if self.checked else ""
        before = checked + header("cuda_on_cpu.h") if self.emulated else ""
        numbers = f"#define THREADS {self.block(facts)}\n" + definitions(dtype, tile, dt)
        return before + numbers + header("real.h", "functions.h", "run.h", "cuda.h")

    def function(self, name: str, facts: Facts, pieces: Sequence[Iterable[Piece]], *, back: bool) -> Written:
        kernel = _Kernel(name, facts, self.most)
        text = kernel.text(*pieces, back=back) + (kernel.launched() if self.emulated else "")
        return Written(text, kernel.shared)

    def added(self, facts: Facts) -> Written:
        """The kernel that adds lanes of gradients."""
        kernel = _Kernel("added", facts, 0)
        text = header("added.h").replace("ARGUMENTS", _ARGUMENTS)
        return Written(text + (kernel.launched() if self.emulated else ""))


class _Kernel:
    """Writes a kernel. most: bytes of shared memory that it may take. shared: that it takes: for scratch where that fits, and for what is left
    of the smallest arrays of synapses that each step reads, and that no step changes. bytes: of scratch.
    """

    def __init__(self, name: str, facts: Facts, most: int) -> None:
        self.name, self.facts, self.layout, self.most = name, facts, facts.layout, most
        self.operations = Operations(facts.layout, name, self._head, _FAILING)
        self.bytes, self.shared = _ALIGNED, 0

    def text(
        self,
        start: Iterable[Piece],
        past: Iterable[Piece],
        each: Iterable[Piece],
        finish: Iterable[Piece],
        *,
        back: bool,
    ) -> str:
        first = [f"{call}; {BARRIER}" for call in map(self._call, start)]
        before = [f"{call}; {BARRIER}" for call in map(self._call, past)]
        loop, met, read = self._steps(list(each), back=back)
        last = [f"if ({call}) return; {BARRIER}" for call in map(self._call, finish)]
        arrays, loaded = self._arrays(read)
        bytes_, inside = self.bytes, self.bytes <= self.most
        anew = "end == run->steps" if back else "begin == 0"
        onwards = "k = end - 1; k >= begin; k--" if back else "k = begin; k < end; k++"
        earlier = [
            "for (long k = -1; k >= -past; k--) {" if back else "for (long k = -past; k < 0; k++) {",
            *before,
            "}",
        ]
        lines = [
            f"KERNEL void __launch_bounds__(THREADS) {self.name}_kernel({_ARGUMENTS}) {{",
            *(["SHARED(shared);"] if self.shared else []), *(["long held = -1;"] if loaded else []),
            "for (long unit = from + blockIdx.x; unit < until; unit += gridDim.x) {",
            "const long set = unit / run->batch, past = run->past;",
            "const unit_t own_unit = {statuses + STATUS*blockIdx.x, run, begin, end, end - begin, unit, unit % run->batch, 1, unit, blockIdx.x, 0};",
            "const unit_t *const u = &own_unit;",
            f"char *const own_room = ALIGNED(scratch) + (apart ? unit*apart : (long)blockIdx.x*{bytes_});",
            f"char *const room = {'shared' if inside else 'own_room'};", f"WATCH(room, {bytes_});", *arrays,
            *(["if (set != held) {", *loaded, "held = set; }"] if loaded else []),
            *([f"if (!({anew})) COPY(room, own_room, {bytes_});"] if inside else []),
            f"if ({anew}) {{", f"CLEAR(room, {bytes_}); {BARRIER}",
            "{ const long k = begin;", *first, "}", *(earlier if before and not back else []), "}", BARRIER,
            "long suspect = -1;", f"for (long {onwards}) {{", *loop, "}", met,
            *(["if (begin == 0) {", *earlier, "}"] if before and back else []),
            "{ const long k = end;", *last, "}", *([f"if (apart) COPY(own_room, room, {bytes_});"] if inside else []),
            BARRIER, "}", "}",
        ]  # fmt: skip
        return "\n".join((*self.operations.made.values(), indented(lines)))

    def _steps(self, each: Sequence[Piece], *, back: bool) -> tuple[list[str], str, set[str]]:
        """Lines of a step, where the threads meet after the last one, and the arrays that a step names.

        Where they meet first in a step they agree on whether to go on.
        """
        slots, handed = self.layout.slots, self.layout.handed
        filled = {n for n, slot in slots.items() if slot.shape is not None and (not back or unmangled(n)[0] == "G")}
        step = parts(each, filled | self.layout.scratch.keys(), handed)
        watched = any(_FAILING in line for part in step for line in part.piece.lines)
        found, agree, read = list[str](), watched, set[str]()
        for part, meet in zip(step, needed(step, handed), strict=True):
            call = self._call(part.piece)
            read.update(self.operations.of(part.piece)[1])
            if meet:
                found.append("AGREED(k)" if agree else BARRIER)
                agree = False
            watches = any(_FAILING in line for line in part.piece.lines)
            found.append(f"if ({call} && suspect < 0) suspect = k;" if watches else f"{call};")
        return [*found, *(["AGREED(k)"] if agree else [])], "AGREED(end)" if watched else BARRIER, read

    def launched(self) -> str:
        """The function with which a C library runs blocks one after another: the same that C's dialect has. lane: how many; 0 for the default."""
        name = self.name
        return "\n".join((
            f"static void {name}_block(const void *given) {{", "    const launch_t *const l = (const launch_t *)given;",
            f"    {name}_kernel(l->arrays, l->strides, l->statuses, (const run_t *)l->run, l->from, l->until, l->begin, l->end, l->scratch, l->apart);", "}",
            SIGNATURE.format(name=name) + " {", "    launch_t l = {arrays, strides, 0, run, from, until, begin, end, scratch, apart};",
            f"    emulated_grid(&l, THREADS, {self.bytes}, {self.shared}, {name}_block, lane, status);", "}", "",
        ))  # fmt: skip

    def _head(self, name: str, arrays: Sequence[str]) -> list[str]:
        given = "".join(f", {self._type(n)}{n}" for n in arrays)
        return [f"static __device__ int {name}(const unit_t *u, long k, int id{given}) {{ UNIT int {_FAILING} = 0;"]

    def _call(self, piece: Piece) -> str:
        if "propagator(" in "\n".join(piece.lines):
            what = f"network '{self.facts.network}', '{piece.title}', on CUDA"
            why = "the exponential of a matrix that changes during a run isn't written for it; use device='cpu'"
            raise UnsupportedError("native", what, why, OTHERS)
        name, arrays = self.operations.of(piece)
        return f"{name}({', '.join(('u', 'k', str(piece.id), *arrays))})"

    def _type(self, name: str) -> str:
        slot = self.layout.slots.get(name)
        kind = self.layout.scratch[name][0] if slot is None else slot.kind
        return f"{kind} " if slot is not None and slot.number else f"{kind} *"

    def _arrays(self, read: set[str]) -> tuple[list[str], list[str]]:
        """Lines that name a unit's arrays, and those that copy some into shared memory. read: by the operations of a step."""
        scratch, place = list[str](), 0
        for name, (kind, length) in self.layout.scratch.items():
            scratch.append(f"{kind} *const {name} = ({kind} *)(room + {place});")
            place += _room(_BYTES.get(kind, self.facts.real) * length)
        self.bytes = max(place, _ALIGNED)
        self.shared = self.bytes if self.bytes <= self.most else 0
        places = dict[str, int]()
        for name in sorted(read & self.facts.fixed.keys(), key=lambda n: (self.facts.fixed[n], n)):
            size = _room(self.facts.fixed[name] * self.facts.real)
            if 0 < size <= self.most - self.shared:
                places[name], self.shared = self.shared, self.shared + size
        found = []
        for n, name in enumerate(self.layout.slots):
            kind, number = self._type(name), self.layout.slots[name].number
            pointer = f"({kind.rstrip(' *')} *)" + (f"(shared + {places[name]})" if name in places else f"GIVEN({n})")
            found.append(f"const {kind}{name} = *{pointer};" if number else f"{kind}const {name} = {pointer};")
        slots = list(self.layout.slots)
        copied = [f"COPY({n}, (real *)GIVEN({slots.index(n)}), {self.facts.fixed[n]});" for n in places]
        return found + scratch, copied


def _room(size: int) -> int:
    """Bytes that a piece of so many takes."""
    return -(-size // _ALIGNED) * _ALIGNED

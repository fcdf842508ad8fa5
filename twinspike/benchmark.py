"""What benchmarks give: one table of figures beside what they must reach, for one benchmark or for all, as HDF5 and PNG."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from twinspike import cli
from twinspike.study import Study
from twinspike.timing import CONTROL

PEERS = ("jax", "spyx", "flax", "norse", "spikingjelly", "Cython", "nest-simulator")
HEADER = ("benchmark", "ours", "against", "our", "their", "ratio", "range", "A/A", "target", "reached", "note")


@dataclass(frozen=True)
class Figure:
    """One measured figure. ours, theirs: the quantities compared, with unit. value: their ratio, or ours alone where
    `theirs` is empty. control: the same ratio of ours to ours. target: what the value may be at most (at least, for a
    speed-up). differs: what is not the same on both sides.
    """

    benchmark: str
    name: str
    against: str
    ours: str
    theirs: str
    value: float
    low: float
    high: float
    control: float | None = None
    target: float | None = None
    at_least: bool = False
    differs: str = ""

    @property
    def reached(self) -> bool:
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target

    def row(self, notes: list[str]) -> tuple[str, ...]:
        """See HEADER; what differs goes to the notes, and its number into the row."""
        if self.differs and self.differs not in notes:
            notes.append(self.differs)
        sign = ">=" if self.at_least else "<="
        return (
            self.benchmark, self.name, self.against, self.ours, self.theirs, f"{self.value:.3g}",
            f"{self.low:.3g}..{self.high:.3g}", "" if self.control is None else f"{self.control:.3g}",
            "" if self.target is None else f"{sign} {self.target:g}",
            "" if self.target is None else "yes" if self.reached else "NO",
            str(notes.index(self.differs) + 1) if self.differs else "",
        )  # fmt: skip


@dataclass
class Bench(Study):
    """One run of one or more benchmarks. backends: ours, the first is the one that must reach the targets. scale: of the microcircuit. seconds: of its time that is judged; 0: as it sees fit.
    place: what the device is called on which all was measured. page: of `distributed`, whose tables are written; measured: a file of its measurements, which are then not made again."""

    rounds: int = 7
    threads: int = 1
    scale: float = 0.1
    seconds: float = 0.0
    place: str = ""
    page: Path | None = None
    measured: Path | None = None
    backends: tuple[str, ...] = ("native", "torch")
    figures: list[Figure] = field(default_factory=list)

    @property
    def ours(self) -> str:
        return self.backends[0]

    def ratios(
        self, benchmark: str, times: Mapping[str, list[float]], ours: str, *, targets: Mapping[str, float] | None = None,
        differs: Mapping[str, str] | None = None, unit: str = "CPU s", shares: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        """Figures of `ours` against every other function of `interleaved`: medians, and the median of the rounds' ratios.

        targets, differs: by name. shares: part of ours' work that a function did, 1 where left out.
        """
        for name, found in times.items():
            self.array(f"{benchmark}/{name}", found)
        control = _ratios(times[ours], times[ours + CONTROL]) if ours + CONTROL in times else None
        for name, found in times.items():
            if name == ours or name.endswith(CONTROL):
                continue
            whole = [t / (shares or {}).get(name, 1.0) for t in found]
            ratios = _ratios(times[ours], whole)
            self.figures.append(
                Figure(
                    benchmark, ours, name, f"{median(times[ours]):.3g} {unit}", f"{median(whole):.3g} {unit}", median(ratios),
                    ratios[0], ratios[-1], None if control is None else median(control), (targets or {}).get(name),
                    differs=(differs or {}).get(name, ""),
                )
            )  # fmt: skip

    def versions(self) -> dict[str, str]:
        """Ours, the peers', the compiler's and the processor's."""
        found = super().versions()
        for name in PEERS:
            with suppress(PackageNotFoundError):
                found[name] = version(name)
        return found | {"compiler": _first_line("c++", "--version"), "processor": _processor()}

    def report(self) -> None:
        """Print the one table, the versions, and what did not do the same work."""
        header = (
            self.name
            + (f" on {self.place}" if self.place else "")
            + (" (quick: smaller than the targets are meant for)" if self.quick else "")
        )
        notes: list[str] = []
        rows = [f.row(notes) for f in self.figures]
        cli.table(header, HEADER, rows)
        for i, note in enumerate(notes, 1):
            print(f"{i}: {note}")
        print(", ".join(f"{name} {text}" for name, text in self.versions().items()))
        print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} processes on {os.cpu_count()} processors")
        for criterion in self.criteria:
            if criterion.holds is None:
                print(f"not judged: {criterion.name}: wanted {criterion.wanted}; {criterion.verdict}")
            elif not criterion.holds:
                print(f"does NOT hold: {criterion.name}: {criterion.measured}, wanted {criterion.wanted}")
        self._plot()

    def write(self) -> Path:
        """See Study.write; the figures are a table of it."""
        notes: list[str] = []
        rows = [list(f.row(notes)) for f in self.figures]
        self.tables["figures"] = {"header": list(HEADER), "rows": rows, "notes": notes}
        return super().write()

    def _plot(self) -> None:
        """Ratios with their ranges, and what they must reach."""
        from matplotlib.figure import Figure as Plot

        shown = [f for f in self.figures if f.theirs and not f.at_least][::-1]
        if not shown:
            return
        plot = Plot(figsize=(9, 1.2 + 0.32 * len(shown)))
        axes = plot.subplots()
        axes.axvline(1.0, color="0.7", lw=1)
        for y, f in enumerate(shown):
            colour = "tab:gray" if f.target is None else "tab:green" if f.reached else "tab:red"
            axes.plot([f.low, f.high], [y, y], color=colour, lw=2)
            axes.plot(f.value, y, "o", color=colour)
            if f.target is not None:
                axes.plot(f.target, y, "|", color="black", ms=14, mew=2)
        axes.set_yticks(range(len(shown)), [f"{f.benchmark}: {f.name} / {f.against}" for f in shown], fontsize=8)
        axes.set_xscale("log")
        axes.set_xlabel("ours/theirs (dot: median, line: range of rounds, bar: target)")
        self.figure("ratios", plot)


def _ratios(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return sorted(x / y for x, y in zip(a, b, strict=True))


def _first_line(*command: str) -> str:
    import subprocess

    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "none"


def _processor() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def call(function: Any, *arguments: Any) -> Any:
    """The function with its arguments, for `interleaved`."""
    return lambda: function(*arguments)

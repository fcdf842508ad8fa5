"""What a study in `twinspike/studies/` is given: where it writes tables, measured criteria, arrays and figures.

A study is a module with a docstring (its first line is the summary), `MINUTES`, which a full run takes on two cores, and
`run(study: Study) -> None`. A quick run takes less than two minutes. It judges what so short a run can show, at least one
criterion that could fail, and lists the others: those need the full run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twinspike import cli


@dataclass(frozen=True)
class Criterion:
    """One thing a study must show: its name, what was measured, what was wanted, and whether it holds.

    measured: empty where nothing was. holds: None where only the full run can tell. lacks: what it would need besides.
    """

    name: str
    measured: str
    wanted: str
    holds: bool | None
    lacks: str = ""

    @property
    def verdict(self) -> str:
        return {None: self.lacks or "needs the full run", True: "yes", False: "NO"}[self.holds]


@dataclass
class Study:
    """One study under way. quick: fewer trials and runs; the tables say how many. minutes: of the full run, on two cores. data: a path that the user gave."""

    name: str
    folder: Path
    seed: int = 0
    quick: bool = False
    minutes: float = 0.0
    data: str = ""
    start: float = field(default_factory=time.perf_counter)
    criteria: list[Criterion] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)

    def progress(self, text: str) -> AbstractContextManager[Callable[[int, int, str], None]]:
        """A progress bar: `with study.progress("...") as update: update(done, total, "loss 0.1")`."""
        return cli.progress(f"{self.name}: {text}")

    def parallel(self, calls: Iterable[Any]) -> Iterator[Any]:
        """Results of joblib's delayed calls, in order: two at a time, or in this process where starting others takes longer."""
        from joblib import Parallel

        return iter(Parallel(n_jobs=1 if self.quick else 2, return_as="generator")(calls))

    def criterion(self, name: str, measured: Any, wanted: str, holds: bool, *, full: bool = False) -> None:
        """Keep a measured figure beside what the specification wants. full: a quick run shows the figure, but can't judge it."""
        judged = not (full and self.quick)
        self.criteria.append(Criterion(name, cli.cell(measured), wanted, bool(holds) if judged else None))

    def unmeasured(self, name: str, wanted: str, lacks: str = "") -> None:
        """A criterion for which a quick run has no figure at all; or any run, where it lacks something."""
        self.criteria.append(Criterion(name, "", wanted, None, lacks))

    @property
    def holds(self) -> bool:
        """Whether at least one criterion was judged, and none of them fails."""
        verdicts = [c.holds for c in self.criteria]
        return True in verdicts and False not in verdicts

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table and keep it."""
        kept = [[cli.cell(value) for value in row] for row in rows]
        cli.table(title, header, kept)
        self.tables[title] = {"header": list(header), "rows": kept}

    def array(self, name: str, values: Any) -> None:
        """Keep an array; `name` may have slashes."""
        self.arrays[name] = values

    def provenance(self, config: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        """Keep, as JSON, what was run, and the numbers expected with where they are from."""
        for name, values in (("config", config), ("expected", expected)):
            self.array(name, json.dumps(values, default=str).encode())

    def figure(self, name: str, figure: Any) -> None:
        """Save a matplotlib figure as PNG beside the file."""
        figure.savefig(self.folder / f"{self.name}-{name}.png", dpi=120, bbox_inches="tight")

    def report(self) -> None:
        """Print the criteria, and what the full run takes if it is needed for some."""
        rows = [(c.name, c.measured or "-", c.wanted, c.verdict) for c in self.criteria]
        cli.table(f"{self.name}: what it must show", ("criterion", "measured", "wanted", "holds"), rows)
        left = sum(c.holds is None and not c.lacks for c in self.criteria)
        if left:
            command = f"twinspike reproduce {self.name}"
            judged = sum(c.holds is not None for c in self.criteria)
            print(f"{judged} judged, {left} need the full run of about {self.minutes:g} minutes: {command}")

    def versions(self) -> dict[str, str]:
        """Versions of what computes."""
        from neuro.io.results import versions

        return versions()

    def finish(self) -> Path:
        """Report and write."""
        self.report()
        return self.write()

    def write(self) -> Path:
        """Write everything to one HDF5 file; it appears whole or not at all."""
        import h5py
        import numpy as np

        path = self.folder / f"{self.name}.h5"
        unfinished = path.with_suffix(".h5.part")
        with h5py.File(unfinished, "w") as file:
            file.attrs["study"], file.attrs["seed"], file.attrs["quick"] = self.name, self.seed, self.quick
            file.attrs["seconds"] = time.perf_counter() - self.start
            file.attrs["command"], file.attrs["versions"] = cli.command_line(), json.dumps(self.versions())
            file.attrs["criteria"] = json.dumps([vars(c) for c in self.criteria])
            file.attrs["tables"] = json.dumps(self.tables)
            for name, values in self.arrays.items():
                file[name] = np.asarray(values)
        unfinished.replace(path)
        return path


def curves(
    runs: Mapping[str, Sequence[Any]],
    x: str,
    y: str,
    *,
    over: int = 1,
    title: str = "",
    levels: Mapping[str, float] | None = None,
) -> Any:
    """A figure of every run's curve. runs: arm -> arrays [entry]; x, y: what the axes are called. over: entries of a running mean. levels: what is drawn for
    comparison, by its name."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(figsize=(6, 4))
    for number, (arm, found) in enumerate(runs.items()):
        for k, curve in enumerate(found):
            mean = np.convolve(curve, np.ones(over) / over, "valid")
            axes.plot(np.arange(len(mean)) + over, mean, color=f"C{number}", lw=1, label=arm if k == 0 else None)
    for name, level in (levels or {}).items():
        axes.axhline(level, color="0.5", ls=":", lw=1)
        axes.annotate(name, (0, level), fontsize=7, va="bottom")
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.legend(fontsize=8)
    return figure

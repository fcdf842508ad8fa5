"""What a study in `scripts/studies/` is given: where it writes tables, measured criteria, arrays and figures.

A study is a module with a docstring (its first line is the summary), `LONG = True` if it takes more than minutes, and
`run(study: Study) -> None`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cli


@dataclass(frozen=True)
class Criterion:
    """One thing a study must show: its name, what was measured, what was wanted, and whether it holds."""

    name: str
    measured: str
    wanted: str
    holds: bool


@dataclass
class Study:
    """One study under way. quick: fewer trials and runs, where the study has such a version; it says so in its table."""

    name: str
    folder: Path
    seed: int = 0
    quick: bool = False
    criteria: list[Criterion] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)

    def progress(self, text: str) -> AbstractContextManager[Callable[[int, int, str], None]]:
        """A progress bar: `with study.progress("...") as update: update(done, total, "loss 0.1")`."""
        return cli.progress(f"{self.name}: {text}")

    def criterion(self, name: str, measured: Any, wanted: str, holds: bool) -> None:
        """Keep a measured figure beside what the specification wants."""
        self.criteria.append(Criterion(name, cli.cell(measured), wanted, bool(holds)))

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table and keep it."""
        kept = [[cli.cell(value) for value in row] for row in rows]
        cli.table(title, header, kept)
        self.tables[title] = {"header": list(header), "rows": kept}

    def array(self, name: str, values: Any) -> None:
        """Keep an array; `name` may have slashes."""
        self.arrays[name] = values

    def figure(self, name: str, figure: Any) -> None:
        """Save a matplotlib figure as PNG beside the file."""
        figure.savefig(self.folder / f"{self.name}-{name}.png", dpi=120, bbox_inches="tight")

    def report(self) -> None:
        """Print the criteria."""
        rows = [(c.name, c.measured, c.wanted, "yes" if c.holds else "NO") for c in self.criteria]
        cli.table(f"{self.name}: what it must show", ("criterion", "measured", "wanted", "holds"), rows)

    def versions(self) -> dict[str, str]:
        """Versions of what computes."""
        from neuro.results import versions

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
            file.attrs["command"], file.attrs["versions"] = cli.command_line(), json.dumps(self.versions())
            file.attrs["criteria"] = json.dumps([vars(c) for c in self.criteria])
            file.attrs["tables"] = json.dumps(self.tables)
            for name, values in self.arrays.items():
                file[name] = np.asarray(values)
        unfinished.replace(path)
        return path

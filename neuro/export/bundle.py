"""An export with everything that goes with it: files, fixture, report, numbers for the store; or nothing, where it loses too much."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neuro.analysis.energy import Energy, Widths
from neuro.analysis.energy import measure as measure_energy
from neuro.compiler.semantics import semantics
from neuro.export import ExportError, targets
from neuro.export.fixture import Fixture, write_fixture
from neuro.export.lint import Problem, lint
from neuro.export.profile import Profile
from neuro.export.report import report
from neuro.export.stages import Measured, measure, stages_of
from neuro.export.targets import Export
from neuro.io.files import replaced_text
from neuro.io.serialisation import to_json
from neuro.model import Network
from neuro.protocols import Backend, Batch, Parameters, Task

TRIALS = 200  # of the fixture


class LossError(Exception):
    """An export that loses more accuracy than its budget; the message names the stage."""


@dataclass(frozen=True)
class Bundle:
    """export: with the files at their places. energy: of the last stage. problems: lint's warnings."""

    export: Export
    stages: tuple[Measured, ...]
    energy: Energy
    problems: tuple[Problem, ...]
    fixture: Path
    report: Path

    def to_data(self) -> dict[str, Any]:
        """For the run's file, /export/<target>: also the networks of all stages, for compare_backends."""
        export, network = self.export, self.stages[0].stage.network
        found: dict[str, Any] = {
            "files": ",".join(str(p) for p in (*export.files, self.fixture, self.report)),
            "stages": {m.stage.name: m.to_data() for m in self.stages},
            "latency": dict(export.latency),
            "rounding": dict(export.rounding),
            "semantics": json.dumps(semantics(network).to_data()),
            "notes": "\n".join(export.notes),
            "warnings": "\n".join(str(p) for p in self.problems),
            "energy": self.energy.to_data(),
            "page": self.report.read_text(encoding="utf-8"),
        }
        if export.quantised is not None:
            found["quantised"] = dict(export.quantised)
        if export.integers is not None:
            found["integers"] = to_json(export.integers)
        if export.integer_parameters is not None:
            found["integer_parameters"] = dict(export.integer_parameters)
        return found


def write_bundle(
    name: str, network: Network, parameters: Parameters, task: Task, out: Path, backend: Backend, *,
    budget: float, force: bool = False, batch: Batch | None = None,
    update: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Bundle:  # fmt: skip
    """Export a trained network to a target, with a fixture and a report. backend: what runs the stages.

    out: a folder, or the main file where it has the target's suffix. budget: points of accuracy that a stage may lie below
    the best stage before it; force: write even then. Raises ExportError, UnknownTargetError, LossError, OSError; then
    nothing has been written.
    """
    target = targets.get(name)
    problems = lint(network, target.profile, parameters)
    refuse(problems)
    main = main_file(out, network, target.profile)
    main.parent.mkdir(parents=True, exist_ok=True)
    batch = batch or task.test_batch()
    with tempfile.TemporaryDirectory(prefix=".export-", dir=main.parent) as folder:
        export = target.export(network, parameters, Path(folder) / main.name)
        stages = measure(stages_of(network, parameters, export), task, batch, backend, update)
        worst = max(stages, key=lambda m: m.lost)
        if worst.lost > budget and not force:
            why = f"stage '{worst.stage.name}' loses {worst.lost:.2f} points of accuracy, the budget is {budget:g}"
            raise LossError(f"{name}: {why}; train with the target's integers, raise --budget, or --force")
        if stages[-1].doubtful and not force:
            which = ", ".join(f"{cells} cells' {name}" for name, cells in stages[-1].doubtful.items())
            raise LossError(f"{name}: not what the chip computes: {which} above 0; scale weights down, or --force")
        files = _moved(export.files, main.parent)
    export = replace(export, files=files)
    last = stages[-1]
    energy = measure_energy(
        last.stage.network, last.recording, batch.inputs, last.stage.parameters, widths=_widths(target.profile)
    )
    fixture, text = (main.with_name(f"{main.name}{ending}") for ending in (".fixture.npz", ".md"))
    write_fixture(fixture, _fixture(name, export, last, batch))
    warnings = tuple(p for p in problems if p.warning)
    page = report(network, target.profile, export, stages, energy, warnings, fixture.name, budget)
    replaced_text(text, page)
    return Bundle(export, stages, energy, warnings, fixture, text)


def refuse(problems: Sequence[Problem]) -> None:
    """Raise ExportError for the first misfit that isn't a warning."""
    for problem in problems:
        if not problem.warning:
            raise ExportError(problem.where, problem.field, f"{problem.why}; {problem.fix}")


def main_file(out: Path, network: Network, profile: Profile) -> Path:
    """Where the main file goes."""
    return out if out.suffix and out.suffix == profile.suffix else out / f"{network.name}{profile.suffix}"


def _moved(files: Sequence[Path], folder: Path) -> tuple[Path, ...]:
    """The files at their places, the main one last: it never lies there without the others."""
    places = [folder / path.name for path in files]
    for path, place in reversed(list(zip(files, places, strict=True))):
        os.replace(path, place)
    return tuple(places)


def _fixture(name: str, export: Export, last: Measured, batch: Batch) -> Fixture:
    rasters: Mapping[str, Any] = last.recording.spikes
    return Fixture(
        target=name,
        dt=last.recording.dt,
        inputs={n: v[:TRIALS] for n, v in batch.inputs.items()},
        rasters={n: v[:TRIALS] for n, v in rasters.items()},
        latency=export.latency,
        semantics=semantics(last.stage.network).to_data(),
    )


def _widths(profile: Profile) -> Widths:
    """Bits of a weight and a state on the target."""
    weight = profile.weight.bits if profile.weight else 32
    state = profile.voltage.bits if profile.voltage else 32
    return Widths(weight=weight, state=state)

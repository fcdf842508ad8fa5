"""One page of Markdown for whoever flashes the chip: what is in the files, what each step lost, what the spikes mean."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neuro.analysis.energy import CAVEAT, Energy
from neuro.compiler.semantics import semantics
from neuro.export.lint import Problem
from neuro.export.profile import Profile
from neuro.export.stages import Measured
from neuro.export.targets import Export
from neuro.model import Network

_SHOWN = (
    "effective ACs a sample", "effective MACs a sample", "spikes a sample", "mean rate (Hz)", "parameters",
    "footprint (bytes)", "energy a sample (J)", "dense MACs over it",
)  # fmt: skip


def report(
    network: Network, profile: Profile, export: Export, stages: Sequence[Measured], energy: Energy,
    warnings: Iterable[Problem], fixture: str, budget: float,
) -> str:  # fmt: skip
    """The page. stages: what ran; energy: of the last one."""
    last = stages[-1]
    trials, steps = energy.samples, energy.steps
    parts = [
        f"# {network.name} for {profile.title}",
        _files(export.files, fixture),
        f"## Accuracy\n\n{trials} test trials of {steps} steps; budget {budget:g} points a stage.",
        _table(
            ("stage", "accuracy", "points lost", "spikes", "spikes that differ from the stage before"),
            [
                (m.stage.name, f"{m.accuracy:.4f}", f"{m.lost:.2f}", m.spikes, m.differing if i else "-")
                for i, m in enumerate(stages)
            ],
        ),
        f"## Expected spikes\n\nThe fixture holds rasters of the stage '{last.stage.name}'.",
        _latency(export.latency),
        "## Semantics",
        _semantics(network),
        f"## Energy\n\nOf the stage '{last.stage.name}'. {CAVEAT[0].upper()}{CAVEAT[1:]}.",
        _table(("what", "value"), [(n, f"{energy.summary()[n]:.4g}") for n in _SHOWN]),
    ]
    if export.rounding:
        parts += ["## Rounding", _table(("what", "largest relative error"), _numbers(export.rounding))]
    remarks = [*export.notes, *(str(p) for p in warnings)]
    if remarks:
        parts += ["## To note", "\n".join(f"- {text}" for text in remarks)]
    return "\n\n".join(parts) + "\n"


def _files(files: Sequence[Path], fixture: str) -> str:
    rows: list[tuple[Any, ...]] = []
    for path in files:
        data = path.read_bytes()
        rows.append((f"`{path.name}`", len(data), f"`{hashlib.sha256(data).hexdigest()[:16]}`"))
    rows.append((f"`{fixture}`", "", "inputs and expected rasters, npz without pickle"))
    return _table(("file", "bytes", "sha256 (first 16 digits)"), rows)


def _latency(latency: Mapping[str, int]) -> str:
    rows = [(name, late) for name, late in latency.items()]
    return _table(("population", "steps by which the rasters are later than on the target"), rows)


def _semantics(network: Network) -> str:
    record = semantics(network)
    head = [
        ("dt", f"{record.dt:g} s"),
        ("order within a step", record.order),
        ("reset", record.reset_timing),
        ("delays", record.delay_convention),
    ]
    cells = [
        (name, c.integrator, c.threshold or "-", f"{c.reset} `{c.reset_text}`", c.refractory)
        for name, c in record.cells.items()
    ]
    header = ("population", "integrator", "threshold", "reset", "refractory (steps)")
    return f"{_table(('convention', 'value'), head)}\n\n{_table(header, cells)}"


def _numbers(values: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{value:.3g}") for name, value in values.items()]


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(str(c).replace("|", "\\|").replace("\n", "; ") for c in row) + " |" for row in lines
    )

"""A user's script from its first run to the verdict: does our network compute what Brian2's objects compute?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import brian2
import numpy as np
from brian2.core.base import BrianObjectException

from backends.brian.importing.importer import Imported, NotImportedError, from_brian2
from neuro.protocols import RunError, UnsupportedError
from twinspike.brian2_runs import ours, watched, written
from twinspike.brian2_runs.first_run import FirstRun, NoRun, first_run
from twinspike.brian2_runs.numbers import NumbersError, drawing
from twinspike.brian2_runs.ours import Comparison
from twinspike.brian2_runs.watched import Ran

SOON = 2  # times the step at which we part from Brian2: by then it must have parted from itself, with errors that grow alike from roundings of its own
CLOSE = 1e-6  # of a variable's largest value: what rounding may make of two formulas of one value, where nothing spikes


@dataclass(frozen=True)
class Settings:
    """duration: seconds of model time; budget: of computing, for Brian2's run; seed: of what the script draws while it builds.

    compiled: whether Brian2's compiled code runs too, for its time.
    """

    duration: float = np.inf
    budget: float = np.inf
    seed: int = 1
    backend: str = "native"
    compiled: bool = False


@dataclass(frozen=True)
class Examined:
    """outcome: "equal", "diverges" (as Brian2 itself does), "differs", "refused", "no run", "not finite" (in Brian2), "fails", or "imported" where nothing was run.

    reason: why. asked: seconds that the script wanted to run. built: seconds of executing the script and importing. compiled: seconds that
    Brian2's compiled code takes for the same steps, where that was asked. record: what the script's monitors watch, see Imported; unrecorded: what no run records of that.
    inputs: the file that holds the network's inputs, where one was written. itself: a way of
    Brian2's to compute the same with other roundings -> how that run compares with its first.
    """

    script: str
    outcome: str
    reason: str = ""
    asked: float = 0.0
    dt: float = 0.0
    cells: int = 0
    synapses: int = 0
    built: float = 0.0
    compiled: float = 0.0
    network: str = ""
    warnings: tuple[str, ...] = ()
    record: Mapping[str, list[int] | None] = field(default_factory=dict)
    unrecorded: tuple[str, ...] = ()
    inputs: str = ""
    compared: Comparison | None = None
    itself: dict[str, Comparison] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        return asdict(self)


def imported(path: Path, seed: int) -> tuple[FirstRun, Imported]:
    """The script's objects at its first run, and our network. Raises NoRun, NotImportedError."""
    brian2.seed(seed)
    np.random.seed(seed)
    found = first_run(path)
    return found, from_brian2(found.objects, namespace=found.namespace)


def examine(path: Path, settings: Settings, *, run: bool = True, write: Path | None = None) -> Examined:
    """Execute, import, run both sides and compare; see Examined for how it may end. write: where to write the network as JSON."""
    begin = time.perf_counter()
    try:
        found, made = imported(path, settings.seed)
    except NoRun as error:
        return Examined(str(path), "no run", str(error))
    except NotImportedError as error:
        return Examined(str(path), "refused", str(error))
    network = made.network
    known = Examined(
        str(path),
        "imported",
        asked=found.duration,
        dt=float(network.dt.value),
        cells=sum(p.size for p in network.populations),
        synapses=sum(p.size for p in made.synapses.values()),
        built=time.perf_counter() - begin,
        network=str(network),
        warnings=made.warnings,
        record=made.record,
        unrecorded=made.unrecorded,
    )
    if write is not None:
        inputs = written.write(write, made, min(settings.duration, found.duration))
        known = replace(known, inputs="" if inputs is None else str(inputs))
    try:
        return _compared(path, settings, found, made, known) if run else known
    except (UnsupportedError, RunError, NumbersError, BrianObjectException) as error:
        return replace(known, outcome="fails", reason=_cause(error))


def _cause(error: BaseException) -> str:
    """What is behind the errors that Brian2 puts around others."""
    while isinstance(error, BrianObjectException) and error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _compared(path: Path, settings: Settings, found: FirstRun, made: Imported, known: Examined) -> Examined:
    chosen = watched.variables(found, made)
    theirs = watched.run(found, made, chosen, min(settings.duration, found.duration), budget=settings.budget)
    if not_finite := [n for n, values in theirs.end.items() if not np.isfinite(values).all()]:
        reason = f"'{not_finite[0]}' is not finite in Brian2's own run"
        return replace(known, outcome="not finite", reason=reason)
    compared = ours.compare(theirs, ours.run(made, chosen, theirs.steps, settings.backend))
    seconds = _again(path, settings, theirs.steps, watched.COMPILED).seconds if settings.compiled else 0.0
    known = replace(known, compared=compared, compiled=seconds)
    if not (compared.states or compared.spikes):
        return replace(known, outcome="fails", reason="there is no state and no spike to compare", compared=None)
    if compared.first is None and max(compared.trace, compared.end) <= CLOSE:
        return replace(known, outcome="equal")
    itself: dict[str, Comparison] = {}
    for way, changed in watched.OTHERWISE.items():
        if "codegen.target" in changed and drawing(found):
            continue
        itself[way] = ours.compare(theirs, _again(path, settings, theirs.steps, way))
        if _explains(itself[way], compared):
            return replace(known, outcome="diverges", reason=way, itself=itself)
    return replace(known, outcome="differs", itself=itself)


def _explains(itself: Comparison, compared: Comparison) -> bool:
    """Whether Brian2 leaves its own rasters about as early as we leave them, or its own values as far."""
    if compared.first is None:
        return max(itself.trace, itself.end) * 10 >= max(compared.trace, compared.end)
    if itself.first is None or itself.first > SOON * compared.first:
        return False
    return compared.trace <= CLOSE or itself.trace * 10 >= compared.trace


def _again(path: Path, settings: Settings, steps: int, way: str) -> Ran:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(again, path, settings.seed, steps, way).result()


def again(path: Path, seed: int, steps: int, way: str) -> Ran:
    """The same script in Brian2 with other roundings, in a process of its own."""
    found, made = imported(path, seed)
    chosen = watched.variables(found, made)
    return watched.run(found, made, chosen, steps * float(made.network.dt.value), way=way)

"""Where, when and by how much two recordings of one network differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.analysis.spike_trains import Coincidence, Distance, coincidence, van_rossum, victor_purpura
from neuro.display.comparisons import ShownComparison
from neuro.protocols import Array, Recording

Table = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]  # header, rows


class ComparisonError(Exception):
    """Two recordings that can't be compared; the message names the variable and both shapes."""


class TooFewSpikesError(ComparisonError):
    """Recordings agree about too few spikes to prove anything."""


@dataclass(frozen=True)
class Divergence:
    """The first place where two recordings differ.

    step: index of the simulation step; None for a parameter read at the end of the run. trial: index in the batch.
    neuron: index in the population (of the flattened [pre, post] matrix for a final parameter). a, b: both values, SI,
    or 0 and 1 for spikes. Of several places in one step: the one with the largest difference, then the first.
    """

    step: int | None
    trial: int
    neuron: int
    a: float
    b: float


@dataclass(frozen=True)
class VariableComparison:
    """One variable in both recordings.

    max_abs: largest |a - b|, SI, inf where only one is NaN or infinite. scale: largest finite |a|, SI.
    max_rel: max_abs / scale (inf when the scale is 0 and the traces differ). divergent: number of entries with
    |a - b| > tolerance * scale. both_nan: entries that are NaN in both, which prove nothing. entries: all of them.
    """

    name: str
    max_abs: float
    max_rel: float
    scale: float
    divergent: int
    both_nan: int
    entries: int
    first: Divergence | None


@dataclass(frozen=True)
class PopulationComparison:
    """The spikes of one population in both recordings. differing: (trial, step, neuron) entries that differ."""

    name: str
    spikes_a: int
    spikes_b: int
    differing: int
    first: Divergence | None
    coincidence: Coincidence
    van_rossum: Distance
    victor_purpura: Distance


@dataclass(frozen=True)
class Comparison(ShownComparison):
    """What `compare` found.

    names: of a (the reference) and b. dt: seconds. every: steps between two samples of a trace.
    tolerance: relative to the scale of each variable. finals: parameters that the runs changed. only_a, only_b:
    what just one of them recorded ("spikes hidden", "trace hidden.v", "final ff.w").
    """

    names: tuple[str, str]
    dt: float
    every: int
    tolerance: float
    populations: tuple[PopulationComparison, ...]
    variables: tuple[VariableComparison, ...]
    finals: tuple[VariableComparison, ...] = ()
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def spikes(self) -> tuple[int, int]:
        """Spikes of all compared populations, in a and in b."""
        return sum(p.spikes_a for p in self.populations), sum(p.spikes_b for p in self.populations)

    @property
    def identical_spikes(self) -> bool:
        """No entry of any raster differs and no raster is in one recording only. True without any raster."""
        lonely = any(name.startswith("spikes ") for name in self.only_a + self.only_b)
        return not lonely and all(p.differing == 0 for p in self.populations)

    def agrees(self, rtol: float) -> bool:
        """Identical spikes, and every variable and final parameter within rtol of the reference's largest magnitude.

        False as well when something is in one recording only, or NaN in both.
        """
        values = self.variables + self.finals
        return (
            self.identical_spikes
            and not self.only_a + self.only_b
            and all(v.max_rel <= rtol and v.both_nan == 0 for v in values)
        )

    def require_spikes(self, minimum_spikes: int) -> Comparison:
        """Itself, when both recordings hold enough spikes to prove something; otherwise TooFewSpikesError."""
        if min(self.spikes) < minimum_spikes:
            counts = ", ".join(f"{p.name}: {p.spikes_a} and {p.spikes_b}" for p in self.populations) or "no rasters"
            raise TooFewSpikesError(
                f"{self.names[0]!r} has {self.spikes[0]} spikes and {self.names[1]!r} {self.spikes[1]}, "
                f"at least {minimum_spikes} are required ({counts}); drive the network harder or run it longer"
            )
        return self

    def tables(self) -> tuple[Table, Table]:
        """(header, rows) of texts: one table for the populations, one for variables and final parameters."""
        left, right = self.names
        header = ("population", f"spikes {left}", f"spikes {right}", "differing", "first step", "coincidence")
        spikes = tuple(_population_row(p) for p in self.populations)
        values = tuple(_variable_row(v) for v in self.variables + self.finals)
        return (
            ((*header, "within 1 step", "van Rossum", "Victor-Purpura"), spikes),
            (("variable", "max abs error", "max rel error", "divergent", "first step", "trial", "neuron"), values),
        )

    def lines(self) -> list[str]:
        """The comparison as aligned plain text, one line each; the first says where the recordings part."""
        lines = [localise(self)]
        for header, rows in self.tables():
            if rows:
                widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
                for row in (header, *rows):
                    cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
                    lines.append("  ".join(cells).rstrip())
        for name, items in zip(self.names, (self.only_a, self.only_b), strict=True):
            lines += [f"only in {name}: {item}" for item in items]
        nan = [
            f"NaN in both: {v.name}, {v.both_nan} of {v.entries} values"
            for v in self.variables + self.finals
            if v.both_nan
        ]
        return lines + nan

    def to_data(self) -> dict[str, Any]:
        """Nested mapping of numbers, booleans and strings for the store; `first` is left out where nothing differs."""
        return {
            "names": ",".join(self.names),
            "dt": self.dt,
            "every": self.every,
            "tolerance": self.tolerance,
            "identical_spikes": self.identical_spikes,
            "only_a": ",".join(self.only_a),
            "only_b": ",".join(self.only_b),
            "summary": localise(self),
            "populations": {p.name: _population_data(p) for p in self.populations},
            "variables": {v.name: _variable_data(v) for v in self.variables},
            "finals": {v.name: _variable_data(v) for v in self.finals},
        }


def compare(
    a: Recording,
    b: Recording,
    *,
    names: tuple[str, str] = ("a", "b"),
    tolerance: float = 1e-9,
    tau: Any = "10 ms",
    cost: Any = "100 Hz",
    max_pairs: int | None = None,
) -> Comparison:
    """Compare recordings of two backends, precisions or versions; `a` is the reference.

    names: what to call them. tolerance: entries with |a - b| > tolerance * max|a| count as divergent, dimensionless.
    tau, cost, max_pairs: of the van Rossum and Victor-Purpura distances, see `neuro.analysis.spike_trains`.
    NaN in one recording only is a divergence (error inf); NaN in both is counted, and `agrees` is then False.
    Raises ComparisonError: shapes, dt or sampling that don't fit, or nothing in common.
    """
    if not tolerance >= 0:
        raise ComparisonError(f"the tolerance is {tolerance!r}; give a number from 0 on")
    if not math.isclose(a.dt, b.dt, rel_tol=1e-9):
        raise ComparisonError(
            f"{names[0]!r} has dt = {a.dt:g} s and {names[1]!r} {b.dt:g} s; step by step they don't fit"
        )
    traces = _common(a.traces, b.traces)
    if traces and a.every != b.every:
        raise ComparisonError(
            f"{names[0]!r} sampled its traces every {a.every} steps and {names[1]!r} every {b.every}; use one `every`"
        )
    rasters, finals = _common(a.spikes, b.spikes), _common(a.final, b.final)
    _refuse_other_choices(a, b, (*traces, *rasters), names)
    only_a, only_b = _lonely(a, b), _lonely(b, a)
    if not (traces or rasters or finals):
        raise ComparisonError(f"nothing to compare: {names[0]!r} holds {only_a}, {names[1]!r} holds {only_b}")
    populations = []
    for name in rasters:
        x, y = _fit(f"spikes of {name!r}", a.spikes[name], b.spikes[name], names, 3)
        if x.dtype != np.bool_ or y.dtype != np.bool_:
            raise ComparisonError(f"spikes of {name!r} must be booleans, not {x.dtype} and {y.dtype}")
        populations.append(_compare_rasters(name, x, y, a.dt, {"tau": tau, "cost": cost}, max_pairs))
    variables, sets = [], any(np.ndim(raster) != 3 for raster in a.spikes.values()) or not a.spikes
    for name in traces:
        x, y = _fit(f"variable {name!r}", a.traces[name], b.traces[name], names, 3 if sets else None)
        x, y = (v.reshape(*v.shape[:2], math.prod(v.shape[2:])) for v in (x, y))  # pre and post of synapses
        variables.append(_compare_values(name, x, y, tolerance, a.every))
    ends = []
    for name in finals:
        x, y = _fit(f"final value of {name!r}", a.final[name], b.final[name], names, None)
        x, y = (v.reshape(v.shape[0], 1, math.prod(v.shape[1:])) for v in (x, y))
        ends.append(_compare_values(name, x, y, tolerance, None))
    return Comparison(
        names, a.dt, a.every, tolerance, tuple(populations), tuple(variables), tuple(ends), only_a, only_b
    )


def localise(comparison: Comparison) -> str:
    """One sentence naming the earliest disagreement: what, step, neuron, trial and both values.

    Of several in the same step: spikes first (they come before the reset), then the largest relative difference.
    Final parameters come last.
    """
    found: list[tuple[float, int, float, str]] = []
    left, right = comparison.names
    for p in comparison.populations:
        if p.first:
            where = f"spikes of {p.name!r}, {_place(p.first)}: only {left if p.first.a else right!s} spikes"
            found.append((_when(p.first), 0, 0.0, where))
    for v in comparison.variables + comparison.finals:
        if v.first:
            error = abs(v.first.a - v.first.b)
            weight = error / v.scale if math.isfinite(error) and v.scale else math.inf
            where = f"{v.name!r}, {_place(v.first)}: {left} has {v.first.a:.9g}, {right} {v.first.b:.9g}"
            found.append((_when(v.first), 1, -weight, where))
    if found:
        sentence = f"first disagreement in {min(found, key=lambda item: item[:3])[3]}"
    else:
        spikes = f"{comparison.spikes[0]} identical spikes" if comparison.populations else "no rasters"
        worst = max((v.max_rel for v in comparison.variables + comparison.finals), default=None)
        values = "no traces" if worst is None else f"traces within {worst:.2g} relative"
        sentence = f"no disagreement between {left} and {right}: {spikes}, {values}"
    lonely = len(comparison.only_a) + len(comparison.only_b)
    return sentence + (f" ({lonely} recorded in one of them only, not compared)" if lonely else "")


def absolute_error(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], float]:
    """|a - b| as float64, and the largest finite |a| (0.0 without any).

    inf where only one is NaN or infinite; 0 where both are NaN or the same infinity.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(x - y)
    error[(x == y) | (np.isnan(x) & np.isnan(y))] = 0.0
    error[np.isnan(error)] = np.inf
    return error, float(np.max(np.abs(x), where=np.isfinite(x), initial=0.0))


def _when(first: Divergence) -> float:
    return math.inf if first.step is None else first.step


def _place(first: Divergence) -> str:
    step = "end of the run" if first.step is None else f"step {first.step}"
    return f"{step}, neuron {first.neuron}, trial {first.trial}"


def _common(a: Mapping[str, Array], b: Mapping[str, Array]) -> list[str]:
    return [name for name in a if name in b]


def _lonely(a: Recording, b: Recording) -> tuple[str, ...]:
    groups = (("spikes", a.spikes, b.spikes), ("trace", a.traces, b.traces), ("final", a.final, b.final))
    return tuple(f"{kind} {name}" for kind, mine, theirs in groups for name in mine if name not in theirs)


def _refuse_other_choices(a: Recording, b: Recording, common: Sequence[str], names: Sequence[str]) -> None:
    """Raises ComparisonError where the recordings hold other cells or synapses."""
    for name in common:
        x, y = (None if name not in r.chosen else np.asarray(r.chosen[name]).tolist() for r in (a, b))
        if x != y:
            raise ComparisonError(
                f"{names[0]!r} and {names[1]!r} hold other cells or synapses of '{name}'; record the same"
            )


def _fit(what: str, a: Any, b: Any, names: Sequence[str], axes: int | None) -> tuple[Array, Array]:
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape:
        raise ComparisonError(f"{what} has the shape {x.shape} in {names[0]!r} and {y.shape} in {names[1]!r}")
    if x.ndim == 0 or (axes is not None and x.ndim != axes):
        raise ComparisonError(
            f"{what} has the shape {x.shape} in both; expected {'[batch, time, neuron]' if axes else '[batch, ...]'}"
        )
    return x, y


def _earliest(error: Array, divergent: npt.NDArray[np.bool_]) -> tuple[int, int, int] | None:
    """(trial, sample, neuron) of the largest error in the first sample with a divergent entry."""
    samples = np.flatnonzero(divergent.any(axis=(0, 2)))
    if not len(samples):
        return None
    sample = int(samples[0])
    here = np.where(divergent[:, sample], error[:, sample], -1)
    trial, neuron = np.unravel_index(int(np.argmax(here)), here.shape)
    return int(trial), sample, int(neuron)


def _compare_rasters(
    name: str, a: Array, b: Array, dt: float, scales: Mapping[str, Any], max_pairs: int | None
) -> PopulationComparison:
    different = a != b
    place = _earliest(different, different)
    first = place and Divergence(place[1], place[0], place[2], float(a[place]), float(b[place]))
    return PopulationComparison(
        name,
        int(np.count_nonzero(a)),
        int(np.count_nonzero(b)),
        int(np.count_nonzero(different)),
        first,
        coincidence(a, b),
        van_rossum(a, b, dt, tau=scales["tau"], max_pairs=max_pairs),
        victor_purpura(a, b, dt, cost=scales["cost"], max_pairs=max_pairs),
    )


def _compare_values(name: str, a: Array, b: Array, tolerance: float, every: int | None) -> VariableComparison:
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    error, scale = absolute_error(x, y)
    both_nan = np.isnan(x) & np.isnan(y)
    with np.errstate(all="ignore"):
        divergent = error > tolerance * scale
        largest = float(np.max(error, initial=0.0))
        relative = float(np.float64(largest) / np.float64(scale)) if largest else 0.0
    place = _earliest(error, divergent)
    first = None
    if place:
        step = None if every is None else (place[1] + 1) * every - 1
        first = Divergence(step, place[0], place[2], float(x[place]), float(y[place]))
    count = int(np.count_nonzero(divergent))
    return VariableComparison(name, largest, relative, scale, count, int(np.count_nonzero(both_nan)), x.size, first)


def _average_text(distance: Distance) -> str:
    note = "" if distance.exact else f" (from {distance.computed} of {distance.differing} pairs)"
    return f"{distance.mean:.4g}{note}"


def _population_row(p: PopulationComparison) -> tuple[str, ...]:
    counts = (p.name, str(p.spikes_a), str(p.spikes_b), str(p.differing), _step_text(p.first))
    shared = (f"{p.coincidence.same:.6f}", f"{p.coincidence.adjacent:.6f}")
    return (*counts, *shared, _average_text(p.van_rossum), _average_text(p.victor_purpura))


def _variable_row(v: VariableComparison) -> tuple[str, ...]:
    place = (str(v.first.trial), str(v.first.neuron)) if v.first else ("-", "-")
    return v.name, f"{v.max_abs:.3g}", f"{v.max_rel:.3g}", f"{v.divergent}/{v.entries}", _step_text(v.first), *place


def _step_text(first: Divergence | None) -> str:
    return "-" if first is None else "end" if first.step is None else str(first.step)


def _fields(item: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(item, name) for name in names}


def _first_data(first: Divergence | None) -> dict[str, Any]:
    if first is None:
        return {}
    step = {} if first.step is None else {"step": first.step}
    return {"first": step | _fields(first, "trial", "neuron", "a", "b")}


def _variable_data(v: VariableComparison) -> dict[str, Any]:
    fields = _fields(v, "max_abs", "max_rel", "scale", "divergent", "both_nan", "entries")
    return fields | _first_data(v.first)


def _population_data(p: PopulationComparison) -> dict[str, Any]:
    distance = ("mean", "maximum", "pairs", "differing", "computed", "exact")
    return {
        **_fields(p, "spikes_a", "spikes_b", "differing"),
        "coincidence": p.coincidence.same,
        "coincidence_adjacent": p.coincidence.adjacent,
        "van_rossum": _fields(p.van_rossum, *distance),
        "victor_purpura": _fields(p.victor_purpura, *distance),
        **_first_data(p.first),
    }

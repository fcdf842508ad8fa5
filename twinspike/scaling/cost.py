"""What an update costs, as a sum of terms, each a time by how often it comes: fitted to measurements, and calculated for clusters.

Gradients, P processes, n weights of 4 bytes, B examples a batch. Everybody: `base`, whatever the share; `example` by ceil(B/P), the largest share. More than one
also: `weight` by n, to put the gradient into one vector and take it out; and gloo's ring, 2(P-1) messages of 4n/P bytes: `message` and `byte`. The first one alone: `log`, and
`kept` by n for its checkpoints. On a link each byte takes 1/bandwidth more.

Populations, W workers, C candidates in calls of c: `search`; `candidate` by ceil(C/c/W) c, those of the worker with most; `number` by 2Cn, since who searches and each worker draw all
candidates; `call` by C/c; `shared` by 8n bytes, put down and picked up. A link carries 8n bytes to each worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any

import numpy as np

WEIGHT, NUMBER = 4, 8  # bytes: a gradient's number in float32, a mean's in float64
Terms = Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """Something that was measured. seconds: median. rounds: of which it is that. fitted: whether the fit takes it, or only the check."""

    kind: str
    what: str
    terms: Terms
    seconds: float
    rounds: int
    fitted: bool = True


@dataclass(frozen=True)
class Fit:
    """values: seconds, by term. rows: with what the fit says of each."""

    values: Mapping[str, float]
    rows: Sequence[Row] = field(repr=False)

    def seconds(self, terms: Terms) -> float:
        return float(sum(self.values[name] * count for name, count in terms.items()))

    def errors(self) -> list[tuple[Row, float]]:
        """Every row, and how much the fit's time is longer (1.1: by a tenth)."""
        return [(row, self.seconds(row.terms) / row.seconds) for row in self.rows]


def fitted(rows: Sequence[Row]) -> Fit:
    """Terms that aren't negative and make the sum of squared relative errors least (scipy.optimize.nnls)."""
    from scipy.optimize import nnls

    taken = [row for row in rows if row.fitted]
    names = list(dict.fromkeys(name for row in taken for name in row.terms))
    counts = np.array([[row.terms.get(name, 0.0) / row.seconds for name in names] for row in taken])
    scale = np.abs(counts).max(axis=0)
    found, _ = nnls(counts / scale, np.ones(len(taken)))
    return Fit(dict(zip(names, found / scale, strict=True)), rows)


# -- terms -------------------------------------------------------------------------------------------------


def sum_terms(size: float, processes: int) -> Terms:
    """Of adding up so many bytes."""
    return {"message": 2 * (processes - 1), "byte": 2 * (processes - 1) / processes * size}


def gradient_terms(case: str, weights: int, batch: int, processes: int) -> Terms:
    """Of an update that nobody writes down."""
    alone = {f"base: {case}": 1.0, f"example: {case}": float(ceil(batch / processes))}
    return alone if processes == 1 else {**alone, "weight": weights, **sum_terms(WEIGHT * weights, processes)}


def writing_terms(weights: int) -> Terms:
    return {"log": 1.0, "kept": weights}


def population_terms(case: str, weights: int, candidates: int, workers: int, engine: str, chunk: int = 1) -> Terms:
    """Of an update of ES."""
    calls = ceil(candidates / chunk)
    found = {
        "search": 1.0,
        f"candidate: {case}": float(ceil(calls / workers) * chunk),
        "number": 2.0 * candidates * weights,
    }
    return found if workers == 1 else {**found, f"call: {engine}": calls, f"shared: {engine}": NUMBER * weights}


def rows_of(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Row]:
    """Measurements, as `bench.py distributed` keeps them, as rows."""
    rows = []
    for m in found["updates"]:
        terms = gradient_terms(m["case"], m["weights"], m["batch"], m["processes"])
        rows.append(_row("BPTT", f"{m['case']}, batch {m['batch']}, {_many(m['processes'], 'process')}", terms, m))
    for m in found["sums"]:
        what = f"sum of {m['bytes'] / 1e6:g} MB over {m['processes']} processes"
        rows.append(_row("sum", what, sum_terms(m["bytes"], m["processes"]), m, m["processes"] == 2))
    for m in found["writing"]:
        rows.append(_row("writing", f"log and checkpoints, {m['weights']} weights", writing_terms(m["weights"]), m))
    for m in found["searches"]:
        terms = population_terms(m["case"], m["weights"], m["candidates"], m["workers"], m["engine"])
        where = f"{_many(m['workers'], 'worker')}, {m['engine']}" if m["workers"] > 1 else "1 worker"
        rows.append(_row("ES", f"{m['case']}, {m['candidates']} candidates, {where}", terms, m))
    for m in found["asking"]:
        rows.append(
            _row(
                "ES",
                f"{m['candidates']} candidates of {m['weights']} weights asked for",
                {"number": m["candidates"] * m["weights"]},
                m,
            )
        )
    for m in found["calls"]:
        rows.append(_row("ES", f"{m['calls']} empty calls, {m['engine']}", {f"call: {m['engine']}": m["calls"]}, m))
    for m in found["sending"]:
        terms = {f"shared: {m['engine']}": m["bytes"], f"call: {m['engine']}": m["calls"]}
        rows.append(_row("ES", f"{m['bytes'] / 1e6:g} MB for 2 workers, {m['engine']}", terms, m))
    return rows


def _row(kind: str, what: str, terms: Terms, measured: Mapping[str, Any], taken: bool = True) -> Row:
    return Row(kind, what, terms, median(measured["seconds"]), len(measured["seconds"]), taken)


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'es' if what.endswith('s') else 's'}" if number > 1 else f"{number} {what}"


# -- clusters ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """gigabits: a second, from one process or worker to another. software: whether messages and bytes cost what gloo takes here besides, or the link alone."""

    gigabits: float
    software: bool = True

    @property
    def byte(self) -> float:
        return 8e-9 / self.gigabits

    def __str__(self) -> str:
        return f"{self.gigabits:g} Gbit/s" + ("" if self.software else ", nothing but the link")


def training(
    fit: Fit, case: str, weights: int, batch: int, processes: int, link: Link, *, growing: bool = False
) -> tuple[float, float]:
    """Seconds of an update of train.py, and of these in communication. batch: of all processes, or, growing, of each."""
    terms = dict(gradient_terms(case, weights, batch * processes if growing else batch, processes))
    size = 2 * (processes - 1) / processes * WEIGHT * weights
    if not link.software:
        terms = {n: c for n, c in terms.items() if n not in ("message", "byte")}
    sums: Terms = {n: terms[n] for n in ("message", "byte") if n in terms}
    communication = fit.seconds(sums) + size * link.byte
    rest = {n: c for n, c in terms.items() if n not in sums}
    return fit.seconds(rest) + fit.seconds(writing_terms(weights)) + communication, communication


def searching(
    fit: Fit, case: str, weights: int, candidates: int, workers: int, link: Link, engine: str = "ray"
) -> tuple[float, Terms]:
    """Seconds of an update of ES, and of these in each kind of work."""
    chunk = min(8, ceil(candidates / workers))
    terms = population_terms(case, weights, candidates, workers, engine, chunk)
    parts = {name.partition(":")[0]: fit.seconds({name: count}) for name, count in terms.items()}
    parts["link"] = workers * NUMBER * weights * link.byte if workers > 1 else 0.0
    return sum(parts.values()), parts


def efficiency(seconds: Iterable[tuple[int, float]], *, growing: bool = False) -> dict[int, float]:
    """By processes: how much of them is of use. seconds: pairs of processes and an update's time, of 1 too."""
    known = dict(seconds)
    return {n: known[1] / t / (1 if growing else n) for n, t in known.items()}


def useful(efficiencies: Mapping[int, float], least: float = 0.5) -> int:
    """The largest number up to which at least that part of all is of use."""
    found = 1
    for number in sorted(efficiencies):
        if efficiencies[number] < least:
            break
        found = number
    return found

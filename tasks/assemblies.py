"""Courses of patterns, and which cells answer them: assemblies, what they share, and whom an association adds (see tasks.associations)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neuro.compiler import streams
from neuro.protocols import Array
from tasks.associations import COMBINED, PATTERNS, Circuit

LASTS, LAG = 100, 10  # steps of a pattern, and by which answers to it are read later
RATES = {"between": 5.0, "noise": 3.0, "shown": 40.0}  # Hz
SURE, LEAST = 0.05, 2.0  # p of a cell that answers, and the median of its answers in Hz
PROBED, PAUSE = (*PATTERNS, COMBINED), 500  # what a probe shows in turn, and steps between


@dataclass(frozen=True)
class Course:
    """Input spikes of a circuit: patterns of 100 steps that begin at these steps (shown), in ascending order, noise between them. name: of its stream. A step's spikes don't depend on how a run is cut."""

    circuit: Circuit
    name: str
    shown: Mapping[int, str]

    def rates(self, first: int, last: int) -> Array:
        """Hz [step, channel]."""
        found = np.full((last - first, self.circuit.channels), RATES["between"])
        for onset, name in self.shown.items():
            begin, end = max(onset, first), min(onset + LASTS, last)
            if begin < end:
                found[begin - first : end - first] = RATES["noise"] + RATES["shown"] * self.circuit.patterns[name]
        return found

    def inputs(self, first: int, last: int) -> dict[str, Array]:
        """{"x": bool [1, step, channel]} of the steps from first to last - 1."""
        drawn = streams.uniform(
            self.circuit.seed, f"associations/{self.name}", 0, 1, last - first, self.circuit.channels, first
        )
        return {"x": drawn < self.rates(first, last)[None] * 1e-3}


def gaps(random: np.random.Generator, first: int, last: int, many: int | None = None) -> list[int]:
    """Onsets of patterns in the steps from first to last - 1, or of so many, 0.5 to 3 s after each other's end."""
    found, at = list[int](), first
    while many is None or len(found) < many:
        at += int(random.integers(500, 3001))
        if many is None and at + LASTS > last:
            break
        found.append(at)
        at += LASTS
    return found


def sequence(random: np.random.Generator, many: int) -> list[str]:
    """So many of PATTERNS: each with probability 0.75 another one than the last."""
    found = [PATTERNS[random.integers(3)]]
    while len(found) < many:
        others = [p for p in PATTERNS if p != found[-1]]
        found.append(others[random.integers(2)] if random.random() < 0.75 else found[-1])
    return found[:many]


def probe(circuit: Circuit, name: str, trials: int = 20) -> Course:
    """Every pattern and the combined one in turn, so often, half a second apart."""
    every = LASTS + PAUSE
    return Course(circuit, name, {every * k + PAUSE: PROBED[k % len(PROBED)] for k in range(trials * len(PROBED))})


def answers(course: Course, raster: Array) -> dict[str, Array]:
    """Pattern -> spikes in the 100 steps before its onset and in those from 10 on: [2, trial, cell]. raster: bool [step, cell] of all steps of the course, 10 more than the last pattern's."""
    found: dict[str, list[Array]] = {}
    for onset, name in course.shown.items():
        windows = raster[onset - LASTS : onset], raster[onset + LAG : onset + LAG + LASTS]
        found.setdefault(name, []).append(np.stack([w.sum(axis=0) for w in windows]))
    return {name: np.stack(trials, axis=1) for name, trials in found.items()}


def significant(answered: Array) -> Array:
    """Cells that fire more after the onset than before it, bool [cell]: Wilcoxon's rank sum over trials, two-sided, and a median answer of at least 2 Hz. answered: of `answers`."""
    from scipy.stats import mannwhitneyu

    before, after = answered
    more = (after.sum(axis=0) > before.sum(axis=0)) & (np.median(after, axis=0) >= LEAST * LASTS * 1e-3)
    found = np.zeros(len(more), bool)
    if more.any():
        p = mannwhitneyu(before[:, more], after[:, more], axis=0, method="asymptotic").pvalue
        found[more] = p < SURE
    return found


def assemblies(answered: Mapping[str, Array]) -> dict[str, Array]:
    """Pattern -> its cells."""
    return {name: significant(a) for name, a in answered.items()}


def shared(cells: Mapping[str, Array]) -> tuple[int, int, int]:
    """Cells in two assemblies: blue and green, blue and red, green and red."""
    blue, green, red = (cells[p] for p in PATTERNS)
    return int((blue & green).sum()), int((blue & red).sum()), int((green & red).sum())


def added(before: Mapping[str, Array], after: Mapping[str, Array]) -> tuple[Array, Array]:
    """Cells that answer the combined pattern after the association and were in neither of the two before it; those of them that answer neither of the two afterwards, too."""
    new = after[COMBINED] & ~before["blue"] & ~before["green"]
    return new, new & ~after["blue"] & ~after["green"]


def kept(before: Mapping[str, Array], after: Mapping[str, Array]) -> dict[str, float]:
    """Pattern -> share of its cells that are in it still."""
    return {p: float((before[p] & after[p]).sum() / max(1, before[p].sum())) for p in PATTERNS}


def pair_coding(before: Mapping[str, Array], after: Mapping[str, Array]) -> Array:
    """Cells of exactly one of blue and green that come to answer the other one, and by more, in the mean of trials, than they come to answer red. before, after: of `answers`."""
    first, last = assemblies(before), assemblies(after)
    gain = {p: after[p][1].mean(axis=0) - before[p][1].mean(axis=0) for p in PATTERNS}
    found = np.zeros(len(first["red"]), bool)
    for own, other in (("blue", "green"), ("green", "blue")):
        found |= first[own] & ~first[other] & last[other] & (gain[other] > gain["red"])
    return found

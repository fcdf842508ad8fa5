"""Gradient audit: what a rule's update direction has to do with the true gradient, and what is wrong where it has nothing.

A gradient is a mapping name -> array. Measures are taken for each name and over all of them ("all").
Source of the measures: Marschall, Cho & Savin (2020), JMLR 21:135.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuro.protocols import Array, Recording

Gradient = Mapping[str, Array]
ALL = "all"
DIFFERS = 1e-6  # relative deviation from which an approximation is one
SAME = 1e-9  # relative deviation up to which two gradients are the same computation


@dataclass(frozen=True)
class Measures:
    """One estimate U against the truth G.

    cosine: <U,G>/|U||G|. norm_ratio: |U|/|G|. projection: <U,G>/|G|^2. sign_agreement: share of the entries that are not
    zero in both with equal signs. deviation: |U-G|/|G|. All NaN where G is zero.
    """

    cosine: float
    norm_ratio: float
    projection: float
    sign_agreement: float
    deviation: float


@dataclass(frozen=True)
class Spread:
    """A stochastic rule over draws.

    cosine_of_mean against mean_of_cosines: bias against noise. projection: of the mean; 1 where unbiased. variance: mean
    squared distance of a draw from the mean, over |G|^2. needed: draws whose mean reaches cosine 0.9, None if not reached.
    """

    draws: int
    cosine_of_mean: float
    mean_of_cosines: float
    projection: float
    variance: float
    needed: int | None


def flat(gradient: Gradient, name: str = ALL) -> npt.NDArray[np.float64]:
    """One parameter's entries, or those of all in order of their names."""
    chosen = sorted(gradient) if name == ALL else [name]
    return np.concatenate([np.asarray(gradient[n], dtype=np.float64).ravel() for n in chosen])


def measure(estimate: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> Measures:
    """See Measures."""
    norm, size = float(np.linalg.norm(truth)), float(np.linalg.norm(estimate))
    if norm == 0:
        return Measures(*(float("nan"),) * 5)
    inner = float(estimate @ truth)
    both = (estimate != 0) & (truth != 0)
    agree = float(np.mean(np.sign(estimate[both]) == np.sign(truth[both]))) if both.any() else float("nan")
    cosine = inner / (norm * size) if size else float("nan")
    return Measures(cosine, size / norm, inner / norm**2, agree, float(np.linalg.norm(estimate - truth)) / norm)


def measures(estimate: Gradient, truth: Gradient) -> dict[str, Measures]:
    """By parameter that both have, and "all" of these."""
    shared = [n for n in truth if n in estimate]
    found = {n: measure(flat(estimate, n), flat(truth, n)) for n in shared}
    parts = ({n: g[n] for n in shared} for g in (estimate, truth))
    return {**found, ALL: measure(*(flat(p) for p in parts))}


def alignment(gradients: Mapping[str, Gradient], name: str = ALL) -> npt.NDArray[np.float64]:
    """Cosines of all pairs [rule, rule], in the mapping's order, over the parameters that all have."""
    shared = set.intersection(*(set(g) for g in gradients.values()))
    rows = [flat({n: g[n] for n in shared}, name) for g in gradients.values()]
    norms = [float(np.linalg.norm(r)) for r in rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.array(
            [[float(a @ b) / (x * y) if x * y else np.nan for b, y in zip(rows, norms)] for a, x in zip(rows, norms)]
        )


def spread(draws: Sequence[Gradient], truth: Gradient, name: str = ALL) -> Spread:
    """Bias and variance of a stochastic rule."""
    goal = flat(truth, name)
    rows = np.stack([flat(d, name) for d in draws])
    means = np.cumsum(rows, axis=0) / np.arange(1, len(rows) + 1)[:, None]
    size = float(np.linalg.norm(goal))
    cosines = [measure(r, goal).cosine for r in rows]
    reached = [i + 1 for i, m in enumerate(means) if measure(m, goal).cosine >= 0.9]
    final = measure(means[-1], goal)
    variance = float(np.mean(np.sum((rows - means[-1]) ** 2, axis=1))) / size**2 if size else float("nan")
    needed = reached[0] if reached else None
    return Spread(len(rows), final.cosine, float(np.mean(cosines)), final.projection, variance, needed)


# -- guards ------------------------------------------------------------------------------------------------


def dead(recording: Recording, populations: Sequence[str]) -> Iterator[str]:
    """Populations without a spike, or that fire in nearly every step: both have gradients that say nothing."""
    for name in populations:
        if name in recording.spikes:
            share = float(np.mean(recording.spikes[name]))
            if share == 0:
                yield f"population '{name}' is silent; drive it harder"
            elif share > 0.95:
                yield f"population '{name}' fires in {share:.0%} of all steps; drive it less"


def not_finite(gradients: Mapping[str, Gradient]) -> Iterator[str]:
    """Rules that give NaN or infinity."""
    for rule, gradient in gradients.items():
        for name, value in gradient.items():
            if not np.isfinite(value).all():
                yield f"rule '{rule}': the gradient of '{name}' is not finite"


def surrogate_off(truth: Gradient, upstream: Sequence[str]) -> Iterator[str]:
    """Gradients that are exactly zero although a spike lies between parameter and loss. upstream: such parameters."""
    for name in upstream:
        if name in truth and not np.any(truth[name]):
            yield f"the gradient of '{name}' is exactly 0: no surrogate is applied to the spikes that follow it"


def wrong_detach(truth: Gradient, declared: bool, recompute: Callable[[bool], Gradient]) -> Iterator[str]:
    """A reset that isn't treated as the semantics record says. recompute: the gradient with the reset detached, or not."""
    right, other = (flat(recompute(d)) for d in (declared, not declared))
    found = flat({n: truth[n] for n in truth})
    if np.linalg.norm(right - other) <= SAME * np.linalg.norm(right):
        return  # no spike's reset matters here: nothing can be told
    deviation = measure(found, right).deviation
    if not deviation <= SAME:
        words = {True: "detached", False: "not detached"}
        as_other = measure(found, other).deviation <= SAME
        fits = f"it is {words[not declared]}" if as_other else "it fits neither"
        yield f"the reset is declared {words[declared]}, but the gradient deviates by {deviation:.2g} from that; {fits}"


def not_an_approximation(
    gradients: Mapping[str, Gradient], truth: Gradient, approximate: Sequence[str]
) -> Iterator[str]:
    """Approximate rules that give the true gradient: their trace is bypassed, or the test can't see the rule."""
    for rule in approximate:
        deviation = measures(gradients[rule], truth)[ALL].deviation
        if not deviation >= DIFFERS:
            yield f"rule '{rule}' deviates from the true gradient by {deviation:.2g} only: its trace is bypassed"

"""Limits of studies on figures that chance moves: passed as rarely as they say by chance, and by what they must catch."""

from __future__ import annotations

import numpy as np
import pytest

from twinspike.models import xor
from twinspike.studies import contrastive, evolved_plasticity_night, gradient_audit, rflo


def test_chance_alignment_passes_each_limit_as_rarely_as_said() -> None:
    random = np.random.default_rng(0)
    cosines = random.standard_normal((100_000, 4, 50))
    cosines = cosines[..., 0] / np.linalg.norm(cosines, axis=2)
    mean, largest = rflo.chance_limits(50, 4)
    for passed in (np.abs(cosines.mean(axis=1)) > mean, np.abs(cosines).max(axis=1) > largest):
        assert passed.mean() == pytest.approx(rflo.BY_CHANCE, rel=0.15)  # 3 standard errors of 500 cases


def test_the_alignment_that_training_with_feedback_gives_passes_both_limits() -> None:
    """After 100 trials of RFLO the cosine is 0.56 (published)."""
    assert max(rflo.chance_limits(50, 4)) < 0.56


def test_a_published_mean_of_three_networks_is_as_likely_as_it_is() -> None:
    """Means of three normal numbers: p is uniform, up to the rounding that is allowed."""
    random = np.random.default_rng(1)
    ours = random.normal(0.5, 0.15, 2000)
    theirs = random.normal(0.5, 0.15, (200, 3)).mean(axis=1)
    p = np.array([gradient_audit.likely(ours, t) for t in theirs])
    assert np.mean(p < 0.2) == pytest.approx(0.2, abs=0.085)  # 3 standard errors of 200 cases
    least = gradient_audit.ALARMS / 25
    assert gradient_audit.likely(ours, 0.85) < least  # four standard errors of a mean of three
    assert gradient_audit.likely(random.normal(0.93, 0.012, 40), 0.97) < least


@pytest.mark.parametrize(("sampling", "power"), [("baseline", 1), ("antithetic", 2)])
def test_the_series_leaves_out_what_differences_get_wrong(sampling: str, power: int) -> None:
    found, expected = (f(sampling, 1e-3, 3) for f in (xor.gradient_error, xor.expected_error))
    assert found == pytest.approx(expected, rel=0.01)
    assert xor.expected_error(sampling, 2e-3, 3) == pytest.approx(2**power * expected, rel=1e-12)


def test_forward_passes_are_counted_by_set_and_pattern() -> None:
    found = xor.solve(0)
    assert 0 < found.epochs < xor.CAP
    assert found.passes == 4 * (xor.WEIGHTS + 1) * (found.epochs + 1)


def test_a_clamp_that_follows_the_gradient_or_leaves_it_is_told_from_the_published_one() -> None:
    """Cosines of a mean and a spread as measured pass; those of a weak teacher, or of a clamp that is 0.15 worse, don't."""
    random = np.random.default_rng(2)
    measured = 1 - random.gamma(0.65, 0.087, 40)  # mean 0.943, standard deviation 0.07
    chances = [
        gradient_audit.likely(c, contrastive.PROTOTYPE, networks=5)
        for c in (measured, 1 - (1 - measured) / 15, measured - 0.15)
    ]
    assert chances[0] >= contrastive.ALARMS > max(chances[1:])


def test_chance_is_that_of_all_divisions() -> None:
    """Three above three: one of twenty; the same figures on both sides: more often than not; uniform where there is no difference."""
    chance = evolved_plasticity_night.chance
    assert chance([4, 5, 6], [1, 2, 3]) == pytest.approx(1 / 20) and chance([1, 2, 3], [4, 5, 6]) == 1
    assert chance([1, 2, 3], [1, 2, 3]) > 0.5
    random = np.random.default_rng(3)
    found = np.array([chance(*random.normal(0, 1, (2, 3))) for _ in range(1000)])
    assert np.mean(found <= evolved_plasticity_night.LEVEL) == pytest.approx(0.05, abs=0.021)  # 3 standard errors

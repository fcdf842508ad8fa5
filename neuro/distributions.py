"""Distributions: values that are drawn from the network's seed, one per cell or synapse, for parameters, initial values, weights and delays.

Each is given by its mean and standard deviation in the value's own unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from neuro import checks
from neuro.fields import Distribution, convert, convert_given, default, later
from neuro.language.units import Quantity

if TYPE_CHECKING:
    from neuro.fields import Converted


@dataclass(frozen=True)
class Normal(Distribution):
    """Normal distribution, with limits where they are given.

    low, high: numbers outside of them are set to them (outside="clip"), or drawn until they lie between them (outside="redraw": the
    truncated normal distribution, whose mean and standard deviation are not those of the parent). PyNN: normal, normal_clipped_to_boundary
    ("clip"), normal_clipped ("redraw"). NEST: random.normal, in math.max and math.min ("clip") or in math.redraw ("redraw").
    """

    mean: Quantity
    std: Quantity
    low: Converted[Quantity | None] = later(None)
    high: Converted[Quantity | None] = later(None)
    outside: Literal["clip", "redraw"] = later("clip")

    def __post_init__(self) -> None:
        checks.types(self)
        convert(self, "mean", "std")
        convert_given(self, "low", "high")
        checks.distribution(self)


@dataclass(frozen=True)
class Uniform(Distribution):
    """Uniform distribution from low to high. PyNN: uniform. NEST: random.uniform."""

    low: Quantity
    high: Quantity

    def __post_init__(self) -> None:
        convert(self, "low", "high")
        checks.distribution(self)


@dataclass(frozen=True)
class _Positive(Distribution):
    mean: Quantity
    std: Quantity
    low: Converted[Quantity | None] = default(None)
    high: Converted[Quantity | None] = default(None)
    outside: Literal["clip", "redraw"] = later("clip")

    def __post_init__(self) -> None:
        checks.types(self)
        convert(self, "mean", "std")
        convert_given(self, "low", "high")
        checks.distribution(self)


@dataclass(frozen=True)
class LogNormal(_Positive):
    """Log-normal distribution of this mean and standard deviation, with limits where they are given: see Normal.

    The logarithm is normal: sigma**2 = log(1 + (std/mean)**2), mu = log(mean) - sigma**2/2. PyNN: lognormal(mu, sigma).
    NEST: random.lognormal, whose mean and std are mu and sigma.
    """


@dataclass(frozen=True)
class Gamma(_Positive):
    """Gamma distribution of this mean and standard deviation, with limits where they are given: see Normal.

    Shape k = (mean/std)**2, scale theta = std**2/mean. PyNN: gamma(k, theta). NEST has none.
    """


Drawn = Normal | Uniform | LogNormal | Gamma

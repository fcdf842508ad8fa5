"""Free numbers for an optimiser: parameters in the user's unit, kept within bounds by a smooth map.

No bound: value / unit. One bound, or a Dale sign: softplus from it. Two bounds: sigmoid between them. A value on its bound
starts a millionth of the range (or unit) inside, where the map still has a slope. Positive parameters may be mapped so through
their logarithm: a step then changes them by a factor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
import numpy.typing as npt
import torch

from neuro.compiler.parameters import Parameter
from neuro.language.units import unit
from neuro.options import hint

Array = npt.NDArray[np.float64]
INSIDE = 1e-6


class ParameterError(Exception):
    """A name that isn't a parameter, or a value outside of its bounds."""


@dataclass(frozen=True)
class _Map:
    """One parameter. scale: SI value of the user's unit. low, high: in that unit, of the logarithm where `log` says so."""

    name: str
    scale: float
    low: float
    high: float
    mask: Array  # 0.0 where there is no synapse
    start: Array
    log: bool = False

    def free(self, value: Array) -> Array:
        x = value / self.scale
        if self.log:
            x = np.log(np.where(self.mask > 0, x, 1.0))
        low, high = np.isfinite(self.low), np.isfinite(self.high)
        if low and high:
            part = np.clip((x - self.low) / (self.high - self.low), INSIDE, 1 - INSIDE)
            return np.log(part) - np.log1p(-part)  # type: ignore[no-any-return]
        if low or high:
            above = np.maximum(x - self.low if low else self.high - x, INSIDE)
            return above + np.log(-np.expm1(-above))  # type: ignore[no-any-return]
        return x

    def value(self, theta: torch.Tensor) -> torch.Tensor:
        low, high = np.isfinite(self.low), np.isfinite(self.high)
        if low and high:
            x = self.low + (self.high - self.low) * torch.sigmoid(theta)
        elif low:
            x = self.low + torch.nn.functional.softplus(theta)
        elif high:
            x = self.high - torch.nn.functional.softplus(theta)
        else:
            x = theta
        if self.log:
            x = torch.exp(x)
        if not self.mask.all():
            x = x * torch.as_tensor(self.mask).to(theta)
        return x * self.scale


def _map(parameter: Parameter, log: bool) -> _Map:
    scale = float(unit(parameter.unit).value)
    low, high = (limit / scale for limit in parameter.range)
    x = parameter.value / scale
    if np.any(x < low) or np.any(x > high):
        raise ParameterError(
            f"parameter '{parameter.name}' is outside of its bounds {low:g} .. {high:g} {parameter.unit}"
        )
    mask = np.ones(parameter.shape)
    if parameter.axes == ("pre", "post") and parameter.mask is not None:
        mask = parameter.mask.astype(float)
    if log:
        low, high = _logarithms(parameter, low, high, mask)
    return _Map(parameter.name, scale, low, high, mask, parameter.value, log)


def _logarithms(parameter: Parameter, low: float, high: float, mask: Array) -> tuple[float, float]:
    """Bounds of the logarithm. Raises ParameterError where the parameter is or may become 0 or negative."""
    if low < 0 or np.any(parameter.value[mask > 0] <= 0):
        what = "may become negative" if low < 0 else "has values of 0"
        raise ParameterError(
            f"parameter '{parameter.name}' can't be trained through its logarithm: it {what}; "
            "give it a positive value and a lower bound (or the sign '+'), or leave it out of `logarithmic`"
        )
    least = float(np.finfo(np.float64).tiny)  # a time's least value, which says only that it is positive
    return float(np.log(low)) if low > least else -np.inf, float(np.log(high))


def fitting(pattern: str, names: Collection[str]) -> list[str]:
    """The parameters' names that fit a name or pattern. Raises ParameterError where none does."""
    found = [n for n in names if fnmatch(n, pattern)]
    if not found:
        raise ParameterError(f"there is no parameter '{pattern}'; {hint(pattern, names)}")
    return found


@dataclass(frozen=True)
class Parametrisation:
    """The trainable parameters of a network and their maps."""

    maps: tuple[_Map, ...]

    @staticmethod
    def of(
        parameters: Mapping[str, Parameter], names: Sequence[str], logarithmic: Sequence[str] = ()
    ) -> Parametrisation:
        """names: parameter names or patterns ("*.w", "hidden.tau_m"). logarithmic: likewise, those that are mapped through their
        logarithm, wherever they are among the names; they must be positive. Raises ParameterError on one that fits nothing.
        """
        chosen = dict.fromkeys(p for name in names for p in fitting(name, parameters))
        logs = {p for name in logarithmic for p in fitting(name, parameters)}
        return Parametrisation(tuple(_map(parameters[n], n in logs) for n in chosen))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.maps)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {m.name: m.start.shape for m in self.maps}

    def free(
        self, values: Mapping[str, npt.NDArray[np.floating]] | None = None, *, dtype: torch.dtype = torch.float32
    ) -> dict[str, torch.Tensor]:
        """Leaf tensors that require gradients, from SI values (default: the network's)."""
        given = values or {}
        return {
            m.name: torch.tensor(m.free(np.asarray(given.get(m.name, m.start), float)), dtype=dtype, requires_grad=True)
            for m in self.maps
        }

    def values(self, theta: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """SI values, differentiable, within bounds; synapses that don't exist stay 0."""
        return {m.name: m.value(theta[m.name]) for m in self.maps}

    def arrays(self, theta: Mapping[str, torch.Tensor]) -> dict[str, Array]:
        """SI values as float64 arrays."""
        with torch.no_grad():
            return {n: v.numpy().astype(np.float64) for n, v in self.values(theta).items()}

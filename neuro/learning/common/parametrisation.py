"""Free numbers for an optimiser: parameters in the user's unit, kept within bounds by a smooth map.

No bound: value / unit. One bound, or a Dale sign: softplus from it. Two bounds: sigmoid between them. A value on its bound
starts a millionth of the range (or unit) inside, where the map still has a slope. Positive parameters may be mapped so through
their logarithm: a step then changes them by a factor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
    """A name that isn't a parameter or is frozen, or a value outside of its bounds."""


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


def trainable(patterns: Sequence[str], parameters: Mapping[str, Parameter]) -> list[str]:
    """The parameters that fit names or patterns; patterns pass over what is frozen. Raises ParameterError on a frozen one's name, and
    where all that fit are frozen.
    """
    for name in patterns:
        if name in parameters and parameters[name].frozen:
            raise ParameterError(
                f"parameter '{name}' is frozen; leave it out of trainable, or give its part frozen=False"
            )
    found = list(dict.fromkeys(n for pattern in patterns for n in fitting(pattern, parameters)))
    free = [n for n in found if not parameters[n].frozen]
    if found and not free:
        which = ", ".join(f"'{p}'" for p in patterns)
        raise ParameterError(f"all parameters that fit {which} are frozen; give one of their parts frozen=False")
    return free


@dataclass(frozen=True)
class Parametrisation:
    """The trainable parameters of a network and their maps. shared: name -> that of the map that gives its values too."""

    maps: tuple[_Map, ...]
    shared: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(
        parameters: Mapping[str, Parameter], names: Sequence[str], logarithmic: Sequence[str] = ()
    ) -> Parametrisation:
        """names: parameter names or patterns ("*.w", "hidden.tau_m"); patterns pass over what is frozen. logarithmic: likewise, those
        that are mapped through their logarithm, wherever they are among the names; they must be positive. Of weights that projections
        share, one name means all. Raises ParameterError on a name that fits nothing, or is frozen.
        """
        chosen = dict.fromkeys(parameters[n].shares or n for n in trainable(names, parameters))
        logs = {parameters[n].shares or n for name in logarithmic for n in fitting(name, parameters)}
        shared = {n: p.shares for n, p in parameters.items() if p.shares in chosen}
        return Parametrisation(tuple(_map(parameters[n], n in logs) for n in chosen), shared)

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the maps, and all that share with them."""
        return tuple(n for m in self.maps for n in self.called(m.name))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {n: m.start.shape for m in self.maps for n in self.called(m.name)}

    def called(self, name: str) -> tuple[str, ...]:
        """All names of a map's values."""
        return (name, *(n for n, holder in self.shared.items() if holder == name))

    def free(
        self, values: Mapping[str, npt.NDArray[np.floating]] | None = None, *, dtype: torch.dtype = torch.float32
    ) -> dict[str, torch.Tensor]:
        """Leaf tensors that require gradients, one a map, from SI values (default: the network's). Raises ParameterError where
        weights that are the same got different values.
        """
        return {
            m.name: torch.tensor(m.free(self._given(m, values or {})), dtype=dtype, requires_grad=True)
            for m in self.maps
        }

    def _given(self, item: _Map, values: Mapping[str, npt.NDArray[np.floating]]) -> Array:
        found = {n: np.asarray(values[n], float) for n in self.called(item.name) if n in values}
        first = next(iter(found), "")
        for name, value in found.items():
            if not np.array_equal(value, found[first], equal_nan=True):
                raise ParameterError(f"'{name}' and '{first}' are the same weights, and got different ones")
        return found[first] if found else item.start

    def values(self, theta: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """SI values of all names, differentiable, within bounds; synapses that don't exist stay 0."""
        own = {m.name: m.value(theta[m.name]) for m in self.maps}
        return {n: own[self.shared.get(n, n)] for n in self.names}

    def collected(self, slopes: Mapping[str, Array]) -> dict[str, Array]:
        """Gradients by the maps' names, from those by all names: what shares a map adds up."""
        found: dict[str, Array] = {}
        for name, slope in slopes.items():
            holder = self.shared.get(name, name)
            found[holder] = found[holder] + slope if holder in found else slope
        return found

    def arrays(self, theta: Mapping[str, torch.Tensor]) -> dict[str, Array]:
        """SI values as float64 arrays."""
        with torch.no_grad():
            return {n: v.numpy().astype(np.float64) for n, v in self.values(theta).items()}

"""Quantisation-aware training: the program gets quantised parameters, the optimiser keeps real ones.

The gradient is taken at the quantised value and applied to the real copy, dC/dr = dC/dq 1[r in the window]; the window is what
the codes can stand for, and real weights are clipped to it. A quantiser whose scale saturates nothing takes it from the weights
of each update, with no weight ever outside; the others keep the scale of the start, or the clipping would shrink it.

Source: Hubara et al. (2018), JMLR 18(187).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neuro.export.quantisation.calibration import Calibrated, NetworkQuantiser, Scheme
from neuro.export.quantisation.quantisers import QuantiseError
from neuro.learning.common.parametrisation import Parametrisation
from neuro.model import Network
from neuro.protocols import Array, Parameters

_EDGE = 1 + 1e-6  # a real copy in float32, clipped to the edge, may lie a rounding error outside of it


@dataclass(frozen=True)
class StraightThrough:
    """The quantiser of a network in training. after: updates made with real weights before it begins."""

    quantiser: NetworkQuantiser
    after: int = 0

    @staticmethod
    def of(network: Network, options: Mapping[str, Any]) -> StraightThrough:
        """options: those of Scheme, and `after`. Raises QuantiseError."""
        rest = {n: v for n, v in options.items() if n != "after"}
        after = options.get("after", 0)
        if not isinstance(after, int) or after < 0:
            raise QuantiseError(f"quantise: after = {after!r}; it is a number of updates")
        return StraightThrough(NetworkQuantiser(network, Scheme.of(rest)), after)

    def kept(self, parameters: Parameters) -> dict[str, Array]:
        """The scales that stay, from the parameters of the first quantised update."""
        return {n: s for n, s in self.quantiser.scales(parameters).items() if self.quantiser.weights[n].clips}

    def scales(self, parameters: Parameters, kept: Mapping[str, Array]) -> dict[str, Array]:
        return self.quantiser.scales(parameters, kept)

    def forward(self, parameters: Parameters, kept: Mapping[str, Array]) -> dict[str, Array]:
        """What the program gets: all parameters, quantised where the scheme says so."""
        return {**parameters, **self.quantiser.values(parameters, self.scales(parameters, kept))}

    def backward(self, slopes: Parameters, parameters: Parameters, kept: Mapping[str, Array]) -> dict[str, Array]:
        """Gradients for the real parameters from those at the quantised ones."""
        windows = self.quantiser.windows(self.scales(parameters, kept))
        wide = {n: (low * _EDGE, high * _EDGE) for n, (low, high) in windows.items()}
        return {n: straight_through(g, parameters[n], *wide[n]) if n in kept else g for n, g in slopes.items()}

    def clip(self, chosen: Parametrisation, theta: Mapping[str, torch.Tensor], kept: Mapping[str, Array]) -> None:
        """Move real weights that left their window back onto its edge."""
        real = chosen.arrays(theta)
        windows = self.quantiser.windows(self.scales(real, kept)) if kept else {}
        inside = {n: np.clip(real[n], *windows[n]) for n in real if n in kept}  # the same for all that share weights
        moved = {n: torch.as_tensor(value != real[n]) for n, value in inside.items()}
        if any(outside.any() for outside in moved.values()):
            free = chosen.free({**real, **inside}, dtype=torch.float64)
            with torch.no_grad():
                for name, outside in moved.items():
                    if name in chosen.shared:
                        continue
                    theta[name][outside] = free[name][outside].to(theta[name].dtype)

    def calibrate(self, parameters: Parameters, kept: Mapping[str, Array]) -> Calibrated:
        """Integers and calibration of real parameters."""
        return self.quantiser.calibrate(parameters, self.scales(parameters, kept))


def straight_through(gradient: Array, real: Array, low: Array, high: Array) -> Array:
    """The gradient where the real value is within the window, edges included, and 0 outside."""
    return np.where((real >= low) & (real <= high), gradient, 0.0)

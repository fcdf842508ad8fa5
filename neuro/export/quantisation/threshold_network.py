"""A folded network as a spiking one in whole numbers: cells without memory, pixels as bit planes, the last sums on the host.

A spike stands for 1, silence for -1: with A the sum of codes of the cells that fire, a.c = 2A - sum(c), so a.c >= T is
A >= ceil((T + sum(c))/2). A cell that would fire on nothing is replaced by its complement, which fires where it doesn't: its codes
and those from it change signs, and T becomes 1 - T. So every threshold is positive, and no cell needs a bias. Sums are whole
and compared with T - 1/2: `>` and `>=` agree, and rounding decides nothing.

The chips that we write hold no population without a threshold; so the host computes the last layer from the spikes of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export.quantisation.folding import BRIGHTEST, Folded, eight_bit, product
from neuro.export.quantisation.quantisers import Array, Codes, QuantiseError
from neuro.language.foreign import shown
from neuro.language.units import quantity
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse

Raster = npt.NDArray[np.bool_]
SOURCE = "pixels"

# v is what arrives in a step, and nothing of it is left in the next
threshold_cell = Neuron(
    "threshold_cell",
    "dv/dt = (I - v)/dt : 1\nI : 1",
    threshold="v > v_th",
    reset="v = 0",
    parameters={"v_th": "0.5"},
    method="euler",
    source="McCulloch & Pitts (1943), Bull Math Biophys 5:115",
)
whole_pulse = Synapse("whole_pulse", "w : 1", on_pre="I_post += w")


@dataclass(frozen=True)
class ThresholdNetwork:
    """network: an input `pixels` of planes x pixels channels, then layer1, layer2, ... planes: value of each bit plane; channel
    = pixel * planes + plane. complements: of each layer, the cells whose silence stands for 1.
    """

    network: Network
    folded: Folded
    planes: tuple[int, ...]
    complements: tuple[Raster, ...]

    @property
    def latency(self) -> int:
        """Steps from an image to the last layer's spikes for it: one a layer."""
        return len(self.complements)

    def held(self, pixels: Any) -> Raster:
        """Spikes [image, latency + 1, channel]: each image stays until its answer, in the last step. Raises QuantiseError."""
        return np.repeat(self._spikes(pixels)[:, None], self.latency + 1, axis=1)

    def streamed(self, pixels: Any) -> Raster:
        """Spikes [1, images + latency, channel]: an image a step, the answer to image k at step k + latency. Raises QuantiseError."""
        spikes = self._spikes(pixels)
        return np.vstack([spikes, np.zeros((self.latency, spikes.shape[1]), bool)])[None]

    def signs(self, spikes: Mapping[str, Any]) -> tuple[Codes, ...]:
        """1 and -1 of the folded layers [..., cells], from rasters by population. Raises QuantiseError where one is missing, or of others."""
        rasters = (_raster(spikes, p) for p in self.network.populations)
        return tuple(np.where(z ^ c, 1, -1) for z, c in zip(rasters, self.complements, strict=True))

    def sums(self, spikes: Mapping[str, Any]) -> Codes:
        """Integer sums of the last layer [..., classes], as the host computes them, for rasters by population."""
        return product(self.signs(spikes)[-1], self.folded.last.codes)

    def outputs(self, spikes: Mapping[str, Any]) -> Array:
        """What the trained network puts out [..., classes]; the largest decides."""
        return self.folded.last.outputs(self.sums(spikes))

    def _spikes(self, pixels: Any) -> Raster:
        """Bits [image, channel]."""
        rest = np.atleast_2d(eight_bit(pixels, len(self.folded.layers[0].codes)))
        if rest.ndim > 2:
            raise QuantiseError(f"pixels: their shape is {rest.shape}; [image, {rest.shape[-1]}] is needed")
        bits = np.zeros((*rest.shape, len(self.planes)), bool)
        for k in reversed(range(len(self.planes))):
            bits[..., k] = rest >= self.planes[k]
            rest = rest - self.planes[k] * bits[..., k]
        return bits.reshape(len(bits), rest.shape[-1] * len(self.planes))


def threshold_network(
    folded: Folded, *, largest: int = 127, dt: str = "1 ms", name: str = "threshold_network"
) -> ThresholdNetwork:
    """The spiking network of a folded one. largest: weight that the target holds; 127 fits all our chips, with 9 planes.

    Raises QuantiseError where a code is larger.
    """
    if not isinstance(folded, Folded):
        raise QuantiseError(f"folded: {shown(folded)}; give what `fold` gave")
    if isinstance(largest, bool) or not isinstance(largest, int | np.integer):
        raise QuantiseError(f"largest={shown(largest)}; give the largest weight of the target, a whole number")
    planes = bit_planes(largest // max(1, int(np.abs(folded.layers[0].codes).max(initial=1))))
    step = quantity(dt)
    populations, projections, complements = [], [], list[Raster]()
    source, turned = SOURCE, np.array(1)
    for k, layer in enumerate(folded.layers, 1):
        codes = layer.codes * turned
        threshold = layer.threshold if layer.pixels else -((-layer.threshold - codes.sum(axis=0)) // 2)
        complement = threshold <= 0
        codes = np.where(complement, -codes, codes)
        threshold = np.where(complement, 1 - threshold, threshold)
        weights = np.kron(codes, np.array(planes)[:, None]) if layer.pixels else codes
        if np.abs(weights).max(initial=0) > largest:
            raise QuantiseError(f"layer {k}: its codes reach {np.abs(weights).max()}; largest={largest}")
        populations.append(Population(f"layer{k}", threshold_cell, codes.shape[1], {"v_th": quantity(threshold - 0.5)}))
        projections.append(Projection(f"feed{k}", source, f"layer{k}", whole_pulse, quantity(weights.astype(float))))
        source, turned = f"layer{k}", np.where(complement, -1, 1)[:, None]
        complements.append(complement)
    inputs = (Input(SOURCE, len(planes) * len(folded.layers[0].codes)),)
    network = Network(tuple(populations), tuple(projections), inputs, dt=step, name=name)
    return ThresholdNetwork(network, folded, planes, tuple(complements))


def _raster(spikes: Mapping[str, Any], cells: Population) -> Raster:
    if cells.name not in spikes:
        raise QuantiseError(f"spikes: none of '{cells.name}'; give the rasters of all layers, by name")
    found = np.asarray(spikes[cells.name], bool)
    if found.shape[-1:] != (cells.size,):
        raise QuantiseError(f"spikes of '{cells.name}': the shape {found.shape}; [..., {cells.size}] is needed")
    return found


def bit_planes(largest: int) -> tuple[int, ...]:
    """Powers of two up to `largest`, the greatest repeated until they sum up to 255: 1, 2, ..., 64, 64, 64 for 127.

    Raises QuantiseError where not even 1 fits.
    """
    if largest < 1:
        raise QuantiseError(
            "pixels: the codes leave no room for a bit plane; give more for `largest`, or fewer bits to the codes"
        )
    found, unit = list[int](), 1
    while sum(found) < BRIGHTEST:
        found.append(unit)
        unit = min(2 * unit, 1 << (largest.bit_length() - 1), 128)
    return tuple(found)

"""NIR files as sinabs reads them: feed-forward LIF, or cells without a leak; time constants in steps, exponential decays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuro.export import ExportError
from neuro.export.layers import Layer
from neuro.export.nir.clock import Clock
from neuro.export.nir.writer import Array, Style, single, write
from neuro.export.profile import Profile
from neuro.export.targets import Export, Target
from neuro.model import Network
from neuro.protocols import Parameters

PROFILE = Profile(
    name="nir-sinabs",
    title="NIR for sinabs",
    suffix=".nir",
    neurons=("lif",),
    thresholds=(">", ">="),
    resets=("zero", "subtract"),
    leak_free=True,
    recurrence=False,
    input_latency=0,
    layer_latency=0,
)
VERSION = "NIR sinabs profile 1"
CLOCK = Clock(1.0, euler=False)  # a step


def export_sinabs(network: Network, parameters: Parameters | None, path: Path) -> Export:
    """Write a network with these parameters to `path` and its semantics to `path`.json. Raises ExportError, OSError."""
    found = write(network, parameters, path, Style(PROFILE, VERSION, CLOCK, _neuron, _affine))
    note = (
        "in every layer set spike_fn = SingleSpike, and reset_fn = MembraneReset(0.) where cells reset to rest "
        "(sinabs.activation), and min_v_mem = None where cells have no leak, whose v it keeps above -threshold; "
        "v >= threshold is a spike, so ties differ from v > threshold"
    )
    return replace(found, notes=(note,))


def _affine(nir: Any, weight: Array) -> Any:
    """sinabs reads no Linear."""
    return nir.Affine(weight, np.zeros(weight.shape[0], np.float32))


def _neuron(nir: Any, layer: Layer) -> Any:
    beta = layer.numbers.beta
    one, zero = np.ones(beta.shape, np.float32), np.zeros(beta.shape, np.float32)
    metadata = {"population": layer.name}
    if (beta == 1).all():
        return nir.IF(r=one, v_threshold=one, v_reset=zero, metadata=metadata)
    if (beta == 1).any():
        why = "some cells leak and others don't; a layer is one or the other"
        raise ExportError(f"population '{layer.name}'", "tau_mem", why)
    tau = single(CLOCK.tau(beta))
    return nir.LIF(tau=tau, r=one, v_leak=zero, v_threshold=one, v_reset=zero, metadata=metadata)


TARGET = Target(PROFILE, export_sinabs)

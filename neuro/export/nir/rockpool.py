"""NIR files as rockpool reads them: CubaLIF everywhere, exponential decays, i = a (i + x), reset by subtraction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuro.export.layers import Layer
from neuro.export.nir.clock import Clock
from neuro.export.nir.writer import Style, linear, single, write
from neuro.export.profile import Profile
from neuro.export.targets import Export, Target
from neuro.model import Network
from neuro.protocols import Parameters

PROFILE = Profile(
    name="nir-rockpool",
    title="NIR for rockpool",
    suffix=".nir",
    neurons=("cuba_lif",),
    thresholds=(">", ">="),
    resets=("subtract",),
    input_latency=0,
    layer_latency=0,
    order="add-decay",
)
VERSION = "NIR rockpool profile 1"
CLIENT_DT = 1e-4  # seconds; the reader infers it from r
CLOCK = Clock(CLIENT_DT, euler=False)


def export_rockpool(network: Network, parameters: Parameters | None, path: Path) -> Export:
    """Write a network with these parameters to `path` and its semantics to `path`.json. Raises ExportError, OSError."""
    found = write(network, parameters, path, Style(PROFILE, VERSION, CLOCK, _neuron, linear, divide_by_alpha=True))
    note = "in every layer set max_spikes_per_dt = torch.tensor(1.); v >= threshold is a spike, so ties differ from '>'"
    return replace(found, notes=(note,))


def _neuron(nir: Any, layer: Layer) -> Any:
    beta, alpha = layer.numbers.beta, np.asarray(layer.numbers.alpha)
    tau_mem, tau_syn = CLOCK.tau(beta), CLOCK.tau(alpha)
    one, zero = np.ones(beta.shape, np.float32), np.zeros(beta.shape, np.float32)
    return nir.CubaLIF(
        tau_syn=single(tau_syn),
        tau_mem=single(tau_mem),
        r=single(tau_mem / CLIENT_DT - 1),
        w_in=one,
        v_leak=zero,
        v_threshold=one,
        v_reset=zero,
        metadata={"population": layer.name},
    )


TARGET = Target(PROFILE, export_rockpool)

"""NIR files, common profile: a chain of (recurrent) LIF or CubaLIF layers; snntorch, norse, spikingjelly run it alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neuro.export import ExportError as ExportError
from neuro.export.layers import Layer
from neuro.export.nir.clock import Clock
from neuro.export.nir.writer import Style, linear, single, write
from neuro.export.profile import Profile
from neuro.export.targets import Export, Target
from neuro.model import Network
from neuro.protocols import Parameters

PROFILE = Profile(
    name="nir",
    title="NIR, common profile: snntorch, norse, spikingjelly",
    suffix=".nir",
    neurons=("lif", "cuba_lif"),
    input_latency=0,
    layer_latency=0,
)
VERSION = "NIR common profile 1"
CLIENT_DT = 1e-4  # seconds; only tau/CLIENT_DT matters to a client, whatever the model's own dt
CLOCK = Clock(CLIENT_DT)

Form = Literal["common", "unit", "flat"]


def export_nir(network: Network, parameters: Parameters | None, path: str | Path, form: Form = "common") -> Export:
    """Write a network with these parameters (its own where left out) to `path` and its semantics to `path`.json.

    form: "common"; "unit" gives a LIF the threshold 1 and r = tau/dt, for readers that ignore tau in the gain (spyx);
    "flat" does so and writes recurrence as edges of the graph, for a schema check (snn-mlir): other readers
    misread them. The files replace older ones at once or not at all. Raises ExportError, OSError.
    """
    varied: list[str] = []

    def neuron(nir: Any, layer: Layer) -> Any:
        decays = (layer.numbers.beta, layer.numbers.alpha)
        if any(d is not None and np.unique(single(d)).size > 1 for d in decays):
            varied.append(layer.name)
        return _neuron(nir, layer) if form == "common" else _unit_neuron(nir, layer)

    style = Style(PROFILE, VERSION, CLOCK, neuron, linear, flat=form == "flat")
    found = write(network, parameters, Path(path), style)
    notes = (f"time constants differ within {', '.join(varied)}, which spikingjelly refuses",) if varied else ()
    return replace(found, notes=notes)


def _neuron(nir: Any, layer: Layer) -> Any:
    """LIF with r = 1, which all clients read alike; CubaLIF where there is a current or leaks differ.

    Clients compute a LIF's gain from tau, so its threshold is that gain, rounded as they round it.
    """
    tau = single(CLOCK.tau(layer.numbers.beta))
    if layer.numbers.alpha is None and np.unique(tau).size == 1:
        return _lif(nir, layer, np.ones_like(tau), np.float32(CLIENT_DT) / tau)
    return _cuba(nir, layer)


def _unit_neuron(nir: Any, layer: Layer) -> Any:
    if layer.numbers.alpha is not None:
        return _cuba(nir, layer)
    tau = single(CLOCK.tau(layer.numbers.beta))
    return _lif(nir, layer, tau / np.float32(CLIENT_DT), np.ones_like(tau))


def _lif(nir: Any, layer: Layer, r: Any, threshold: Any) -> Any:
    tau = single(CLOCK.tau(layer.numbers.beta))
    zero = np.zeros_like(tau)
    metadata = {"population": layer.name}
    return nir.LIF(tau=tau, r=r, v_leak=zero, v_threshold=threshold, v_reset=zero, metadata=metadata)


def _cuba(nir: Any, layer: Layer) -> Any:
    beta, alpha = layer.numbers.beta, layer.numbers.alpha
    tau = single(CLOCK.tau(beta))
    tau_syn = single(CLOCK.tau(np.zeros_like(beta) if alpha is None else alpha))
    zero, one = np.zeros_like(tau), np.ones_like(tau)
    return nir.CubaLIF(
        tau_syn=tau_syn,
        tau_mem=tau,
        r=tau / np.float32(CLIENT_DT),
        w_in=tau_syn / np.float32(CLIENT_DT),
        v_leak=zero,
        v_threshold=one,
        v_reset=zero,
        metadata={"population": layer.name},
    )


TARGET = Target(PROFILE, export_nir)

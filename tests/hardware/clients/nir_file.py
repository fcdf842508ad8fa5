"""Runs a NIR file in one of six clients: `nir_file.py NET.nir INPUT.npy OUTPUT.npy CLIENT`, rasters bool [trial, time, cell]."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

DT = 1e-4  # of the files; only time constants in units of it matter

warnings.simplefilter("ignore")


def _stepped(network: Any, spikes: np.ndarray) -> np.ndarray:
    """Clients that are called once per step with their state."""
    import torch

    state, found = None, []
    with torch.no_grad():
        for k in range(spikes.shape[1]):
            out, state = network(torch.as_tensor(spikes[:, k], dtype=torch.float32), state)
            found.append(np.asarray(out) > 0)
    return np.stack(found, axis=1)


def snntorch(path: str, spikes: np.ndarray) -> np.ndarray:
    import nir
    from snntorch.import_nir import import_from_nir

    return _stepped(import_from_nir(nir.read(path)), spikes)


def norse(path: str, spikes: np.ndarray) -> np.ndarray:
    import nir
    import norse.torch

    return _stepped(norse.torch.from_nir(nir.read(path), dt=DT), spikes)


def spikingjelly(path: str, spikes: np.ndarray) -> np.ndarray:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return _stepped(import_from_nir(path, dt=DT), spikes)


def spyx(path: str, spikes: np.ndarray) -> np.ndarray:
    import nir
    import spyx.nir

    given = np.swapaxes(spikes, 0, 1).astype(np.float32)
    return np.swapaxes(np.asarray(spyx.nir.from_nir(nir.read(path), given, dt=DT)[1]) > 0, 0, 1)


def sinabs(path: str, spikes: np.ndarray) -> np.ndarray:
    """Cells that spike once per step and reset to zero; without a leak, sinabs would keep v above -threshold."""
    import nir
    import torch
    from sinabs.activation import MembraneReset, SingleSpike
    from sinabs.layers import StatefulLayer
    from sinabs.nir import from_nir

    network = from_nir(nir.read(path), batch_size=1)
    layers = [m for m in network.modules() if isinstance(m, StatefulLayer)]
    for layer in layers:
        layer.spike_fn, layer.reset_fn, layer.min_v_mem = SingleSpike, MembraneReset(0.0), None
    found = []
    with torch.no_grad():
        for raster in spikes:
            for layer in layers:
                layer.reset_states()
            out = network(torch.as_tensor(raster, dtype=torch.float32))
            found.append((out[0] if isinstance(out, tuple) else out).numpy() > 0)
    return np.stack(found)


def rockpool(path: str, spikes: np.ndarray) -> np.ndarray:
    """Cells that spike once per step."""
    import nir
    import torch
    from rockpool.nn.modules.torch.nir import from_nir

    with torch.no_grad():
        network = from_nir(nir.read(path))
        for module in network.modules():
            if hasattr(module, "max_spikes_per_dt"):
                module.max_spikes_per_dt = torch.tensor(1.0)
        return np.asarray(network(torch.as_tensor(spikes, dtype=torch.float32))[0] > 0)


CLIENTS: dict[str, Callable[[str, np.ndarray], np.ndarray]] = {
    "snntorch": snntorch, "norse": norse, "spikingjelly": spikingjelly, "spyx": spyx, "sinabs": sinabs, "rockpool": rockpool,
}  # fmt: skip


if __name__ == "__main__":
    net, given, output, client = sys.argv[1:]
    np.save(output, CLIENTS[client](net, np.load(given)))

"""Runs a netx file in lava: `lava.py NET INPUT.npy OUTPUT.npy`, rasters bool [trial, time, cell]."""

from __future__ import annotations

import sys
import types
import warnings

import numpy as np


def stub_torch_parts() -> None:
    """netx imports training modules that need torch, and uses none of them for dense layers."""
    for name in ("slayer", "slayer.neuron", "slayer.neuron.rf", "netx.sequential_modules"):
        module = types.ModuleType(f"lava.lib.dl.{name}")
        module.__file__ = "/nowhere/stub.py"  # lava's compiler searches this folder for models
        module.neuron_params = None  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module


def main(net: str, given: str, found: str) -> None:
    stub_torch_parts()
    warnings.simplefilter("ignore")
    np.save(found, np.stack([run(net, spikes) for spikes in np.load(given)]))


def run(net: str, spikes: np.ndarray) -> np.ndarray:
    """Spikes of the last layer in one trial; a new network, since spikes under way outlive a reset of its cells."""
    from lava.lib.dl import netx
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc import io

    network = netx.hdf5.Network(net_config=net)
    source = io.source.RingBuffer(data=spikes.T.astype(int))
    sink = io.sink.RingBuffer(shape=network.out.shape, buffer=len(spikes))
    source.s_out.connect(network.inp)
    network.out.connect(sink.a_in)
    network.run(condition=RunSteps(num_steps=len(spikes)), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    raster = sink.data.get()
    network.stop()
    return np.asarray(raster.T > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

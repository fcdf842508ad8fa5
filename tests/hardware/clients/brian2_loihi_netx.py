"""Runs a netx file's integers in brian2-loihi: `brian2_loihi_netx.py NET INPUT.npy OUTPUT.npy`, rasters bool [time, cell]."""

from __future__ import annotations

import sys

import h5py
import numpy as np
from brian2 import SpikeMonitor, ms, prefs
from brian2_loihi import (
    LoihiNetwork,
    LoihiNeuronGroup,
    LoihiSpikeGeneratorGroup,
    LoihiSynapses,
    synapse_sign_mode,
)

prefs.codegen.target = "numpy"


def main(net: str, given: str, found: str) -> None:
    spikes = np.load(given)
    times, cells = np.nonzero(spikes)
    source = LoihiSpikeGeneratorGroup(spikes.shape[1], cells, times)
    parts = [source]
    with h5py.File(net) as file:
        for k in range(len(file["layer"])):
            layer = file[f"layer/{k}"]
            if "bias" in layer:
                sys.exit("brian2-loihi has no bias")
            neuron = layer["neuron"]
            group = LoihiNeuronGroup(
                int(layer["shape"][0]),
                refractory=1,
                threshold_v_mant=int(neuron["vThMant"][()]),
                decay_v=int(neuron["vDecay"][()]),
                decay_I=int(neuron["iDecay"][()]),
            )
            parts += [group, _synapses(source, group, layer["weight"][()])]
            if "weight_rec" in layer:
                parts.append(_synapses(group, group, layer["weight_rec"][()]))
            source = group
    monitor = SpikeMonitor(source)
    LoihiNetwork(*parts, monitor).run(len(spikes))
    raster = np.zeros((len(spikes), len(source)), bool)
    raster[np.round(np.asarray(monitor.t / ms)).astype(int), np.asarray(monitor.i)] = True
    np.save(found, raster)


def _synapses(pre: object, post: object, weights: np.ndarray) -> LoihiSynapses:
    """weights: [post, pre]."""
    synapses = LoihiSynapses(pre, post, sign_mode=synapse_sign_mode.MIXED, w_exp=0, delay=0)
    synapses.connect()
    synapses.w = weights.T.ravel().astype(int)
    return synapses


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs a netx file's integers in brian2-loihi: `brian2_loihi_netx.py NET INPUT.npy OUTPUT.npy`, rasters bool [trial, time, cell]."""

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
    """All trials at once, each with cells of its own."""
    spikes = np.load(given)
    trials, steps, channels = spikes.shape
    trial, times, cells = np.nonzero(spikes)
    order = np.argsort(times, kind="stable")
    source = LoihiSpikeGeneratorGroup(trials * channels, (trial * channels + cells)[order], times[order])
    parts = [source]
    with h5py.File(net) as file:
        for k in range(len(file["layer"])):
            layer = file[f"layer/{k}"]
            if "bias" in layer:
                sys.exit("brian2-loihi has no bias")
            neuron = layer["neuron"]
            group = LoihiNeuronGroup(
                trials * int(layer["shape"][0]),
                refractory=1,
                threshold_v_mant=int(neuron["vThMant"][()]),
                decay_v=int(neuron["vDecay"][()]),
                decay_I=int(neuron["iDecay"][()]),
            )
            parts += [group, _synapses(source, group, layer["weight"][()], trials)]
            if "weight_rec" in layer:
                parts.append(_synapses(group, group, layer["weight_rec"][()], trials))
            source = group
    monitor = SpikeMonitor(source)
    LoihiNetwork(*parts, monitor).run(steps)
    size = len(source) // trials
    raster = np.zeros((trials, steps, size), bool)
    fired = np.asarray(monitor.i)
    raster[fired // size, np.round(np.asarray(monitor.t / ms)).astype(int), fired % size] = True
    np.save(found, raster)


def _synapses(pre: object, post: object, weights: np.ndarray, trials: int) -> LoihiSynapses:
    """weights: [post, pre]."""
    synapses = LoihiSynapses(pre, post, sign_mode=synapse_sign_mode.MIXED, w_exp=0, delay=0)
    i, j = np.nonzero(weights.T)
    shift = np.arange(trials)[:, None]
    synapses.connect(
        i=(shift * weights.shape[1] + i).ravel(),
        j=(shift * weights.shape[0] + j).ravel(),
    )
    synapses.w = np.tile(weights.T[i, j].astype(int), trials)
    return synapses


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs a SANA-FE network: `sana_fe.py NET.yaml SOURCE INPUT.npy OUTPUT.npz`.

INPUT: bool [trial, time, cell], the spikes of the group SOURCE. OUTPUT: bool [trial, time, cell] by group, and per trial
energy (J), latency (s) and packets.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import sanafe


def main(net: str, source: str, given: str, found: str) -> None:
    spikes = np.load(given)
    architecture = sanafe.load_loihi()
    network = sanafe.load_net(net, architecture)
    names = list(network.groups)
    rasters = {n: np.zeros((*spikes.shape[:2], len(network.groups[n].neurons)), bool) for n in names}
    cost: dict[str, list[float]] = {"energy": [], "latency": [], "packets": []}
    chip = sanafe.SpikingChip(architecture)  # seconds, hence one for all trials
    chip.load(network)
    inputs = chip.mapped_neuron_groups[source]
    for trial, raster in enumerate(spikes):
        chip.reset()
        for neuron, train in zip(inputs, raster.T, strict=True):
            neuron.set_attributes(model_attributes={"spikes": train.astype(int).tolist()})
        result: Any = chip.sim(len(raster), spike_trace=True)
        for step, fired in enumerate(result["spike_trace"]):
            for address in fired:
                rasters[address.group_name][trial, step, address.neuron_offset] = True
        cost["energy"].append(result["energy"]["total"])
        cost["latency"].append(result["sim_time"])
        cost["packets"].append(result["packets_sent"])
    np.savez(found, **rasters, **{f"cost_{n}": np.array(v) for n, v in cost.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Runs Xylo's arrays in xylosim: `xylo.py NET.npz INPUT.npy OUTPUT.npz`, counts [trial, time, cell]."""

from __future__ import annotations

import sys

import numpy as np
from xylosim.v2 import XyloLayer, XyloSynapse


def rows(weights: np.ndarray) -> list[list[XyloSynapse]]:
    """weights: [pre, post, branch]."""
    return [
        [XyloSynapse(int(j), int(b), int(row[j, b])) for j, b in zip(*np.nonzero(row), strict=True)] for row in weights
    ]


def main(net: str, given: str, found: str) -> None:
    a = np.load(net)
    synapses = [rows(w) for w in (a["weights_in"], a["weights_rec"], a["weights_out"][:, :, None])]
    layer = XyloLayer(
        synapses_in=synapses[0],
        synapses_rec=synapses[1],
        synapses_out=synapses[2],
        aliases=[[] for _ in a["threshold"]],
        threshold=a["threshold"].tolist(),
        threshold_out=a["threshold_out"].tolist(),
        has_bias=bool(a["bias"].any() or a["bias_out"].any()),
        bias=a["bias"].tolist(),
        bias_out=a["bias_out"].tolist(),
        weight_shift_inp=int(a["weight_shift_in"]),
        weight_shift_rec=int(a["weight_shift_rec"]),
        weight_shift_out=int(a["weight_shift_out"]),
        dash_mem=a["dash_mem"].tolist(),
        dash_mem_out=a["dash_mem_out"].tolist(),
        dash_syns=np.stack([a["dash_syn"], a["dash_syn_2"]], 1).tolist(),
        dash_syns_out=a["dash_syn_out"][:, None].tolist(),
        name="net",
    )
    hidden, output = [], []
    for counts in np.load(given).astype(int):
        layer.reset_all()
        output.append(layer.evolve(counts.tolist()))
        hidden.append(np.array(layer.rec_recurrent_spikes)[-len(counts) :])
    np.savez(found, output=np.array(output), hidden=np.array(hidden))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Handwritten digits row by row, for recurrent networks of spiking cells and of tanh units: both see a part of the image at a time, and answer at its end.

Data: see tasks.digits. Spikes: in the steps that a row is shown, a pixel fires in the first ones, the more the darker it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuro.export.quantisation.calibration import stored_codes
from neuro.language.units import quantity
from neuro.library.pulse import pulse
from neuro.model import AllToAll, Input, Network, Neuron, Normal, Population, Projection, Synapse
from neuro.protocols import Array
from tasks.arrays import Arrays, from_arrays
from tasks.digits import CELLS, data
from tasks.rate_networks import rate_network

SIDE, CLASSES, HIDDEN = 8, 10, 64
HOLD, LATE = 4, 4  # steps that a row is shown, and silent ones after the last row
STEPS = SIDE * HOLD + LATE
PIXELS = 4  # that the tanh units see in a step
LAYERS = {"hidden": {"feed": "feed", "loop": "loop"}, "output": {"feed": "readout"}}  # matrices and their projections
leak_free = Neuron(
    "leak_free",
    "dv/dt = R*I/tau : volt\nI : amp",
    threshold="v > v_th",
    reset="v = 0*mV",
    parameters={"R": "100 Mohm", "tau": "4 ms", "v_th": "20 mV"},
    method="exact",
    source="an integrator: its state is a sum of weights",
)
vanilla = Neuron(
    "vanilla", "x : 1\nz : 1", every_step="x = tanh(z)", source="Elman (1990), Cogn Sci 14:179, with tanh and no bias"
)


def spikes(pixels: Array) -> Array:
    """[image, step, column] of images [image, pixel] in 0 .. 1."""
    rows = np.rint(HOLD * pixels.reshape(-1, SIDE, 1, SIDE))
    shown = (np.arange(HOLD)[:, None] < rows).reshape(len(pixels), SIDE * HOLD, SIDE)
    return np.pad(shown, [(0, 0), (0, LATE), (0, 0)])


def spiking_network(cell: Neuron, synapse: Synapse) -> Network:
    """Columns -> recurrent cells -> a cell for each digit; no cell sends to itself."""

    def weights(mean: float, std: float) -> Normal:
        return Normal(quantity(mean, "nA"), quantity(std, "nA"))

    return Network(
        (Population("hidden", cell, HIDDEN), Population("output", cell, CLASSES)),
        (
            Projection("feed", "x", "hidden", synapse, weights(0.05, 0.2)),
            Projection("loop", "hidden", "hidden", synapse, weights(0.0, 0.4 / np.sqrt(HIDDEN)), AllToAll(False)),
            Projection("readout", "hidden", "output", synapse, weights(0.0, 0.8 / np.sqrt(HIDDEN))),
        ),
        (Input("x", SIDE),),
        dt=quantity("1 ms"),
        name="row_digits",
    )


def spiking_task(loop: bool = True, leaky: bool = True) -> Arrays:
    """Loss and metric: of the output cells' spike counts from the last row on.

    loop: with the recurrent projection. leaky: cells with a synaptic current, whose leaks take exactly 1/16 and 1/4 a step; else integrators of pulses, without a leak.
    """
    network = spiking_network(*CELLS["cuba_lif"][:2]) if leaky else spiking_network(leak_free, pulse)
    counted = np.arange(STEPS) >= STEPS - HOLD - LATE
    return _task(network if loop else _without_loop(network), spikes, counted, "output")


def rate_task(loop: bool = True) -> Arrays:
    """The same images, some pixels a step, as numbers. Loss and metric: of linear outputs of the last step's tanh units, x = tanh(weighted sums)."""
    tau, dt = quantity("100 ms"), quantity("1 ms")
    leaky = rate_network("row_rates", PIXELS, HIDDEN, CLASSES, seed=0, tau=tau, dt=dt, gain=1.0)
    units = Population("hidden", vanilla, HIDDEN)
    network = replace(leaky, populations=tuple(units if p.name == "hidden" else p for p in leaky.populations))
    steps = SIDE**2 // PIXELS + 1  # the outputs read what the units were a step ago

    def shown(images: Array) -> Array:
        return np.pad(images.reshape(len(images), -1, PIXELS), [(0, 0), (0, 1), (0, 0)])

    return _task(network if loop else _without_loop(network), shown, np.arange(steps) == steps - 1, "output.x")


def _without_loop(network: Network) -> Network:
    return replace(network, projections=tuple(p for p in network.projections if p.name != "loop"))


def _task(network: Network, shown: Any, counted: Array, output: str) -> Arrays:
    x, y, x_test, y_test = data()
    masks: dict[str, Any] = {"mask": np.tile(counted, (len(y), 1)), "mask_test": np.tile(counted, (len(y_test), 1))}
    return from_arrays(shown(x), y, network, x_test=shown(x_test), y_test=y_test, output=output, **masks)


def multiples(target: str, path: Path, trained: Mapping[str, Any]) -> dict[str, int]:
    """Population -> the whole number of which the codes of its weights in a file are multiples of the trained ones, recurrent ones included; 0 where they aren't.

    target: loihi2 or c-header. trained: parameter -> its codes, as a run keeps them.
    """
    found = {}
    for k, (population, projections) in enumerate(LAYERS.items()):
        ours = [stored_codes(trained[f"{name}.w"]) for name in projections.values()]
        theirs = [_READERS[target](path, k, population, matrix).reshape(c.shape) for matrix, c in zip(projections, ours, strict=True)]  # fmt: skip
        most = max(np.abs(c).max() for c in ours)
        factor = int(max(np.abs(c).max() for c in theirs) // most)
        same = all(np.array_equal(factor * a, b) for a, b in zip(ours, theirs, strict=True))
        found[population] = factor if same else 0
    return found


def _of_netx(path: Path, layer: int, population: str, matrix: str) -> Array:
    import h5py

    with h5py.File(path) as file:
        held = file[f"layer/{layer}/{'weight' if matrix == 'feed' else 'weight_rec'}"]
        return np.asarray(held).T.ravel()


def _of_header(path: Path, layer: int, population: str, matrix: str) -> Array:
    text = path.read_text(encoding="utf-8")
    found = re.search(rf"int8_t \w+_{population}_{matrix}\[\d+\] = \{{([^}}]*)\}}", text)
    return np.array([] if found is None else found[1].split(","), dtype=np.int64)


_READERS = {"loihi2": _of_netx, "c-header": _of_header}

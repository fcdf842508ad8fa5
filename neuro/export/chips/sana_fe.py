"""SANA-FE: a chip simulator with energy and latency, its Loihi description; networks as YAML text.

    v = trunc(64 leak v)/64 + u,  a spike where v > threshold, then v = 0

with u the sum of weights of the spikes of the step before. Weights and thresholds are Loihi's integers and leaks its
12-bit codes, so v is a multiple of 1/64: the network counts those.
Source: Boyle et al. (2025), IEEE TCAD 44(8):3165.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np

from neuro.export import ExportError
from neuro.export.chips.integer import IntegerChain, IntegerLayer, network_of
from neuro.export.chips.loihi2 import PROFILE as LOIHI
from neuro.export.chips.loihi2 import check, decays, export_chain
from neuro.export.targets import Export, Target
from neuro.io.files import replaced
from neuro.model import Network, Neuron
from neuro.protocols import Parameters

PROFILE = replace(
    LOIHI,
    name="sana-fe",
    title="SANA-FE",
    suffix=".yaml",
    neurons=("lif",),
    bias=None,
    current=None,
    voltage=None,
    cells_per_core=1024,
    cores=128,
)
CORES_PER_TILE = 4

sana_fe_lif = Neuron(
    "sana_fe_lif",
    "v : 1\na : 1",
    threshold="v > 64*v_th",
    reset="v = 0",
    every_step="v = sign(v)*floor(abs(v)*(4096 - v_decay)/4096) + 64*a",
    parameters={"v_th": "1", "v_decay": "0"},
    source="Boyle et al. (2025), IEEE TCAD 44(8):3165",
)


def export(network: Network, parameters: Parameters | None, path: Path) -> Export:
    """Write the YAML file of a network. See neuro.export.targets.Target."""
    notes = ("The file's input cells are silent: give them spikes before a run.",)
    return export_chain(PROFILE, write_yaml, sana_fe_network, network, parameters, path, notes=notes)


TARGET = Target(PROFILE, export)


def sana_fe_network(chain: IntegerChain) -> Network:
    """The network that computes with the simulator's multiples of 1/64."""
    check(chain)
    keep = ("v_th", "v_decay")
    layers = [replace(x, cells={n: v for n, v in x.cells.items() if n in keep}) for x in chain.layers]
    return network_of(replace(chain, layers=tuple(layers)), lambda _: sana_fe_lif)


# -- file ---------------------------------------------------------------------------------------------------------


def write_yaml(chain: IntegerChain, path: Path) -> None:
    """Write a network and its mapping to cores. It replaces an older file at once. Raises ExportError, OSError."""
    check(chain)
    groups = [(chain.source, chain.inputs), *((x.name, x.size) for x in chain.layers)]
    mapping = list(_cores(groups))

    def write(side: Path) -> None:
        with side.open("w", encoding="utf-8") as file:
            _write_groups(file, chain)
            _write_edges(file, chain)
            file.write("mappings:\n")
            for group, cell, core, soma in mapping:
                file.write(f"  - {group}.{cell}:\n      core: {core}\n      soma: {soma}\n")

    replaced(path, write)


def _cores(groups: list[tuple[str, int]]) -> Iterator[tuple[str, int, str, str]]:
    """Cells in order onto cores in order: group, cell, "tile.core" and the unit that computes it."""
    place, limit = 0, (PROFILE.cells_per_core or 0) * (PROFILE.cores or 0)
    for k, (group, size) in enumerate(groups):
        for cell in range(size):
            if place == limit:
                raise ExportError("the network", "cells", f"more than {limit}, which the chip's cores can hold")
            core = place // (PROFILE.cells_per_core or 1)
            soma = f"loihi_inputs[{cell}]" if k == 0 else "loihi_lif"
            yield group, cell, f"{core // CORES_PER_TILE}.{core % CORES_PER_TILE}", soma
            place += 1


def _write_groups(file: TextIO, chain: IntegerChain) -> None:
    file.write(f"network:\n  name: {chain.name}\n  groups:\n")
    file.write(f"    - name: {chain.source}\n      attributes: {{log_spikes: 1}}\n      neurons:\n")
    for cell in range(chain.inputs):
        file.write(f"        - {cell}: {{spikes: []}}\n")
    for layer in chain.layers:
        file.write(f"    - name: {layer.name}\n")
        file.write("      attributes: {reset: 0, reset_mode: hard, force_update: 1, log_spikes: 1, log_potential: 0}\n")
        file.write("      neurons:\n")
        for cell, (threshold, leak) in enumerate(_cells(layer)):
            file.write(f"        - {cell}: {{threshold: {threshold}, leak_decay: {leak!r}}}\n")


def _cells(layer: IntegerLayer) -> Iterator[tuple[int, float]]:
    return zip(layer.cells["v_th"].tolist(), decays(layer.cells["v_decay"]).tolist(), strict=True)


def _write_edges(file: TextIO, chain: IntegerChain) -> None:
    """One line a synapse; those of weight 0 are none."""
    file.write("  edges:\n")
    source = chain.source
    for layer in chain.layers:
        for name, weights in ((source, layer.feed), (layer.name, layer.loop)):
            if weights is not None:
                pre, post = np.nonzero(weights)
                values = weights[pre, post].tolist()
                file.writelines(
                    f"    - {name}.{i} -> {layer.name}.{j}: {{weight: {w}}}\n"
                    for i, j, w in zip(pre.tolist(), post.tolist(), values, strict=True)
                )
        source = layer.name

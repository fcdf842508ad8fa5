"""Proof of a NIR file: snntorch's own importer runs it, and its spikes are compared with the network's."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import snntorch
import torch
from snntorch.import_nir import import_from_nir

from backends.reference import ReferenceBackend
from neuro.compiler.parameters import values
from neuro.export.leaky import LeakyCell, LeakyNumbers, leaky_network
from neuro.model import Network
from neuro.protocols import Inputs, Parameters, Recording

Array = npt.NDArray[Any]


TIE = 1e-6  # relative distance from the threshold below which the file's single precision may decide otherwise: 16 roundings


@dataclass(frozen=True)
class Proof:
    """The last layer in the network and in the client, both computing in double precision, the latency taken off.

    spikes: in the network. differences: (trial, step, cell) entries that differ; unexplained: those of trials in which
    no cell of any layer came within TIE of its threshold. ties: trials in which one did. nearest: the least such
    distance, relative to that from rest to threshold. single: entries that differ where the client computes in single.
    """

    trials: int
    spikes: int
    differences: int
    unexplained: int
    ties: int
    nearest: float
    single: int


def replay(path: str | Path, inputs: Array, dtype: torch.dtype = torch.float32) -> Array:
    """Spikes of a NIR file's last layer in snntorch, bool [batch, time, neuron].

    inputs: bool [batch, time, channel]. dtype: what the client computes in; files hold single precision. Raises OSError.
    """
    spikes = torch.as_tensor(np.asarray(inputs), dtype=dtype)
    with _quiet(), torch.no_grad():
        client, state = import_from_nir(nir.read(str(path))), None
        for module in client.modules():
            module.to(dtype)
            if isinstance(module, torch.nn.Linear):  # the client's spikes are single, whatever its potentials are
                module.register_forward_pre_hook(lambda _, arguments: tuple(a.to(dtype) for a in arguments))
        rasters = []
        for k in range(spikes.shape[1]):
            found, state = client(spikes[:, k], state)
            rasters.append(found > 0)
    return torch.stack(rasters, dim=1).numpy()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the importer's prints, and without its modules in snntorch's global list."""
    known = list(snntorch.SpikingNeuron.instances)
    with redirect_stdout(io.StringIO()):
        yield
    snntorch.SpikingNeuron.instances[:] = known


def prove(network: Network, parameters: Parameters | None, path: str | Path, inputs: Inputs) -> Proof:
    """Run a network in the reference and its exported file in snntorch on the same input, and count differences.

    inputs: as for Program.run, one array [batch, time, channel] for the one spike input. Raises OSError, RunError.
    """
    record = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    model = leaky_network(network)
    numbers = model.numbers(values(network, parameters))
    names = [f"{n}.{v}" for n, cell in model.cells.items() for v in (cell.voltage, cell.driver) if v is not None]
    ours = ReferenceBackend().compile(network).run(parameters, inputs, names)
    last, late = max(record["latency"].items(), key=lambda item: item[1])
    (given,) = inputs.values()
    raster = ours.spikes[last][:, late:]
    differ, single = (
        (raster != replay(path, given, dtype)[:, : raster.shape[1]]).sum(axis=(1, 2))
        for dtype in (torch.float64, torch.float32)
    )
    nearest = np.min([_nearest(model.cells[n], numbers[n], ours) for n in record["latency"]], axis=0)
    return Proof(
        trials=raster.shape[0],
        spikes=int(raster.sum()),
        differences=int(differ.sum()),
        unexplained=int(differ[nearest > TIE].sum()),
        ties=int((nearest <= TIE).sum()),
        nearest=float(nearest.min()),
        single=int(single.sum()),
    )


def _nearest(cell: LeakyCell, numbers: LeakyNumbers, recording: Recording) -> Array:
    """Least relative distance from the threshold before a reset [batch]; u from the traces of the step before."""
    u = (recording.traces[f"{cell.name}.{cell.voltage}"] - numbers.rest) / numbers.gain
    arrived = recording.traces[f"{cell.name}.{cell.driver}"]
    before = numbers.beta * u[:, :-1] + (arrived[:, 1:] if numbers.alpha is None else arrived[:, :-1])
    return np.min(np.abs(before / numbers.threshold - 1), axis=(1, 2), initial=np.inf)  # type: ignore[no-any-return]

"""One trained network in several programs: accuracies, and where each differs from the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuro.analysis.comparison import Comparison, compare
from neuro.analysis.energy import EnergyError, needed
from neuro.analysis.refinement import finer_inputs, finer_parameters
from neuro.episodes import acts, run_of
from neuro.model import Network
from neuro.protocols import Batch, Parameters, Program, Recording, Task

MAX_PAIRS = 2000  # spike trains whose distances are computed; the rest is sampled and said to be


@dataclass(frozen=True)
class Replay:
    """What the programs gave on a batch. The first is the reference of all comparisons.

    Where the task acts, the recordings are of the episodes as the first one played them, and each accuracy is of those that a program played itself.
    """

    recordings: Mapping[str, Recording]
    accuracies: Mapping[str, float]
    comparisons: Mapping[str, Comparison]
    batch: Batch

    @property
    def reference(self) -> str:
        """The backend with which the others are compared: the first."""
        return next(iter(self.recordings))

    def to_data(self) -> dict[str, Any]:
        """Nested mapping for the store."""
        return {
            "reference": self.reference,
            "accuracies": dict(self.accuracies),
            "pairs": {name: c.to_data() for name, c in self.comparisons.items()},
        }


def replay(
    task: Task,
    programs: Mapping[str, Program],
    parameters: Parameters,
    batch: Batch,
    *,
    update: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Replay:
    """Run each program on the batch, recording states of spiking populations, graded values sent, and what the task reads."""
    network = next(iter(programs.values())).network
    record = tuple(dict.fromkeys((*spiking_states(network), *_counted(network), *task.record())))
    recordings: dict[str, Recording] = {}
    accuracies: dict[str, float] = {}
    shown = batch
    for i, (name, program) in enumerate(programs.items()):
        update(i, len(programs), name)
        if i == 0:
            recordings[name], shown = run_of(program, parameters, task, batch, record)
            accuracies[name] = task.metric(recordings[name], shown)
            continue
        recordings[name] = program.run(parameters, shown.inputs, record, state=shown.state)
        own = run_of(program, parameters, task, batch) if acts(task) else (recordings[name], shown)
        accuracies[name] = task.metric(*own)
    reference, *others = recordings
    comparisons = {}
    for name in others:
        update(len(programs), len(programs), f"comparing {name}")
        pair = (reference, name)
        comparisons[name] = compare(recordings[reference], recordings[name], names=pair, max_pairs=MAX_PAIRS)
    return Replay(recordings, accuracies, comparisons, shown)


def _counted(network: Network) -> tuple[str, ...]:
    """What the count of operations reads; nothing where they can't be counted."""
    try:
        return needed(network)
    except EnergyError:
        return ()


def spiking_states(network: Network) -> tuple[str, ...]:
    """ "population.variable" of every state in populations that fire."""
    cells = [p for p in network.populations if p.neuron.threshold]
    return tuple(f"{p.name}.{v}" for p in cells for v in p.neuron.scope.states)


def refined_accuracy(
    task: Task, program: Program, network: Network, parameters: Parameters, batch: Batch, factor: int
) -> float:
    """The task's metric of a program compiled from `finer(network, factor)`, with the same charges and events, read on the network's own clock.

    A trace is what it is at the end of each of its steps, a raster the number of spikes in it.
    """
    inputs = finer_inputs(network, batch.inputs, factor)
    finely = program.run(
        finer_parameters(network, parameters, factor), inputs, task.record(), state=batch.state, every=factor
    )
    counts = {
        name: np.add.reduceat(raster, np.arange(0, raster.shape[1], factor), axis=1, dtype=np.int64)
        for name, raster in finely.spikes.items()
    }
    return task.metric(Recording(finely.dt * factor, counts, finely.traces), batch)

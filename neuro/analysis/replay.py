"""One trained network in several programs: accuracies, and where each differs from the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neuro.analysis.comparison import Comparison, compare
from neuro.analysis.energy import needed
from neuro.analysis.refinement import finer_inputs, finer_parameters
from neuro.model import Network
from neuro.protocols import Batch, Parameters, Program, Recording, Task

MAX_PAIRS = 2000  # spike trains whose distances are computed; the rest is sampled and said to be


@dataclass(frozen=True)
class Replay:
    """What the programs gave. The first is the reference of all comparisons."""

    recordings: Mapping[str, Recording]
    accuracies: Mapping[str, float]
    comparisons: Mapping[str, Comparison]

    @property
    def reference(self) -> str:
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
    record = tuple(dict.fromkeys((*spiking_states(network), *needed(network), *task.record())))
    recordings: dict[str, Recording] = {}
    for i, (name, program) in enumerate(programs.items()):
        update(i, len(programs), name)
        recordings[name] = program.run(parameters, batch.inputs, record, state=batch.state)
    reference, *others = recordings
    comparisons = {}
    for name in others:
        update(len(programs), len(programs), f"comparing {name}")
        pair = (reference, name)
        comparisons[name] = compare(recordings[reference], recordings[name], names=pair, max_pairs=MAX_PAIRS)
    accuracies = {name: task.metric(recording, batch) for name, recording in recordings.items()}
    return Replay(recordings, accuracies, comparisons)


def spiking_states(network: Network) -> tuple[str, ...]:
    """ "population.variable" of every state in populations that fire."""
    cells = [p for p in network.populations if p.neuron.threshold]
    return tuple(f"{p.name}.{v}" for p in cells for v in p.neuron.scope.states)


def refined_accuracy(
    task: Task, program: Program, network: Network, parameters: Parameters, batch: Batch, factor: int
) -> float:
    """The task's metric of a program compiled from `finer(network, factor)`, with the same charges and events."""
    inputs = finer_inputs(network, batch.inputs, factor)
    mask = None if batch.mask is None else np.repeat(batch.mask, factor, axis=1)
    recording = program.run(finer_parameters(network, parameters, factor), inputs, task.record(), state=batch.state)
    return task.metric(recording, replace(batch, inputs=inputs, mask=mask))

"""Benchmark tasks: data, loss, metric, and the network that goes with them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from neuro.registry import Registry


class UnknownTaskError(Exception):
    """No task of that name, or an option that it doesn't take."""


REGISTRY = Registry(
    "task",
    {
        "digits": "tasks.digits:Digits",
        "perturbation": "tasks.perturbation:Perturbation",
        "pattern": "tasks.pattern:Pattern",
        "evidence": "tasks.evidence:Evidence",
        "delayed-choice": "tasks.delayed_choice:DelayedChoice",
        "rflo": "tasks.periodic:Periodic",
        "add": "tasks.add:Add",
        "delayed-match": "tasks.delayed_match:DelayedMatch",
        "match-to-sample": "tasks.match_to_sample:MatchToSample",
        "word-evidence": "tasks.word_evidence:WordEvidence",
        "turn-off": "tasks.single_neuron:TurnOff",
        "spike-count": "tasks.single_neuron:SpikeCount",
        "store-recall": "tasks.store_recall:StoreRecall",
        "cue-accumulation": "tasks.cue_accumulation:CueAccumulation",
        "xor": "tasks.xor:Xor",
        "graded-digits": "tasks.graded_digits:GradedDigits",
        "slow-sine": "tasks.slow_sine:SlowSine",
        "trajectory": "tasks.trajectory:Trajectory",
        "arrays": "tasks.arrays:FromFiles",
        "control": "tasks.control:Control",
        "language-model": "tasks.language_model:LanguageModel",
        "crippled": "tasks.crippled:Crippled",
        "maze": "tasks.maze:Maze",
        "grouped-letters": "tasks.grouped_letters:GroupedLetters",
        "cue-reward": "tasks.cue_reward:CueReward",
        "ecg": "tasks.ecg:Ecg",
        "sequential-digits": "tasks.sequential_digits:SequentialDigits",
        "spoken-digits": "tasks.spoken_digits:SpokenDigits",
        "spoken-letters": "tasks.spoken_letters:SpokenLetters",
        "time-series": "tasks.time_series:TimeSeries",
        "images": "tasks.images:Images",
        "quantised-images": "tasks.quantised_images:QuantisedImages",
        "spoken-spikes": "tasks.spoken_spikes:SpokenSpikes",
        "speech-commands": "tasks.speech_commands:SpeechCommands",
        "ti46": "tasks.ti46:Ti46",
        "spiral": "tasks.neural_odes:Spiral",
        "robertson": "tasks.neural_odes:Robertson",
    },
    UnknownTaskError,
    group="neuro.tasks",
    needs=(
        "name",
        "version",
        "output",
        "readout",
        "settings",
        "network",
        "train_batches",
        "test_batch",
        "record",
        "loss",
        "metric",
        "perfect",
    ),
)


def names() -> tuple[str, ...]:
    """Names of all tasks, third parties' included (entry point group `neuro.tasks`)."""
    return REGISTRY.names()


def get(name: str, /, **options: Any) -> Any:
    """The task of that name with these options. Raises UnknownTaskError."""
    return REGISTRY.make(name, options)


def sources() -> dict[Any, list[str]]:
    """The files (tasks.files.File) that tasks declare as their `sources`, and the names of the tasks; tasks that can't be imported here are left out."""
    found: dict[Any, list[str]] = {}
    for name in names():
        with suppress(UnknownTaskError):
            for file in getattr(REGISTRY.maker(name), "sources", ()):
                found.setdefault(file, []).append(name)
    return found


def of_code(place: str, /, **options: Any) -> Any:
    """The task that "module:Class" makes, code of the caller's own; modules are found beside the packages and in the working folder. Raises UnknownTaskError."""
    return REGISTRY.make_of(place, options)


def from_arrays(x: Any, y: Any, network: Any, **options: Any) -> Any:
    """A task of examples and a network: see tasks.arrays.from_arrays."""
    from tasks.arrays import from_arrays

    return from_arrays(x, y, network, **options)


def from_dataset(dataset: Any, network: Any, **options: Any) -> Any:
    """A task of a torch Dataset and a network: see tasks.arrays.from_dataset."""
    from tasks.arrays import from_dataset

    return from_dataset(dataset, network, **options)


def from_tonic(dataset: Any, network: Any, **options: Any) -> Any:
    """A task of a data set of the package tonic and a network: see tasks.tonic_events.from_tonic."""
    from tasks.tonic_events import from_tonic

    return from_tonic(dataset, network, **options)

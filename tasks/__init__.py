"""Benchmark tasks: data, loss, metric, and the network that goes with them."""

from __future__ import annotations

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
        "control": "tasks.control:Control",
        "crippled": "tasks.crippled:Crippled",
        "maze": "tasks.maze:Maze",
        "cue-reward": "tasks.cue_reward:CueReward",
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

"""RTRL is BPTT, and e-prop is the detached graph, on random networks; what has no traces is refused by name, before the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import backends
from neuro import UnsupportedError, learning
from neuro.learning.eligibility import by_adjoint, by_traces
from neuro.learning.trial import run_trial
from neuro.parameters import values
from tests.learning.random_networks import Sample, sample

EXACT = 1e-8
QUICK, MANY, CHUNK = 24, 144, 12


def program_of(found: Sample, seed: int) -> Any:
    surrogate = ("fast_sigmoid", "triangle")[seed // 2 % 2]
    return backends.get("torch").compile(found.network, detach_reset=bool(seed % 2), surrogate=surrogate)


def differences(found: Mapping[str, Any], truth: Mapping[str, Any], bound: float = EXACT) -> dict[str, float]:
    """Parameters whose gradients differ by more than `bound` of the largest entry."""
    assert set(found) == set(truth)
    floor = 1e-9 * max(np.abs(t).max() for t in truth.values())
    worst = {n: float(np.abs(found[n] - t).max() / max(np.abs(t).max(), floor, 1e-300)) for n, t in truth.items()}
    return {n: e for n, e in worst.items() if not e <= bound}


@pytest.mark.parametrize(
    "first", [f if f < QUICK else pytest.param(f, marks=pytest.mark.slow) for f in range(0, MANY, CHUNK)]
)
def test_rules_are_exact_wherever_they_accept_a_network(first: int) -> None:
    accepted, alive, spikes = 0, 0, 0
    for seed in range(first, first + CHUNK):
        found = sample(seed)
        program, start, rule = program_of(found, seed), values(found.network), learning.get("rtrl")
        if found.spoiled:
            with pytest.raises(UnsupportedError, match=rf"projection '({'|'.join(found.spoiled)})'"):
                rule.check_network(found.network, found.task.output)
            continue
        rule.check_network(found.network, found.task.output)
        truth = learning.get("bptt").gradient(program, start, found.batch, found.task)
        assert not differences(rule.gradient(program, start, found.batch, found.task), truth), seed
        detach = learning.get("eprop", detach_reset=None)
        detached = detach.gradient(program, start, found.batch, found.task)
        trial = run_trial(program, start, found.batch, found.task, {})
        trained = [n.removesuffix(".w") for n in detached]
        assert not differences(by_adjoint(trial, trained), detached), seed
        assert not differences(by_traces(trial, trained), detached), seed
        accepted, spikes = accepted + 1, spikes + trial.recording.spike_count()
        alive += any(np.abs(g).max() > 0 for g in truth.values())
    assert accepted >= 0.75 * CHUNK
    assert alive >= 0.9 * accepted and spikes > 100


def test_the_networks_hold_every_kind_of_thing() -> None:
    kinds: Counter[str] = sum((sample(seed).kinds for seed in range(MANY)), Counter[str]())
    rare = {n: c for n, c in kinds.items() if c < 10}
    assert not rare and len(kinds) > 40

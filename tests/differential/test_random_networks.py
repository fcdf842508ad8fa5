"""Every failure ever found, then random networks of fixed seeds, through the oracles of twinspike.fuzzing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from twinspike.fuzzing import corpus
from twinspike.fuzzing.budget import SEEDS
from twinspike.fuzzing.campaign import QUICK
from twinspike.fuzzing.coverage import WANTED, features
from twinspike.fuzzing.examination import examine, examine_case
from twinspike.fuzzing.networks import generate

ENTRIES = list(corpus.read())
_CHUNK = 5


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TWINSPIKE_NATIVE_FLAGS", QUICK)


@pytest.mark.parametrize("number", range(len(ENTRIES)), ids=lambda n: f"{n}-{ENTRIES[n].oracle}")
def test_what_failed_once(number: int) -> None:
    entry = ENTRIES[number]
    outcome = examine_case(entry.case, [entry.oracle])
    assert not outcome.failures, f"{entry.comment}: {list(map(str, outcome.failures))}"


@pytest.mark.parametrize(
    ("oracle", "seeds"),
    [(o, seeds[i : i + _CHUNK]) for o, seeds in SEEDS.items() for i in range(0, len(seeds), _CHUNK)],
)
def test_random_networks(oracle: str, seeds: range) -> None:
    found = [examine(seed, [oracle]) for seed in seeds]
    failures = [f"seed {x.seed}, {f}" for x in found for f in x.failures]
    assert not failures, "\n".join(failures)
    if oracle == "forward":
        assert sum(x.spikes > 0 for x in found) >= 0.4 * len(seeds)
        assert sum(x.accepted for x in found) >= 0.6 * len(seeds)


def test_the_networks_hold_the_whole_language() -> None:
    found: Counter[str] = sum((features(generate(seed).network) for seed in range(250)), Counter[str]())
    assert not [name for name in WANTED if not found[name]]


def test_equal_seeds_give_equal_networks() -> None:
    assert generate(7).network == generate(7).network
    assert generate(7).network != generate(8).network

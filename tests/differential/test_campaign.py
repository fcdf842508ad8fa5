"""A campaign's file survives any end, and what a process takes with it is reported."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterable
from math import gcd
from pathlib import Path

import pytest

from neuro.protocols import UnsupportedError
from twinspike.fuzzing import campaign
from twinspike.fuzzing.campaign import FULL_FLAGS, Campaign
from twinspike.fuzzing.examination import TURNS, Examination
from twinspike.fuzzing.journal import Journal, Plan
from twinspike.fuzzing.mutations import MUTATIONS, ROOT, Mutation
from twinspike.fuzzing.oracles import outcome
from twinspike.fuzzing.oracles.outcome import Failure
from twinspike.fuzzing.report import Report


def examined(seed: int, oracles: Iterable[str]) -> Examination:
    """What takes no time; seed 3 kills its process, seed 4 hangs."""
    if seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    while seed == 4:
        signal.pause()
    found = Examination(seed, [Failure("forward", "differs", str(seed))] if seed == 5 else [], spikes=seed)
    found.features["loop"], found.seconds["forward"] = seed, 0.5
    found.refusals, found.notes = [("brian2", "'x': why")], ["tie: spikes"]
    return found


def test_a_campaign_goes_on_where_its_file_ends(tmp_path: Path) -> None:
    whole, again, journal = Report(), Report(), Journal(tmp_path / "campaign.jsonl")
    journal.begin(Plan(5, 3, ("forward",)))
    for seed in (5, 6, 7):
        whole.add(examined(seed, ()))
        journal.add(examined(seed, ()))
    journal.path.write_bytes(journal.path.read_bytes()[:-20])  # killed while it wrote of seed 7
    for found in journal.examinations():
        again.add(found)
    plan = journal.plan()
    assert again.seeds == [5, 6] and set(plan.seeds()) - set(again.seeds) == {7}
    journal.add(examined(7, plan.oracles))
    again.add(examined(7, plan.oracles))
    assert again == whole and whole.failed == 1
    assert [x.seed for x in journal.examinations()] == [5, 6, 7]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    for text in ("", "x", "[]", '{"first": 3}'):
        path = tmp_path / "other"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="holds no campaign"):
            Journal(path).plan()


def test_processes_that_die_or_hang_are_reported_with_their_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "examine", examined)
    found = {x.seed: [f.kind for f in x.failures] for x in Campaign(("forward",), 2, timeout=2).run(range(7))}
    assert found == {
        0: [], 1: [], 2: [], 6: [], 3: ["the process dies (SIGKILL)"], 4: ["takes longer than 2 s"], 5: ["differs"],
    }  # fmt: skip


def test_every_oracle_meets_full_flags_without_the_others() -> None:
    assert {name: gcd(FULL_FLAGS, every) for name, every in TURNS.items()} == dict.fromkeys(TURNS, 1)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_defects_can_be_planted(mutation: Mutation) -> None:
    """What they replace stands in the code once."""
    assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.right) == 1


def test_patience_ends_while_garbage_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "PATIENCE", 0.05)
    swallowed = []

    def busy(phase: str, _: dict[str, int]) -> None:
        if phase == "stop" and not swallowed:
            swallowed.append(True)
            while True:
                pass

    gc.callbacks.append(busy)
    try:
        with pytest.raises(UnsupportedError, match="sympy needs longer"), outcome.limited("brian2"):
            gc.collect(0)  # the first signal comes here, and nobody hears of it
            while True:
                pass
    finally:
        gc.callbacks.remove(busy)
    assert swallowed

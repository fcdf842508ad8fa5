"""One seed through the oracles whose turn it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from twinspike.fuzzing.coverage import features
from twinspike.fuzzing.networks import Case, NetworkMaker
from twinspike.fuzzing.oracles import continuation, forward, gradients, life, metamorphic, script, sharing
from twinspike.fuzzing.oracles.outcome import Failure, Outcome, Programs, summary
from twinspike.fuzzing.sizes import as_if_large

Check = Callable[[Case, Programs], Outcome]
ORACLES: Mapping[str, Check] = {
    o.NAME: o.check for o in (forward, gradients, life, metamorphic, continuation, sharing, script)
}
TURNS: Mapping[str, int] = {
    "forward": 1,
    "gradients": 5,
    "life": 7,
    "metamorphic": 4,
    "continuation": 4,
    "sharing": 1,
    "script": 6,
}  # every n-th seed


@dataclass
class Examination:
    """What one seed gave. seconds: by oracle. drafts: parts of the network that were drawn again."""

    seed: int
    failures: list[Failure] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    features: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    spikes: int = 0
    drafts: int = 0
    accepted: bool = False


def turn(seed: int, oracles: Iterable[str]) -> list[str]:
    """Those of the oracles that this seed meets; every seed meets an oracle that is alone."""
    oracles = tuple(oracles)
    return [name for name in oracles if len(oracles) == 1 or seed % TURNS[name] == 0]


def examine_case(case: Case, oracles: Iterable[str]) -> Outcome:
    """A case through these oracles."""
    outcome, programs = Outcome(), Programs(case)
    for name in oracles:
        outcome.add(guarded(name, case, programs))
    return outcome


def guarded(name: str, case: Case, programs: Programs) -> Outcome:
    """An oracle; what it raises itself is a failure too."""
    try:
        with as_if_large(case.large):
            return ORACLES[name](case, programs)
    except Exception as error:
        return Outcome([Failure(name, f"the oracle raises {type(error).__name__}", summary(error))])


def _processor_time() -> float:
    """Seconds of this process and of the compilers it ran."""
    return sum(os.times()[:4])


def examine(seed: int, oracles: Iterable[str]) -> Examination:
    """A seed's network through the oracles whose turn it is."""
    found, clock = Examination(seed), _processor_time
    start, maker = clock(), NetworkMaker(seed)
    case = maker.make()
    found.drafts, found.features = maker.tally.drafts, features(case.network)
    found.features["as if large"], found.features["crowded"] = int(case.large), int(maker.crowded)
    found.seconds["generator"] = clock() - start
    programs, outcome = Programs(case), Outcome()
    for name in turn(seed, oracles):
        start = clock()
        outcome.add(guarded(name, case, programs))
        found.seconds[name] = clock() - start
        found.features[f"oracle {name}"] += 1
    found.failures, found.refusals, found.notes, found.spikes = (
        outcome.failures,
        outcome.refusals,
        outcome.notes,
        outcome.spikes,
    )
    refusing = {backend for backend, _ in outcome.refusals} - {script.NAME}  # a script is no backend
    found.accepted = not refusing and not any(n.startswith("refused by all") for n in outcome.notes)
    return found

"""d) Metamorphic: changes that mean nothing leave every number as it was. Backends may be wrong alike, so this needs no second one.

What is drawn by name (distributions, connectivity, Poisson spikes) is drawn before, because streams are keyed by names. A changed
order of sums may round otherwise: that is decided as everywhere, see tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import backends
from neuro import Network
from neuro.compiler.receptors import without_receptors
from neuro.language.equations import ModelError
from neuro.protocols import Recording, UnsupportedError
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.oracles import variations
from twinspike.fuzzing.oracles.drawing import drawn
from twinspike.fuzzing.oracles.outcome import Failure, Outcome, Programs, attempt, expected, hints, limited, summary
from twinspike.fuzzing.oracles.tolerance import BOUND, Sensitivity, first_difference, own_rounding

NAME = "metamorphic"
OTHERS = ("native", "torch", "brian2")
SHARES = (0.6, 0.3, 0.1)  # Brian2 takes as long as all the others
NAMES = {"other names of variables", "other names in synapses"}  # those that keep the names of random streams
VARIED = 3  # of all variations, for one network


@dataclass(frozen=True)
class Variant:
    """Another way to write a network. names: what recordings and inputs are called in it, where that is another name."""

    network: Network
    names: Mapping[str, str] = field(default_factory=dict)


Variation = Callable[[Network, np.random.Generator], Variant | None]


def check(case: Case, programs: Programs) -> Outcome:
    """Some variations on the reference, one of them on another backend as well."""
    outcome, random = Outcome(), np.random.default_rng([case.seed, 10])
    chosen = [str(name) for name in random.permutation(list(variations.ALL))[:VARIED]]
    plain = attempt(lambda: drawn(case))
    if isinstance(plain, ModelError):
        still_refused(case, plain, chosen, outcome)
        return outcome
    if isinstance(plain, Exception):
        raise plain
    start, inputs = plain
    elsewhere, other = chosen[0], str(random.choice(OTHERS, p=SHARES))
    truth = {name: run(start.network, start, inputs, name) for name in ("reference", other)}
    original = programs.run("reference")
    compare(start, "drawing by hand", "reference", original, truth["reference"], outcome, start.record())
    for what, vary in ((name, variations.ALL[name]) for name in chosen):
        made = varied(start, vary)
        if isinstance(made, Exception):
            if not isinstance(made, ModelError):
                raise made
            outcome.failures.append(Failure(NAME, f"{what}: a rule forbids the variant", summary(made)))
        elif made is not None:
            refused = isinstance(truth[other], UnsupportedError)
            for backend in ("reference", other) if what == elsewhere and not refused else ("reference",):
                one(start, inputs, truth[backend], Variant(*made), what, backend, outcome)
            outcome.notes.append(f"varied: {what}")
    return outcome


def varied(case: Case, vary: Any) -> Any:
    """What a variation makes of a case's network; or the exception that it raised."""
    return attempt(lambda: vary(case.network, np.random.default_rng([case.seed, 11])))


def still_refused(case: Case, error: ModelError, chosen: Iterable[str], outcome: Outcome) -> None:
    """What can't be compiled can't be under other names either."""
    outcome.notes.append("metamorphic: refused when compiled")
    for what in NAMES.intersection(chosen):
        made = varied(case, variations.ALL[what])
        if isinstance(made, tuple) and not isinstance(attempt(lambda m=made: without_receptors(m[0])), Exception):
            outcome.failures.append(Failure(NAME, f"{what}: runs where the network was refused", summary(error)))


def run(
    network: Network, case: Case, inputs: Mapping[str, Any], backend: str, record: Iterable[str] | None = None
) -> Any:
    """A recording of these variables, or the exception."""
    names = case.record() if record is None else list(record)

    def go() -> Any:
        with limited(backend):
            program = backends.get(backend).compile(network, **hints(backend, case))
            return program.run(None, inputs, names, steps=case.steps, batch=case.batch)

    return attempt(go)


def one(
    case: Case, inputs: Mapping[str, Any], truth: Any, variant: Variant, what: str, backend: str, outcome: Outcome
) -> None:
    """A variant on a backend against the network itself."""
    names = variant.names
    there = {
        f"{p.name}.{v}"
        for p in variant.network.populations
        for v in (*p.neuron.scope.states, *p.neuron.scope.subexpressions)
    }
    record = {n: names.get(n, n) for n in case.record() if names.get(n, n) in there}
    given = {names.get(n, n): a for n, a in inputs.items()}
    found = run(variant.network, case, given, backend, record.values())
    if not isinstance(found, Exception):
        back = {new: old for old, new in names.items()}
        found = Recording(
            found.dt,
            {back.get(n, n): s for n, s in found.spikes.items() if back.get(n, n) in getattr(truth, "spikes", {})},
            {old: found.traces[new] for old, new in record.items()},
        )
    compare(case, what, backend, truth, found, outcome, record)


def compare(
    case: Case, what: str, backend: str, truth: Any, found: Any, outcome: Outcome, record: Iterable[str]
) -> None:
    """Both run alike, or both are refused alike."""
    if isinstance(truth, UnsupportedError) or isinstance(found, UnsupportedError):
        return
    if isinstance(truth, Exception) or isinstance(found, Exception):
        if type(truth) is not type(found):
            kind = f"{what} on {backend}: {_verdict(found)} where it was {_verdict(truth)}"
            error = found if isinstance(found, Exception) else truth
            outcome.failures.append(Failure(NAME, kind, summary(error)))
        elif not expected(found):
            outcome.notes.append(f"metamorphic: {type(found).__name__} before and after")
        return
    bare = Recording(truth.dt, truth.spikes, {n: truth.traces[n] for n in record})
    difference = first_difference(
        bare, Recording(found.dt, found.spikes, found.traces), 1e-13 if case.dyadic else BOUND
    )
    if difference is None:
        return
    reference = bare if backend == "reference" else run(case.network, case, case.inputs(), "reference")
    if Sensitivity(case, reference).explains(difference) or own_rounding(case, backend, bare, difference):
        outcome.notes.append(f"tie: {what}")
    else:
        outcome.failures.append(Failure(NAME, f"{what} changes numbers on {backend}", str(difference)))


def _verdict(result: Any) -> str:
    return f"refused ({type(result).__name__})" if isinstance(result, Exception) else "run"

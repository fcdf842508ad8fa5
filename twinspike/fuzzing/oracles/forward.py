"""a) reference = native = torch = Brian2: spikes exactly, traces to 1e-9; or all refuse alike; or one refuses and says why.

CUDA's text is two more backends: of every fifth network on the CPU, threads in one order, and in the other; of every one on a CUDA device where
the campaign is given one, two runs. They must give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import backends
from neuro.language.equations import ModelError
from neuro.protocols import Recording, RunError, UnsupportedError
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.oracles.outcome import (
    ALL,
    Failure,
    Outcome,
    Programs,
    attempt,
    cuda_twice,
    expected,
    has_blocks,
    hints,
    limited,
    summary,
)
from twinspike.fuzzing.oracles.tolerance import BOUND, Sensitivity, first_difference, own_rounding, same_bits
from twinspike.fuzzing.unrolled import unrolled

NAME = "forward"
TURN = 5


def check(case: Case, programs: Programs, names: Sequence[str] = ALL) -> Outcome:
    """Every one of these backends against the reference."""
    twice = cuda_twice() if has_blocks(case, TURN) else ()
    names = (*names, *twice)
    outcome, found = Outcome(), {name: programs.run(name) for name in names}
    reference = found["reference"]
    for name, result in found.items():
        if isinstance(result, Exception) and not expected(result):
            outcome.failures.append(Failure(NAME, f"{name} raises {type(result).__name__}", summary(result)))
        elif isinstance(result, UnsupportedError):
            outcome.refusals.append((name, f"{result.what}: {result.why}"))
            if raw(result):
                outcome.failures.append(Failure(NAME, f"{name} refuses by accident", summary(result)))
    if isinstance(reference, ModelError | RunError):
        outcome.notes.append(f"refused by all: {type(reference).__name__}")
    elif not isinstance(reference, Exception):
        outcome.spikes = reference.spike_count()
    sensitivity = Sensitivity(case, reference)
    for name in names[1:]:
        compare(case, name, reference, found[name], sensitivity, outcome)
    if twice:
        in_any_order(found[twice[0]], found[twice[1]], outcome)
    if case.network.couplings == "stages" and not isinstance(reference, Exception):
        witness(case, reference, sensitivity, outcome)
    return outcome


def in_any_order(a: Any, b: Any, outcome: Outcome) -> None:
    """CUDA's threads in one order and in the other, or in two runs: a missing barrier shows as different bits."""
    wrong = [summary(x) for x in (a, b) if isinstance(x, RunError) and "the kernel's text is wrong" in str(x)]
    outcome.failures += [Failure(NAME, "CUDA's threads meet", text) for text in wrong]
    if isinstance(a, Exception) or isinstance(b, Exception):
        return  # compared with the reference, each by itself
    if not (same_bits(a.spikes, b.spikes) and same_bits(a.traces, b.traces)):
        difference = first_difference(a, b, 0.0)
        outcome.failures.append(Failure(NAME, "the order of CUDA's threads matters", str(difference)))


def witness(case: Case, reference: Any, sensitivity: Sensitivity, outcome: Outcome) -> None:
    """Couplings at every stage, as one cell of all equations, which Brian2 integrates by itself."""
    whole = unrolled(case.network)
    if whole is None:
        return

    def run() -> Any:
        with limited("brian2"):
            program = backends.get("brian2").compile(whole.network, **hints("brian2", case))
            return whole.run(program, case.inputs(), case.steps, case.batch)

    found, traces = attempt(run), {}
    if isinstance(found, UnsupportedError):
        outcome.notes.append("unrolled: refused by Brian2")
        return
    if not isinstance(found, Exception):
        outcome.notes.append("unrolled on Brian2")
        traces = {name: reference.traces[name] for name in found.traces}
    compare(case, "unrolled on Brian2", Recording(reference.dt, traces=traces), found, sensitivity, outcome)


def compare(case: Case, name: str, reference: Any, result: Any, sensitivity: Sensitivity, outcome: Outcome) -> None:
    """One backend against the reference."""
    if isinstance(result, UnsupportedError) or (isinstance(result, Exception) and not expected(result)):
        return
    if isinstance(reference, Exception) or isinstance(result, Exception):
        if type(reference) is not type(result):
            outcome.failures.append(
                Failure(
                    NAME,
                    f"{name} {verdict(result)} where reference {verdict(reference)}",
                    f"{told(result)} | {told(reference)}",
                )
            )
        return
    difference = first_difference(reference, result, 1e-13 if case.dyadic else BOUND)
    if difference is None:
        return
    kind = "spikes" if difference.spikes else "traces"
    if sensitivity.explains(difference):
        outcome.notes.append(f"tie: {kind}")
    elif name in (*ALL, *cuda_twice()) and own_rounding(case, name, result, difference):
        outcome.notes.append(f"tie: {kind}, by {name}'s own rounding")
    else:
        outcome.failures.append(Failure(NAME, f"{name} differs in {kind}", str(difference)))


def raw(error: UnsupportedError) -> bool:
    """True for refusals that only pass on what a compiler or Brian2 stumbled over."""
    return "the C compiler refused it" in error.why or "Brian2 says" in error.why


def verdict(result: Any) -> str:
    return f"raises {type(result).__name__}" if isinstance(result, Exception) else "runs"


def told(result: Any) -> str:
    return summary(result) if isinstance(result, Exception) else f"{result.spike_count()} spikes"

"""e) A run cut anywhere and continued equals the whole: bit for bit on the same backend, to a bound on another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from backends.common.streaming import one_after_another
from neuro import Recording
from neuro.compiler.parameters import values
from neuro.protocols import UnsupportedError
from neuro.state import PARTS, State
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.oracles.gradients import BOUND as SLOPE
from twinspike.fuzzing.oracles.gradients import Loss, errors, owed
from twinspike.fuzzing.oracles.outcome import ALL, Failure, Outcome, Programs, attempt, expected, limited, summary
from twinspike.fuzzing.oracles.tolerance import BOUND, GROWTH, Sensitivity, first_difference, own_rounding, relative

NAME = "continuation"


def check(case: Case, programs: Programs) -> Outcome:
    """Each backend goes on from its own state and from that of another one; gradients on torch go through the cut."""
    outcome, random = Outcome(), np.random.default_rng([case.seed, 9])
    whole = {name: programs.run(name) for name in ALL}
    runs = [name for name, result in whole.items() if not isinstance(result, Exception)]
    if "reference" not in runs or case.steps < 2:
        return outcome
    cut = int(random.integers(1, case.steps))
    sensitivity = Sensitivity(case, whole["reference"])
    first = {name: attempt(lambda n=name: _part(case, programs, n, 0, cut)) for name in runs}
    for name in runs:
        if _sound(name, first[name], outcome):
            _compare_states(name, first[name].state, first["reference"].state, sensitivity, outcome)
    if outcome.failures:
        return outcome
    for name in runs:
        others = [n for n in runs if n != name and not isinstance(first[n], Exception)]
        for before in (name, *random.choice(others, min(1, len(others)), replace=False)):
            second = attempt(lambda b=str(before), n=name: _part(case, programs, n, cut, case.steps, first[b].state))
            if _sound(name, second, outcome):
                outcome.notes.append("continued elsewhere" if before != name else "continued")
                _compare(
                    case,
                    (str(before), name),
                    one_after_another([first[str(before)], second], axis=1),
                    whole,
                    sensitivity,
                    outcome,
                )
    _gradients(case, programs, whole["reference"], cut, outcome)
    return outcome


def _part(case: Case, programs: Programs, backend: str, begin: int, end: int, state: State | None = None) -> Recording:
    program = programs.get(backend)
    if isinstance(program, Exception):
        raise program
    inputs = {n: a[:, begin:end] for n, a in case.inputs().items()}
    with limited(backend):
        found: Recording = case.run(program, inputs=inputs, steps=end - begin, state=state)
        _ = found.state
    return found


def _sound(name: str, found: Any, outcome: Outcome) -> bool:
    """False for an exception; one that users aren't meant to see is a failure."""
    if isinstance(found, UnsupportedError):
        outcome.refusals.append((name, f"state: {found.why}"))
    elif isinstance(found, Exception):
        kind = "raises" if not expected(found) else "refuses half a run with"
        outcome.failures.append(Failure(NAME, f"{name} {kind} {type(found).__name__}", summary(found)))
    return not isinstance(found, Exception)


def _compare_states(name: str, found: State, right: State, sensitivity: Sensitivity, outcome: Outcome) -> None:
    """The states of two backends at the cut."""
    for part in PARTS:
        ours, theirs = getattr(found, part), getattr(right, part)
        if ours.keys() != theirs.keys():
            outcome.failures.append(Failure(NAME, f"{name}'s state has other {part}", f"{sorted({*ours} ^ {*theirs})}"))
            continue
        for key in ours:
            error = relative(theirs[key], ours[key])
            if error.size and (error > BOUND).any() and not _tie(sensitivity, (part, key), right, error, outcome):
                detail = f"{part} of {key} at step {found.step}, {float(error.max()):.2g} of its scale"
                outcome.failures.append(Failure(NAME, f"{name}'s state differs in {part}", detail))
    if (found.step, found.lead, found.trial) != (right.step, right.lead, right.trial):
        outcome.failures.append(Failure(NAME, f"{name}'s state is of another time", f"{found.step} {found.lead}"))


def _tie(sensitivity: Sensitivity, place: tuple[str, str], right: State, error: Any, outcome: Outcome) -> bool:
    """True where rounding alone moves the reference's own state there as far; such a case says nothing of the state."""
    if sensitivity.exact:
        return False
    part, key = place
    wanted = getattr(right, part)[key]
    moved = (getattr(run.state, part)[key] for run in sensitivity.moved(right.step))
    if not any(relative(wanted, own).max() * GROWTH >= error.max() for own in moved):
        return False
    outcome.notes.append("tie: state")
    return True


def _compare(
    case: Case,
    names: tuple[str, str],
    found: Recording,
    whole: Mapping[str, Any],
    sensitivity: Sensitivity,
    outcome: Outcome,
) -> None:
    before, after = names
    if before == after:
        right, bound = whole[after], 0.0
    else:
        right, bound = whole["reference"], 1e-13 if case.dyadic else BOUND
    difference = first_difference(right, found, bound)
    if difference is None:
        return
    if before != after and (sensitivity.explains(difference) or own_rounding(case, after, whole[after], difference)):
        outcome.notes.append("tie: continued")
        return
    kind = f"{after} goes on from {'itself' if before == after else before} otherwise in"
    outcome.failures.append(Failure(NAME, f"{kind} {'spikes' if difference.spikes else 'traces'}", str(difference)))


# -- gradients ---------------------------------------------------------------------------------------------------------


def _gradients(case: Case, programs: Programs, recording: Any, cut: int, outcome: Outcome) -> None:
    """On torch: of the whole run, and of two parts with the graph through the cut."""
    program = programs.get("torch")
    if isinstance(program, Exception):
        return
    loss, given = Loss(case, recording), values(case.network)
    found = [attempt(lambda c=cuts: _gradient(case, program, loss, given, c)) for cuts in ((), (cut,))]
    outcome.notes.append("gradient through a cut")
    for each in found:
        if isinstance(each, Exception):
            if not expected(each):
                outcome.failures.append(Failure(NAME, f"torch's gradient raises {type(each).__name__}", summary(each)))
            outcome.notes[-1] += f" refused: {type(each).__name__}"
            return
    share = owed(found[0], given)
    off = {n: e for n, e in errors(*found).items() if not e <= SLOPE and not e * share[n] <= 1e-14}
    if off:
        name = max(off, key=lambda n: off[n])
        outcome.failures.append(
            Failure(NAME, "torch's gradient through the cut is another", f"{name} by {off[name]:.2g}")
        )


def _gradient(case: Case, program: Any, loss: Loss, given: Mapping[str, Any], cuts: tuple[int, ...]) -> dict[str, Any]:
    import torch

    leaves = {n: torch.tensor(np.asarray(v), dtype=torch.float64, requires_grad=True) for n, v in given.items()}
    plastic = {f"{p.name}.w" for p in case.network.projections if "w" in p.synapse.scope.states}
    signals, state, total = [], None, torch.zeros((), dtype=torch.float64)
    for begin, end in zip((0, *cuts), (*cuts, case.steps), strict=True):
        inputs = {n: a[:, begin:end] for n, a in case.inputs().items()}
        chosen = leaves if state is None else {n: v for n, v in leaves.items() if n not in plastic}
        signals.append(program.forward(chosen, inputs, case.record(), steps=end - begin, batch=case.batch, state=state))
        state = signals[-1].state if end < case.steps else None
    for kind in ("traces", "spikes"):
        for name, weight in loss.weights.items():
            parts = [getattr(s, kind)[name] for s in signals if name in getattr(s, kind)]
            if parts:
                total = total + (torch.cat(parts, 1) * torch.as_tensor(weight)).sum()
    slopes = (
        torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        if total.requires_grad
        else [None] * len(leaves)
    )
    return {n: np.zeros(v.shape) if g is None else g.numpy() for (n, v), g in zip(leaves.items(), slopes, strict=True)}

"""c) Life: what a network goes through besides one run gives the numbers of that run.

JSON and NIR and back, parameter sets one by one, trials one by one, two threads, single precision, integer targets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuro.compiler.parameters import parameters
from neuro.export import ExportError, ForeignFileError
from neuro.io.serialisation import content_hash, from_json, to_json
from neuro.language.scope import is_index
from neuro.protocols import Recording, RunError
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.oracles.outcome import ALL, Failure, Outcome, Programs, attempt, expected, summary
from twinspike.fuzzing.oracles.tolerance import ROUNDING, Difference, Sensitivity, first_difference

NAME = "life"
EXACTLY = 0.0
SUMS = 1e-12  # where another shape of arrays sums in another order
SINGLE = 2e-4  # of a trace's scale: single precision keeps seven digits, some hundred operations lose three
SETS = 3


def check(case: Case, programs: Programs) -> Outcome:
    """Files, and some of the runs for one backend each: all of them on all backends would cost six times as much."""
    outcome, turn = Outcome(), case.seed // 5
    through_json(case, programs, outcome)
    name = ALL[turn % 4]
    if turn % 3 == 0:
        with_sets(case, programs, name, outcome)
    elif turn % 3 == 1:
        trial_by_trial(case, programs, name, outcome)
    elif turn % 2:
        other_threads(case, programs, outcome)
    else:
        single_precision(case, programs, outcome)
    if len(case.network.inputs) == 1:
        exports(case, programs, outcome)
    return outcome


def report(
    outcome: Outcome,
    case: Case,
    what: str,
    difference: Difference | None,
    reference: Any,
    bound: float,
    size: float = ROUNDING,
) -> None:
    """A difference as a failure, or as a tie."""
    if difference is None:
        return
    if bound and Sensitivity(case, reference, size).explains(difference, bound):
        outcome.notes.append(f"tie: {what}")
    else:
        outcome.failures.append(Failure(NAME, f"{what} differs", str(difference)))


def raised(outcome: Outcome, what: str, error: Exception) -> None:
    if not expected(error):
        outcome.failures.append(Failure(NAME, f"{what} raises {type(error).__name__}", summary(error)))
    else:
        outcome.failures.append(
            Failure(NAME, f"{what} raises {type(error).__name__} where the plain run doesn't", summary(error))
        )


# -- files -------------------------------------------------------------------------------------------------------------


def through_json(case: Case, programs: Programs, outcome: Outcome) -> None:
    text = to_json(case.network)
    again = from_json(text)
    if again != case.network or to_json(again) != text or content_hash(again) != content_hash(case.network):
        outcome.failures.append(Failure(NAME, "JSON changes the network", ""))
    recording = programs.run("reference")
    other = Programs(replace(case, network=again)).run("reference")
    if not isinstance(recording, Exception) and not isinstance(other, Exception):
        report(outcome, case, "run after JSON", first_difference(recording, other, EXACTLY), recording, EXACTLY)
    elif type(recording) is not type(other):
        outcome.failures.append(Failure(NAME, "run after JSON raises otherwise", f"{recording} | {other}"))


def exports(case: Case, programs: Programs, outcome: Outcome) -> None:
    """Targets that take the network: NIR files read back fire the same spikes, integer networks compute the same everywhere."""
    from neuro.export import targets
    from neuro.export.nir.importer import import_nir

    recording = programs.run("reference")
    if isinstance(recording, Exception):
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in targets.names():
            target = targets.get(name)
            path = Path(folder) / f"net{target.profile.suffix}"
            export = attempt(lambda t=target, p=path: t.export(case.network, None, p))
            if isinstance(export, ExportError):
                outcome.notes.append(f"{name} refuses")
                continue
            if isinstance(export, Exception):
                raised(outcome, f"export to {name}", export)
                continue
            outcome.notes.append(f"{name} takes it")
            if export.integers is not None:
                integers(replace(case, network=export.integers), export.integer_parameters, name, outcome)
            elif name == "nir":
                again = attempt(lambda p=path: import_nir(p))
                if isinstance(again, Exception):
                    if not isinstance(again, ForeignFileError):
                        raised(outcome, "NIR and back", again)
                    else:
                        outcome.failures.append(Failure(NAME, "NIR file can't be read back", summary(again)))
                    continue
                other = Programs(replace(case, network=again)).run("reference")
                if isinstance(other, Exception):
                    raised(outcome, "run after NIR", other)
                    continue
                bare, read = (Recording(r.dt, r.spikes) for r in (recording, other))
                report(outcome, case, "spikes after NIR", first_difference(bare, read), recording, SINGLE, 6e-8)


def integers(case: Case, given: Any, name: str, outcome: Outcome) -> None:
    """A network of integers: every backend computes the same ones."""
    programs = Programs(case)
    found = {n: attempt(lambda n=n: _run_with(programs.get(n), case, given)) for n in ALL}
    for backend, result in found.items():
        if isinstance(result, Exception):
            outcome.failures.append(
                Failure(NAME, f"integers of {name} on {backend} raise {type(result).__name__}", summary(result))
            )
        elif not isinstance(found["reference"], Exception):
            difference = first_difference(found["reference"], result, EXACTLY)
            if difference is not None:
                outcome.failures.append(Failure(NAME, f"integers of {name} differ on {backend}", str(difference)))


def _run_with(program: Any, case: Case, given: Any) -> Any:
    if isinstance(program, Exception):
        raise program
    return case.run(program, parameters=given)


# -- runs --------------------------------------------------------------------------------------------------------------


def with_sets(case: Case, programs: Programs, name: str, outcome: Outcome) -> None:
    """A population of parameter sets is as many runs."""
    if isinstance(programs.run(name), Exception):
        return
    program, given = programs.get(name), sets(case)
    if not given:
        return
    whole = attempt(lambda: case.run(program, parameters=given, population=SETS))
    alone = [
        attempt(lambda n=n: case.run(program, parameters={k: v[n] for k, v in given.items()})) for n in range(SETS)
    ]
    if isinstance(whole, RunError) and any(isinstance(one, RunError) for one in alone):
        return  # what one set can't have, all of them together can't
    for number, one in enumerate(alone):
        if isinstance(one, Exception):
            continue
        if isinstance(whole, Exception):
            raised(outcome, f"{name} with parameter sets", whole)
            return
        difference = first_difference(one, whole.of_set(number), SUMS)
        report(outcome, case, f"{name} with parameter sets", difference, programs.run("reference"), SUMS)
        if difference is not None:
            return


def sets(case: Case) -> Mapping[str, Any]:
    """Some parameters, each a few per cent off, within their bounds."""
    random, found = np.random.default_rng([case.seed, 9]), {}
    declared = parameters(case.network)
    for name in sorted(declared):
        parameter = declared[name]
        if random.random() < 0.5 and not parameter.shares and not is_index(name.partition(".")[2]):
            factors = 1 + 0.03 * random.random((SETS, *parameter.shape))
            found[name] = np.clip(parameter.value * factors, parameter.low, parameter.high)
    return found


def trial_by_trial(case: Case, programs: Programs, name: str, outcome: Outcome) -> None:
    """Splitting a batch changes nothing."""
    program, inputs, recording = programs.get(name), case.inputs(), programs.run(name)
    if isinstance(recording, Exception):
        return
    for trial in range(case.batch):
        part = {n: a[trial : trial + 1] for n, a in inputs.items()}
        found = attempt(lambda t=trial, p=part: case.run(program, inputs=p, batch=1, trial=t))
        if isinstance(found, Exception):
            raised(outcome, f"{name} trial by trial", found)
            return
        spikes, traces, final = (
            {n: np.asarray(a)[trial : trial + 1] for n, a in d.items()}
            for d in (recording.spikes, recording.traces, recording.final)
        )
        difference = first_difference(Recording(recording.dt, spikes, traces, 1, final), found, SUMS)
        if difference is not None:
            report(outcome, case, f"{name} trial by trial", difference, programs.run("reference"), SUMS)
            return


def other_threads(case: Case, programs: Programs, outcome: Outcome) -> None:
    """One thread and two: bit for bit."""
    recording = programs.run("native")
    if isinstance(recording, Exception):
        return
    program = programs.get("native", threads=1 if case.large else 2)
    other = attempt(lambda: case.run(program))
    if isinstance(other, Exception):
        raised(outcome, "native with other threads", other)
        return
    report(outcome, case, "native with other threads", first_difference(recording, other, EXACTLY), recording, EXACTLY)


def single_precision(case: Case, programs: Programs, outcome: Outcome) -> None:
    """float32 within a bound, where single rounding doesn't move the reference further."""
    reference = programs.run("reference")
    if isinstance(reference, Exception):
        return
    for name in ("reference", "native", "torch"):
        if isinstance(programs.run(name), Exception):
            continue
        program = programs.get(name, dtype="float32")
        found = program if isinstance(program, Exception) else attempt(lambda p=program: case.run(p))
        if isinstance(found, RunError):
            outcome.notes.append(f"{name} in float32 leaves the finite numbers")
        elif isinstance(found, Exception):
            raised(outcome, f"{name} in float32", found)
        else:
            for part in precisions(found):
                if part != np.float32:
                    outcome.failures.append(Failure(NAME, f"{name} in float32 gives {part}", ""))
                    break
            difference = first_difference(reference, found, SINGLE)
            report(outcome, replace(case, dyadic=False), f"{name} in float32", difference, reference, SINGLE, 6e-8)


def precisions(recording: Any) -> Iterator[Any]:
    return (np.asarray(t).dtype for t in recording.traces.values())

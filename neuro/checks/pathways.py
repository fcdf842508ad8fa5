"""Rules for pathways: labels of statements, and delays of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from neuro.checks.common import check_same_unit, plain, reserved_problem
from neuro.checks.parts import Projection
from neuro.language.equations import Problem, Statement, suggestion
from neuro.language.scope import SynapseScope
from neuro.language.units import unit


def check_unlabelled(block: Iterable[Statement]) -> Iterator[Problem]:
    """Labels belong to what a presynaptic spike does."""
    for statement in (s for s in block if s.pathway):
        yield statement.source.problem(
            f"the label '{statement.pathway}' stands outside on_pre", "leave it out", length=len(statement.pathway)
        )


def check_labels(scope: SynapseScope) -> Iterator[Problem]:
    """Names; "pre" and "post" mean statements without one, and on_post."""
    yield from check_unlabelled(s for s in scope.statements if s not in scope.on_pre)
    for statement in scope.on_pre:
        why = reserved_problem(statement.pathway) if statement.pathway else None
        if why is not None:
            fix = "leave it out" if statement.pathway == "pre" else "give the pathway another name"
            yield statement.source.problem(why, fix, length=len(statement.pathway))


def check_delays(item: Projection) -> Iterator[Problem]:
    """One time for each of the pathways that the synapse has."""
    scope, where = item.synapse.scope, f"projection '{item.name}', delay"
    known = [*(label for label in scope.pathways if label), *(["post"] if scope.on_post else [])]
    for name, value in item.delays.items():
        if name not in known:
            fix = suggestion(name, known) or f"pathways with a delay of their own: {', '.join(known) or 'none'}"
            yield plain(where, f"synapse '{item.synapse.name}' has no pathway '{name}'", fix, name)
            continue
        yield from check_same_unit("delay", value, unit("second").dimension, f"{where} of '{name}'")
        if value.shape:
            fix = "let the statements of one pathway stand without a label: their delays are one per synapse"
            yield plain(f"{where} of '{name}'", "a pathway with a label has one delay", fix, str(value))
        elif not np.asarray(value.value) >= 0:
            yield plain(
                f"{where} of '{name}'", "a delay is negative or not a number", "give one of at least 0", str(value)
            )

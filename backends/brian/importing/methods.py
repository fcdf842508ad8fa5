"""Which integrator Brian2 takes, by our name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.brian.devices import StateUpdateMethod, UnsupportedEquationsException  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.importing.errors import NotImportedError
from neuro.language.scope import METHODS, STRATONOVICH, SYNONYMS

KNOWN = {*METHODS, *SYNONYMS} & {*StateUpdateMethod.stateupdaters}


def method_of(owner: Any, updater: Any, equations: Any, namespace: Mapping[str, Any]) -> str:
    """The method of a group's or synapses' equations: the given one, or the first of several that Brian2 finds to fit."""
    if updater is None or not equations.diff_eq_names:
        return "euler"
    chosen = _chosen(owner, updater, equations, namespace)
    if chosen not in KNOWN:
        raise NotImportedError(
            owner.name, f"there is no integrator '{chosen}'", f"use one of {', '.join(sorted(KNOWN))}"
        )
    if chosen in STRATONOVICH and not equations.is_stochastic:
        return "euler"  # their support value counts for the factor of noise alone
    return SYNONYMS.get(chosen, chosen)


def _chosen(owner: Any, updater: Any, equations: Any, namespace: Mapping[str, Any]) -> str:
    given = updater.method_choice
    if isinstance(given, str):
        return given.lower()
    known = StateUpdateMethod.stateupdaters
    if callable(given):
        return next(
            (name for name, method in known.items() if method is given), getattr(given, "__name__", repr(given))
        )
    names = equations.names | equations.identifiers | {"dt"}
    variables = owner.resolve_all(names, namespace, user_identifiers=set())
    for name in given:
        try:
            StateUpdateMethod.apply_stateupdater(equations, variables, name, method_options=updater.method_options)
        except UnsupportedEquationsException:
            continue
        return str(name).lower()
    raise NotImportedError(
        owner.name, f"none of the integrators {', '.join(given)} fits its equations", "name one: method='rk4'"
    )

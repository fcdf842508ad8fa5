"""Linked variables -> graded values that are summed, one each, at the cells' turn to be integrated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from brian2.core.variables import Subexpression
from brian2.utils.stringtools import get_identifiers

from backends.brian.importing.cells import Cells, bare, reached_in
from backends.brian.importing.errors import NotImportedError
from backends.brian.importing.objects import Objects, key
from backends.brian.importing.statements import values
from backends.brian.importing.words import PARAMETER, Words
from neuro.model import Pairs, Projection, Synapse


@dataclass(frozen=True)
class Link:
    """group, name: the linked variable. source: the group that has the other one. text: its value, in the linking group's words;
    names: what that reads -> variables of the source. index: of a cell of the source for each cell.
    """

    group: Any
    name: str
    source: Any
    text: str
    names: Mapping[str, str]
    index: npt.NDArray[np.int64]


def links(found: Objects) -> list[Link]:
    """Of all groups. Raises NotImportedError."""
    return [
        _link(found, group, name) for group in found.cells for name in sorted(getattr(group, "_linked_variables", ()))
    ]


def _link(found: Objects, group: Any, name: str) -> Link:
    variable = group.variables.get(name)
    if variable is None:
        raise NotImportedError(group.name, f"'{name}' is linked to nothing", f"set it: {name} = linked_var(...)")
    refs = _references(group, name, variable)
    owners = {group.variables[ref].owner.name for ref in refs}
    indices = {group.variables.indices[ref] for ref in refs}
    if len(owners) != 1 or len(indices) != 1:
        raise NotImportedError(
            group.name, f"'{name}' is linked to several groups at once", "link each variable by itself"
        )
    source = next((g for g in found.cells if g.name in owners), None)
    if source is None:
        raise NotImportedError(
            group.name, f"'{name}' is linked to '{min(owners)}', which is no group of cells here", "add it"
        )
    text = variable.expr if isinstance(variable, Subexpression) else name
    names = {ref: group.variables[ref].name for ref in refs}
    return Link(group, name, source, text, names, _index(group, min(indices)))


def _references(group: Any, name: str, variable: Any) -> list[str]:
    """Names under which the group knows variables of the other one."""
    if not isinstance(variable, Subexpression):
        return [name]
    found, pending = [], [name]
    while pending:
        known = group.variables[pending.pop()]
        inner = [n for n in known.identifiers if n in group.variables and n.startswith(f"_{name}_")]
        pending += [n for n in inner if isinstance(group.variables[n], Subexpression)]
        found += [n for n in inner if not isinstance(group.variables[n], Subexpression)]
    if any(isinstance(group.variables[n], Subexpression) for n in variable.identifiers if n in group.variables):
        raise NotImportedError(
            group.name, f"'{name}' is linked to a subexpression of subexpressions", "write it in one"
        )
    return found


def _index(group: Any, name: str) -> npt.NDArray[np.int64]:
    size = len(group)
    if name == "0":
        return np.zeros(size, np.int64)
    return np.arange(size) if name == "_idx" else np.asarray(group.variables[name].get_value(), np.int64)


def project(link: Link, cells: Mapping[str, Cells], namespace: Mapping[str, Any]) -> Projection:
    """The sum that stands for a linked variable."""
    source, target = cells[link.source.name], cells[link.group.name]
    names = {ref: f"{source.words.names[variable]}_pre" for ref, variable in link.names.items()}
    words = Words(link.group, namespace, names)
    text = words.expression(link.text)
    name = f"{target.population.name}_{target.words.names[link.name]}"
    synapse = Synapse(
        name,
        transmits=text,
        target=target.words.names[link.name],
        parameters=words.constants,
        source="imported from Brian2",
    )
    pairs = Pairs(link.index, np.arange(len(link.group)))
    return Projection(name, source.population.name, target.population.name, synapse, connectivity=pairs, summed="turn")


def check_links(found: Objects, all_links: list[Link]) -> None:
    """Nobody may look at a linked variable when the other one has changed since the cells' turn. Raises NotImportedError."""
    for link in all_links:
        if all(_stays(link.source, n) for n in link.names.values()):
            continue
        for what, text in _later(found, link):
            if link.name in reached_in(link.group, get_identifiers(text)):
                reason = f"its {what} reads '{link.name}', which is linked to '{link.source.name}', after both have been integrated"
                raise NotImportedError(link.group.name, reason, "read it in differential equations alone")


def _stays(group: Any, name: str) -> bool:
    equation = group.equations.get(name)
    return equation is not None and equation.type == PARAMETER and "constant" in equation.flags


def _later(found: Objects, link: Link) -> Iterator[tuple[str, str]]:
    """Texts that look at the cells after their turn: what, and the text. A threshold sees what a group integrated before has become."""
    before = key(link.source.state_updater) < key(link.group.state_updater)
    if not before:
        yield "threshold", link.group.events.get("spike") or ""
    for event, code in link.group.event_codes.items():
        yield from (("reset" if event == "spike" else f"event '{event}'", text) for text in values(code))
    for event, condition in link.group.events.items():
        yield f"event '{event}'", "" if event == "spike" else condition
    if isinstance(link.group._refractory, str) and before:
        yield "refractory period", link.group._refractory
    for runner in found.runners:
        if runner.group.name == link.group.name:
            for text in values(runner.abstract_code):
                yield "run_regularly", text
    for synapses in found.synapses:
        ends = [
            e for e, end in (("_pre", synapses.source), ("_post", synapses.target)) if found.base(end) is link.group
        ]
        texts = [text for p in synapses._pathways for text in values(p.code)]
        texts += [u.expression.code for u in synapses.summed_updaters.values()]
        texts += [e.expr.code for e in synapses.equations.values() if e.expr is not None]
        own = set(synapses.equations.names)
        for end in ends:
            for text in texts:
                read = {
                    n for n in get_identifiers(text) if n.endswith(end) or (end == "_post" and not n.endswith("_pre"))
                }
                yield f"synapses '{synapses.name}'", " ".join(map(bare, read - own))

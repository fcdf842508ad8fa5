"""Whether Brian2 runs the parts of a step in the order in which they run here: what would read other values is refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from brian2.utils.stringtools import get_identifiers

from backends.brian.importing.cells import bare
from backends.brian.importing.errors import NotImportedError
from backends.brian.importing.objects import Objects, key
from backends.brian.importing.statements import targets, values
from backends.brian.importing.synapses import Integrated, Summed, reached


def check_order(found: Objects) -> None:
    """Statements of synapses that run now and then come after those of the cells that they read; on_pre comes before on_post. Raises NotImportedError."""
    for synapses in found.synapses:
        _check_runners(found, synapses)
    _check_pathways(found)


def summed_at(found: Objects, synapses: Any, name: str, updater: Any) -> Summed:
    """Where in a step a sum is formed, by what it reads that has been integrated by then. Raises NotImportedError."""
    read = reached(synapses, updater.expression.identifiers)
    target = found.base(synapses.target if name.endswith("_post") else synapses.source)
    new = {owner for owner, _ in _moved_before(found, synapses, updater, read)}
    old = {owner for owner, _ in _read(found, synapses, read)} - new
    mover = getattr(target, "state_updater", None)
    if mover is not None and key(mover) < key(updater):
        reason = f"it sums '{name}' after '{target.name}' has been integrated"
        raise NotImportedError(
            synapses.name, reason, f"leave the orders of '{synapses.name}' and '{target.name}' as they are"
        )
    if not new:
        return "start"
    first = [synapses.name] if integrated_at(found, synapses) == "start" else []
    names = [*first, *(g.name for g in found.cells)]
    before = set(names[: names.index(target.name)])
    if new <= before and not old & before:
        return "turn"
    reason = f"it sums '{name}' when {', '.join(sorted(new))} has been integrated, and {', '.join(sorted(old | {target.name}))} has not"
    raise NotImportedError(
        synapses.name, reason, "leave orders and names so that groups are integrated after all sums are formed"
    )


def check_sums(found: Objects, before: Collection[tuple[str, str, str]]) -> None:
    """No sum reads another one of the same cells, which Brian2 has formed in the same step. before: see read_before. Raises NotImportedError."""
    sums = [(s, name, updater) for s in found.synapses for name, updater in s.summed_updaters.items()]
    into = [(found.base(s.target), name, updater) for s, name, updater in sums if name.endswith("_post")]
    for synapses, name, updater in sums:
        read, target = reached(synapses, updater.expression.identifiers), found.base(synapses.target)
        ends = [e for e, end in (("_pre", synapses.source), ("_post", synapses.target)) if found.base(end) is target]
        for group, other, former in into:
            seen = [f"{bare(other)}{e}" for e in ends if f"{bare(other)}{e}" in read]
            if (
                group is target
                and seen
                and former is not updater
                and (updater.name, group.name, bare(other)) not in before
            ):
                reason = f"its sum '{name}' reads '{seen[0]}', which '{former.name}' sums into the same cells before it"
                fix = "give one of the two a Synapses object of its own, named so that what reads comes first: it then reads the sum of the step before"
                raise NotImportedError(synapses.name, reason, fix)


def read_before(found: Objects) -> set[tuple[str, str, str]]:
    """(sums' updater, group, variable) where Brian2 forms a sum from another sum of the step before, which it forms later in a step."""
    sums = [(s, name, updater) for s in found.synapses for name, updater in s.summed_updaters.items()]
    late = set()
    for synapses, _, updater in sums:
        read = reached(synapses, updater.expression.identifiers)
        for other, name, former in sums:
            group = found.base(other.target if name.endswith("_post") else other.source)
            ends = [e for e, end in (("_pre", synapses.source), ("_post", synapses.target)) if found.base(end) is group]
            if any(f"{bare(name)}{end}" in read for end in ends) and key(former) >= key(updater):
                late.add((updater.name, group.name, bare(name)))
    return late


def integrated_at(found: Objects, synapses: Any) -> Integrated:
    """Where in a step equations of synapses are integrated, by what they read that has been integrated by then. Raises NotImportedError."""
    updater = synapses.state_updater
    texts = [synapses.equations[name].identifiers for name in synapses.equations.diff_eq_names]
    read = {n for names in texts for n in reached(synapses, names) if n.endswith(("_pre", "_post"))}
    if updater is None or not read:
        return "start"
    new, every = dict(_moved_before(found, synapses, updater, read)), dict(_read(found, synapses, read))
    old = {owner: moved for owner, moved in every.items() if owner not in new}
    if new and old:
        reason = f"its equations read {', '.join(new.values())}, which Brian2 integrates before them, and {', '.join(old.values())}, which it integrates after them"
        fix = f"give '{synapses.name}' another name or order, so that it comes before or after both groups"
        raise NotImportedError(synapses.name, reason, fix)
    return "end" if new else "start"


def _check_runners(found: Objects, synapses: Any) -> None:
    """Statements of synapses that run now and then see what those of cells have made of the cells."""
    others = [r for r in found.runners if not any(r.group.name == s.name for s in found.synapses)]
    for runner in (r for r in found.runners if r.group.name == synapses.name):
        read = reached(synapses, {n for text in values(runner.abstract_code) for n in get_identifiers(text)})
        for suffix, end in (("_pre", synapses.source), ("_post", synapses.target)):
            late = (r for r in others if key(r) > key(runner))
            for other in (r for r in late if found.base(r.group) is found.base(end)):
                changed = sorted({f"{n}{suffix}" for n in targets(other.abstract_code)} & read)
                if changed:
                    reason = f"'{runner.name}' reads {', '.join(changed)} before '{other.name}' changes it"
                    fix = f"give '{runner.name}' a later name or order than '{other.name}'"
                    raise NotImportedError(synapses.name, reason, fix)


def _moved_before(found: Objects, synapses: Any, updater: Any, read: set[str]) -> Iterator[tuple[str, str]]:
    """Owner and names of what is read and has been integrated by then."""
    for owner, moved in _read(found, synapses, read):
        mover = next(g for g in (synapses, *found.cells) if g.name == owner).state_updater
        if mover is not updater and key(mover) < key(updater):
            yield owner, moved


def _read(found: Objects, synapses: Any, read: set[str]) -> Iterator[tuple[str, str]]:
    """Owner and names of what is read and integrated at some time in a step."""
    for owner, suffix in (
        (found.base(synapses.source), "_pre"),
        (found.base(synapses.target), "_post"),
        (synapses, ""),
    ):
        if getattr(owner, "state_updater", None) is not None:
            moving = sorted(f"{n}{suffix}" for n in owner.equations.diff_eq_names if f"{n}{suffix}" in read)
            if moving:
                yield owner.name, ", ".join(moving)


def _check_pathways(found: Objects) -> None:
    pathways = sorted((p for s in found.synapses for p in s._pathways), key=key)
    ends = [p.prepost for p in pathways]
    if ends != sorted(ends, key=["pre", "post"].index):
        late = pathways[next(n for n in range(1, len(ends)) if (ends[n - 1], ends[n]) == ("post", "pre"))]
        raise NotImportedError(late.name, "it runs after a pathway of postsynaptic spikes", "leave its order at -1")
    for end in ("pre", "post"):
        owners = [p.synapses.name for p in pathways if p.prepost == end]
        for name in set(owners):
            first, last = owners.index(name), len(owners) - owners[::-1].index(name)
            between = {*owners[first:last]} - {name}
            if between:
                reason = f"pathways of '{min(between)}' run between its own"
                raise NotImportedError(name, reason, "give one of the two another name")
    for item in found.drives:
        _check_drive(found, item)


def _check_drive(found: Objects, item: Any) -> None:
    """A drive acts before all pathways here, after on_pre in Brian2: nobody may read its variable in between."""
    group = found.base(item._group)
    for synapses in found.synapses:
        ends = [s for s, end in (("_pre", synapses.source), ("_post", synapses.target)) if found.base(end) is group]
        for pathway in synapses._pathways:
            if not pathway_reads(synapses, pathway, item._target_var, ends):
                continue
            reason = f"its '{pathway.objname}' reads '{item._target_var}', to which '{item.name}' adds in the same slot"
            raise NotImportedError(synapses.name, reason, "read another variable, or write the input as a PoissonGroup")


def pathway_reads(synapses: Any, pathway: Any, name: str, ends: list[str]) -> bool:
    read = reached(synapses, {n for text in values(pathway.code) for n in get_identifiers(text)})
    return any(f"{name}{end}" in read for end in ends)

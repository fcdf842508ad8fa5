"""What a NIR file leaves open, and where its readers part: what to settle before its spikes are compared with anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neuro.export.lint import Problem
from neuro.export.nir.file import Node, read_file
from neuro.export.nir.graph import BIAS, Flat, flatten
from neuro.export.nir.importer import CONVENTIONS, read_record, renamings
from neuro.io.hdf5 import allowance

_SAME = 1e-5  # relative: rounding of float32


def undetermined(path: str | Path, limit: int | None = None) -> tuple[Problem, ...]:
    """Open points of a file, all warnings; for our own files only those in which readers differ.

    where: a node, or the file. Raises ForeignFileError, OSError.
    """
    root = read_file(path, limit)
    flat = flatten(root, allowance(Path(path)) if limit is None else limit)
    record = read_record(root)
    found = [] if record else list(_conventions(flat))
    for node, name in renamings(flat, record).items():
        found.append(_open(f"node '{node}'", "name", "a network can't have it", f"the import calls it '{name}'"))
    return tuple(found + list(_readers(root, flat)))


def _open(where: str, field: str, why: str, fix: str) -> Problem:
    return Problem(where, field, why, fix, warning=True)


def _conventions(flat: Flat) -> Iterator[Problem]:
    """What no field of the format says."""
    choose = f"the import takes that of its convention ({', '.join(CONVENTIONS)})"
    yield _open("the file", "dt", "the clock's step isn't stored", "the import takes 0.1 ms; give it `dt`")
    fix = f"{choose}; give it `time_constants`"
    yield _open("the file", "integrator", "Euler and exponential decays fit the same time constants", fix)
    for name in flat.inputs:
        yield _open(f"node '{name}'", "kind", "spikes or currents", "the import takes spikes")
    spiking = [n for n in flat.cells() if "v_threshold" in flat.nodes[n].fields]
    for name in flat.cells():
        where = f"node '{name}'"
        yield _open(where, "initial", "the first v isn't stored", "the import starts at v_leak, without currents")
        if flat.nodes[name].kind == "CubaLIF":
            yield _open(where, "order", "a spike adds to the current before or after its decay", choose)
    for name in spiking:
        where = f"node '{name}'"
        yield _open(where, "threshold", "'>' or '>=' isn't stored", choose)
        yield _open(where, "reset", "to v_reset or by the threshold isn't stored", choose)
        yield _open(
            where, "reset timing", "in the spike's step or the next isn't stored", "the import takes the same step"
        )
        if any(s.source == name for s in flat.arrivals[name]):
            yield _open(where, "recurrence", "its delay isn't stored", "the import takes 1 step")


def _readers(root: Node, flat: Flat) -> Iterator[Problem]:
    """Nodes that readers are known to take differently."""
    yield from _order(root)
    yield from _loops(root, "")
    for name in flat.cells():
        yield from _cell(name, flat)


def _cell(name: str, flat: Flat) -> Iterator[Problem]:
    node, where = flat.nodes[name], f"node '{name}'"
    fields = node.fields
    if node.kind == "LI":
        yield _open(where, "type", "norse drops LI, snntorch, spikingjelly and spyx refuse it", "end the file in LIF")
        return
    if node.kind == "IF":
        yield _open(where, "type", "sinabs keeps v above -v_threshold", "set min_v_mem = None there")
    for field in ("tau", "tau_mem", "tau_syn", "v_threshold"):
        if field in fields and np.ptp(fields[field]) > _SAME * np.abs(fields[field]).max():
            extra = ", snntorch too" if field == "v_threshold" else ""
            yield _open(where, field, f"it differs between cells: spikingjelly refuses that{extra}", "use one value")
    leak, reset = fields.get("v_leak", np.zeros(1)), fields.get("v_reset", np.zeros(1))
    if (np.abs(leak - reset) > 0).any():
        yield _open(
            where, "v_reset", "not v_leak: only spikingjelly honours it, others reset to 0", "shift v by v_leak"
        )
    clock = CONVENTIONS["nir"].clock.dt
    if node.kind == "LIF" and not (_near(fields["r"], 1.0) or _near(fields["r"] * clock, fields["tau"])):
        yield _open(where, "r", "norse ignores it, spikingjelly takes 1 and tau/dt only", "use r = 1")
    if node.kind == "CubaLIF":
        units = {"r": fields["tau_mem"], "w_in": fields["tau_syn"]}
        for field, tau in units.items():
            if not _near(fields.get(field, np.ones(1)) * clock, tau):
                yield _open(where, field, "snntorch, spikingjelly, spyx take its tau/dt (dt 0.1 ms)", "use tau/dt")
    if any(s.source == BIAS for s in flat.arrivals[name]):
        yield _open(where, "bias", "rockpool leaves it out on chips and in recurrent weights", "use an always-on input")


def _near(a: np.ndarray, b: np.ndarray | float) -> bool:
    return bool(np.allclose(a, b, rtol=_SAME, atol=0))


def _order(root: Node) -> Iterator[Problem]:
    """Readers get nodes sorted by name; nirtorch builds wrong modules where a name comes before its source's."""
    if any(b < a for a, b in root.edges if root.nodes[b].kind != "Output" and (b, a) not in root.edges):
        before, after = next((a, b) for a, b in root.edges if b < a)
        why = f"'{after}' comes before its source '{before}' in the alphabet, the order in which readers build"
        yield _open("the file", "names", why, "number the nodes along the way")
    if not {"input", "output"} <= set(root.nodes):
        yield _open("the file", "names", "rockpool and spyx look for 'input' and 'output'", "use these names")


def _loops(graph: Node, prefix: str) -> Iterator[Problem]:
    for name, node in graph.nodes.items():
        if node.kind == "NIRGraph":
            kinds = sorted(n.kind for n in node.nodes.values())
            if len(kinds) != 4 or not {"Input", "Output"} <= set(kinds):
                why = f"a subgraph of {len(kinds)} nodes: readers know those of input, cells, w_rec, output"
                yield _open(f"node '{prefix}{name}'", "nodes", why, "write recurrence as such a subgraph")
            yield from _loops(node, f"{prefix}{name}.")
    back = {(b, a) for a, b in graph.edges}
    flat = {frozenset(e) for e in graph.edges if e in back} if not prefix else set()
    for pair in flat:
        names = " and ".join(f"'{n}'" for n in sorted(pair))
        why = f"{names} form a loop of plain edges, which snntorch misreads"
        yield _open("the file", "edges", why, "write recurrence as a subgraph")

"""The graph of a NIR file without its nesting: what arrives at each neuron node, from where, by which matrix, how late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export import ForeignFileError
from neuro.export.nir.file import Node
from neuro.io.hdf5 import LIMIT

Array = npt.NDArray[Any]

CELLS = ("LIF", "CubaLIF", "IF", "LI")
_CHANNELS = 2**22  # of an input: nothing in the file need hold as many bytes
_WORK = 10**11  # multiplications of one product
BIAS = ""  # the source of what arrives in every step


@dataclass(frozen=True)
class Signal:
    """What comes from one source. matrix: [source, here], [here] for a diagonal, None for the source as it is.

    shape: of the values here. delay: seconds.
    """

    source: str
    shape: tuple[int, ...]
    matrix: Array | None = None
    delay: float = 0.0

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass
class Flat:
    """Nodes by full name ("outer.inner"); arrivals: neuron node -> signals; order: neuron nodes along the spikes' way.

    limit: bytes of matrices between neurons.
    """

    limit: int = LIMIT
    nodes: dict[str, Node] = field(default_factory=dict)
    into: dict[str, list[str]] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    arrivals: dict[str, list[Signal]] = field(default_factory=dict)
    spent: int = 0  # bytes of matrices between neurons

    def cells(self) -> list[str]:
        return [name for name, node in self.nodes.items() if node.kind in CELLS]


def flatten(root: Node, limit: int = LIMIT) -> Flat:
    """All nodes on one level. limit: bytes of the matrices between neurons. Raises ForeignFileError."""
    flat = Flat(limit)
    _add(flat, root, "")
    flat.inputs = [name for name, node in flat.nodes.items() if node.kind == "Input" and not flat.into[name]]
    _resolve(flat)
    return flat


def _add(flat: Flat, graph: Node, prefix: str) -> None:
    for name, node in graph.nodes.items():
        if node.kind == "NIRGraph":
            _add(flat, node, f"{prefix}{name}.")
        elif prefix + name in flat.nodes:
            raise ForeignFileError(f"node '{prefix}{name}'", "name", "two nodes have it")
        else:
            flat.nodes[prefix + name] = node
            flat.into.setdefault(prefix + name, [])
    for before, after in dict.fromkeys(graph.edges):  # an edge written twice is one edge
        start, end = (_port(graph, n, prefix, kind) for n, kind in ((before, "Output"), (after, "Input")))
        flat.into.setdefault(end, []).append(start)


def _port(graph: Node, name: str, prefix: str, kind: str) -> str:
    """The node behind a name at this level: of a graph its one input or output."""
    node = graph.nodes[name]
    while node.kind == "NIRGraph":
        inner = [n for n, x in node.nodes.items() if x.kind == kind]
        if len(inner) != 1:
            why = f"{len(inner)} {kind.lower()} nodes; an edge needs one"
            raise ForeignFileError(f"node '{prefix}{name}'", "nodes", why)
        prefix, name, node = f"{prefix}{name}.", inner[0], node.nodes[inner[0]]
    return prefix + name


# -- signals ------------------------------------------------------------------------------------------------------


def _resolve(flat: Flat) -> None:
    """Signals at the exit of each node, sources first; nodes between neurons are put into matrices."""
    found: dict[str, list[Signal]] = {}
    for name in flat.inputs:
        found[name] = [Signal(name, _shape(flat, name))]
    for name in flat.cells():
        found[name] = [Signal(name, (_size(flat.nodes[name], name),))]
    between = [n for n in flat.nodes if n not in found]
    for name in _ordered(between, flat.into):
        incoming = _merged((s for before in flat.into[name] for s in found[before]), flat.limit)
        found[name] = _through(name, flat.nodes[name], incoming, flat.limit)
        flat.spent += sum(s.matrix.nbytes for s in found[name] if s.matrix is not None)
        if flat.spent > flat.limit:
            why = f"the products of matrices take more than {flat.limit} bytes"
            raise ForeignFileError(f"node '{name}'", "weight", why)
    for name in flat.cells():
        size = _size(flat.nodes[name], name)
        flat.arrivals[name] = _merged((s for before in flat.into[name] for s in found[before]), flat.limit)
        for signal in flat.arrivals[name]:
            if signal.size != size and size != 1:
                why = f"{size} cells get {signal.size} values from '{signal.source or 'a bias'}'"
                raise ForeignFileError(f"node '{name}'", "shape", why)


def _ordered(names: list[str], into: Mapping[str, list[str]]) -> list[str]:
    known = set(names)
    waiting = {n: known.intersection(into[n]) for n in names}
    after: dict[str, list[str]] = {n: [] for n in names}
    for name, befores in waiting.items():
        for before in befores:
            after[before].append(name)
    ready, order = [n for n in names if not waiting[n]], []
    while ready:
        name = ready.pop()
        order.append(name)
        for later in after[name]:
            waiting[later].discard(name)
            if not waiting[later]:
                ready.append(later)
    if len(order) < len(names):
        loop = sorted(set(names) - set(order))
        raise ForeignFileError(f"node '{loop[0]}'", "edges", f"a loop without a neuron: {', '.join(loop[:5])}")
    return order


def _merged(signals: Iterable[Signal], limit: int) -> list[Signal]:
    """One signal a source and delay, their matrices summed: the number of paths doesn't matter."""
    table: dict[tuple[str, float], Signal] = {}
    for signal in signals:
        key = (signal.source, signal.delay)
        if key in table:
            a, b = (_dense(x, limit) for x in (table[key], signal))
            if a.shape != b.shape:
                why = f"it arrives with {a.shape[1]} and with {b.shape[1]} values"
                raise ForeignFileError(f"node '{signal.source}'", "shape", why)
            table[key] = replace(signal, matrix=a + b)
        else:
            table[key] = signal
    return list(table.values())


def _dense(signal: Signal, limit: int) -> Array:
    matrix = np.ones(signal.size) if signal.matrix is None else signal.matrix
    if matrix.ndim == 2:
        return matrix
    if 8 * matrix.size**2 > limit:
        raise ForeignFileError(f"node '{signal.source}'", "shape", f"a matrix of {matrix.size}^2 values is too large")
    return np.diag(matrix)


def _through(name: str, node: Node, signals: list[Signal], limit: int) -> list[Signal]:
    where = f"node '{name}'"
    match node.kind:
        case "Input" | "Output":
            return signals
        case "Flatten":
            return [replace(s, shape=(s.size,)) for s in signals]
        case "Linear" | "Affine":
            found = [_weighted(where, node.fields["weight"], s, limit) for s in signals]
            if node.kind == "Affine":
                found.append(_bias(where, node))
            return found
        case "Scale":
            return [_scaled(where, node.fields["scale"], s) for s in signals]
        case "Delay":
            return [_delayed(where, node.fields["delay"], s) for s in signals]
    raise ForeignFileError(where, "type", f"'{node.kind}' can't stand between neurons")


def _weighted(where: str, weight: Array, signal: Signal, limit: int) -> Signal:
    if weight.ndim != 2 or len(signal.shape) != 1 or weight.shape[1] != signal.size:
        why = f"the shape {weight.shape} doesn't take the {signal.shape} values of '{signal.source}'"
        raise ForeignFileError(where, "weight", why)
    matrix = weight.T
    if signal.matrix is not None and signal.matrix.ndim == 2:
        rows, columns = len(signal.matrix), len(weight)
        if 8 * rows * columns > limit or rows * signal.size * columns > _WORK:
            why = f"the product of {signal.matrix.shape} and {matrix.shape} values is too large"
            raise ForeignFileError(where, "weight", why)
    if signal.matrix is not None:
        matrix = signal.matrix @ matrix if signal.matrix.ndim == 2 else signal.matrix[:, None] * matrix
    return replace(signal, matrix=matrix, shape=(weight.shape[0],))


def _bias(where: str, node: Node) -> Signal:
    bias, size = node.fields["bias"], node.fields["weight"].shape[0]
    if bias.shape != (size,):
        raise ForeignFileError(where, "bias", f"the shape {bias.shape}; the weights give {size} values")
    return Signal(BIAS, (size,), bias[None, :])


def _scaled(where: str, scale: Array, signal: Signal) -> Signal:
    if scale.size not in (1, signal.size):
        raise ForeignFileError(where, "scale", f"the shape {scale.shape} doesn't fit {signal.shape} values")
    factor = np.broadcast_to(scale.ravel(), (signal.size,))
    return replace(signal, matrix=factor.copy() if signal.matrix is None else signal.matrix * factor)


def _delayed(where: str, delay: Array, signal: Signal) -> Signal:
    found = np.unique(delay)
    if found.size != 1 or found[0] < 0:
        why = "negative" if found.size and found[0] < 0 else "it differs between values; one is known"
        raise ForeignFileError(where, "delay", why)
    if signal.source == BIAS:
        raise ForeignFileError(where, "delay", "of a bias, which is there from the start")
    return replace(signal, delay=signal.delay + float(found[0]))


def _shape(flat: Flat, name: str) -> tuple[int, ...]:
    shape = tuple(int(n) for n in flat.nodes[name].fields["shape"].ravel())
    if not shape or min(shape) < 1 or int(np.prod(shape, dtype=object)) > _CHANNELS:
        raise ForeignFileError(f"node '{name}'", "shape", f"{shape} is no shape of an input")
    return shape


def _size(node: Node, name: str) -> int:
    """Cells of a neuron node: the length of its arrays."""
    sizes = {v.size for v in node.fields.values() if v.size != 1} or {1}
    if len(sizes) > 1 or any(v.ndim > 1 for v in node.fields.values()):
        shapes = ", ".join(f"{k} {v.shape}" for k, v in node.fields.items())
        raise ForeignFileError(f"node '{name}'", "shape", f"its arrays don't fit each other: {shapes}")
    return sizes.pop()

"""NIR files as networks that every backend runs: ours, and other tools', whose silence about conventions is filled in.

A reader delivers a spike in the step in which it is sent, a network one step later: layer d fires d steps later here.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from neuro.checks.common import ModelWarning
from neuro.compiler.semantics import Semantics
from neuro.export import ForeignFileError
from neuro.export.names import fitted, unused
from neuro.export.nir.clock import Clock
from neuro.export.nir.file import Node, read_file
from neuro.export.nir.graph import BIAS, Flat, Signal, flatten
from neuro.io.hdf5 import allowance
from neuro.language.equations import ModelError
from neuro.language.foreign import shown
from neuro.language.units import Quantity, UnitError, quantity, unit
from neuro.library.current_jump import current_jump
from neuro.library.pulse import pulse
from neuro.model import AllToAll, Input, Network, Neuron, OneToOne, Population, Projection
from neuro.options import hint

Array = npt.NDArray[Any]
TimeConstants = Literal["exact", "euler"]

_WHOLE = 1e-6  # of a step: rounding of a delay
_ALL = 800.0  # time constants in a step after which nothing is left: exp(-800) is 0


@dataclass(frozen=True)
class Convention:
    """What a reader does where the file says nothing.

    clock: NIR stores time constants, but neither dt nor the decays that a step of it makes of them; its dt is 1 where a
    file counts in steps. gain: "r" as the format's equations say, "one" where an input moves v by its weight. threshold,
    reset: of cells without a record. add_then_decay: i = a (i + x).
    """

    clock: Clock
    gain: Literal["r", "one"] = "r"
    threshold: Literal[">", ">="] = ">"
    reset: Literal["value", "subtract"] = "value"
    add_then_decay: bool = False


CONVENTIONS = {
    "nir": Convention(Clock(1e-4)),
    "spikingjelly": Convention(Clock(1e-4), threshold=">="),
    "sinabs": Convention(Clock(1.0, euler=False), "one", ">=", "subtract"),
    "rockpool": Convention(Clock(1e-4, euler=False), "one", ">=", "subtract", add_then_decay=True),
}
_OURS = {
    "NIR common profile 1": "nir",
    "NIR sinabs profile 1": "sinabs",
    "NIR rockpool profile 1": "rockpool",
}


@dataclass(frozen=True)
class Record:
    """What our own files say besides: names, the network's clock, threshold and reset of each population."""

    convention: Convention
    name: str
    input: str
    semantics: Semantics


def import_nir(
    path: str | Path, convention: str = "nir", limit: int | None = None, *, dt: Any = None,
    time_constants: TimeConstants | None = None,
) -> Network:  # fmt: skip
    """The network in a file. v is in volts where the file has numbers, weights in amperes.

    convention: whose reading of a foreign file counts, see CONVENTIONS; our own files carry theirs. limit: bytes of
    all arrays; left out, it grows with the file (neuro.io.hdf5.allowance). NIR keeps no dt: give the step that the file was
    made for, a time such as "1 ms" (default 0.1 ms, 1 ms where a convention counts in steps), and how a step reads time
    constants, "exact" (decay exp(-dt/tau)) or "euler" (1 - dt/tau; default: the convention's). Warns (ModelWarning) of
    nodes whose names a network can't take, with the names that they get, see `node_names`. Raises ForeignFileError
    naming node and field; OSError.
    """
    chosen, step = _reading(convention, dt, time_constants)
    root = read_file(path, limit)
    record = read_record(root)
    if record is not None:
        chosen, step = record.convention, record.semantics.dt
        if dt is not None or time_constants is not None:
            why = f"it says dt = {step:g} s and how time constants are read; leave `dt` and `time_constants` out"
            raise ForeignFileError("the graph", "metadata 'record'", why)
    flat = flatten(root, allowance(Path(path)) if limit is None else limit)
    try:
        network = _Builder(flat, record, chosen, step).network(Path(path).stem)
    except ModelError as error:
        raise ForeignFileError(f"file '{Path(path).name}'", "network", str(error).strip()) from None
    renamed = ", ".join(f"'{node}' is '{name}'" for node, name in renamings(flat, record).items())
    if renamed:
        warnings.warn(f"file '{Path(path).name}': nodes get names that a network can have: {renamed}", ModelWarning, 2)
    return network


def _reading(name: str, dt: Any, time_constants: TimeConstants | None) -> tuple[Convention, float]:
    """How a foreign file is read, and the network's dt in seconds."""
    if not isinstance(name, str) or name not in CONVENTIONS:
        raise ForeignFileError("files", "convention", f"there is no {shown(name)}; {hint(name, CONVENTIONS)}")
    found = CONVENTIONS[name]
    if time_constants not in (None, "exact", "euler"):
        raise ForeignFileError("files", "time_constants", f"{time_constants!r} is neither 'exact' nor 'euler'")
    clock = found.clock if time_constants is None else replace(found.clock, euler=time_constants == "euler")
    in_steps = clock.dt == 1
    step = _seconds(dt) if dt is not None else 1e-3 if in_steps else clock.dt
    return replace(found, clock=clock if in_steps else replace(clock, dt=step)), step


def _seconds(dt: Any) -> float:
    try:
        found = quantity(dt)
        if found.dimension == unit("second").dimension and not found.shape and 0 < float(found.value) < np.inf:
            return float(found.value)
    except UnitError:
        pass
    raise ForeignFileError("files", "dt", f"{dt!r} is no step of time; give one like '0.1 ms'")


def node_names(flat: Flat, record: Record | None) -> dict[str, str]:
    """Node of an input or of neurons -> its name in the network: the population's of our own files, else the node's, fitted."""
    return fitted(_wanted(flat, record))


def renamings(flat: Flat, record: Record | None) -> dict[str, str]:
    """Those of node_names that are not what the file says."""
    wanted = _wanted(flat, record)
    return {node: name for node, name in fitted(wanted).items() if name != wanted[node]}


def _wanted(flat: Flat, record: Record | None) -> dict[str, str]:
    own = {} if record is None else dict.fromkeys(flat.inputs, record.input)
    nodes = (*flat.inputs, *flat.cells())
    return {n: own.get(n, flat.nodes[n].metadata.get("population", n)) for n in nodes}


def read_record(root: Node) -> Record | None:
    """The semantics record of our own writers, None in other tools' files. Raises ForeignFileError on a broken one."""
    if "record" not in root.metadata:
        return None
    try:
        data = json.loads(root.metadata["record"])
        convention = CONVENTIONS[_OURS[data["profile"]]]
        semantics = Semantics.from_data({**data["semantics"], "dt": float(data["semantics"]["dt"])})
        found = Record(convention, str(data["network"]), str(data["input"]), semantics)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"damaged or of another version ({error!r}); delete it to read the bare graph"
        raise ForeignFileError("the graph", "metadata 'record'", why) from None
    if not 0 < found.semantics.dt < np.inf:
        raise ForeignFileError("the graph", "metadata 'record'", f"dt is {found.semantics.dt}")
    return found


@dataclass(frozen=True)
class _Cell:
    """A neuron node: decays, and gains of the driver into v and of an arriving spike into the driver. Arrays [size]."""

    name: str
    node: Node
    size: int
    leak: Array
    leak_syn: Array | None
    into_v: Array
    into_i: Array
    rest: Array

    @property
    def leaks(self) -> bool:
        return bool(self.leak.any())


class _Builder:
    """dt: of the network, seconds."""

    def __init__(self, flat: Flat, record: Record | None, convention: Convention, dt: float) -> None:
        self.flat, self.record, self.convention, self.dt = flat, record, convention, dt
        self.names = node_names(flat, record)
        self.taken = set(self.names.values())
        self.depths = self._depths()

    def network(self, name: str) -> Network:
        populations, projections = [], []
        for node in self.flat.cells():
            cell = self._cell(node)
            populations.append(self._population(cell))
            projections += list(self._projections(cell))
        if not populations:
            raise ForeignFileError("the graph", "nodes", "there are no neurons")
        inputs = [Input(self.names[n], int(np.prod(self.flat.nodes[n].fields["shape"]))) for n in self.flat.inputs]
        title = self.record.name if self.record else unused(name)
        return Network(tuple(populations), tuple(projections), tuple(inputs), quantity(self.dt, "second"), name=title)

    # -- order ----------------------------------------------------------------------------------------------------

    def _depths(self) -> dict[str, int]:
        """Steps by which a neuron node's spikes are later here than in a reader: the longest way from an input."""
        before = {
            n: {s.source for s in self.flat.arrivals[n]} - {n, BIAS, *self.flat.inputs} for n in self.flat.cells()
        }
        found: dict[str, int] = dict.fromkeys(self.flat.inputs, 0)
        while len(found) < len(before) + len(self.flat.inputs):
            ready = [n for n, sources in before.items() if n not in found and sources <= set(found)]
            if not ready:
                loop = ", ".join(sorted(set(before) - set(found))[:5])
                why = f"a loop through several neurons ({loop}); the file doesn't say which edge waits a step"
                raise ForeignFileError(f"node '{next(n for n in before if n not in found)}'", "edges", why)
            for name in ready:
                found[name] = 1 + max((found[s] for s in before[name]), default=0)
        return found

    # -- cells ----------------------------------------------------------------------------------------------------

    def _cell(self, name: str) -> _Cell:
        node, where = self.flat.nodes[name], f"node '{name}'"
        size = max([s.size for s in self.flat.arrivals[name]] + [v.size for v in node.fields.values()])
        fields = {k: np.broadcast_to(v.ravel(), (size,)).astype(np.float64) for k, v in node.fields.items()}
        one, clock = np.ones(size), self.convention.clock
        physical = self.convention.gain == "r"
        if "r" in fields and not (fields["r"] > 0).all() and physical:
            raise ForeignFileError(where, "r", "it must be positive")
        if node.kind == "IF":
            into_v = fields["r"] * clock.dt if physical else one
            return _Cell(name, node, size, np.zeros(size), None, into_v, one, np.zeros(size))
        cuba = node.kind == "CubaLIF"
        leak = self._leak(where, "tau_mem" if cuba else "tau", fields)
        leak_syn = self._leak(where, "tau_syn", fields) if cuba else None
        into_v = fields["r"] * leak if physical else one
        into_i = one
        if leak_syn is not None:
            into_i = fields.get("w_in", one) * leak_syn if physical else one
            into_i = into_i * (1 - leak_syn) if self.convention.add_then_decay else into_i
        return _Cell(name, node, size, leak, leak_syn, into_v, into_i, fields["v_leak"])

    def _leak(self, where: str, field: str, fields: Mapping[str, Array]) -> Array:
        tau = fields[field]
        if not (tau > 0).all():
            raise ForeignFileError(where, field, "time constants must be positive")
        leak = self.convention.clock.leak(tau)
        if (leak > 1 + 1e-6).any():
            step = self.convention.clock.dt
            why = f"{tau.min():g} is shorter than a reader's step of {step:g}: 1 - dt/tau would be negative."
            if self.record is None:
                why += " NIR keeps no dt; give the file's own, import_nir(path, dt='1 us'), or time_constants='exact'"
            raise ForeignFileError(where, field, why)
        return np.minimum(leak, 1.0)

    def _population(self, cell: _Cell) -> Population:
        values, text = self._equations(cell)
        threshold, reset = self._spiking(cell, values)
        uniform = {n: quantity(float(v[0]), name) for n, (v, name) in values.items()}
        varied = {n: quantity(v, name) for n, (v, name) in values.items() if np.ptp(v)}
        method = "exponential_euler" if cell.leaks else "euler"
        neuron = Neuron(cell.node.kind, text, threshold, reset, parameters=uniform, method=method)
        return Population(self.names[cell.name], neuron, cell.size, varied, {"v": quantity(cell.rest, "volt")})

    def _equations(self, cell: _Cell) -> tuple[dict[str, tuple[Array, str]], str]:
        """Parameters and equations that have the cell's decays and gains in one step."""
        values: dict[str, tuple[Array, str]] = {}
        bias, late = self._bias(cell), self.depths[cell.name] - (cell.leak_syn is not None)
        constant = ""
        if bias is not None:
            values["b"] = (bias, "amp")
            constant = "b" if late == 0 else f"b*int(t > {late - 0.5}*dt)"  # from a reader's first step on
        current = "I" if not constant or cell.leak_syn is not None else f"(I + {constant})"
        lines = ["I : amp"]
        if cell.leak_syn is not None:
            values["tau_syn"] = (self._tau(cell.leak_syn), "second")
            pull = f"{constant} - I_syn" if constant else "-I_syn"
            current, lines = "I_syn", [f"dI_syn/dt = ({pull})/tau_syn : amp"]
        if not cell.leaks:
            values["C"] = (self.dt / cell.into_v, "farad")
            return values, "\n".join((f"dv/dt = {current}/C : volt", *lines))
        values["E_L"] = (cell.rest, "volt")
        values["R"] = (cell.into_v / cell.leak, "ohm")
        values["tau_m"] = (self._tau(cell.leak), "second")
        return values, "\n".join((f"dv/dt = (E_L - v + R*{current})/tau_m : volt", *lines))

    def _tau(self, leak: Array) -> Array:
        """Time constant of an exponential that loses this part in a step of the network."""
        with np.errstate(divide="ignore"):
            lost: Array = np.minimum(-np.log1p(-leak), _ALL)
        return self.dt / lost

    def _spiking(self, cell: _Cell, values: dict[str, tuple[Array, str]]) -> tuple[str, str]:
        """Threshold and reset as text, their parameters added."""
        fields = cell.node.fields
        if "v_threshold" not in fields:
            return "", ""
        values["v_th"] = (np.broadcast_to(fields["v_threshold"].ravel(), (cell.size,)).astype(float), "volt")
        operator, kind = self.convention.threshold, self.convention.reset
        name = self.names[cell.name]
        if self.record and name in self.record.semantics.cells:
            known = self.record.semantics.cells[name]
            operator = ">=" if known.threshold == ">=" else ">"
            kind = "subtract" if known.reset == "subtract" else "value"
        if kind == "subtract":
            return f"v {operator} v_th", "v -= v_th"
        reset = fields.get("v_reset", np.zeros(1))
        values["v_reset"] = (np.broadcast_to(reset.ravel(), (cell.size,)).astype(float), "volt")
        return f"v {operator} v_th", "v = v_reset"

    def _bias(self, cell: _Cell) -> Array | None:
        """What arrives in every step, in the driver's unit, as its equation takes it; None where nothing does."""
        found = [s.matrix[0] for s in self.flat.arrivals[cell.name] if s.source == BIAS and s.matrix is not None]
        bias = found[0].astype(np.float64) if found else np.zeros(cell.size)
        if not bias.any():
            return None
        return bias * cell.into_i / cell.leak_syn if cell.leak_syn is not None else bias

    # -- projections ----------------------------------------------------------------------------------------------

    def _projections(self, cell: _Cell) -> Iterator[Projection]:
        for signal in self.flat.arrivals[cell.name]:
            if signal.source != BIAS:
                yield self._projection(cell, signal)

    def _projection(self, cell: _Cell, signal: Signal) -> Projection:
        source = self.flat.nodes[signal.source]
        if source.kind == "LI":
            raise ForeignFileError(
                f"node '{signal.source}'", "type", "LI sends values, not spikes; it must be the last"
            )
        pre, post = self.names[signal.source], self.names[cell.name]
        matrix = np.ones(signal.size) if signal.matrix is None else signal.matrix
        weights = matrix * cell.into_i
        delay = self._delay(cell, signal)
        name = unused(f"{pre}_to_{post}" + (f"_{delay}" if signal.delay else ""), self.taken)
        self.taken.add(name)
        return Projection(
            name,
            pre,
            post,
            pulse if cell.leak_syn is None else current_jump,
            Quantity(weights, unit("amp").dimension, "amp"),  # quantity() would copy them twice
            AllToAll() if weights.ndim == 2 else OneToOne(),
            quantity(delay * self.dt, "second"),
        )

    def _delay(self, cell: _Cell, signal: Signal) -> int:
        """Steps that put a spike of a shorter way beside those of the longest."""
        steps = signal.delay / self.convention.clock.dt
        if abs(steps - round(steps)) > _WHOLE:
            why = f"{signal.delay:g} on the way from '{signal.source}' is no whole number of steps"
            raise ForeignFileError(f"node '{cell.name}'", "delay", why)
        if signal.source == cell.name:
            return round(steps)
        return self.depths[cell.name] - 1 - self.depths[signal.source] + round(steps)

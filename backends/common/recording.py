"""What a run records: of which cells and synapses, checked once for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.options import names_of
from backends.common.values import known, whole
from neuro.caching import per_object
from neuro.compiler.resolve import resolve
from neuro.compiler.wiring import Wiring
from neuro.events import Rasters
from neuro.language.foreign import NumbersError, numbers, shown
from neuro.language.scope import NeuronScope, SynapseScope
from neuro.model import Network, Projection
from neuro.protocols import Record, RunError

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Trace:
    """One recorded variable of cells or, where synaptic, of synapses.

    layout: shape of all its values. index: the chosen ones, in the flattened layout; None for all.
    """

    owner: str
    variable: str
    layout: tuple[int, ...]
    synaptic: bool = False
    index: Array | None = None

    @property
    def name(self) -> str:
        return f"{self.owner}.{self.variable}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is recorded in a step, without the axes of trials."""
        return self.layout if self.index is None else self.index.shape

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def of(self, values: Any) -> Any:
        """What is recorded of an array or tensor [..., *layout]."""
        if self.index is None:
            return values
        lead = values.shape[: values.ndim - len(self.layout)]
        return values.reshape(*lead, -1)[..., self.index]


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a run records. traces: by name. chosen: which cells or synapses, where not all, as `Recording.chosen` has it."""

    traces: Mapping[str, Trace] = field(default_factory=dict)
    chosen: Mapping[str, Array] = field(default_factory=dict)

    def fired(self, spikes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Spikes of the chosen cells, of rasters [..., neuron] of all."""
        if not self.chosen or not any(name in spikes for name in self.chosen):
            return spikes
        if isinstance(spikes, Rasters):
            events = {n: e.of_channels(self.chosen[n]) if n in self.chosen else e for n, e in spikes.events.items()}
            return Rasters(events, spikes.lead)
        return {n: s[..., self.chosen[n]] if n in self.chosen else s for n, s in spikes.items()}


@dataclass(frozen=True)
class _Parts:
    """What can be recorded of a network."""

    cells: Mapping[str, tuple[NeuronScope, int]]
    synapses: Mapping[str, Projection]
    asked: dict[tuple[str, ...], Wanted] = field(default_factory=dict)  # lists of names, found before


@per_object
def _parts(network: Network) -> _Parts:
    network = resolve(network).network
    return _Parts(
        {p.name: (p.neuron.scope, p.size) for p in network.populations}, {p.name: p for p in network.projections}
    )


_NOTHING = Wanted()
_ASKED = 64  # lists of names, of one network


def check_record(network: Network, record: Record, every: int) -> Wanted:
    """What `record` asks for: see Program.run. Raises RunError on what there isn't."""
    whole("every", every)
    if isinstance(record, tuple) and not record:
        return _NOTHING
    names, parts = names_of("record", record, "population.variable"), _parts(network)
    whole_names = not isinstance(record, Mapping)
    if whole_names and names in parts.asked:
        return parts.asked[names]
    traces, chosen = dict[str, Trace](), dict[str, Array]()
    for name in names:
        given = record[name] if isinstance(record, Mapping) else None
        owner, dot, variable = name.partition(".")
        known(owner, (*parts.cells, *parts.synapses), "population or projection")
        if isinstance(record, Mapping) and not dot:
            if given is not None:
                chosen[name] = _fired(parts, name, given)
            continue
        trace, chosen_here = _of_cells(parts, owner, variable, given) if owner in parts.cells else _of_synapses(
            resolve(network).network, parts.synapses[owner], variable, given
        )  # fmt: skip
        traces[name] = trace
        if chosen_here is not None:
            chosen[name] = chosen_here
    found = Wanted(traces, chosen)
    if whole_names and len(parts.asked) < _ASKED:
        parts.asked[names] = found
    return found


def _fired(parts: _Parts, name: str, given: Any) -> Array:
    """Cells whose spikes are recorded."""
    if name not in parts.cells:
        raise RunError(f"record['{name}'] asks for a projection's spikes; name a variable: '{name}.w'")
    scope, size = parts.cells[name]
    if scope.threshold is None:
        raise RunError(f"record['{name}'] asks for spikes, which population '{name}' has none of: it has no threshold")
    return _indices(name, given, size, f"cell of population '{name}'", least=0)


def _of_cells(parts: _Parts, owner: str, variable: str, given: Any) -> tuple[Trace, Array | None]:
    scope, size = parts.cells[owner]
    known(variable, (*scope.states, *scope.inputs, *scope.subexpressions), f"variable of population '{owner}'")
    if given is None:
        return Trace(owner, variable, (size,)), None
    index = _indices(f"{owner}.{variable}", given, size, f"cell of population '{owner}'")
    return Trace(owner, variable, (size,), index=index), index


def _of_synapses(network: Network, projection: Projection, variable: str, given: Any) -> tuple[Trace, Array | None]:
    owner, scope, wires = projection.name, projection.synapse.scope, resolve(network).wires[projection.name]
    _refuse_fixed(network, projection, scope, variable)
    known(variable, scope.states, f"variable of projection '{owner}'")
    if given is None:
        return Trace(owner, variable, wires.shape, True), None
    name, what = f"{owner}.{variable}", f"synapse of projection '{owner}'"
    if wires.kind != "dense":
        index = _indices(name, given, wires.shape[0], what)
        return Trace(owner, variable, wires.shape, True, index), index
    pairs = _pairs(name, given, wires, what)
    pre, post = pairs.T
    return Trace(owner, variable, wires.shape, True, pre * wires.shape[1] + post), pairs


def _refuse_fixed(network: Network, projection: Projection, scope: SynapseScope, variable: str) -> None:
    """Raises RunError for what doesn't change during a run, and for what is computed from other things."""
    owner, name = projection.name, f"{projection.name}.{variable}"
    declared = {*scope.parameters, *(e.name for e in scope.of_kind("declaration"))} - {*scope.states}
    if variable in declared:
        raise RunError(
            f"'{name}' can't be recorded: it doesn't change in a run; read it from the parameters: "
            f"neuro.compiler.parameters.values(network)['{name}']"
        )
    if variable in {e.name for e in scope.of_kind("subexpression")}:
        raise RunError(
            f"'{name}' can't be recorded: it is computed from other variables; record those, "
            f"projection '{owner}' has {', '.join(scope.states) or 'none'}, and its cells theirs"
        )


# -- which ones ----------------------------------------------------------------------------------------------------------


def _indices(name: str, given: Any, size: int, what: str, least: int = 1) -> Array:
    """Numbers of cells or synapses, each once. Raises RunError."""
    call = f"give a list of whole numbers from 0 to {size - 1}, or None for all: record={{'{name}': [0]}}"
    found = _whole_numbers(name, given, call, least)
    if found.ndim != 1:
        raise RunError(f"record['{name}'] is {shown(given)}; {call}")
    for i in found[(found < 0) | (found >= size)][:1]:
        raise RunError(f"record['{name}'] asks for {i}; there is no such {what}: {call}")
    _refuse_repeats(name, found)
    return found


def _pairs(name: str, given: Any, wires: Wiring, what: str) -> Array:
    """Pairs [n, 2] of cells that a synapse joins, each once. Raises RunError."""
    pre, post = wires.shape
    call = (
        f"give a list of pairs (pre, post) from (0, 0) to ({pre - 1}, {post - 1}), or None for all: "
        f"record={{'{name}': [(0, {int(wires.mask is not None)})]}}"
    )
    found = _whole_numbers(name, given, call, 1)
    if found.ndim != 2 or found.shape[1] != 2:
        raise RunError(f"record['{name}'] is {shown(given)}; {call}")
    missing: Array = np.any((found < 0) | (found >= (pre, post)), axis=1)
    if wires.mask is not None:
        missing |= ~wires.mask[tuple(np.where(missing[:, None], 0, found).T)]
    for i, j in found[missing][:1]:
        raise RunError(f"record['{name}'] asks for ({i}, {j}); there is no such {what}: {call}")
    _refuse_repeats(name, found)
    return found


def _whole_numbers(name: str, given: Any, call: str, least: int) -> Array:
    try:
        found = numbers(given)
    except NumbersError:
        found = None
    if found is not None and found.size == 0 and found.ndim == 1:
        if least:
            raise RunError(f"record['{name}'] chooses nothing; leave the name out, or {call}")
        return np.zeros(0, np.int64)
    if found is not None and found.dtype == np.bool_ and found.ndim:
        raise RunError(f"record['{name}'] holds truth values; give numpy.flatnonzero(mask), or {call}")
    if found is None or not np.issubdtype(found.dtype, np.integer):
        raise RunError(f"record['{name}'] is {shown(given)}; {call}")
    return found.astype(np.int64)


def _refuse_repeats(name: str, found: Array) -> None:
    rows, counts = np.unique(found, axis=0, return_counts=True)
    for row in rows[counts > 1][:1]:
        one = tuple(int(i) for i in row) if row.ndim else int(row)
        raise RunError(f"record['{name}'] asks for {one} twice; give it once")

"""What comes from outside: SpikeGeneratorGroups, TimedArrays and PoissonInputs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.devices import DEFAULT_FUNCTIONS, DEFAULT_UNITS, brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.importing.cells import Cells
from backends.brian.importing.words import Table, Words, si
from neuro.language.units import Quantity
from neuro.model import Input

Array = npt.NDArray[Any]
Brings = Callable[[int], Array]  # number of steps -> [1, time, channel]


def generator(group: Any, target: str) -> tuple[Input, Brings]:
    """A SpikeGeneratorGroup as a spike input, or as what makes the cells fire that stand for it, and its spikes."""
    dt, size = float(group.clock.dt_), len(group)
    bins = np.asarray((np.asarray(group._spike_time) + 1e-3 * dt) / dt, np.int64)  # as Brian2 bins them
    cells = np.asarray(group._neuron_index, np.int64)
    period = round(float(group.variables["period"].get_value().item()) / dt)

    def spikes(steps: int) -> Array:
        found = np.zeros((1, steps, size), bool)
        for first in range(0, steps, period) if period else (0,):
            inside = bins + first < steps
            found[0, bins[inside] + first, cells[inside]] = True
        return found

    if target:
        return Input(f"{group.name}_spikes", size, "current", target), lambda steps: spikes(steps).astype(np.float64)
    return Input(group.name, size, "spikes"), spikes


def currents(cells: Cells) -> list[tuple[Input, Brings]]:
    """The TimedArrays that a population reads, each as an input of its own."""
    population = cells.population
    found = []
    for name, table in cells.words.tables.items():
        item = Input(
            f"{population.name}_{name}",
            population.size if _each(table, cells.words) else 1,
            "current",
            f"{population.name}.{name}",
        )
        found.append((item, _values(table, cells)))
    return found


def check_stages(cells: Cells) -> None:
    """Integrators that look within a step must find the same entry of a table there. Raises NotImportedError."""
    ahead = {"rk2": (0.5,), "rk4": (0.5, 1.0), "heun": (1.0,)}.get(cells.population.neuron.method, ())
    scope = cells.population.neuron.scope
    read = scope.reached(n for e in scope.of_kind("differential") if e.expression for n in e.expression.names)
    for name, table in cells.words.tables.items():
        if name not in read or not ahead:
            continue
        words, dt = cells.words, float(cells.words.group.clock.dt_)
        steps = int(len(table.array.values) * table.array.dt / dt) + 2
        values = _values(table, cells)(steps)
        if any(not np.array_equal(values, _values(table, cells, part)(steps)) for part in ahead):
            method = cells.population.neuron.method
            reason = (
                f"'{method}' reads the TimedArray '{name}' within a step, where it has another value than at the start"
            )
            raise words.refused(reason, "use method='euler' or 'exponential_euler', or a table with a longer dt")


def _values(table: Table, cells: Cells, ahead: float = 0.0) -> Brings:
    words, size = cells.words, cells.population.size
    dt = float(words.group.clock.dt_)
    look = table.array.implementations["numpy"].get_code(words.group)

    def values(steps: int) -> Array:
        known = {"t": (np.arange(steps) * dt + ahead * dt)[:, None], "dt": dt, "i": np.arange(size)[None, :]}
        time = np.asarray(_evaluated(table.time, cells, known), np.float64)
        if not table.cell:
            return np.asarray(look(np.broadcast_to(time, (steps, size if _each(table, words) else 1))))[None]
        cell = np.asarray(_evaluated(table.cell, cells, known), np.int64)
        return np.asarray(look(*np.broadcast_arrays(time, cell, np.empty((steps, size)))[:2]))[None]

    return values


def _each(table: Table, words: Words) -> bool:
    """Whether cells read the table at times or in columns of their own."""
    names = {
        n.id
        for text in (table.time, table.cell)
        if text
        for n in ast.walk(words.parsed(text))
        if isinstance(n, ast.Name)
    }
    return bool(table.cell) or bool(names & {"i", *words.names})


def _evaluated(text: str, cells: Cells, known: Mapping[str, Any]) -> Any:
    """An argument of a table in SI: of the time, the cell's number, numbers and parameters that stay."""
    words = cells.words
    tree = compile(ast.Expression(words.parsed(text)), "", "eval")
    values: dict[str, Any] = dict(known)
    for name in tree.co_names:
        if name in values:
            continue
        if name in DEFAULT_UNITS:
            values[name] = float(DEFAULT_UNITS[name])
        elif name in words.counts:
            values[name] = int(words.counts[name])
        elif name in DEFAULT_FUNCTIONS:
            values[name] = DEFAULT_FUNCTIONS[name].implementations["numpy"].get_code(words.group)
        elif name in words.names:
            values[name] = _parameter(name, text, cells)
        else:
            values[name] = words.resolved(name).get_value()
    return eval(tree, {"__builtins__": {}}, values)


def _parameter(name: str, text: str, cells: Cells) -> Array:
    if name not in cells.stays:
        reason = f"a TimedArray's argument '{text}' reads '{name}', which changes"
        raise cells.words.refused(reason, "give it the time, the cell's number `i`, and parameters that stay")
    return np.asarray(cells.words.group.variables[name].get_value())


def drive(item: Any, cells: Cells, first: int, size: int) -> Input:
    """A PoissonInput as a drive, with binomial counts as Brian2 draws them; cells outside of its subgroup hear nothing."""
    population, words = cells.population, cells.words
    if "law" not in Input.__dataclass_fields__:
        raise words.refused(f"'{item.name}' adds binomial counts to it", "use a PoissonGroup and synapses")
    rate = np.zeros(population.size)
    rate[first : first + size] = float(item.rate)
    return Input(
        item.name,
        population.size,
        "drive",
        f"{population.name}.{words.names[item._target_var]}",
        rate=si(rate if size < population.size else float(item.rate), brian2.Hz.dim),
        weight=_weight(item, words),
        sources=int(item.N),
        law="binomial",
    )


def _weight(item: Any, words: Words) -> Quantity:
    """As Brian2's code has it, which holds a quantity as text."""
    text = item._weight if isinstance(item._weight, str) else repr(item._weight)
    value = words.number(words.parsed(text))
    if value is None:
        raise words.refused(f"the weight '{text}' of '{item.name}' is no number", "give one weight")
    return si(value, words.group.variables[item._target_var].dim)

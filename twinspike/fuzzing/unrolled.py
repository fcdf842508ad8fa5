"""A network whose couplings are evaluated at every stage, as one cell that has every cell's equations: what any integrator makes of
it, Brian2's own too, is what the network should do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.plan import pairs
from neuro import Input, Network, Neuron, Population, quantity
from neuro.compiler.parameters import initial_state, values
from neuro.compiler.resolve import resolve
from neuro.language.equations import Expression
from neuro.language.scope import STAGED
from neuro.model import Projection
from neuro.protocols import Recording
from twinspike.fuzzing.editing import substituted

Array = npt.NDArray[Any]
CELL = "whole"
MOST = 15  # cells; an expression can't be longer than a definition's may be


def _current(number: int, cell: int) -> str:
    """What the whole cell calls an input's current into one of the cells."""
    return f"i{number}c{cell}"


@dataclass
class Unrolled:
    """names: (population, variable) -> its name for each cell."""

    original: Network
    network: Network
    names: Mapping[tuple[str, str], tuple[str, ...]]

    def run(self, program: Any, inputs: Mapping[str, Array], steps: int, batch: int) -> Recording:
        """States of the original's cells."""
        given = {
            _current(number, cell): inputs[i.name][..., [min(cell, i.size - 1)]]
            for number, i in enumerate(self.original.inputs)
            for cell in range(self.original.population(i.target.partition(".")[0]).size)
        }
        states = [(p.name, v) for p in self.original.populations for v in p.neuron.scope.states]
        record = [f"{CELL}.{name}" for key in states for name in self.names[key]]
        found = program.run(inputs=given, record=record, steps=steps, batch=batch).traces
        cells = {k: [found[f"{CELL}.{n}"] for n in self.names[k]] for k in states}
        return Recording(
            float(self.network.dt.value), traces={".".join(k): np.concatenate(c, -1) for k, c in cells.items()}
        )


def unrolled(network: Network) -> Unrolled | None:
    """None where the network has more than equations of few cells, graded synapses without states, and currents."""
    neurons = [p.neuron for p in network.populations]
    methods = {n.method for n in neurons if n.scope.of_kind("differential")}
    plain = (
        len(methods) == 1
        and sum(p.size for p in network.populations) <= MOST
        and methods <= set(STAGED)
        and not any(
            n.scope.threshold or n.scope.every_step or n.scope.regularly or n.scope.held or n.scope.noise or n.events
            for n in neurons
        )
        and all(p.synapse.scope.transmits is not None and not p.synapse.scope.states for p in network.projections)
        and not any(p.synapse.scope.assigned or p.synapse.scope.receptor for p in network.projections)
        and all(i.kind == "current" for i in network.inputs)
    )
    return _Writer(network).unrolled(methods.pop()) if plain else None


class _Writer:
    def __init__(self, network: Network) -> None:
        self.network, self.values, self.initial = network, values(network), initial_state(network)
        self.parameters: dict[str, Any] = {}
        self.states: dict[str, Any] = {}
        self.lines: list[str] = []
        self.inputs: list[Input] = []
        self.count = 0
        self.names = {
            (p.name, v): tuple(self.fresh() for _ in range(p.size))
            for p in network.populations
            for v in p.neuron.scope.dimensions
            if v not in ("t", "dt")
        }

    def fresh(self) -> str:
        self.count += 1
        return f"a{self.count}"

    def unrolled(self, method: str) -> Unrolled:
        for population in self.network.populations:
            for cell in range(population.size):
                self.cell(population, cell)
        neuron = Neuron(CELL, "\n".join(self.lines), parameters=self.parameters, initial=self.states, method=method)
        whole = Network((Population(CELL, neuron, 1),), inputs=self.inputs, dt=self.network.dt, seed=self.network.seed)
        return Unrolled(self.network, whole, self.names)

    def of_cell(self, population: str, cell: int, suffix: str = "") -> dict[str, str]:
        found = {v + suffix: names[cell] for (owner, v), names in self.names.items() if owner == population}
        return (
            {f"N{suffix}": str(self.network.population(population).size)} | ({} if suffix else {"i": str(cell)}) | found
        )

    def cell(self, population: Population, cell: int) -> None:
        own, scope = self.of_cell(population.name, cell), population.neuron.scope
        for name in scope.parameters:
            self.parameters[own[name]] = self.number(f"{population.name}.{name}", cell, scope.dimensions[name])
        for equation in scope.equations:
            name, unit = own[equation.name], equation.unit
            if equation.kind == "differential":
                self.lines.append(f"d{name}/dt = {substituted(_text(equation.expression), own)} : {unit}")
                first = self.initial[f"{population.name}.{equation.name}"]
                self.states[name] = quantity(
                    float(np.broadcast_to(first, population.size)[cell]), str(equation.dimension)
                )
            elif equation.kind == "subexpression":
                self.lines.append(f"{name} = {substituted(_text(equation.expression), own)} : {unit}")
            elif equation.name in scope.inputs:
                zero = self.fresh()  # nothing may arrive
                self.parameters[zero] = quantity(0.0, str(equation.dimension))
                terms = [zero, *self.currents(population, cell, equation), *self.sums(population, cell, equation.name)]
                self.lines.append(f"{name} = {' + '.join(terms)} : {unit}")

    def currents(self, population: Population, cell: int, equation: Any) -> Iterator[str]:
        for number, item in enumerate(self.network.inputs):
            if item.target == f"{population.name}.{equation.name}":
                name = self.fresh()
                self.lines.append(f"{name} : {equation.unit}")
                self.inputs.append(Input(_current(number, cell), 1, "current", target=f"{CELL}.{name}"))
                yield name

    def sums(self, population: Population, cell: int, target: str) -> Iterator[str]:
        for projection in self.network.projections:
            if (projection.post, projection.synapse.target) == (population.name, target):
                yield from (f"({text})" for text in self.synapses(projection, cell))

    def synapses(self, projection: Projection, cell: int) -> Iterator[str]:
        """What each synapse that ends at a cell sends."""
        scope, shape = projection.synapse.scope, resolve(self.network).wires[projection.name].shape
        for i, j, place in zip(*pairs(self.network, projection), strict=True):
            if j != cell:
                continue
            names = (
                {"i": str(i), "j": str(cell)}
                | self.of_cell(projection.pre, i, "_pre")
                | self.of_cell(projection.post, cell, "_post")
            )
            held = [e.name for e in scope.equations if e.kind == "declaration"]
            for name in dict.fromkeys((*scope.parameters, *held)):
                names[name] = self.fresh()
                value = np.broadcast_to(self.values[f"{projection.name}.{name}"], shape).ravel()[place]
                self.parameters[names[name]] = quantity(float(value), str(scope.dimensions[name]))
            texts = {e.name: _text(e.expression) for e in scope.of_kind("subexpression")}
            text = _text(scope.transmits)
            for _ in texts:  # subexpressions within each other
                text = substituted(text, texts)
            yield substituted(text, names)

    def number(self, name: str, cell: int, dimension: Any) -> Any:
        found = np.asarray(self.values[name])
        return quantity(float(found[cell] if found.ndim else found), str(dimension))


def _text(expression: Expression | None) -> str:
    assert expression is not None
    return expression.text

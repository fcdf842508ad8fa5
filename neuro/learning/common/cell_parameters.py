"""Which trained numbers belong to each cell of a population: its own, those of the synapses to it and of those from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuro.compiler.parameters import Parameter, sharing
from neuro.compiler.resolve import resolve
from neuro.learning.common.parametrisation import ParameterError
from neuro.model import Network
from neuro.protocols import Array

Index = tuple[Any, ...]


@dataclass(frozen=True)
class CellParameters:
    """Names of trained parameters by the axes that are cells. own: [cell]. into: [pre, cell]. loops: [cell, cell]. out: [cell, post]. others: none."""

    population: str
    size: int
    own: tuple[str, ...]
    into: tuple[str, ...]
    loops: tuple[str, ...]
    out: tuple[str, ...]
    others: tuple[str, ...]

    @staticmethod
    def of(
        network: Network, population: str, declared: Mapping[str, Parameter], trained: Sequence[str]
    ) -> CellParameters:
        """Raises ParameterError where a cell has something that isn't trained, or that isn't its own."""
        item, found = (
            network.population(population),
            {n: list[str]() for n in ("own", "into", "loops", "out", "others")},
        )
        wires = resolve(network).wires
        for p in network.projections:
            if population not in (p.pre, p.post):
                continue
            name = f"{p.name}.w"
            if wires[p.name].kind != "dense" or name not in declared:
                raise ParameterError(
                    f"projection '{p.name}': cells come and go where all are joined to all by weights; use AllToAll and a weight 'w'"
                )
            if name not in trained:
                raise ParameterError(
                    f"'{name}' isn't trained, but new cells of '{population}' get such weights; add it to `trainable`"
                )
            found["loops" if p.pre == p.post else "out" if p.pre == population else "into"].append(name)
        for name, group in sharing(declared).items():
            if not set(group).isdisjoint(trained):
                raise ParameterError(
                    f"'{name}' are the weights of {len(group)} projections (shares=...), whose cells would come and go apart; "
                    "give each its own"
                )
        for name in trained:
            parameter = declared[name]
            if parameter.sign or np.isfinite(parameter.range).any():
                raise ParameterError(
                    f"parameter '{name}' has bounds, which the updates don't keep; leave it out of `trainable`, or the bounds"
                )
            if name.partition(".")[0] == population:
                if not parameter.shape:
                    raise ParameterError(
                        f"parameter '{name}' is one number for all cells; give population '{population}' an array"
                    )
                found["own"].append(name)
            elif not any(name in names for names in found.values()):
                found["others"].append(name)
        if not found["out"] and not found["loops"]:
            raise ParameterError(
                f"nothing reads population '{population}', so nothing says which of its cells are needed"
            )
        return CellParameters(population, item.size, *(tuple(names) for names in found.values()))

    @property
    def of_cells(self) -> tuple[str, ...]:
        return (*self.own, *self.into, *self.loops, *self.out)

    def block(self, name: str, n: int) -> Index:
        """Entries of the first n cells; all of a parameter that cells have no part in."""
        if name in self.into:
            return (slice(None), slice(n))
        if name in self.loops:
            return (slice(n), slice(n))
        return (slice(n),) if name in self.own or name in self.out else (...,)

    def of_cell(self, name: str, i: int) -> tuple[Index, ...]:
        """Entries that go with cell i."""
        if name in self.loops:
            return ((i,), (slice(None), i))
        return ((slice(None), i),) if name in self.into else ((i,),)

    def keep(self, name: str, block: Array, alive: Array) -> None:
        """Zeros where a cell of a block is not there. alive: of the block's cells."""
        if name in self.loops or name in self.into:
            block *= alive
        if name in self.loops or name in self.out:
            block *= alive[:, None]
        if name in self.own:
            block *= alive

    def alive(self, values: Mapping[str, Array]) -> Array:
        """Which cells have a weight that isn't 0, bool [cell]."""
        found = np.zeros(self.size, np.bool_)
        for name in (*self.into, *self.loops):
            found |= np.asarray(values[name]).any(axis=0)
        for name in (*self.loops, *self.out):
            found |= np.asarray(values[name]).any(axis=1)
        return found

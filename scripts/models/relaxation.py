"""Relaxing networks looked at from outside: the true gradient of the settled error, which contrastive learning is compared with.

Differences move both directions of a symmetric weight together: they are one parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuro.compiler.parameters import values
from neuro.learning.phases.energy import Energy, read
from neuro.learning.phases.settling import Settling
from neuro.protocols import Array, Batch

Entry = tuple[str, tuple[int, ...]]  # a parameter and an index into it
PRECISE = Settling(1e-8, 200_000, 50)


@dataclass(frozen=True)
class Moves:
    """What can be moved: each weight with the one in the other direction, each bias."""

    entries: tuple[tuple[Entry, ...], ...]

    @staticmethod
    def of(energy: Energy, names: Sequence[str]) -> Moves:
        """Of these parameters; dense projections only."""
        found: dict[frozenset[Entry], tuple[Entry, ...]] = {}
        for name in names:
            owner, _, kind = name.partition(".")
            mask = energy.links[owner].synapses.mask if kind == "w" else None
            for index in np.ndindex(energy.declared[name].shape):
                if mask is not None and not mask[index]:
                    continue
                pair = (name, index), *(((f"{energy.back[owner]}.w", index[::-1]),) if owner in energy.back else ())
                found.setdefault(frozenset(pair), pair)
        return Moves(tuple(found.values()))

    def vector(self, slopes: Mapping[str, Array]) -> Array:
        """One number a move from a gradient as the rule gives it, which both directions have whole: [move]."""
        return np.array([slopes[name][index] for (name, index), *_ in self.entries])

    def moved(self, start: Mapping[str, Array], size: float) -> dict[str, Array]:
        """Parameter sets [2 * move, ...]: each move by `size` and by -size."""
        names = {name for move in self.entries for name, _ in move}
        found = {n: np.repeat(np.asarray(start[n], float)[None], 2 * len(self.entries), axis=0) for n in names}
        for k, move in enumerate(self.entries):
            for name, index in dict.fromkeys(move):
                found[name][(2 * k, *index)] += size
                found[name][(2 * k + 1, *index)] -= size
        return found


def settled(program: Any, energy: Energy, parameters: Mapping[str, Array], batch: Batch, **options: Any) -> Array:
    """Outputs at the free fixed point, [batch, output] or [set, batch, output]. options: of Settling.relax."""
    held = {n: np.asarray(v)[:, -1] for n, v in batch.inputs.items()}
    shown = f"{energy.output}.V"
    found = PRECISE.relax(program, parameters, held, energy.states, "free", (shown,), **options)
    return np.asarray(found.recording.traces[shown])[..., -1, :]


def true_gradient(
    program: Any, batch: Batch, names: Sequence[str], parameters: Mapping[str, Array] | None = None, size: float = 1e-3
) -> tuple[Moves, Array]:
    """Central differences of half the squared error, summed over outputs, averaged over trials, at the free fixed point: moves, [move]."""
    energy = read(program.network)
    moves = Moves.of(energy, names)
    sets = moves.moved({**values(program.network), **(parameters or {})}, size)
    rest = {
        n: np.repeat(v[None], 2 * len(moves.entries), axis=0) for n, v in (parameters or {}).items() if n not in sets
    }
    outputs = settled(program, energy, {**rest, **sets}, batch, population=2 * len(moves.entries))
    losses = 0.5 * ((outputs - batch.targets) ** 2).sum(axis=-1).mean(axis=-1)
    return moves, (losses[::2] - losses[1::2]) / (2 * size)

"""What study `contrastive` measures: the true gradient of the settled error, and training by the rule.

Differences move both directions of a symmetric weight together: they are one parameter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import backends
from neuro import learning
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.learning.phases.energy import Energy, read
from neuro.learning.phases.settling import Settling, SettlingError
from neuro.protocols import Array, Batch
from tasks.xor import Xor

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

    def summed(self, slopes: Mapping[str, Array]) -> Array:
        """One number a move from a gradient by each entry alone, as autograd gives it: [move]."""
        return np.array([sum(slopes[n][i] for n, i in dict.fromkeys(move)) for move in self.entries])

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


def trajectory_gradient(program: Any, batch: Batch, task: Any, names: Sequence[str]) -> tuple[Moves, Array]:
    """The gradient of the task's loss by backpropagation through the trial, from the fixed point of its first step on: moves, [move]."""
    energy = read(program.network)
    start = {n: np.asarray(v)[:, 0] for n, v in batch.inputs.items()}
    begin = PRECISE.relax(program, values(program.network), start, energy.states, "free").recording.state

    def loss(found: Any) -> Any:
        return task.loss(found.spikes, found.traces, batch)

    found = program.value_and_grad(
        loss, values(program.network), batch.inputs, names, tuple(task.record()), state=begin
    )  # fmt: skip
    moves = Moves.of(energy, names)
    return moves, moves.summed(found[1])


class WatchedXor(Xor):
    """XOR that keeps the outputs of the last loss."""

    outputs: Array = np.zeros(0)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        self.outputs = traces[f"{self.output}.V"][:, -1].numpy()
        return super().loss(spikes, traces, batch)


def xor_epochs(seed: int, cap: int, **options: Any) -> int:
    """Epochs until all outputs are within 0.2 of their targets at the free fixed point; cap where they never are, or a phase never settles."""
    task = WatchedXor()
    rule = learning.get("contrastive", **{**task.settings.rules["contrastive"], **options})
    program = backends.get("native").compile(rule.attach(task.network(seed)))
    parameters, state, batch = dict(values(program.network)), rule.init(program), task.batch()
    for epoch in range(cap):
        try:
            parameters, state, _ = rule.step(program, parameters, state, batch, task)
        except SettlingError:
            return cap
        if np.abs(task.outputs - batch.targets).max() < 0.2:
            return epoch
    return cap


@dataclass(frozen=True)
class Trained:
    """losses: of each update. metric: of the test trials at the end. residual: largest of all updates. seconds: of the processor."""

    losses: Array
    metric: float
    residual: float
    seconds: float


def trained(task: Any, seed: int, epochs: int, update: Any, **options: Any) -> Trained:
    """The task's network after so many epochs of its own settings and these options."""
    settings = task.settings.rules["contrastive"]
    start, rule = time.process_time(), learning.get("contrastive", **{**settings, **options})
    program = backends.get("native").compile(rule.attach(task.network(seed)))
    parameters, state, found = dict(values(program.network)), rule.init(program), []
    for epoch in range(epochs):
        batches = list(task.train_batches(streams.generator(seed, f"data/{epoch}"), task.settings.batch))
        for k, batch in enumerate(batches):
            parameters, state, metrics = rule.step(program, parameters, state, batch, task)
            found.append((metrics["loss"], metrics["residual"]))
            update(epoch * len(batches) + k + 1, epochs * len(batches), f"loss {metrics['loss']:.4f}")
    test = task.test_batch()
    metric = task.metric(program.run(parameters, test.inputs, tuple(task.record())), test)
    losses, residuals = np.array(found).T
    return Trained(losses, float(metric), float(residuals.max()), time.process_time() - start)

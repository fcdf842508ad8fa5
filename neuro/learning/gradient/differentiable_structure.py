"""Differentiable structure: a penalty on the weights that leave a cell says how much it is needed; cells that aren't are deleted, spare ones added.

The program has room for as many cells as its population has. A cell whose weights, biases and carried state are 0 is not there: it stays
at 0, gives nothing and gets no gradient, so that the numbers are those of a network without it (`cut` gives that network). Nothing is compiled
again, and what is drawn depends on the cells that live, not on the room.
Source: Miconi (2016), arXiv 1606.06216; the versions of August (main) and July of that year.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from neuro.compiler import streams
from neuro.compiler.parameters import initial_state
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.language.units import unit
from neuro.learning.common.cell_parameters import CellParameters
from neuro.learning.common.optimisers import under
from neuro.learning.common.parametrisation import ParameterError, trainable
from neuro.model import Network
from neuro.options import OptionError, counts, one_of
from neuro.protocols import Array, Batch, Parameters, RunError, require
from neuro.state import State
from neuro.surgery import removed
from neuro.surgery.moving import Surgery

Version = Literal["august", "july"]
OWN: Mapping[str, Mapping[str, float]] = {  # options that a version has its own values of
    "august": {"learning_rate": 0.01, "l1": 1e-4, "p_add": 0.01, "p_delete": 0.05, "p_anyway": 1e-4},
    "july": {"learning_rate": 0.1, "l1": 3e-5, "p_add": 0.05, "p_delete": 0.25, "p_anyway": 0.0},
}
EPSILON, SCALE = 1e-8, 0.01  # of the optimisers; of new weights into a cell
DECAY, FIRST_MEMORY = (
    0.01,
    0.01,
)  # of RMSprop's mean squares: their rate, and what those of weights into cells begin with
SMOOTHING = 0.99  # of the loss, an update
DRAWN = 1024  # updates whose uniform numbers are drawn at once


@dataclass
class StructureState:
    """memory: of the optimiser, in the parameters' shapes. alive: bool [cell]. carried: what the network was at the end of a batch.

    Not saved: the prepared gradient, the uniform numbers and the masks at hand, with what they are for.
    """

    cells: CellParameters
    scales: dict[str, float]
    memory: dict[str, Array]
    alive: Array
    updates: int = 0
    smoothed: float = float("nan")
    carried: State | None = None
    prepared: tuple[Any, Callable[..., Any]] | None = field(default=None, repr=False)
    uniform: tuple[int, Array] | None = field(default=None, repr=False)
    kept: tuple[bytes, tuple[Array, Array]] | None = field(default=None, repr=False)

    def masks(self) -> tuple[Array, Array]:
        """Of all trained parameters, one after another: 0 where a cell isn't there, otherwise the scale; 1 for those of which there is a penalty."""
        alive = self.alive.tobytes()
        if self.kept is None or self.kept[0] != alive:
            there = {n: np.full(a.shape, self.scales[n]) for n, a in self.memory.items()}
            for name, block in there.items():
                self.cells.keep(name, block, self.alive)
            leave = (*self.cells.out, *self.cells.loops)
            penalised = {n: np.full(a.shape, float(n in leave)) for n, a in self.memory.items()}
            self.kept = alive, (_joined(there, self.scales), _joined(penalised, self.scales))
        return self.kept[1]

    @property
    def number(self) -> int:
        return int(np.count_nonzero(self.alive))


@dataclass(frozen=True)
class DifferentiableStructure:
    """Truncated backpropagation through time with a structure that learns. Options:

    population: whose cells come and go; all its synapses are all to all, and trained. As many as have a weight that isn't 0 are there at first, and never
    more than its size less one. trainable: names or patterns. grows: False keeps the size, with the same penalty: the control. version: "july" deletes by a trained factor
    `multiplier` of each cell's output, which alone is penalised, and uses Adagrad. In August's version what counts is
    norm_i = 1/2 (sum |weights out of the population| + 4/N sum |weights within it|), over what leaves cell i.
    threshold: of norms, or multipliers, at which a cell isn't needed. spares: such cells that there should be; any others are deleted with p_delete an update; where there are
    fewer, one is added with p_add, and one with p_anyway in any case. floor: of multipliers. clip: of an update of RMSprop, after scaling. In the parameters' own units. seed: of what is drawn.
    learning_rate, l1, p_add, p_delete, p_anyway: None for the version's own.
    """

    population: str = "hidden"
    trainable: tuple[str, ...] = ("*.w",)
    grows: bool = True
    version: Version = "august"
    multiplier: str = "m"
    learning_rate: float | None = None
    clip: float = 0.01
    l1: float | None = None
    threshold: float = 0.05
    spares: int = 1
    p_add: float | None = None
    p_delete: float | None = None
    p_anyway: float | None = None
    floor: float = 0.025
    seed: int = 0

    needs: ClassVar[tuple[str, ...]] = ("gradients",)
    known_as: ClassVar[str] = "differentiable-structure"
    metrics: ClassVar[tuple[str, ...]] = ("cells", "smoothed_loss")

    def __post_init__(self) -> None:
        one_of("version", self.version, OWN)
        counts(spares=self.spares)
        for name in ("p_add", "p_delete", "p_anyway"):
            if not 0 <= self.own(name) <= 1:
                raise OptionError(f"{name}={self.own(name)}; give a probability from 0 to 1")
        for name in ("learning_rate", "clip", "threshold"):
            if not 0 < self.own(name) < float("inf"):
                raise OptionError(f"{name}={self.own(name)}; give a number above 0")

    def own(self, name: str) -> float:
        """An option, or what the version has for it."""
        given = getattr(self, name)
        return float(OWN[self.version][name] if given is None else given)

    # -- Rule ----------------------------------------------------------------------------------------------

    def init(self, program: Any, parameters: Parameters | None = None) -> StructureState:
        """State before the first update. Raises UnsupportedError, ParameterError."""
        for capability in self.needs:
            require(program, capability, f"rule '{self.known_as}'")
        declared = declared_parameters(program.network)
        trained = trainable(self.trainable, declared)
        cells = CellParameters.of(program.network, self.population, declared, trained)
        if self.version == "july" and self._multiplier not in cells.own:
            raise ParameterError(
                f"version 'july' trains '{self._multiplier}', the factor of each cell's output; add it to `trainable`"
            )
        now = {n: p.value for n, p in declared.items()} | dict(parameters or {})
        first = self.version == "august"
        memory = {
            n: np.full(declared[n].shape, FIRST_MEMORY if first and n in (*cells.own, *cells.into) else 0.0) for n in trained
        }  # fmt: skip
        scales = {n: float(unit(declared[n].unit).value) for n in trained}
        return StructureState(cells, scales, memory, cells.alive(now))

    def step(
        self, program: Any, parameters: Parameters, state: StructureState, batch: Batch, task: Any
    ) -> tuple[Parameters, StructureState, Mapping[str, float]]:
        """One update: gradient, optimiser, penalty, deletion, addition."""
        loss, slopes = self._estimate(program, parameters, state, batch, task)
        norm = float(np.sqrt(sum(np.vdot(g, g) for g in slopes.values())))
        if not np.isfinite(norm):
            raise FloatingPointError(f"the gradient is not finite at update {state.updates}; lower the learning rate")
        together = _joined(parameters, state.scales)
        theta = _apart(together, state.memory, state.scales)
        others = [(theta[n], scale) for n, scale in state.scales.items() if scale != 1]
        for value, scale in others:
            value /= scale
        self._descend(together, slopes, state)
        if self.grows:
            self._change(program.network, theta, state)
        state.updates += 1
        state.smoothed = loss if np.isnan(state.smoothed) else SMOOTHING * state.smoothed + (1 - SMOOTHING) * loss
        for value, scale in others:
            value *= scale
        after = {**parameters, **theta}
        found = {"loss": loss, "gradient_norm": norm, "cells": state.number, "smoothed_loss": state.smoothed}
        return after, state, found

    def gradient(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, draw: int = 0
    ) -> dict[str, Array]:
        """See Rule.gradient."""
        return self._estimate(program, parameters, self.init(program, parameters), batch, task)[1]

    def save(self, state: StructureState) -> dict[str, Any]:
        found: dict[str, Any] = {f"memory/{n}": a.copy() for n, a in state.memory.items()}
        if state.carried is not None:
            found |= {f"carried/{n}": a for n, a in state.carried.arrays().items()}
        return found | {n: np.asarray(getattr(state, n)).copy() for n in ("alive", "updates", "smoothed")}

    def load(self, program: Any, saved: Mapping[str, Any]) -> StructureState:
        """Inverse of save; continues with the same numbers."""
        state, carried = self.init(program), under("carried", saved)
        state.memory = {n: np.array(a) for n, a in under("memory", saved).items()}
        state.alive, state.updates = np.array(saved["alive"], np.bool_), int(saved["updates"])
        state.smoothed = float(saved["smoothed"])
        state.carried = State.from_arrays(carried) if carried else None
        return state

    def results(self, state: StructureState, parameters: Parameters) -> dict[str, Any]:
        """For the run file: which cells are there."""
        return {"structure": {"alive": state.alive}}

    # -- other sizes ---------------------------------------------------------------------------------------

    def cut(self, network: Network, state: StructureState) -> Surgery:
        """The network of the cells that are there, and the way to it."""
        return removed(network, self.population, np.flatnonzero(~state.alive).tolist())

    def operated(self, program: Any, saved: Mapping[str, Any], surgery: Surgery) -> dict[str, Any]:
        """What `save` gave, for the network after an operation, whose population has other room: see GradientRule.operated."""
        memory = surgery.arrays(under("memory", saved), FIRST_MEMORY if self.version == "august" else 0.0)
        found = {n: v for n, v in saved.items() if "/" not in n} | {f"memory/{n}": a for n, a in memory.items()}
        found["alive"] = np.where(surgery.cells < 0, False, np.asarray(saved["alive"])[surgery.cells])
        carried = under("carried", saved)
        if carried:
            found |= {f"carried/{n}": a for n, a in surgery.state(State.from_arrays(carried)).arrays().items()}
        return found

    # -- one update ----------------------------------------------------------------------------------------

    @property
    def _multiplier(self) -> str:
        return f"{self.population}.{self.multiplier}"

    def _estimate(
        self, program: Any, parameters: Parameters, state: StructureState, batch: Batch, task: Any
    ) -> tuple[float, dict[str, Array]]:
        """Loss and gradients; the state in which the batch ended is kept where batches follow each other."""
        if batch.follows and state.carried is None:
            raise RunError("the first batch says that it follows another one; let the first have follows=False")
        begin = state.carried if batch.follows else batch.state
        size, steps = np.shape(next(iter(batch.inputs.values())))[:2]
        form = (program, steps, size, tuple(task.record()))
        if state.prepared is None or state.prepared[0] != form:
            state.prepared = form, program.prepared(tuple(state.scales), form[3], steps=steps, batch=size)
        ended: list[State] = []

        def loss(found: Any) -> Any:
            if batch.follows is not None:
                ended.append(found.state)
            return task.loss(found.spikes, found.traces, batch)

        value, slopes = state.prepared[1](loss, parameters, batch.inputs, begin)
        if ended:
            state.carried = ended[0]
        return value, slopes

    def _descend(self, theta: Array, slopes: Mapping[str, Array], state: StructureState) -> None:
        """The optimiser's step and the penalty, on the cells that are there. theta: all trained parameters, one after another."""
        there, penalised = state.masks()
        g, memory = _joined(slopes, state.scales), _joined(state.memory, state.scales)
        g *= there
        square = g * g
        if self.version == "august":
            square -= memory
            square *= DECAY * (there != 0)
        memory += square
        state.memory = _apart(memory, state.memory, state.scales)
        np.sqrt(np.add(memory, EPSILON, out=square), out=square)
        g *= self.own("learning_rate")
        change = np.divide(g, square, out=square)
        if self.version == "august":
            np.minimum(np.maximum(change, -self.clip, out=change), self.clip, out=change)
        theta -= change
        if self.version == "august":
            theta -= self.own("l1") * penalised * np.sign(theta)
            return
        factors = _apart(theta, state.memory, state.scales)[self._multiplier]
        factors[...] = np.maximum(factors - self.own("l1") * np.sign(factors), self.floor)

    def needed(self, theta: Mapping[str, Array], cells: CellParameters, alive: Array) -> Array:
        """How much each cell is needed, float [cell]: its norm, or its multiplier."""
        if self.version == "july":
            return theta[self._multiplier]
        n, number = int(np.flatnonzero(alive)[-1]) + 1, np.count_nonzero(alive)
        found = np.zeros(len(alive))
        for name in cells.out:
            found[:n] += np.abs(theta[name][:n]).sum(axis=1)
        for name in cells.loops:
            found[:n] += 4 / number * np.abs(theta[name][:n, :n]).sum(axis=1)
        return 0.5 * found

    def _change(self, network: Network, theta: dict[str, Array], state: StructureState) -> None:
        """Deletion and addition."""
        block, row = divmod(state.updates, DRAWN)
        if state.uniform is None or state.uniform[0] != block:
            state.uniform = block, streams.generator(self.seed, "structure/chances", block=block).random((DRAWN, 2))
        spare, anyway = state.uniform[1][row]
        below = np.zeros(0, np.int64)
        if state.alive.any():
            below = np.flatnonzero(state.alive & (self.needed(theta, state.cells, state.alive) <= self.threshold))
        if len(below) > self.spares:
            random = streams.generator(self.seed, "structure/deleted", state.updates)
            for i in random.permutation(below)[self.spares :]:
                if random.random() < self.own("p_delete"):
                    self.delete(network, theta, state, int(i))
        wanted = len(below) < self.spares and spare < self.own("p_add")
        if state.number < state.cells.size - 1 and (wanted or anyway < self.own("p_anyway")):
            self.add(network, theta, state)

    def delete(self, network: Network, theta: dict[str, Array], state: StructureState, i: int) -> None:
        """Cell i is there no more: all that it has is 0."""
        state.alive[i] = False
        for name in state.cells.of_cells:
            for index in state.cells.of_cell(name, i):
                theta[name][index] = state.memory[name][index] = 0.0
        state.carried = _begun_anew(network, state, i)

    def add(self, network: Network, theta: dict[str, Array], state: StructureState) -> int:
        """One more cell, at the first place that is free: which is it. theta: parameters in their own units."""
        cells, number = state.cells, state.number
        random = streams.generator(self.seed, "structure/added", state.updates)
        living, i = np.flatnonzero(state.alive), int(np.flatnonzero(~state.alive)[0])
        state.alive[i] = True
        for name in cells.of_cells:
            for index in cells.of_cell(name, i):
                theta[name][index] = 0.0
                state.memory[name][index] = FIRST_MEMORY if self.version == "august" else 0.0
        for name in cells.into:
            theta[name][:, i] = SCALE * random.standard_normal(len(theta[name]))
        for name in cells.loops:
            theta[name][living, i] = SCALE * random.standard_normal(number)
        sizes = {n: theta[n].shape[1] for n in cells.out} | dict.fromkeys(cells.loops, number + 1)
        drawn: dict[str, Array] = {n: random.standard_normal((size,)) for n, size in sizes.items()}
        sums = {cells.out: self.threshold / 2, cells.loops: self.threshold * number / 8}
        for names, total in sums.items():
            scale = SCALE
            if self.version == "august" and names:
                scale = total / float(np.abs(np.concatenate([drawn[n] for n in names])).sum())
            for n in names:
                theta[n][(i, np.flatnonzero(state.alive)) if n in cells.loops else (i,)] = scale * drawn[n]
        if self.version == "july":
            theta[self._multiplier][i] = self.threshold
        state.carried = _begun_anew(network, state, i)
        return i


def _joined(arrays: Mapping[str, Any], names: Iterable[str]) -> Array:
    """The numbers of these arrays one after another, in an array of their own."""
    return np.concatenate([np.asarray(arrays[n], np.float64).ravel() for n in names])


def _apart(joined: Array, like: Mapping[str, Array], names: Iterable[str]) -> dict[str, Array]:
    """The inverse, without a copy. like: arrays of their shapes."""
    found, first = dict[str, Array](), 0
    for name in names:
        last = first + like[name].size
        found[name] = joined[first:last].reshape(like[name].shape)
        first = last
    return found


def _begun_anew(network: Network, state: StructureState, i: int) -> State | None:
    """The carried state with cell i as it is before a run."""
    if state.carried is None:
        return None
    found = state.carried.numpy()
    changed = {}
    for name, first in initial_state(network).items():
        if name.partition(".")[0] == state.cells.population and name in found.variables:
            changed[name] = found.variables[name].copy()
            changed[name][..., i] = first[i]
    return found.with_variables(changed)

"""Backpropagation through a feed-forward network, population by population on the whole batch, with batch normalisation between a sum and the cells that read it.

Sources: Ioffe & Szegedy (2015), arXiv:1502.03167; shift-based normalisation and stochastic binarisation: Hubara et al. (2018), JMLR 18(187).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, ClassVar

import numpy as np
import sympy as sp
import torch

from neuro.caching import per_object
from neuro.compiler import streams
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import Parameter
from neuro.export.quantisation.quantisers import ap2
from neuro.language.symbolic import symbol
from neuro.language.units import unit as unit_of
from neuro.learning.common.layers import Part, outside, parts
from neuro.learning.common.summed_inputs import refuse_parts
from neuro.learning.gradient.gradient_rule import GradientRule, GradientState, declared_parameters
from neuro.model import Network
from neuro.options import OptionError, hint, one_of
from neuro.protocols import Array, Batch, Parameters, RunError, UnsupportedError

# parameters of normalised cells, which compute gamma*((z - mean)*scale) + beta
MEAN, SCALE, GAIN = "mean", "scale", "gamma"
KINDS = ("batch", "shift")
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class _Signals:
    """What the penalty and the loss read: see backends' Signals."""

    spikes: Mapping[str, torch.Tensor]
    traces: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Layerwise(GradientRule):
    """The gradient of a network of cells without memory, joined by graded sums at the end of a step: bptt's, where nothing is normalised. Options besides GradientRule's:

    normalised: pattern of the populations whose parameters `mean` and `scale` are those of their one sum over all trials and steps of the batch, and carry its gradient; frozen ones keep
    theirs. While a network isn't trained they are running averages. normalisation: "batch", scale = 1/sqrt(variance + epsilon), in the unit of `mean`; "shift": variance, scale and `gamma` with powers of two in place of factors, whose
    gradient passes straight through. momentum: share of a batch in the running averages. stochastic: input of cells that gets numbers from -1 to 1, drawn anew in each update and
    never otherwise. seed: of these. by_fan: learning rates of weights are divided by sqrt(1.5/(fan-in + fan-out)), as BinaryNet's. Raises UnsupportedError for networks of another kind.
    """

    normalised: str = "*"
    normalisation: str = "batch"
    momentum: float = 0.1
    epsilon: float = 1e-4
    stochastic: str = ""
    seed: int = 0
    by_fan: bool = False

    needs: ClassVar[tuple[str, ...]] = ("gradients",)
    known_as: ClassVar[str] = "layerwise"
    unsliced: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate_strength:
            raise OptionError("rate_strength: cells without spikes have no rates; leave it at 0")
        one_of("normalisation", self.normalisation, KINDS)
        if not 0 < self.momentum <= 1:
            raise OptionError(f"momentum={self.momentum}; give a share above 0, up to 1")
        if not 0 <= self.epsilon < float("inf"):
            raise OptionError(f"epsilon={self.epsilon}; give a small number that isn't negative")

    # -- what the network must be --------------------------------------------------------------------------

    def check(self, program: Any) -> None:
        super().check(program)
        network, trained, declared = program.network, self.names(program), declared_parameters(program.network)
        chosen = self.of_sum(program)
        for population, own in chosen.items():
            for name in (MEAN, SCALE):
                if f"{population}.{name}" in trained:
                    raise OptionError(f"trainable: '{population}.{name}' is the batch's; leave it out")
                if declared[f"{population}.{name}"].shape != (size := program.network.population(population).size,):
                    raise OptionError(f"'{population}.{name}' is one number for all cells; give the population {size}")
            if len(own) != 1:
                why = f"its cells have {len(own)} sums; batch normalisation is of one"
                raise UnsupportedError("layer by layer", f"population '{population}'", why)
            _check_use(program, population, own[0])
        if self.stochastic:
            self._check_stochastic(network)

    def _check_stochastic(self, network: Network) -> None:
        scopes = {p.name: p.neuron.scope for p in network.populations if self.stochastic in p.neuron.scope.inputs}
        if not scopes:
            known = {v for p in network.populations for v in p.neuron.scope.inputs}
            raise OptionError(f"stochastic: no cell has an input '{self.stochastic}'; {hint(self.stochastic, known)}")
        for name, scope in scopes.items():
            if not (dimension := scope.dimensions[self.stochastic]).dimensionless:
                raise OptionError(
                    f"stochastic: '{name}.{self.stochastic}' is in {dimension}; numbers from -1 to 1 need an input without a unit"
                )

    def of_sum(self, program: Any) -> dict[str, list[str]]:
        """Normalised population -> its inputs that others add to."""
        found: dict[str, list[str]] = {}
        for part, _ in _programs(program):
            cells = part.network.population(part.population)
            if fnmatch(part.population, self.normalised) and not cells.frozen and {MEAN, SCALE} <= set(cells.values()):
                found[part.population] = [v for v in part.own if v in _summed(program)]
        return found

    def undivided(self, program: Any) -> str:
        if of_sum := self.of_sum(program):
            return f"mean and scale of population '{next(iter(of_sum))}' are those of the whole batch"
        return "its random numbers are drawn for the whole batch" if self.stochastic else super().undivided(program)

    def memory(self, program: Any) -> dict[str, Array]:
        """Running averages, which begin with the first batch."""
        sizes = {p.name: p.size for p in program.network.populations}
        return {f"{n}/{p}": np.full(sizes[p], np.nan) for p in self.of_sum(program) for n in ("mean", "variance")}

    def _rates(self, trained: Sequence[str], declared: Mapping[str, Parameter]) -> list[float]:
        rates = super()._rates(trained, declared)
        if not self.by_fan:
            return rates
        fans = [sum(declared[n].shape) if declared[n].axes == ("pre", "post") else 1.5 for n in trained]
        return [r / math.sqrt(1.5 / f) for r, f in zip(rates or [self.learning_rate] * len(fans), fans, strict=True)]

    # -- an update -----------------------------------------------------------------------------------------

    def estimate(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: dict[str, Array], draw: int
    ) -> tuple[float, dict[str, Array]]:
        declared = declared_parameters(program.network)
        given = {n: parameters.get(n, p.value) for n, p in declared.items()}
        values = {n: program.storage.of(np.array(v)) for n, v in given.items()}
        wrt = self.names(program)
        for name in wrt:
            values[name].requires_grad_()
        signals = self._signals(program, values, batch, tuple(task.record()), memory, draw)
        loss = task.loss(signals.spikes, signals.traces, batch)
        slopes = torch.autograd.grad(loss, [values[n] for n in wrt], allow_unused=True)
        found = {
            n: np.zeros(given[n].shape) if g is None else g.cpu().numpy() for n, g in zip(wrt, slopes, strict=True)
        }
        return float(loss.detach()), found

    def _signals(
        self, program: Any, values: Tensors, batch: Batch, record: tuple[str, ...], memory: dict[str, Array], draw: int
    ) -> _Signals:
        """The network's own traces in a batch, with the graph behind them."""
        refuse_parts(batch, self.called())
        given, driven = _outside(program)
        sums = dict(given.forward({}, batch.inputs, driven, trial=batch.trial).traces)
        shape = sums[driven[0]].shape[:2]
        traces, normalised = dict[str, torch.Tensor](), self.of_sum(program)
        for part, compiled in _programs(program):
            currents = {v: self._current(part, v, sums, shape, draw, program.storage) for v in part.own}
            own = {n: values[n] for n in compiled.declared}
            if part.population in normalised:
                unit = _unit(program, part.population)
                z = currents[normalised[part.population][0]] / unit
                own |= self._normalised(part.population, z, unit, own, memory)
            wanted = [n for n in record if n.startswith(f"{part.population}.")]
            inputs = {part.own[v]: x for v, x in currents.items()}
            found = compiled.forward(own, inputs, (*part.sums, *wanted))
            traces |= {n: found.traces[n] for n in wanted}
            for name in part.sums:
                sums[name] = sums[name] + found.traces[name] if name in sums else found.traces[name]
        for name in record:
            if name not in traces:
                scopes = ((p.name, p.neuron.scope) for p in program.network.populations)
                known = [f"{owner}.{v}" for owner, scope in scopes for v in (*scope.inputs, *scope.subexpressions)]
                raise RunError(f"record: '{name}' is no variable of a population; {hint(name, known)}")
        return _Signals({}, traces)

    def _current(
        self, part: Part, variable: str, sums: Tensors, shape: Sequence[int], draw: int, storage: Any
    ) -> torch.Tensor:
        """What reaches an input of a part: what was summed, with random numbers, or nothing. shape: trials and steps."""
        size = part.network.population(part.population).size
        found = sums[variable] if variable in sums else storage.zeros(*shape, size)
        if self.stochastic and variable == f"{part.population}.{self.stochastic}":
            uniform = streams.generator(self.seed, f"stochastic/{part.population}", draw).uniform(-1, 1, found.shape)
            found = found + storage.of(uniform)
        return found

    def _normalised(
        self, population: str, sums: torch.Tensor, unit: float, own: Tensors, memory: dict[str, Array]
    ) -> Tensors:
        """A population's mean and scale in this batch, SI; keeps the running averages, which are in its unit, as the sums are."""
        if sums.shape[:2].numel() < 2:
            fix = "give more (--batch; the last batch of an epoch may be smaller), or leave it out of `normalised`"
            raise RunError(f"population '{population}': a batch of one trial of one step has no variance; {fix}")
        mean = sums.mean((0, 1))
        centred = sums - mean
        shift = self.normalisation == "shift"
        variance = (centred * (_power_of_two(centred) if shift else centred)).mean((0, 1))
        wrong = ~((variance + self.epsilon > 0) & torch.isfinite(variance))
        if wrong.any():
            cell = int(wrong.nonzero()[0, 0])
            why = f"the variance of what cell {cell} sums is {float(variance[cell].detach()):g}, with epsilon={self.epsilon:g}"
            raise FloatingPointError(f"population '{population}': {why}; give a larger epsilon, or smaller inputs")
        for name, value in (("mean", mean), ("variance", variance)):
            key, now = f"{name}/{population}", value.detach().cpu().numpy().astype(np.float64)
            first = np.isnan(memory[key]).any()
            memory[key] = now if first else (1 - self.momentum) * memory[key] + self.momentum * now
        scale = torch.rsqrt(variance + self.epsilon)
        scale = (_power_of_two(scale) if shift else scale) / unit
        found = {f"{population}.{MEAN}": mean * unit, f"{population}.{SCALE}": scale}
        if shift and f"{population}.{GAIN}" in own:
            found[f"{population}.{GAIN}"] = _power_of_two(own[f"{population}.{GAIN}"])
        return found

    # -- the network between updates -----------------------------------------------------------------------

    def step(
        self, program: Any, parameters: Parameters, state: GradientState, batch: Batch, task: Any
    ) -> tuple[Parameters, GradientState, Mapping[str, float]]:
        """See GradientRule.step. What comes back has the running averages."""
        after, state, metrics = super().step(program, parameters, state, batch, task)
        return {**after, **self._kept(program, after, state.memory)}, state, metrics

    def _kept(self, program: Any, parameters: Parameters, memory: Mapping[str, Array]) -> dict[str, Array]:
        found, shift = dict[str, Array](), self.normalisation == "shift"
        for p in self.of_sum(program):
            scale, unit = 1 / np.sqrt(memory[f"variance/{p}"] + self.epsilon), _unit(program, p)
            found |= {
                f"{p}.{MEAN}": unit * memory[f"mean/{p}"],
                f"{p}.{SCALE}": (ap2(scale) if shift else scale) / unit,
            }
            if shift and f"{p}.{GAIN}" in parameters:
                found[f"{p}.{GAIN}"] = ap2(parameters[f"{p}.{GAIN}"])
        declared = declared_parameters(program.network)
        return {n: np.broadcast_to(v, declared[n].shape).copy() for n, v in found.items()}


def _check_use(program: Any, population: str, z: str) -> None:
    """Raises UnsupportedError where cells read mean and scale otherwise than as (z - mean)*scale, a number without a unit."""
    cells, z = lower(program.network).population(population), z.partition(".")[2]
    scale = symbol(SCALE)
    plain = {symbol(MEAN): symbol(z) - sp.Dummy() / scale}  # (z - mean)*scale becomes a symbol, and no scale is left
    dimensions = program.network.population(population).neuron.scope.dimensions
    fits = (dimensions[z] * dimensions[SCALE]).dimensionless
    for name, expr in cells.inlined.items():
        read = {symbol(MEAN), scale} & expr.free_symbols
        if read and not (fits and scale not in sp.expand(expr.xreplace(plain)).free_symbols):
            why = f"'{name}' reads {MEAN} or {SCALE} otherwise than in ({z} - {MEAN})*{SCALE}, a number without a unit"
            fix = "write it so, or leave the population out of `normalised`"
            raise UnsupportedError("layer by layer", f"population '{population}'", f"{why}; {fix}")


def _unit(program: Any, population: str) -> float:
    """SI value of the unit in which a population's sums are normalised: that of its `mean`."""
    return float(unit_of(declared_parameters(program.network)[f"{population}.{MEAN}"].unit).value)


class _PowerOfTwo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(ap2(x.cpu().numpy())).to(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0]


def _power_of_two(x: torch.Tensor) -> torch.Tensor:
    """sign(x) 2^round(log2|x|), 0 at 0, whose gradient is that of x."""
    return _PowerOfTwo.apply(x)  # type: ignore[no-any-return, no-untyped-call]


@per_object
def _programs(program: Any) -> tuple[tuple[Part, Any], ...]:
    """The network's parts, each compiled as the whole is."""
    return tuple((part, program.of_network(part.network)) for part in parts(program.network))


@per_object
def _outside(program: Any) -> tuple[Any, tuple[str, ...]]:
    """What sums a batch's inputs, in their own names, and the names of the sums."""
    network, driven = outside(program.network)
    return program.of_network(network), driven


@per_object
def _summed(program: Any) -> frozenset[str]:
    return frozenset(f"{p.post}.{p.synapse.target}" for p in program.network.projections)

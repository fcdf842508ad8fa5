"""One forward pass of a compiled torch program: what is hoisted out of the time loop, and the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sympy as sp
import torch

from backends.arrays import Feed, check_finite, draw_noise
from backends.differentiable import Signals, Tensors
from backends.structure import delays_of, local
from backends.torch_functions import FUNCTIONS, matrices, over_time, through
from backends.torch_groups import Arrival, Group, drive
from backends.torch_printer import code
from neuro.mangling import unmangled
from neuro.step import Couple

if TYPE_CHECKING:
    from backends.pytorch import TorchProgram


class ForwardPass:
    """One forward pass. Everything has time first: [time, batch, neuron], or [time, population, batch, neuron]."""

    def __init__(
        self, program: TorchProgram, values: Tensors, feed: Feed, record: tuple[str, ...], every: int, trial: int
    ) -> None:
        self.program, self.feed, self.every, self.record = program, feed, every, record
        self.values = {local(*n.split(".", 1)): v for n, v in values.items()}
        self.inputs: dict[str, torch.Tensor] = dict(feed.arrays)  # type: ignore[arg-type]
        self.spikes: dict[str, torch.Tensor] = {n: self.inputs[n] for n in program.step.sources}
        noise = draw_noise(program._merged, steps=feed.steps, batch=feed.batch, trial=trial)
        self.noise = {
            local(*n.split(".", 1)): torch.as_tensor(v, dtype=program.dtype).transpose(0, 1) for n, v in noise.items()
        }
        self.traces: dict[str, list[torch.Tensor]] = {local(*n.split(".", 1)): [] for n in record}
        self.final: dict[str, torch.Tensor] = {}

    def zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(*self.feed.lead, *shape, dtype=self.program.dtype)

    def initial(self, group: Group) -> list[torch.Tensor]:
        """Values of a group's states before the first step."""
        found = []
        sizes = {c.name: c.size for c in self.program.step.cells}
        for name in group.states:
            role, owner, *_ = unmangled(name)
            if role in ("left", "pending"):
                found.append(self.zeros(sizes[owner]))
            else:
                value = self.values[name] if name in self.values else self.program._initial[name]
                found.append(torch.broadcast_to(value, (*self.feed.lead, *self.program.shapes[name])))
        return found

    def drives(self, group: Group) -> dict[str, Sequence[torch.Tensor]]:
        """What comes from outside the group, computed for all steps at once: one [batch, neuron] a step."""
        parts: dict[str, list[tuple[int, torch.Tensor]]] = {}
        for name, couple in group.hoisted:
            parts.setdefault(name, []).extend(self.hoisted(couple))
        sizes = {drive(c.name, v): c.size for c in self.program.step.cells for v in c.inputs}
        for name, source in group.currents:
            current = self.inputs[source].expand(*self.inputs[source].shape[:2], sizes[name])
            parts.setdefault(name, []).append((0, current))
        return {name: self.in_time(found) for name, found in parts.items()}

    def in_time(self, parts: Sequence[tuple[int, torch.Tensor]]) -> Sequence[torch.Tensor]:
        """Sum of sequences that begin some steps late; those that depend on parameter sets have an axis for them, others don't."""
        if len(parts) == 1:
            late, values = parts[0]
            return [torch.zeros_like(values[0])] * late + list(values.unbind(0))[: self.feed.steps - late]
        padded = [torch.cat([torch.zeros_like(v[:late]), v[: len(v) - late]]) for late, v in parts]
        axes = max(v.ndim for v in padded)
        alike = [v if v.ndim == axes else v.unsqueeze(1) for v in padded]
        return sum(alike[1:], alike[0]).unbind(0)

    def hoisted(self, couple: Couple) -> list[tuple[int, torch.Tensor]]:
        """One (steps late, [time, batch, neuron]) a delay."""
        step = self.program.step
        synapses = step.projection(couple.projection)
        spikes = self.spikes[synapses.pre]
        if synapses.name in self.program.backward.detached:
            spikes = spikes.detach()
        later = 1 if couple.target in step.population(couple.population).inputs else 0
        amount = _synapse_value(couple, self.values, step.dt)
        found = []
        for delay, matrix in zip(delays_of(synapses), matrices(synapses, amount, self.program.dtype), strict=True):
            if synapses.name in self.program.backward.feedback:
                value = through(spikes, matrix, self.values[local(synapses.name, "feedback")])
            else:
                value = over_time(spikes, matrix, synapses.kind)
            found.append((min(delay + later, self.feed.steps), value))
        return found

    def group(
        self, group: Group, constants: Callable[..., Any], step: Callable[..., Any], observe: Callable[..., Any]
    ) -> None:
        """The time loop of one group."""
        names = constants.__code__.co_varnames[: constants.__code__.co_argcount]
        fixed = constants(*(self.values[n] for n in names))
        drives = self.drives(group)
        streams = [drives[n] for n in group.drives] + [self.noise[n].unbind(0) for n in group.noise]
        zeros = tuple(self.zeros(self.program.step.population(n).size) for n in group.populations)
        history = {a.source: self.spikes[a.source].unbind(0) if a.source in self.spikes else [] for a in group.arrivals}
        nothing = {a.source: self.zeros(self._size(a.source)) for a in group.arrivals}
        fired = {n: self.store(n) for n in group.spiking}
        history |= {n: fired[n] for n in group.spiking if n in history}
        states, count, spiking = tuple(self.initial(group)), len(group.states), len(group.spiking)
        watched = [(self.traces[n], count + spiking + i) for i, n in enumerate(group.observed) if n in self.traces]
        derived = [(self.traces[n], i) for i, n in enumerate(group.derived) if n in self.traces]
        clock = torch.arange(self.feed.steps, dtype=torch.float64) * self.program.step.dt
        times = clock.to(self.program.dtype).unbind(0)
        for k in range(self.feed.steps):
            arrived = tuple(_arrived(a, history, nothing, k) for a in group.arrivals)
            found = step(*fixed, *states, *arrived, *(s[k] for s in streams), *zeros, times[k])
            states = found[:count]
            for name, z in zip(group.spiking, found[count:], strict=False):
                if isinstance(fired[name], list):
                    fired[name].append(z)
                else:
                    fired[name][k].copy_(z)
            if (k + 1) % self.every == 0:
                for trace, i in watched:
                    trace.append(found[i])
                if derived:
                    values = observe(*fixed, *found[count + spiking :], *zeros, times[k])
                    for trace, i in derived:
                        trace.append(values[i])
        self._finish(group, states, fired)

    def _size(self, source: str) -> int:
        sizes = {c.name: c.size for c in self.program.step.cells}
        return sizes[source] if source in sizes else self.program.step.sources[source]

    def store(self, population: str) -> Any:
        """Where spikes go: a list under autograd, otherwise one tensor, which is faster than a stack of thousands."""
        if torch.is_grad_enabled():
            return []
        whole = torch.empty(self.feed.steps, *self.feed.lead, self._size(population), dtype=self.program.dtype)
        self.spikes[population] = whole
        return whole.unbind(0)

    def _finish(self, group: Group, states: Sequence[torch.Tensor], fired: Mapping[str, Any]) -> None:
        for name, spikes in fired.items():
            if isinstance(spikes, list):
                self.spikes[name] = torch.stack(spikes)
        for name, value in zip(group.states, states, strict=True):
            _, owner, *variable = unmangled(name)
            if torch.is_floating_point(value) and not bool(torch.isfinite(value).all()):
                check_finite(owner, variable[0], value.detach().numpy(), self.feed.steps - 1, self.feed)
            if variable == ["w"] and name in self.values:
                self.final[f"{owner}.w"] = value

    def signals(self) -> Signals:
        spikes = {c.name: self.spikes[c.name].movedim(0, -2) for c in self.program.step.cells if c.spikes}
        traces = {}
        for name in self.record:
            found = self.traces[local(*name.split(".", 1))]
            size = self._size(name.partition(".")[0])
            trace = torch.stack(found, dim=-2) if found else self.zeros(0, size)
            traces[name] = trace.expand(*self.feed.lead, *trace.shape[-2:])
        return Signals(spikes, traces, self.final)


def _arrived(arrival: Arrival, history: Mapping[str, Any], nothing: Tensors, k: int) -> torch.Tensor:
    past = k - arrival.delay
    return history[arrival.source][past] if past >= 0 else nothing[arrival.source]


def _synapse_value(couple: Couple, values: Tensors, dt: float) -> Any:
    """A static coupling's amount a synapse, from the parameter tensors."""
    from neuro.symbolic import symbol

    expr = couple.factors.synapse if couple.factors is not None else couple.value
    table = {s: symbol(local(couple.projection, s.name)) for s in expr.free_symbols if s.name != "dt"}
    source = code(expr.xreplace(table | {symbol("dt"): sp.Float(repr(dt), 17)}))
    return eval(source, dict(FUNCTIONS), {str(s): values[str(s)] for s in table.values()})  # source comes from sympy

"""One forward pass of a compiled torch program: what is hoisted out of the time loop, and the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
import torch

from backends.common.arrays import Feed, check_finite, draw_noise
from backends.common.autograd import Signals, Tensors
from backends.common.recording import Trace, Wanted
from backends.common.storage import Storage
from backends.common.structure import local
from backends.common.torch_elementary import ELEMENTARY
from backends.common.torch_printer import code
from backends.pytorch.compiled import CompiledNetwork
from backends.pytorch.functions import matrices, over_time
from backends.pytorch.groups import Arrival, Functions, Group, drive
from backends.pytorch.state import Beginning, Ending
from backends.pytorch.time import Rows, aligned, aligned_steps, in_time, one_after_another, total
from neuro.compiler.step import Couple
from neuro.language.mangling import mangled, unmangled


class Watched:
    """What is recorded of one variable, while it is collected."""

    def __init__(self, trace: Trace, lead: tuple[int, ...], storage: Storage) -> None:
        self.trace, self.lead, self.found = trace, lead, list[torch.Tensor]()
        self.index = None if trace.index is None else storage.as_it_is(trace.index)

    def append(self, values: torch.Tensor) -> None:
        """values: [..., *layout], of one step."""
        if self.index is not None:
            rank = len(self.trace.layout)
            flat = values if rank == 1 else values.flatten(-rank)
            values = flat.index_select(-1, self.index)
        self.found.append(values)

    def whole(self, run: ForwardPass) -> torch.Tensor:
        """[*lead, time, ...]."""
        shape = self.trace.shape
        trace = torch.stack(self.found, dim=-1 - len(shape)) if self.found else run.zeros(0, *shape)
        return trace.expand(*self.lead, *trace.shape[-1 - len(shape) :])


class ForwardPass:
    """One forward pass. Everything has time first: [time, batch, neuron], or [time, population, batch, neuron]."""

    def __init__(self, compiled: CompiledNetwork, values: Tensors, feed: Feed, wanted: Wanted, every: int) -> None:
        self.compiled, self.feed, self.every, self.wanted = compiled, feed, every, wanted
        self.values = {local(*n.split(".", 1)): v for n, v in values.items()}
        self.inputs: dict[str, torch.Tensor] = dict(feed.arrays)
        self.spikes: dict[str, torch.Tensor] = {n: self.inputs[n] for n in compiled.step.sources}
        noise, storage = draw_noise(compiled.network, feed), compiled.storage
        self.noise = {local(*n.split(".", 1)): storage.of(v).transpose(0, 1) for n, v in noise.items()}
        self.noise |= {local(c.name, count): self.inputs[n] for c in compiled.step.cells for count, n in c.counts}
        self.traces = {local(t.owner, t.variable): Watched(t, feed.lead, storage) for t in wanted.traces.values()}
        self.before = None if feed.state is None else Beginning(feed.state, storage)
        self.sizes = {c.name: c.size for c in compiled.step.cells} | dict(compiled.step.sources)
        self.final: dict[str, torch.Tensor] = {}
        self.states: dict[str, torch.Tensor] = {}
        self.sums: dict[str, torch.Tensor] = {}

    def zeros(self, *shape: int) -> torch.Tensor:
        return self.compiled.storage.zeros(*self.feed.lead, *shape)

    def initial(self, group: Group) -> list[torch.Tensor]:
        """Values of a group's states before the first step."""
        found = []
        keys = [key.split(".", 1) for key in group.sums]
        outside = {mangled("pending", cells, v) for cells, v in keys if drive(cells, v) in group.drives}
        for name in group.states:
            role, owner, *_ = unmangled(name)
            if name in outside:
                found.append(self.zeros(self.sizes[owner]))  # the drive begins with what has arrived
            elif self.before is not None:
                found.append(self.before.values[name])
            elif role in ("left", "pending"):
                found.append(self.zeros(self.sizes[owner]))
            else:
                value = self.values[name] if name in self.values else self.compiled.initial[name]
                found.append(torch.broadcast_to(value, (*self.feed.lead, *self.compiled.shapes[name])))
        return found

    def drives(self, group: Group) -> tuple[dict[str, Rows], dict[str, torch.Tensor]]:
        """What comes from outside the group, computed for all steps at once: one [batch, neuron] a step; and what events have
        brought to inputs by the end.
        """
        parts: dict[str, list[tuple[int, torch.Tensor]]] = {}
        for name, couple in group.hoisted:
            parts.setdefault(name, []).extend(self.hoisted(couple))
        found: dict[str, Rows] = {}
        arrived = {}
        for key in group.sums:
            owner, variable = key.split(".")
            name = drive(owner, variable)
            if name in group.drives:
                found[name] = events = self.events(key, parts.pop(name, None))
                arrived[name] = events[self.feed.steps]
        found |= {name: in_time(late, self.feed.steps) for name, late in parts.items()}
        for name, source in group.currents:
            size = self.sizes[unmangled(name)[1]]
            current = self.inputs[source].expand(*self.inputs[source].shape[:2], size)
            beside = [torch.stack(list(found[name][: self.feed.steps]))] if name in found else []
            found[name] = total([*beside, current]).unbind(0)
        return found, arrived

    def events(self, key: str, parts: list[tuple[int, torch.Tensor]] | None) -> Rows:
        """What has arrived at an input when it is read: one per step, and one after the last. The first is of the run before."""
        steps = self.feed.steps + 1
        rows = in_time(parts, steps) if parts else [self.zeros(self.sizes[key.partition(".")[0]])] * steps
        if self.before is None:
            return rows
        first = self.before.values[mangled("pending", *key.split("."))]
        if rows[1].shape != first.shape:  # what is the same for all parameter sets
            rows = [row.expand_as(first) for row in rows]
        return [first, *rows[1:]]

    def hoisted(self, couple: Couple) -> list[tuple[int, torch.Tensor]]:
        """One (steps late, [time, batch, neuron]) a delay."""
        step, backward = self.compiled.step, self.compiled.backward
        synapses = step.projection(couple.projection)
        delays, spikes = synapses.delays, self.spikes[synapses.pre]
        longest = max(delays) if self.before is not None else 0
        if self.before is not None and longest:
            spikes = one_after_another(self.before.spikes[synapses.pre][-longest:], spikes)
        if synapses.name in backward.detached:
            spikes = spikes.detach()
        later = 1 if couple.target in step.population(couple.population).inputs else 0
        amount = _synapse_value(couple, self.values, step.dt)
        feedback = self.values[local(synapses.name, "feedback")] if synapses.name in backward.feedback else None
        found = []
        for delay, matrix in zip(delays, matrices(self.compiled.wires[synapses.name], amount), strict=True):
            value = over_time(spikes, matrix, synapses.kind, feedback)
            found.append((delay + later, value) if self.before is None else (later, value[longest - delay :]))
        return found

    def arriving(self, arrival: Arrival, fired: Mapping[str, Any]) -> tuple[Rows, int, list[torch.Tensor]]:
        """Spikes of each step, how many steps later they arrive, and what arrives in the steps before those of this run do.

        An input's sums hold what it hasn't read when a run begins, so that nothing else arrives there then.
        """
        name, nothing = arrival.source, self.zeros(self.sizes[arrival.source])
        if self.before is None or not arrival.delay:
            early = [nothing] * arrival.late
        else:
            early = [nothing] * arrival.gathered + list(self.before.rows(name)[-arrival.delay :])
        return fired[name] if name in fired else aligned_steps(self.spikes[name]), arrival.late, early

    def group(self, group: Group, functions: Functions) -> None:
        """The time loop of one group."""
        names = functions.constants.__code__.co_varnames[: functions.constants.__code__.co_argcount]
        fixed = functions.constants(*(self.values[n] for n in names))
        drives, arrived_outside = self.drives(group)
        streams = [drives[n] for n in group.drives] + [self.noise[n].unbind(0) for n in group.noise]
        zeros = tuple(self.zeros(self.sizes[n]) for n in group.populations)
        fired = {n: self.store(n) for n in group.spiking}
        history = [self.arriving(a, fired) for a in group.arrivals]
        states, count, spiking = tuple(self.initial(group)), len(group.states), len(group.spiking)
        watched = [(self.traces[n], count + spiking + i) for i, n in enumerate(group.observed) if n in self.traces]
        synaptic = {n for n, t in self.traces.items() if t.trace.synaptic}
        watched += [(self.traces[n], i) for i, n in enumerate(group.states) if n in synaptic]
        derived = [(self.traces[n], i) for i, n in enumerate(group.derived) if n in self.traces]
        storage = self.compiled.storage
        clock = torch.arange(self.feed.start, self.feed.start + self.feed.steps, dtype=torch.float64)
        times = storage.of(clock * self.compiled.step.dt).unbind(0)
        step = functions.step
        lost = {
            group.states.index(n): storage.as_it_is(self.feed.steps) for n in group.overwritten
        }  # the first step that isn't finite
        for k in range(self.feed.steps):
            arrived = [spikes[k - late] if k >= late else early[k] for spikes, late, early in history]
            found = step(*fixed, *states, *arrived, *(s[k] for s in streams), *zeros, times[k])
            states = found[:count]
            for i, first in lost.items():
                lost[i] = torch.where(torch.isfinite(states[i].detach()), first, first.clamp_max(k))
            for name, z in zip(group.spiking, found[count:], strict=False):
                if isinstance(fired[name], list):
                    fired[name].append(z)
                else:
                    fired[name][k].copy_(z)
            if (k + 1) % self.every == 0:
                for trace, i in watched:
                    trace.append(found[i])
                if derived:
                    values = functions.observe(*fixed, *found[count + spiking :], *zeros, times[k])
                    for trace, i in derived:
                        trace.append(values[i])
        self._check_lost({group.states[i]: first for i, first in lost.items()})
        self._finish(group, states, fired)
        if group.sums:
            k = self.feed.steps
            last = ((spikes[k - late] if k >= late else early[k]) if late else None for spikes, late, early in history)
            sums = functions.sums(*fixed, *states, *last, *(arrived_outside.get(n) for n in group.drives))
            self.sums |= dict(zip(group.sums, sums, strict=True))

    def store(self, population: str) -> Any:
        """Where spikes go: a list under autograd, otherwise one tensor, which is faster than a stack of thousands."""
        if torch.is_grad_enabled():
            return []
        self.spikes[population] = whole = aligned(
            self.feed.steps, (*self.feed.lead, self.sizes[population]), self.compiled.storage
        )
        return whole.unbind(0)

    def _check_lost(self, lost: Mapping[str, torch.Tensor]) -> None:
        """Raises RunError on a state that wasn't finite at the end of a step, whatever became of it."""
        for name, first in lost.items():
            k = int(first.min())
            if k < self.feed.steps:
                _, owner, *variable = unmangled(name)
                value = np.where(first.cpu().numpy() > k, 0.0, np.nan)
                check_finite(owner, mangled(*variable), value, self.feed.start + k, self.feed)

    def _finish(self, group: Group, states: Rows, fired: Mapping[str, Any]) -> None:
        for name, spikes in fired.items():
            if isinstance(spikes, list):
                self.spikes[name] = torch.stack(spikes)
        finite = [torch.isfinite(v).all() for v in states if torch.is_floating_point(v)]
        if finite and not bool(torch.stack(finite).all()):  # one question to a device
            for name, value in zip(group.states, states, strict=True):
                _, owner, *variable = unmangled(name)
                last = self.feed.start + self.feed.steps - 1
                check_finite(owner, mangled(*variable), value.detach().cpu().numpy(), last, self.feed)
        for name, value in zip(group.states, states, strict=True):
            _, owner, *variable = unmangled(name)
            if variable == ["w"] and name in self.values:
                self.final[f"{owner}.w"] = value
            self.states[name] = value

    def signals(self) -> Signals:
        spikes = {c.name: self.spikes[c.name].movedim(0, -2) for c in self.compiled.step.cells if c.spikes}
        traces = {name: self.traces[local(t.owner, t.variable)].whole(self) for name, t in self.wanted.traces.items()}
        ending = Ending.of(self.compiled, self.feed, self.before, self.states, self.sums, self.spikes)
        return Signals(self.wanted.fired(spikes), traces, self.final, ending.state, self.wanted.chosen)


def _synapse_value(couple: Couple, values: Tensors, dt: float) -> Any:
    """A static coupling's amount a synapse, from the parameter tensors."""
    from neuro.language.symbolic import symbol

    expr = couple.factors.synapse if couple.factors is not None else couple.value
    table = {s: symbol(local(couple.projection, s.name)) for s in expr.free_symbols if s.name != "dt"}
    source = code(expr.xreplace(table | {symbol("dt"): sp.Float(repr(dt), 17)}))
    return eval(source, dict(ELEMENTARY), {str(s): values[str(s)] for s in table.values()})  # source comes from sympy

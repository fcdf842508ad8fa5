"""One forward pass of a compiled torch program: what it reads, what is hoisted out of the time loop, the loop, and what it gives.

All that a pass reads and gives are tensors by kind and name: between the two nothing asks the device, so that a graph can hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
import torch

from backends.common.arrays import Feed, check_finite, draw_noise
from backends.common.autograd import Signals, Tensors
from backends.common.recording import Trace, Wanted
from backends.common.structure import local
from backends.common.torch_elementary import ELEMENTARY
from backends.common.torch_printer import code
from backends.pytorch.compiled import CompiledNetwork
from backends.pytorch.functions import matrices, over_time
from backends.pytorch.groups import Arrival, Functions, Group, drive, due
from backends.pytorch.state import Beginning, Ending, past_spikes
from backends.pytorch.time import Rows, aligned, aligned_steps, in_time, one_after_another, total
from neuro.compiler.step import Couple, Update
from neuro.language.mangling import mangled, unmangled
from neuro.state import State

Kinds = Mapping[str, Mapping[str, torch.Tensor]]


def read(compiled: CompiledNetwork, values: Tensors, feed: Feed, wanted: Wanted) -> dict[str, dict[str, torch.Tensor]]:
    """All tensors that a pass reads. values: of the parameters."""
    storage = compiled.storage
    rare = {o.every for o in compiled.step.operations if isinstance(o, Update) and o.every > 1}
    clock = torch.arange(feed.start, feed.start + feed.steps, dtype=torch.float64)
    found = {
        "values": {local(*n.split(".", 1)): v for n, v in values.items()},
        "inputs": dict(feed.arrays),
        "noise": {
            local(*n.split(".", 1)): storage.of(v).transpose(0, 1)
            for n, v in draw_noise(compiled.network, feed).items()
        },
        "times": {"t": storage.of(clock * compiled.step.dt)} | {due(n): storage.as_it_is(clock % n == 0) for n in rare},
        "chosen": {n: storage.as_it_is(t.index) for n, t in wanted.traces.items() if t.index is not None},
    }
    if feed.state is not None:
        before = Beginning.of(feed.state, storage)
        found |= {"before": dict(before.values), "past": dict(before.spikes)}
    return found


class Watched:
    """What is recorded of one variable, while it is collected. index: of what is chosen of it."""

    def __init__(self, trace: Trace, lead: tuple[int, ...], index: torch.Tensor | None) -> None:
        self.trace, self.lead, self.index, self.found = trace, lead, index, list[torch.Tensor]()

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

    def __init__(self, compiled: CompiledNetwork, given: Kinds, feed: Feed, wanted: Wanted, every: int) -> None:
        """given: see `read`; of the feed itself only its sizes are looked at."""
        self.compiled, self.feed, self.every, self.wanted = compiled, feed, every, wanted
        self.values, self.inputs = given["values"], given["inputs"]
        self.clock = {n: times.unbind(0) for n, times in given["times"].items()}
        self.spikes: dict[str, torch.Tensor] = {n: self.inputs[n] for n in compiled.step.sources}
        self.noise = dict(given["noise"])
        self.noise |= {local(c.name, count): self.inputs[n] for c in compiled.step.cells for count, n in c.counts}
        chosen = given["chosen"]
        self.traces = {
            local(t.owner, t.variable): Watched(t, feed.lead, chosen.get(n)) for n, t in wanted.traces.items()
        }
        self.before = Beginning(given["before"], given["past"]) if "before" in given else None
        self.sizes = {c.name: c.size for c in compiled.step.cells} | dict(compiled.step.sources)
        self.final: dict[str, torch.Tensor] = {}
        self.states: dict[str, torch.Tensor] = {}
        self.sums: dict[str, torch.Tensor] = {}
        self.lost: dict[str, torch.Tensor] = {}

    def __call__(self) -> dict[str, dict[str, torch.Tensor]]:
        """The pass. Gives spikes and traces as Signals has them, what Ending needs, and where states weren't finite."""
        for group, functions in zip(self.compiled.groups, self.compiled.functions, strict=True):
            self.group(group, functions)
        finite = [torch.isfinite(v).all() for v in self.states.values() if torch.is_floating_point(v)]
        return {
            "spikes": {c.name: self.spikes[c.name].movedim(0, -2) for c in self.compiled.step.cells if c.spikes},
            "traces": {n: self.traces[local(t.owner, t.variable)].whole(self) for n, t in self.wanted.traces.items()},
            "states": self.states,
            "sums": self.sums,
            "past": dict(past_spikes(self.compiled.step, self.spikes, self.before)),
            "lost": self.lost,
            "finite": {"all": torch.stack(finite).all()} if finite else {},
        }

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
            value = over_time(
                spikes, matrix, synapses.kind, feedback, round_=self.compiled.storage.products is not None
            )
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
        streams += [self.clock[n] for n in group.due]
        zeros = tuple(self.zeros(self.sizes[n]) for n in group.populations)
        fired = {n: self.store(n) for n in group.spiking}
        history = [self.arriving(a, fired) for a in group.arrivals]
        states, count, spiking = tuple(self.initial(group)), len(group.states), len(group.spiking)
        watched = [(self.traces[n], count + spiking + i) for i, n in enumerate(group.observed) if n in self.traces]
        synaptic = {n for n, t in self.traces.items() if t.trace.synaptic}
        watched += [(self.traces[n], i) for i, n in enumerate(group.states) if n in synaptic]
        derived = [(self.traces[n], i) for i, n in enumerate(group.derived) if n in self.traces]
        step, times = functions.step, self.clock["t"]
        never = self.compiled.storage.count(self.feed.steps)
        lost = {group.states.index(n): never for n in group.overwritten}  # the first step that isn't finite
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
        self.lost |= {group.states[i]: first for i, first in lost.items()}
        self.spikes |= {name: torch.stack(z) for name, z in fired.items() if isinstance(z, list)}
        self.states |= dict(zip(group.states, states, strict=True))
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


def signals(compiled: CompiledNetwork, feed: Feed, wanted: Wanted, found: Kinds) -> Signals:
    """What a pass gave. Raises RunError where a state wasn't finite at the end of a step, whatever became of it."""
    for name, first in found["lost"].items():
        k = int(first.min())
        if k < feed.steps:
            _, owner, *variable = unmangled(name)
            where = np.where(first.cpu().numpy() > k, 0.0, np.nan)
            check_finite(owner, mangled(*variable), where, feed.start + k, feed)
    states = found["states"]
    if not all(bool(all_) for all_ in found["finite"].values()):  # one question to a device
        for name, value in states.items():
            _, owner, *variable = unmangled(name)
            last = feed.start + feed.steps - 1
            check_finite(owner, mangled(*variable), value.detach().cpu().numpy(), last, feed)
    weights = {f"{s.name}.w": local(s.name, "w") for s in compiled.step.synapses if "w" in s.states}
    final = {name: states[key] for name, key in weights.items() if compiled.declared.get(name) is not None}
    header = State(compiled.step.dt, feed.start + feed.steps, feed.lead, feed.trial)
    ending = Ending(compiled.network, header, states, found["sums"], found["past"])
    return Signals(wanted.fired(found["spikes"]), found["traces"], final, ending.state, wanted.chosen)


def _synapse_value(couple: Couple, values: Tensors, dt: float) -> Any:
    """A static coupling's amount a synapse, from the parameter tensors."""
    from neuro.language.symbolic import symbol

    expr = couple.factors.synapse if couple.factors is not None else couple.value
    table = {s: symbol(local(couple.projection, s.name)) for s in expr.free_symbols if s.name != "dt"}
    source = code(expr.xreplace(table | {symbol("dt"): sp.Float(repr(dt), 17)}))
    return eval(source, dict(ELEMENTARY), {str(s): values[str(s)] for s in table.values()})  # source comes from sympy

"""value_and_grad for many calls of one form: arrays, pointers and what a kernel's text decides are made once.

A call of value_and_grad costs a millisecond however small the network is. Where the kernel takes less, as for a few dozen rate units
over some dozen steps, that is nearly all of it. Here a call writes the numbers into arrays that the kernel already knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backends.common.arrays import Feed
from backends.common.autograd import Signals, scalar
from backends.common.options import names_of
from backends.common.recording import check_record
from backends.common.simulator import feed_of
from backends.common.values import following, given_parameters, known
from backends.native.autograd import constant_value
from backends.native.calls import Call
from backends.native.compiled import CompiledNetwork
from backends.native.constants import shape_of
from backends.native.layout import Arrays
from backends.native.recording import places
from backends.native.state import Ending, beginning
from neuro.caching import per_object
from neuro.language.mangling import mangled
from neuro.protocols import Inputs, Parameters, Record, Request
from neuro.state import State

Array = npt.NDArray[Any]


@per_object
def graded(compiled: CompiledNetwork) -> bool:
    """Whether a network only holds and sends numbers: no spikes, no noise, no synapse that changes, no way back but its own."""
    step, backward = compiled.step, compiled.backward
    return (
        not step.sources
        and not any(c.spikes or c.noise or c.counts for c in step.cells)
        and not any(s.states for s in step.synapses)
        and not backward.detached
        and not backward.feedback
    )


class Prepared:
    """What `NativeProgram.prepared` gives. Not for two threads at once: its calls share arrays."""

    def __init__(self, compiled: CompiledNetwork, wrt: Sequence[str], record: Record, steps: int, batch: int) -> None:
        self.compiled, self.steps, self.batch = compiled, steps, batch
        self.wrt = names_of("wrt", wrt, next(iter(compiled.declared), "population.parameter"))
        for name in self.wrt:
            known(name, compiled.declared, "parameter")
        self.wanted = wanted = check_record(compiled.network, record, 1)
        training = compiled.training(frozenset(self.wrt), frozenset())
        self.defaults = {n: p.value for n, p in compiled.declared.items()}
        self.executable = executable = compiled.executable(compiled.recorded(wanted), batch, training)
        self.table = executable.constants
        alone = not following(compiled.declared, self.wrt)
        self.fits = (
            alone and graded(compiled) and len(executable.spans(steps)) == 1 and all(map(self._plain, self._moving()))
        )
        if self.fits:
            self._bind()

    def _moving(self) -> list[str]:
        """Constants whose gradients are asked for."""
        return [n for n in self.executable.constants_read if self.table.parameters_of(n) & set(self.wrt)]

    def _plain(self, name: str) -> bool:
        """Whether a constant is a parameter as it stands, in its order: then its gradient is the parameter's."""
        constant, parameters = self.table.table[name], self.table.parameters_of(name)
        if len(parameters) != 1 or not constant.expr.is_Symbol:
            return False
        declared = self.compiled.declared[next(iter(parameters))]
        owner = constant.owner
        own = declared.name.partition(".")[0] == owner and owner not in self.compiled.order and declared.mask is None
        return own and declared.shape == shape_of(self.compiled.step, constant)

    def _bind(self) -> None:
        compiled, executable = self.compiled, self.executable
        feed = Feed(self.steps, self.batch, {})
        first = compiled.constants(executable, {}, None)
        self.constants = {n: np.array(first[n], compiled.real) for n in executable.constants_read}
        self.currents = {
            i.name: np.empty((self.batch, self.steps, i.size), compiled.real) for i in compiled.network.inputs
        }
        self.begin = np.zeros((self.batch, executable.ends.values.length), compiled.real)
        given: Arrays = {**compiled.fixed, **self.constants, **places(self.wanted, compiled.order)}
        given |= {mangled("current", n): a for n, a in self.currents.items()}
        given |= {mangled("channels", n): np.array([a.shape[2]]) for n, a in self.currents.items()}
        given[mangled("begin", "values")] = self.begin
        self.run, forth = executable.begun(given, feed, 1, compiled.threads, [(0, self.steps)], kept=False)
        arrays, shapes = self.run.arrays, executable.kernel.layout.shapes(executable.numbers(self.run))
        self.fresh = [(n, executable.places[n], shapes[n]) for n in executable.left_behind if n in arrays]
        self.fresh += [(r.name, executable.places[r.name], shapes[r.name]) for r in executable.kernel.record]
        self.sums = {n: np.zeros(shapes[n], compiled.real) for n in shapes if n.startswith(f"{mangled('G', '')}")}
        self.turned = {
            n: np.empty(self.constants[n.partition("__")[2]].T.shape, compiled.real)
            for n in executable.places if n.startswith(mangled("turned", ""))
        }  # fmt: skip
        self.strides = {r.name: np.zeros(3, np.int_) for r in executable.kernel.record}
        back = {mangled("strides", n): a for n, a in self.strides.items()}
        back |= {mangled("D", n): np.zeros(1, compiled.real) for n in self.strides}
        backward = executable.bound("backward", self.run, {**arrays, **self.turned, **back, **self.sums}, kept=False)
        assert isinstance(forth, Call)  # both on the host
        assert isinstance(backward, Call)
        self.forth, self.back = forth, backward
        self.direct = {n: next(iter(self.table.parameters_of(n))) for n in self.constants if self._plain(n)}
        slopes = {mangled("G", n): self.direct[n] for n in self._moving()}
        self.slopes = [(n, parameter) for n, parameter in slopes.items() if n in self.sums]
        self.changed: set[str] = set()  # parameters that some call gave
        self.left: tuple[State, State] | None = None  # by the last call, if somebody asked: in tensors, and in arrays

    def __call__(
        self, loss: Callable[[Any], Any], parameters: Parameters | None, inputs: Inputs, state: State | None = None
    ) -> tuple[float, dict[str, Array]]:
        """See NativeProgram.value_and_grad."""
        compiled = self.compiled
        values = given_parameters(compiled.declared, parameters, None)
        feed = self._feed(values, inputs, state)
        self._write(values, feed)
        arrays = self._forward(feed)
        traces = {
            n: torch.from_numpy(
                arrays[mangled("record", t.owner, t.variable)].reshape(self.batch, self.steps, *t.shape)
            )
            for n, t in self.wanted.traces.items()
        }
        leaves = {n: t.requires_grad_() for n, t in traces.items()}

        def end() -> State:
            found = Ending.of(compiled, self.executable, feed, arrays, {}).state()
            shown = found.each(lambda a: torch.from_numpy(np.ascontiguousarray(a)))
            self.left = shown, found
            return shown

        value = scalar(loss, Signals({}, leaves, {}, end, self.wanted.chosen))
        slopes: Sequence[torch.Tensor | None] = [None] * len(leaves)
        if value.requires_grad:
            slopes = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        return float(value.detach()), self._backward(feed, dict(zip(leaves, slopes, strict=True)))

    def _feed(self, values: Parameters, inputs: Inputs, state: State | None) -> Feed:
        """Everything from outside, checked, but for a state that the last call left."""
        own = None if self.left is None or state is not self.left[0] else self.left[1]
        asked = Request(values, inputs, steps=self.steps, batch=self.batch, state=state if own is None else None)
        feed = feed_of(asked, self.compiled.network, events=True)
        return feed if own is None else replace(feed, state=own, trial=own.trial)

    def _write(self, values: Mapping[str, Array], feed: Feed) -> None:
        """The numbers of one call, into the kernel's arrays."""
        compiled = self.compiled
        self.changed |= set(values)
        every = {**self.defaults, **values}
        for name, array in self.constants.items():
            if name in self.direct:
                array[...] = every[self.direct[name]]
            elif self.table.parameters_of(name) & self.changed:
                tensors = {
                    n: torch.tensor(every[n], dtype=compiled.memory.storage.dtype)
                    for n in self.table.parameters_of(name)
                }
                formulas = self.executable.formulas
                array[...] = constant_value(compiled, self.table.table[name], tensors, formulas).numpy()
        for name, array in self.turned.items():
            array[...] = self.constants[name.partition("__")[2]].T
        for name, array in self.currents.items():
            array[...] = feed.arrays[name]
        for array in beginning(compiled, self.executable, feed.state).values():
            if array.size:
                self.begin[...] = array

    def _forward(self, feed: Feed) -> Arrays:
        """What the run leaves, in arrays of its own."""
        found: Arrays = {}
        for name, place, shape in self.fresh:
            found[name] = array = np.empty(shape, self.compiled.real)
            self.forth.put(place, array)
        self.forth.begin(feed.start, resumed=feed.state is not None)
        self.compiled.check(self.executable.finish(self.forth, (0, self.steps), []), feed)
        return found

    def _backward(self, feed: Feed, slopes: Mapping[str, torch.Tensor | None]) -> dict[str, Array]:
        """Gradients of the parameters. slopes: of the loss by the traces."""
        compiled, real = self.compiled, self.compiled.real
        shapes = {n: compiled.declared[n].shape for n in self.wrt}
        if all(g is None for g in slopes.values()):
            return {n: np.zeros(shape, real) for n, shape in shapes.items()}
        held = []
        for name, trace in self.wanted.traces.items():
            given = slopes[name]
            shape = (self.batch, self.steps, *trace.shape)
            array = (
                np.broadcast_to(np.zeros((), real), shape) if given is None else given.numpy().astype(real, copy=False)
            )
            c_name = mangled("record", trace.owner, trace.variable)
            held.append(array)
            self.strides[c_name][...] = [n // array.itemsize for n in array.strides[:3]]
            self.back.put(self.executable.places[mangled("D", c_name)], array)
        for array in self.sums.values():
            array.fill(0)
        self.back.begin(feed.start, resumed=feed.state is not None)
        self.back(0, self.steps)
        found: dict[str, Array] = {}
        for name, parameter in self.slopes:
            lanes = self.sums[name]
            slope = lanes[0].copy() if len(lanes) == 1 else lanes.sum(axis=0)
            slope = slope.reshape(shapes[parameter]) if shapes[parameter] else slope.sum()
            found[parameter] = found[parameter] + slope if parameter in found else np.asarray(slope)
        return {n: found[n] if n in found else np.zeros(shape, real) for n, shape in shapes.items()}

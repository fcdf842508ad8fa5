"""A kernel as one torch.autograd.Function: constants in, spikes and traces out; its backward is the kernel's adjoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backends.common.arrays import Feed
from backends.common.autograd import Signals, as_tensor
from backends.common.recording import check_record
from backends.common.simulator import Request
from backends.common.torch_elementary import ELEMENTARY
from backends.common.torch_printer import code
from backends.common.values import given_parameters, named
from backends.native.constants import Constant, lookup, shape_of
from backends.native.executable import Arrays, Executable, Run
from backends.native.recording import places
from backends.native.resuming import Ending
from neuro.compiler.step import Cells
from neuro.events import Events
from neuro.language.mangling import mangled, unmangled
from neuro.language.symbolic import symbol
from neuro.protocols import UnsupportedError
from neuro.state import PARTS, State

if TYPE_CHECKING:
    from backends.native.program import NativeProgram


@dataclass
class _Call:
    """One run. names: C names of the tensors given, in order. outputs: C names of what it gave, in order. run: what it left."""

    program: NativeProgram
    executable: Executable
    feed: Feed
    given: Arrays
    every: int
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Run | None = None

    def shape(self, name: str, arrays: Arrays) -> tuple[int, ...]:
        """Of an output; lists of spikes hold rows of steps before the run as well."""
        role, *parts = unmangled(name)
        if role != "spikes":
            return arrays[name].shape
        trials, _, size = arrays[mangled("events", *parts)].shape
        return trials, self.feed.steps, size


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = call.given | {n: t.detach().numpy() for n, t in zip(call.names, tensors, strict=True)}
        run = call.executable.forward(given, call.feed, call.every, call.program.threads)
        call.program.check(call.executable, call.feed)
        ctx.call, ctx.given, arrays = call, given, run.arrays
        ctx.shapes = [t.shape for t in tensors]
        ctx.set_materialize_grads(False)
        call.run = run
        nothing = torch.zeros((), dtype=call.program.dtype)

        def tensor(name: str) -> torch.Tensor:
            spikes = unmangled(name)[0] == "spikes"
            return nothing.expand(call.shape(name, arrays)) if spikes else torch.from_numpy(arrays[name])

        return tuple(tensor(n) for n in call.outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        call, run, real = ctx.call, ctx.call.run, ctx.call.program.real
        given: Arrays = {}
        for name, g in zip(call.outputs, gradients, strict=True):
            given[mangled("given", name)] = np.array([int(g is not None)], np.int_)
            if g is None:  # nothing, read everywhere from one number
                g = torch.zeros((), dtype=call.program.dtype).expand(call.shape(name, run.arrays))
            array = np.ascontiguousarray(g.numpy()) if unmangled(name)[0] == "final" else g.numpy()
            given[mangled("D", name)] = outside = array.astype(real, copy=False)
            given[mangled("strides", name)] = np.array(outside.strides, np.int_) // np.dtype(real).itemsize
        given |= call.program.turned(call.executable, ctx.given, call.feed)
        found = call.executable.backward(run, given)
        for op in call.executable.kernel.couples():  # feedback weights get the gradient of those that they stand for
            if op.projection in call.program.backward.feedback:
                found[mangled("G", "feedback", op.projection)] = found.get(
                    mangled("G", call.executable.kernel.matrix(op))
                )
        slopes: list[torch.Tensor | None] = [None]
        for name, shape in zip(call.names, ctx.shapes, strict=True):
            g = found.get(mangled("G", name))
            if g is None:
                slopes.append(None)
            elif unmangled(name)[0] == "current":
                slopes.append(torch.from_numpy(g if shape[2] == g.shape[2] else g.sum(axis=2, keepdims=True)))
            else:
                slopes.append(torch.from_numpy(np.asarray(g.sum() if shape == () else g.reshape(shape), real)))
        return tuple(slopes)


def forward(
    program: NativeProgram, asked: Request
) -> Signals:  # fmt: skip
    """Run under autograd. See TorchProgram.forward."""
    parameters, every = asked.parameters, asked.every
    if asked.population is not None:
        raise UnsupportedError("native", "gradients of a population of parameter sets", "it gives one set's at a time", ("torch",))  # fmt: skip
    wanted = check_record(program.merged, asked.record, every)
    arrays = given_parameters(program.declared, parameters, None)
    given = {n: as_tensor((parameters or {})[n], a, program.dtype) for n, a in arrays.items()}
    moving = {n: v for n, v in named(asked.inputs, "inputs").items() if isinstance(v, torch.Tensor) and v.requires_grad}
    refuse_graph(asked.state)
    feed = asked.feed(program.merged, events=True)
    for name in moving:
        if program.merged.input(name).kind != "current":
            raise UnsupportedError("native", f"gradients of input '{name}'", "only currents get them", ("torch",))
    wrt = frozenset(n for n, v in given.items() if v.requires_grad) if torch.is_grad_enabled() else frozenset()
    training = program.training(wrt, frozenset(moving)) if wrt or moving else None
    executable = program.executable(program.recorded(wanted), feed.batch, training)
    values = {**program.defaults, **given}
    known = program.constants(executable, {}, None)
    tensors = {
        n: _value(program, executable.constants.table[n], values, executable.formulas)
        for n in executable.constants_read if executable.constants.parameters_of(n) & set(given)
    }  # fmt: skip
    for s in program.step.synapses:
        if "w" in s.states and f"{s.name}.w" in given:
            tensors[mangled("initial", s.name, "w")] = program.in_order(s.name, values[f"{s.name}.w"])
    for name in program.backward.feedback:
        tensors[mangled("feedback", name)] = values[f"{name}.feedback"]
    tensors |= {mangled("current", n): as_tensor(v, feed.arrays[n], program.dtype) for n, v in moving.items()}
    outputs = [mangled("spikes", c.name) for c in program.step.cells if c.spikes]
    outputs += [r.name for r in executable.kernel.record]
    outputs += [mangled("final", s.name, "w") for s in program.step.synapses if "w" in s.states]
    fixed = program.inputs(feed) | known | program.beginning(executable, feed) | places(wanted, program.order)
    call = _Call(program, executable, feed, fixed, every, tuple(tensors), tuple(outputs))
    found = dict(zip(outputs, _Run.apply(call, *tensors.values()), strict=True))  # type: ignore[no-untyped-call]
    return Signals(
        _Spikes(
            {c.name: found[mangled("spikes", c.name)] for c in program.step.cells if c.spikes},
            {c.name: partial(_events, call, c) for c in program.step.cells if c.spikes},
            wanted.chosen,
        ),
        {
            n: found[mangled("record", t.owner, t.variable)].reshape(feed.batch, feed.steps // every, *t.shape)
            for n, t in wanted.traces.items()
        },
        {
            f"{s.name}.w": program.out_of_order(s, found[mangled("final", s.name, "w")])
            for s in program.step.synapses if "w" in s.states
        },
        partial(_state, call),
        wanted.chosen,
    )  # fmt: skip


def refuse_graph(state: Any) -> None:
    """Raises UnsupportedError for a state that requires gradients, while somebody records them."""
    parts = {p: getattr(state, p) for p in PARTS} if isinstance(state, State) and torch.is_grad_enabled() else {}
    for part, arrays in parts.items():
        for name, array in arrays.items():
            if isinstance(array, torch.Tensor) and array.requires_grad:
                raise UnsupportedError(
                    "native", f"gradients of the state's {part}['{name}']", "a run's first state gets none; "
                    "give state.detach()", ("torch",),
                )  # fmt: skip


def _state(call: _Call) -> State:
    """After the last step, without a graph."""
    assert call.run is not None
    events = {c.name: partial(_events, call, c) for c in call.program.step.cells if c.spikes}
    found = Ending.of(call.program, call.executable, call.feed, call.run.arrays, events).state()
    return found.each(lambda a: torch.from_numpy(np.ascontiguousarray(a)))


def _value(
    program: NativeProgram, constant: Constant, values: Mapping[str, torch.Tensor], formulas: dict[str, Any]
) -> torch.Tensor:
    """A constant as a tensor that knows its parameters, in the kernel's order of synapses. formulas: kept for next time."""
    step = program.step
    find = lookup(step, constant, values)
    if constant.name not in formulas:  # the text is made by sympy
        names = tuple(s.name for s in constant.expr.free_symbols)
        text = code(constant.expr.xreplace({symbol(n): symbol(mangled("value", n)) for n in names}))
        formulas[constant.name] = names, compile(text, constant.name, "eval")
    names, compiled = formulas[constant.name]
    found = torch.as_tensor(
        eval(compiled, dict(ELEMENTARY), {mangled("value", n): find(n) for n in names}), dtype=program.dtype
    )
    found = found.expand(shape_of(step, constant))
    synapses = next((s for s in step.synapses if s.name == constant.owner), None)
    if synapses is not None and constant.matrix and synapses.mask is not None:
        found = found * torch.as_tensor(synapses.mask)
    ordered: torch.Tensor = program.in_order(constant.owner, found)
    return ordered


class _Spikes(Mapping[str, torch.Tensor]):
    """Spikes as numbers, made when somebody asks; until then lists, and a tensor without memory that autograd knows."""

    def __init__(
        self, outputs: Mapping[str, torch.Tensor], events: Mapping[str, Callable[[], Events]], chosen: Mapping[str, Any]
    ) -> None:
        self.outputs, self.events, self.chosen = dict(outputs), events, chosen
        self.made: dict[str, torch.Tensor] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self.made:
            made: torch.Tensor = _Reveal.apply(self.outputs[name], self.events[name]())  # type: ignore[no-untyped-call]
            self.made[name] = made[..., self.chosen[name]] if name in self.chosen else made
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


def _events(call: _Call, cells: Cells) -> Events:
    """Spikes of a population; the run's arrays stay lent while somebody may ask for them."""
    assert call.run is not None
    return call.program.events(cells, call.run.arrays, call.feed)


class _Reveal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: torch.Tensor, events: Events) -> torch.Tensor:
        return torch.from_numpy(events.__array__(np.float64 if output.dtype == torch.float64 else np.float32))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None

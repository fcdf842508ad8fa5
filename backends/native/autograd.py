"""A kernel as one torch.autograd.Function: constants in, spikes and traces out; its backward is the kernel's adjoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from backends.common.arrays import Feed
from backends.common.autograd import Signals, Tensors, as_tensor
from backends.common.recording import check_record
from backends.common.storage import Storage, outside_inference
from backends.common.torch_elementary import ELEMENTARY
from backends.common.torch_printer import code
from backends.common.values import given_parameters, named, with_shared
from backends.native.compiled import CompiledNetwork
from backends.native.constants import Constant, lookup, shape_of
from backends.native.executable import Executable, Run
from backends.native.layout import Arrays
from backends.native.memory import Host
from backends.native.recording import places
from backends.native.spike_lists import history
from backends.native.state import Ending, beginning
from neuro.caching import per_object
from neuro.compiler.step import Cells
from neuro.events import Events
from neuro.language.mangling import mangled, unmangled
from neuro.language.symbolic import symbol
from neuro.protocols import Request, UnsupportedError
from neuro.state import PARTS, State


@dataclass
class _Call:
    """One run. names: C names of the tensors given, in order. outputs: C names of what it gave, in order. run: what it left."""

    compiled: CompiledNetwork
    executable: Executable
    feed: Feed
    given: Arrays
    every: int
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Run | None = None

    @property
    def storage(self) -> Storage:
        return self.compiled.memory.storage

    def shape(self, name: str, arrays: Arrays) -> tuple[int, ...]:
        """Of an output."""
        role, *parts = unmangled(name)
        if role != "spikes":
            return tuple(arrays[name].shape)
        return self.feed.batch, self.feed.steps, self.executable.kernel.size(parts[0])


@per_object
def _defaults(compiled: CompiledNetwork) -> Tensors:
    """The network's own parameters."""
    return {n: compiled.memory.storage.of(p.value) for n, p in compiled.declared.items()}


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        memory = call.compiled.memory
        given = call.given | {n: memory.of_tensor(t.detach()) for n, t in zip(call.names, tensors, strict=True)}
        run = call.executable.forward(given, call.feed, call.every, call.compiled.threads)
        call.compiled.check(run.failure, call.feed)
        ctx.call, ctx.given, arrays = call, given, run.arrays
        ctx.shapes = [t.shape for t in tensors]
        ctx.set_materialize_grads(False)
        call.run = run
        nothing = call.storage.zeros()

        def tensor(name: str) -> torch.Tensor:
            spikes = unmangled(name)[0] == "spikes"
            return nothing.expand(call.shape(name, arrays)) if spikes else memory.tensor(arrays[name])

        return tuple(tensor(n) for n in call.outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        call, run, memory = ctx.call, ctx.call.run, ctx.call.compiled.memory
        given, numbers = dict[str, Any](), dict[str, Any]()
        for name, g in zip(call.outputs, gradients, strict=True):
            numbers[mangled("given", name)] = [int(g is not None)]
            if g is None:  # nothing, read everywhere from one number
                g = call.storage.zeros().expand(call.shape(name, run.arrays))
            outside = (g.contiguous() if unmangled(name)[0] == "final" else g).to(call.storage.dtype)
            given[mangled("D", name)] = memory.of_tensor(outside)
            numbers[mangled("strides", name)] = outside.stride()
        whole = np.dtype(np.int_)
        given |= memory.given({n: (np.array(values, whole), whole) for n, values in numbers.items()})
        given |= _turned(call, ctx.given)
        found = call.executable.backward(run, given)
        for op in call.executable.kernel.couples():  # feedback weights get the gradient of those that they stand for
            if op.projection in call.compiled.backward.feedback:
                found[mangled("G", "feedback", op.projection)] = found.get(
                    mangled("G", call.executable.kernel.matrix(op))
                )
        slopes: list[torch.Tensor | None] = [None]
        for name, shape in zip(call.names, ctx.shapes, strict=True):
            g = found.get(mangled("G", name))
            if g is None:
                slopes.append(None)
            elif unmangled(name)[0] == "current":
                slopes.append(memory.tensor(g if shape[2] == g.shape[2] else g.sum(axis=2, keepdims=True)))
            else:
                slopes.append(memory.tensor(_number(g.sum()) if shape == () else g.reshape(shape)))
        return tuple(slopes)


def _number(total: Any) -> Any:
    """An array, where numpy gives a number."""
    return total if isinstance(total, torch.Tensor) else np.asarray(total)


def _turned(call: _Call, given: Arrays) -> Arrays:
    """What only the adjoint reads: matrices by their other side, input spikes as rasters. given: what the run was given."""
    memory, found = call.compiled.memory, dict[str, Any]()
    for name, role in call.executable.roles.items():
        if role not in ("turned", "raster"):
            continue
        parts = unmangled(name)[1:]
        if role == "turned":
            found[name] = memory.turned(given[mangled(*parts)])
        elif parts[0] in call.compiled.step.sources:
            events = call.feed.arrays[parts[0]]
            found[name] = memory.raster(history(call.feed, parts[0], events.shape[2]), events)
    return found


@outside_inference
def forward(compiled: CompiledNetwork, asked: Request) -> Signals:
    """Run under autograd. See TorchProgram.forward."""
    parameters, every, storage = asked.parameters, asked.every, compiled.memory.storage
    if asked.population is not None:
        raise UnsupportedError("native", "gradients of a population of parameter sets", "it gives one set's at a time", ("torch",))  # fmt: skip
    wanted = check_record(compiled.network, asked.record, every)
    numbers = with_shared(compiled.declared, parameters)
    given = {
        n: as_tensor(numbers[n], a, storage) for n, a in given_parameters(compiled.declared, numbers, None).items()
    }
    moving = {n: v for n, v in named(asked.inputs, "inputs").items() if isinstance(v, torch.Tensor) and v.requires_grad}
    begun = _beginning(compiled, asked.state)
    feed = compiled.feed(asked)
    for name in moving:
        if compiled.network.input(name).kind != "current":
            raise UnsupportedError("native", f"gradients of input '{name}'", "only currents get them", ("torch",))
    wrt = frozenset(n for n, v in given.items() if v.requires_grad) if torch.is_grad_enabled() else frozenset()
    training = compiled.training(wrt, frozenset(moving), frozenset(begun)) if wrt or moving or begun else None
    executable = compiled.executable(compiled.recorded(wanted), feed.batch, training)
    values = {**_defaults(compiled), **given}
    known = compiled.constants(executable, {}, None)
    tensors = {
        n: constant_value(compiled, executable.constants.table[n], values, executable.formulas)
        for n in executable.constants_read if executable.constants.parameters_of(n) & set(given)
    }  # fmt: skip
    known = known | compiled.each(executable, tensors)
    for s in compiled.step.synapses:
        if "w" in s.states and f"{s.name}.w" in given:
            tensors[mangled("initial", s.name, "w")] = compiled.in_order(s.name, values[f"{s.name}.w"])
    for name in compiled.backward.feedback:
        tensors[mangled("feedback", name)] = values[f"{name}.feedback"]
    tensors |= {mangled("current", n): as_tensor(v, feed.arrays[n], storage) for n, v in moving.items()}
    tensors |= {mangled("state", *n.split(".")): v for n, v in begun.items()}
    outputs = [mangled("spikes", c.name) for c in compiled.step.cells if c.spikes]
    outputs += [r.name for r in executable.kernel.record]
    outputs += [mangled("final", s.name, "w") for s in compiled.step.synapses if "w" in s.states]
    fixed = compiled.inputs(feed) | known | beginning(compiled, executable, feed.state) | places(wanted, compiled.order)
    call = _Call(compiled, executable, feed, fixed, every, tuple(tensors), tuple(outputs))
    found = dict(zip(outputs, _Run.apply(call, *tensors.values()), strict=True))  # type: ignore[no-untyped-call]
    return Signals(
        _Spikes(
            {c.name: found[mangled("spikes", c.name)] for c in compiled.step.cells if c.spikes},
            {c.name: partial(_raster, call, c) for c in compiled.step.cells if c.spikes},
            wanted.chosen,
        ),
        {
            n: found[mangled("record", t.owner, t.variable)].reshape(feed.batch, feed.steps // every, *t.shape)
            for n, t in wanted.traces.items()
        },
        {
            f"{s.name}.w": compiled.out_of_order(s, found[mangled("final", s.name, "w")])
            for s in compiled.step.synapses if "w" in s.states
        },
        partial(_state, call),
        wanted.chosen,
    )  # fmt: skip


def _beginning(compiled: CompiledNetwork, state: Any) -> Tensors:
    """The variables of a first state that require gradients, in the kernel's order. Raises UnsupportedError for its other parts."""
    if not isinstance(state, State) or not torch.is_grad_enabled():
        return {}
    moving = {
        part: {n: a for n, a in getattr(state, part).items() if isinstance(a, torch.Tensor) and a.requires_grad}
        for part in PARTS
    }
    variables = moving.pop("variables")
    for part, arrays in moving.items():
        for name in arrays:
            raise UnsupportedError(
                "native", f"gradients of the state's {part}['{name}']", "of a first state, variables alone get them; "
                "give state.detach()", ("torch",),
            )  # fmt: skip
    return {n: compiled.in_order(n.partition(".")[0], compiled.memory.storage.of(v)) for n, v in variables.items()}


def _state(call: _Call) -> State:
    """After the last step, without a graph."""
    assert call.run is not None
    events = {c.name: partial(_events, call, c) for c in call.compiled.step.cells if c.spikes}
    found = Ending.of(call.compiled, call.executable, call.feed, call.run.arrays, events).state()
    return found.each(lambda a: call.storage.as_it_is(np.ascontiguousarray(a)))


def constant_value(
    compiled: CompiledNetwork, constant: Constant, values: Mapping[str, torch.Tensor], formulas: dict[str, Any]
) -> torch.Tensor:
    """A constant as a tensor that knows its parameters, in the kernel's order of synapses. formulas: kept for next time."""
    step, memory = compiled.step, compiled.memory
    find = lookup(step, constant, values, memory.held)
    if constant.name not in formulas:  # the text is made by sympy
        names = tuple(s.name for s in constant.expr.free_symbols)
        text = code(constant.expr.xreplace({symbol(n): symbol(mangled("value", n)) for n in names}))
        formulas[constant.name] = names, compile(text, constant.name, "eval")
    names, formula = formulas[constant.name]
    value = eval(formula, dict(ELEMENTARY), {mangled("value", n): find(n) for n in names})
    found = memory.storage.of(value)
    found = found.expand(shape_of(step, constant))
    synapses = next((s for s in step.synapses if s.name == constant.owner), None)
    if synapses is not None and constant.matrix and synapses.mask is not None:
        found = found * torch.as_tensor(memory.held(("mask", synapses.name), synapses.mask))
    ordered: torch.Tensor = compiled.in_order(constant.owner, found)
    return ordered


class _Spikes(Mapping[str, torch.Tensor]):
    """Spikes as numbers, made when somebody asks; until then lists, and a tensor without memory that autograd knows."""

    def __init__(
        self, outputs: Mapping[str, torch.Tensor], rasters: Mapping[str, Callable[[], torch.Tensor]], chosen: Mapping[str, Any]
    ) -> None:  # fmt: skip
        self.outputs, self.rasters, self.chosen = dict(outputs), rasters, chosen
        self.made: dict[str, torch.Tensor] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self.made:
            made: torch.Tensor = _Reveal.apply(self.outputs[name], self.rasters[name]())  # type: ignore[no-untyped-call]
            self.made[name] = made[..., self.chosen[name]] if name in self.chosen else made
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


def _events(call: _Call, cells: Cells) -> Events:
    """Spikes of a population; the run's arrays stay lent while somebody may ask for them."""
    assert call.run is not None
    return call.compiled.events(cells, call.run.arrays, call.feed)


def _raster(call: _Call, cells: Cells) -> torch.Tensor:
    """The same as numbers, where the kernel ran."""
    assert call.run is not None
    memory, arrays = call.compiled.memory, call.run.arrays
    if isinstance(memory, Host):
        return torch.from_numpy(_events(call, cells).__array__(call.compiled.real))
    return memory.spikes(arrays[mangled("words", cells.name)], cells.size, call.feed.steps)


class _Reveal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output: torch.Tensor, raster: torch.Tensor) -> torch.Tensor:
        return raster

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None

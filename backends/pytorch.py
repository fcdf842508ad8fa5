"""torch: runs the rendered step under autograd. The compiled network is a function of tensors, or an nn.Module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backends import surrogates
from backends.arrays import Feed, check_finite, check_inputs, check_parameters, check_record, draw_noise, with_lead
from backends.torch_functions import FUNCTIONS, matrices, over_time
from backends.torch_groups import Arrival, Group, delays_of, drive_name, local
from backends.torch_printer import code
from backends.torch_render import render
from neuro.lowering import lower
from neuro.model import Network
from neuro.parameters import initial_state
from neuro.parameters import parameters as declared_parameters
from neuro.protocols import Capabilities, Inputs, Parameters, Recording, UnsupportedError
from neuro.receptors import without_receptors
from neuro.semantics import Semantics, semantics
from neuro.step import Couple, Step, Threshold

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Signals:
    """What a differentiable run gave: spikes (0.0 or 1.0) and traces, [batch, time, neuron]; see Recording."""

    spikes: dict[str, torch.Tensor] = field(default_factory=dict)
    traces: dict[str, torch.Tensor] = field(default_factory=dict)
    final: dict[str, torch.Tensor] = field(default_factory=dict)


class TorchProgram:
    """See neuro.protocols.Program. `source` is the generated code."""

    capabilities = Capabilities(gradients=True, plasticity=True, populations=True)

    def __init__(self, network: Network, dtype: str, surrogate: str, detach_reset: bool, compile_step: bool) -> None:
        self.network = network
        self.dtype: torch.dtype = getattr(torch, dtype)
        self._merged = without_receptors(network)
        self._declared = declared_parameters(network)
        self.step: Step = lower(network)
        shapes = {name: p.shape for name, p in self._declared.items()}
        self.groups = render(self.step, shapes, detach_reset=detach_reset)
        scales = margin_scales(self.step, self._merged)
        self.semantics: Semantics = semantics(network, dtype).for_training(surrogate, scales, detach_reset)
        self.source = "\n\n".join(g.source for g in self.groups)
        self._functions = [self._load(g, surrogates.get(surrogate), scales, compile_step) for g in self.groups]
        self._defaults = {n: torch.as_tensor(p.value, dtype=self.dtype) for n, p in self._declared.items()}
        self._initial = {
            local(*n.split(".", 1)): torch.as_tensor(v, dtype=self.dtype) for n, v in initial_state(network).items()
        }
        own = {local(*n.split(".", 1)): p.shape for n, p in self._declared.items()}
        self.shapes = own | {n: tuple(v.shape) for n, v in self._initial.items()}

    @staticmethod
    def _load(
        group: Group, spike: surrogates.Spike, scales: Mapping[str, float], compile_step: bool
    ) -> tuple[Any, Any]:
        namespace: dict[str, Any] = dict(group.functions)
        for name in group.spiking:
            namespace[f"{name}__spike_strict"] = lambda m, s=1 / scales[name]: spike(m * s)
            namespace[f"{name}__spike_inclusive"] = lambda m, s=scales[name]: _inclusive(spike, m, s)
        exec(compile(group.source, f"<step of {', '.join(group.populations)}>", "exec"), namespace)
        step = torch.compile(namespace["step"]) if compile_step else namespace["step"]
        return namespace["constants"], step

    # -- running -------------------------------------------------------------------------------------------

    def run(
        self,
        parameters: Parameters | None = None,
        inputs: Inputs | None = None,
        record: Sequence[str] = (),
        *,
        steps: int | None = None,
        batch: int | None = None,
        every: int = 1,
        trial: int = 0,
        population: int | None = None,
    ) -> Recording:
        """See Program.run."""
        check_parameters(self._merged, parameters, population)
        with torch.no_grad():
            found = self.forward(
                {n: torch.as_tensor(v, dtype=self.dtype) for n, v in (parameters or {}).items()}, inputs, record,
                steps=steps, batch=batch, every=every, trial=trial, population=population,
            )  # fmt: skip
        return Recording(
            dt=self.step.dt,
            spikes={n: s.numpy() > 0 for n, s in found.spikes.items()},
            traces={n: t.numpy() for n, t in found.traces.items()},
            every=every,
            final={n: t.numpy() for n, t in found.final.items()},
        )

    def forward(
        self,
        parameters: Tensors | None = None,
        inputs: Mapping[str, Any] | None = None,
        record: Sequence[str] = (),
        *,
        steps: int | None = None,
        batch: int | None = None,
        every: int = 1,
        trial: int = 0,
        population: int | None = None,
    ) -> Signals:
        """Run under autograd. parameters: those to replace, SI, this program's dtype. inputs: arrays or tensors
        [batch, time, channel]; tensors that require gradients get them. The rest as in Program.run. Raises RunError.
        """
        check_record(self._merged, record, every)
        values = {**self._defaults, **self._tensors(parameters or {}, population)}
        feed = self._feed(inputs or {}, steps, batch, trial, population)
        run = _Run(self, values, feed, tuple(record), every, trial)
        for group, functions in zip(self.groups, self._functions, strict=True):
            run.group(group, *functions)
        return run.signals()

    def _tensors(self, given: Tensors, population: int | None = None) -> dict[str, torch.Tensor]:
        """The given parameters in this program's dtype; with a population, shaped by `with_lead`."""
        found = {}
        for name, value in given.items():
            shape = (population or 1, *self._declared[name].shape) if name in self._declared else ()
            if not shape or tuple(value.shape) != (shape if population else shape[1:]):
                check_parameters(
                    self._merged, {name: np.zeros(value.shape)}, population
                )  # raises the error that names it
            value = value.to(self.dtype)
            found[name] = value.reshape(with_lead(self._merged, name, shape)) if population else value
        return found

    def _feed(
        self, inputs: Mapping[str, Any], steps: int | None, batch: int | None, trial: int, population: int | None
    ) -> Feed:
        plain = {n: v.detach().numpy() if isinstance(v, torch.Tensor) else v for n, v in inputs.items()}
        feed = check_inputs(
            self._merged, plain, steps=steps, batch=batch, trial=trial, population=population, convert=False
        )
        tensors = {
            n: inputs[n] if isinstance(inputs.get(n), torch.Tensor) else torch.from_numpy(a)
            for n, a in feed.arrays.items()
        }
        arrays: Any = {n: t.to(self.dtype).transpose(0, 1) for n, t in tensors.items()}
        return Feed(feed.steps, feed.batch, arrays, population)

    # -- gradients -----------------------------------------------------------------------------------------

    def value_and_grad(
        self,
        loss: Callable[[Signals], torch.Tensor],
        parameters: Parameters,
        inputs: Inputs,
        wrt: Sequence[str],
        record: Sequence[str] = (),
        **options: Any,
    ) -> tuple[float, dict[str, npt.NDArray[Any]]]:
        """Loss and its gradients with respect to the named parameters, SI. loss: of Signals, a scalar tensor."""
        tensors = {n: torch.tensor(np.asarray(v), dtype=self.dtype) for n, v in parameters.items()}
        for name in wrt:
            if name not in tensors:
                tensors[name] = self._tensors(
                    {name: self._defaults[name]} if name in self._defaults else {name: torch.zeros(())}
                )[name].clone()
            tensors[name].requires_grad_()
        value = loss(self.forward(tensors, inputs, record, **options))
        grads = torch.autograd.grad(value, [tensors[n] for n in wrt], allow_unused=True)
        found = {
            n: np.zeros(tensors[n].shape) if g is None else g.numpy().copy() for n, g in zip(wrt, grads, strict=True)
        }
        return float(value.detach()), found

    def module(self, trainable: Sequence[str] | None = None) -> TorchModule:
        """An nn.Module for a user's own loop; trainable: parameter names (default: all weights)."""
        return TorchModule(self, trainable)


class TorchModule(torch.nn.Module):
    """A compiled network with its trainable parameters, free of bounds: see neuro.learning.parametrisation."""

    def __init__(self, program: TorchProgram, trainable: Sequence[str] | None = None) -> None:
        super().__init__()
        from neuro.learning.parametrisation import Parametrisation

        declared = declared_parameters(program.network)
        chosen = [n for n in declared if n.endswith(".w")] if trainable is None else list(trainable)
        self.program = program
        self.parametrisation = Parametrisation.of(declared, chosen)
        free = self.parametrisation.free(dtype=program.dtype)
        self._keys = {name: name.replace(".", "__") for name in free}
        self.free = torch.nn.ParameterDict({self._keys[n]: torch.nn.Parameter(t.detach()) for n, t in free.items()})

    def forward(self, inputs: Mapping[str, Any], record: Sequence[str] = (), **options: Any) -> Signals:
        """See TorchProgram.forward."""
        return self.program.forward(self.values(), inputs, record, **options)

    def values(self) -> dict[str, torch.Tensor]:
        """The trained parameters, SI."""
        return self.parametrisation.values({name: self.free[key] for name, key in self._keys.items()})


class _Run:
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
            owner, _, variable = name.partition("__")
            if variable == "left":
                found.append(torch.zeros(*self.feed.lead, sizes[owner], dtype=torch.long))
            elif variable.endswith("__pending"):
                found.append(self.zeros(sizes[owner]))
            else:
                value = self.values[name] if name in self.values else self.program._initial[name]
                found.append(torch.broadcast_to(value, (*self.feed.lead, *self.program.shapes[name])))
        return found

    def drives(self, group: Group) -> dict[str, Sequence[torch.Tensor]]:
        """What comes from outside the group, computed for all steps at once: one [batch, neuron] a step."""
        parts: dict[str, list[tuple[int, torch.Tensor]]] = {}
        for couple in group.hoisted:
            parts.setdefault(drive_name(couple), []).extend(self.hoisted(couple))
        sizes = {local(c.name, v): c.size for c in self.program.step.cells for v in c.inputs}
        for name, source in group.currents:
            current = self.inputs[source].expand(*self.inputs[source].shape[:2], sizes[name.removesuffix("__drive")])
            parts.setdefault(name, []).append((0, current))
        return {name: self.in_time(found) for name, found in parts.items()}

    def in_time(self, parts: Sequence[tuple[int, torch.Tensor]]) -> Sequence[torch.Tensor]:
        """Sum of sequences that begin some steps late."""
        if len(parts) == 1:
            late, values = parts[0]
            return [torch.zeros_like(values[0])] * late + list(values.unbind(0))[: self.feed.steps - late]
        padded = [torch.cat([torch.zeros_like(v[:late]), v[: len(v) - late]]) for late, v in parts]
        return torch.stack(padded).sum(0).unbind(0)

    def hoisted(self, couple: Couple) -> list[tuple[int, torch.Tensor]]:
        """One (steps late, [time, batch, neuron]) a delay."""
        step = self.program.step
        synapses = step.projection(couple.projection)
        spikes = self.spikes[synapses.pre]
        later = 1 if couple.target in step.population(couple.population).inputs else 0
        amount = _synapse_value(couple, self.values, step.dt)
        found = []
        for delay, matrix in zip(delays_of(synapses), matrices(synapses, amount), strict=True):
            found.append((min(delay + later, self.feed.steps), over_time(spikes, matrix, synapses.kind)))
        return found

    def group(self, group: Group, constants: Callable[..., Any], step: Callable[..., Any]) -> None:
        """The time loop of one group."""
        names = constants.__code__.co_varnames[: constants.__code__.co_argcount]
        fixed = constants(*(self.values[n] for n in names))
        drives = self.drives(group)
        streams = [drives[n] for n in group.drives] + [self.noise[n].unbind(0) for n in group.noise]
        zeros = tuple(self.zeros(self.program.step.population(n).size) for n in group.populations)
        history = {a.source: self.spikes[a.source].unbind(0) if a.source in self.spikes else [] for a in group.arrivals}
        nothing = {a.source: self.zeros(self._size(a.source)) for a in group.arrivals}
        fired: dict[str, list[torch.Tensor]] = {n: [] for n in group.spiking}
        history |= {n: fired[n] for n in group.spiking if n in history}
        states, count, spiking = tuple(self.initial(group)), len(group.states), len(group.spiking)
        watched = [(self.traces[n], count + spiking + i) for i, n in enumerate(group.observed) if n in self.traces]
        times = torch.arange(self.feed.steps, dtype=self.program.dtype) * self.program.step.dt
        for k in range(self.feed.steps):
            arrived = tuple(_arrived(a, history, nothing, k) for a in group.arrivals)
            found = step(*fixed, *states, *arrived, *(s[k] for s in streams), *zeros, times[k])
            states = found[:count]
            for name, z in zip(group.spiking, found[count:], strict=False):
                fired[name].append(z)
            if (k + 1) % self.every == 0:
                for trace, i in watched:
                    trace.append(found[i])
        self._finish(group, states, fired)

    def _size(self, source: str) -> int:
        sizes = {c.name: c.size for c in self.program.step.cells}
        return sizes[source] if source in sizes else self.program.step.sources[source]

    def _finish(self, group: Group, states: Sequence[torch.Tensor], fired: Mapping[str, list[torch.Tensor]]) -> None:
        for name, spikes in fired.items():
            self.spikes[name] = torch.stack(spikes)
        for name, value in zip(group.states, states, strict=True):
            owner, _, variable = name.partition("__")
            if torch.is_floating_point(value) and not bool(torch.isfinite(value).all()):
                check_finite(owner, variable, value.detach().numpy(), self.feed.steps - 1, self.feed)
            if variable == "w" and name in self.values:
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
    source = code(expr.xreplace(table | {symbol("dt"): dt}))
    return eval(source, dict(FUNCTIONS), {str(s): values[str(s)] for s in table.values()})  # source comes from sympy


def _inclusive(spike: surrogates.Spike, margin: torch.Tensor, scale: float) -> torch.Tensor:
    """Spikes also at the threshold itself; the gradient is the same."""
    z = spike(margin / scale)
    return z + ((margin >= 0).to(z.dtype) - z).detach()


def margin_scales(step: Step, network: Network) -> dict[str, float]:
    """Distance from the initial state to the threshold, the median over cells: the surrogate's unit, SI."""
    from backends.reference import evaluate

    values = {n: p.value for n, p in declared_parameters(network).items()} | initial_state(network)
    found = {}
    for op in step.operations:
        if isinstance(op, Threshold):
            inputs = {f"{op.population}.{n}": 0.0 for n in step.population(op.population).inputs}
            table = {**values, **inputs, f"{op.population}.t": 0.0, f"{op.population}.dt": step.dt}
            margin = evaluate(op.margin, lambda n, t=table, p=op.population: t[f"{p}.{n}"])  # type: ignore[misc]
            scale = float(np.median(np.abs(margin)))
            found[op.population] = scale if np.isfinite(scale) and scale > 0 else 1.0
    return found


class TorchBackend:
    """Compiles to torch."""

    name = "torch"

    def compile(
        self,
        network: Network,
        *,
        dtype: str = "float64",
        surrogate: str = "fast_sigmoid",
        detach_reset: bool = True,
        compile: bool = False,
        **options: Any,
    ) -> TorchProgram:
        """See Backend.compile. surrogate: a name in backends.surrogates. compile: torch.compile the step."""
        if options:
            known = "dtype, surrogate, detach_reset, compile"
            raise UnsupportedError(self.name, f"option '{next(iter(options))}'", f"its options are {known}")
        if dtype not in ("float32", "float64"):
            raise UnsupportedError(self.name, f"dtype '{dtype}'", "use float32 or float64")
        return TorchProgram(network, dtype, surrogate, detach_reset, compile)

"""Networks of leaky integrators as snntorch modules: Leaky, Synaptic and torch's Linear, nothing of our own between.

snntorch's default reset comes one step late; `reset_delay=False` makes it that of the same step. A module resets
again in the next step where its membrane still lies above the threshold then: a cell that starts there is refused,
and a soft reset that leaves it there stops the run. Source: Eshraghian et al. (2023), Proc IEEE 111:1016.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import snntorch
import torch
from torch import Tensor, nn

from backends.common.arrays import Feed, check_finite, check_parameters
from backends.common.options import choice
from backends.common.recording import Trace, check_record
from backends.common.simulator import Simulator, feed_of
from backends.common.starting_state import Layout, layout
from neuro.compiler.evaluation import evaluate
from neuro.compiler.resolve import resolve
from neuro.compiler.semantics import Semantics, semantics
from neuro.compiler.step import Assign, composed
from neuro.export.leaky import LeakyCell, LeakyNumbers, NotLeakyError, leaky_network
from neuro.model import Network
from neuro.protocols import Capabilities, Parameters, Recording, Request, UnsupportedError
from neuro.state import State

Array = npt.NDArray[Any]

NAME = "snntorch"
OTHERS = ("reference", "torch", "native", "brian2")


def heaviside(margin: Tensor) -> Tensor:
    """Spikes in the membrane's own precision; snntorch's surrogates return float32."""
    return (margin > 0).to(margin.dtype)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except NotLeakyError as error:
        raise UnsupportedError(NAME, f"{error.where}, {error.field}", error.why, OTHERS) from None


@dataclass(frozen=True)
class Modules:
    """The modules of one set of parameters: projection -> Linear (SI weights), population -> Leaky or Synaptic."""

    linear: Mapping[str, nn.Linear]
    neurons: Mapping[str, nn.Module]


class SnnTorchProgram(Simulator):
    """See neuro.protocols.Program. No gradients: the torch backend has them, with a surrogate of one's choice."""

    backend = NAME
    capabilities = Capabilities(delays=False, noise=False, state=False)

    def __init__(self, network: Network, dtype: str) -> None:
        self.network = network
        self.semantics: Semantics = semantics(network, dtype)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self._merged = resolve(network).network
        with _refusals():
            self.model = leaky_network(network)
            for link in self.model.links:
                if link.synapses.kind != "dense":
                    raise NotLeakyError(
                        f"projection '{link.name}'", "connectivity", "Linear joins all pairs; use AllToAll"
                    )
        self._numbers(check_parameters(self._merged, None))
        self._inlined = {
            c.name: composed(tuple(Assign(n, e) for n, e in c.subexpressions)) for c in self.model.step.cells
        }

    def _numbers(self, values: Parameters) -> dict[str, LeakyNumbers]:
        with _refusals():
            found = self.model.numbers(values)
            for name, n in found.items():
                if self.model.cells[name].reset != "none" and (n.u > n.threshold).any():
                    raise NotLeakyError(f"population '{name}'", "initial", "it starts above the threshold")
        return found

    def modules(self, parameters: Parameters | None = None) -> Modules:
        """The snntorch modules that compute this network. Raises RunError, UnsupportedError."""
        values = check_parameters(self._merged, parameters)
        return self._modules(values, self._numbers(values))

    def _modules(self, values: Parameters, numbers: Mapping[str, LeakyNumbers]) -> Modules:
        linear = {}
        for link in self.model.links:
            matrix = self.model.matrix(link, values)
            pre, post = matrix.shape
            module = nn.Linear(pre, post, bias=False, device="meta")  # draws no random numbers
            module.weight = nn.Parameter(self._tensor(matrix.T), requires_grad=False)
            linear[link.name] = module
        return Modules(linear, {n: self._neuron(self.model.cells[n], v) for n, v in numbers.items()})

    def _tensor(self, values: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values)).to(self.dtype)

    def _neuron(self, cell: LeakyCell, numbers: LeakyNumbers) -> nn.Module:
        options = {
            "beta": self._tensor(numbers.beta),
            "threshold": self._tensor(numbers.threshold),
            "reset_mechanism": cell.reset,
            "reset_delay": False,
            "spike_grad": heaviside,
        }
        if numbers.alpha is None:
            module: nn.Module = snntorch.Leaky(**options)
        else:
            module = snntorch.Synaptic(alpha=self._tensor(numbers.alpha), **options)
        snntorch.SpikingNeuron.instances.remove(module)  # its global list would keep every module alive
        return module

    def _run(self, asked: Request) -> Recording:
        """The recording's state is for other backends to go on from; this one begins at the beginning."""
        if asked.population is not None:
            raise UnsupportedError("snntorch", "option 'population'", "its modules hold one parameter set", OTHERS)
        if asked.state is not None:
            why = "its modules hold (v - rest)/gain, which a state's v gives back only up to rounding"
            raise UnsupportedError(NAME, "option 'state'", why, OTHERS)
        feed, every = feed_of(asked, self._merged), asked.every
        wanted = check_record(self._merged, asked.record, every)
        values = check_parameters(self._merged, asked.parameters)
        with torch.inference_mode():
            run = _Run(self, values, feed)
            rasters: dict[str, list[Tensor]] = {c.name: [] for c in self.model.step.cells if c.spikes}
            traces: dict[str, list[Array]] = {name: [] for name in wanted.traces}
            for k in range(feed.steps):
                spikes = run.step(k)
                for name, raster in rasters.items():
                    raster.append(spikes[name] > 0)
                if (k + 1) % every == 0:
                    for name, trace in wanted.traces.items():
                        traces[name].append(trace.of(run.read(trace.owner, trace.variable)))
        return Recording(
            dt=self.model.step.dt,
            spikes=wanted.fired({n: torch.stack(r, dim=1).numpy() for n, r in rasters.items()}),
            traces={n: np.stack(t, axis=1) if t else run.no_trace(wanted.traces[n]) for n, t in traces.items()},
            every=every,
            end=partial(run.end, layout(self._merged)),
            chosen=wanted.chosen,
        )


class _Run:
    """State of one run: tensors [batch, size]. state: what a module takes and gives, (mem,) or (syn, mem)."""

    def __init__(self, program: SnnTorchProgram, values: Parameters, feed: Feed) -> None:
        self.program, self.model, self.values, self.feed = program, program.model, values, feed
        self.numbers = program._numbers(values)
        self.modules = program._modules(values, self.numbers)
        self.inputs = {n: torch.as_tensor(a).to(program.dtype) for n, a in feed.arrays.items()}
        self.k = 0
        self.state: dict[str, tuple[Tensor, ...]] = {}
        self.arrived: dict[str, Tensor] = {}
        self.current: dict[str, Tensor] = {}
        self.spikes: dict[str, Tensor] = {}
        for name, numbers in self.numbers.items():
            mem, pending = (program._tensor(np.tile(a, (feed.batch, 1))) for a in (numbers.u, numbers.i))
            self.state[name] = (mem,) if numbers.alpha is None else (torch.zeros_like(mem), mem)
            self.arrived[name] = pending

    def step(self, k: int) -> dict[str, Tensor]:
        """Spikes of step k of all cells and inputs."""
        self.k = k
        spikes = {name: self.inputs[name][:, k] for name in self.model.step.sources}
        for name, neuron in self.modules.neurons.items():
            current = self.arrived[name]
            for source in self.model.currents.get(name, ()):
                current = current + self.inputs[source][:, k]
            spikes[name], *state = neuron(current, *self.state[name])
            self.current[name], self.state[name] = current, tuple(state)
            self._check(name, k)
        self.arrived = {name: torch.zeros_like(current) for name, current in self.current.items()}
        for link in self.model.links:
            post = link.synapses.post
            self.arrived[post] = self.arrived[post] + self.modules.linear[link.name](spikes[link.synapses.pre])
        self.spikes = spikes
        return spikes

    def _check(self, name: str, k: int) -> None:
        mem, cell, numbers = self.state[name][-1], self.model.cells[name], self.numbers[name]
        if not torch.isfinite(mem).all():
            check_finite(name, cell.voltage, mem.numpy(), k, self.feed)
        if cell.reset == "subtract" and (mem > self.program._tensor(numbers.threshold)).any():
            why = f"in step {k} '{cell.voltage}' stays above the threshold after it; snntorch would reset it again"
            raise UnsupportedError(NAME, f"population '{name}', reset", why, OTHERS)

    def read(self, owner: str, variable: str) -> Array:
        """A variable at the end of the step, SI."""
        expr = self.program._inlined[owner].get(variable)
        if expr is None:
            return self._variable(owner, variable)
        shape = (self.feed.batch, self.model.cells[owner].cells.size)
        known: dict[str, Any] = {n.partition(".")[2]: v for n, v in self.values.items() if n.startswith(f"{owner}.")}
        known |= {"t": self.k * self.model.step.dt, "dt": self.model.step.dt}
        found = evaluate(expr, lambda n: known[n] if n in known else self._variable(owner, n))
        return np.broadcast_to(found, shape).astype(self.state[owner][-1].numpy().dtype)

    def _variable(self, owner: str, variable: str) -> Array:
        cell, numbers, mem = self.model.cells[owner], self.numbers[owner], self.state[owner][-1]
        tensor = self.program._tensor
        if variable == cell.voltage:
            found = tensor(numbers.rest) + tensor(numbers.gain) * mem
        elif variable != cell.driver:
            found = torch.zeros_like(mem)
        elif numbers.alpha is None:
            found = self.current[owner]
        else:
            found = tensor(numbers.alpha) * self.state[owner][0] + self.arrived[owner]
        return found.numpy()

    def end(self, wanted: Layout) -> State:
        """After the last step, SI."""
        variables = {n: self._variable(*n.split(".", 1)).copy() for n in wanted.variables}
        sums = {
            n: self.arrived[n.partition(".")[0]].numpy().copy() for n in wanted.sums
        }  # the only input that is driven
        left = {n: self.spikes[n].numpy().astype(np.int64) for n in wanted.refractory}  # periods of one step
        return State(self.model.step.dt, self.k + 1, self.feed.lead, self.feed.trial, variables, sums, left)

    def no_trace(self, trace: Trace) -> Array:
        return np.zeros((self.feed.batch, 0, *trace.shape), next(iter(self.state.values()))[-1].numpy().dtype)


class SnnTorchBackend:
    """snntorch's own modules."""

    name = NAME

    def compile(self, network: Network, *, dtype: str = "float64", **options: Any) -> SnnTorchProgram:
        """See Backend.compile. dtype: float32 or float64."""
        if options:
            raise UnsupportedError(NAME, f"option '{next(iter(options))}'", "it has no options besides dtype")
        choice(NAME, "dtype", dtype, ("float32", "float64"))
        return SnnTorchProgram(network, dtype)

"""native: the whole time loop as one C function, built by the system's compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backends.common.arrays import Feed
from backends.common.options import at_least_one, choice
from backends.common.recording import Wanted, check_record
from backends.common.starting_state import layout
from backends.common.streaming import Session
from backends.common.structure import Backward
from backends.common.values import given_parameters
from backends.common.variants import DifferentiableSimulator
from backends.native.build import OTHERS
from backends.native.compiled import CompiledNetwork
from backends.native.devices import dialect_of
from backends.native.dialect import C, Dialect
from backends.native.executable import Executable
from backends.native.layout import Arrays
from backends.native.recording import places
from backends.native.session import NativeSession
from backends.native.state import Ending, beginning
from neuro.compiler.evaluation import evaluate
from neuro.compiler.semantics import Semantics, semantics
from neuro.events import Rasters
from neuro.language.mangling import mangled
from neuro.model import Network
from neuro.protocols import Capabilities, Inputs, Parameters, Record, Recording, Request, RunError, UnsupportedError

if TYPE_CHECKING:
    import torch

    from backends.common.autograd import NetworkModule, Signals, Tensors
    from backends.common.storage import Storage

Array = npt.NDArray[Any]


class NativeProgram(DifferentiableSimulator):
    """See neuro.protocols.Program. threads: over tiles of trials and parameter sets, and over the cells of one large trial;
    results don't depend on it, but for the last bits of gradients where cells are shared. dialect: of its kernels, which says where they run.
    """

    lists_spikes = True
    backend = "native"

    def __init__(
        self, network: Network, dtype: str, threads: int, surrogate: str, backward: Backward, dialect: Dialect = C
    ) -> None:
        super().__init__()
        self.network, self.threads, self.surrogate, self.backward = network, threads, surrogate, backward
        self.dialect = dialect
        gradients = find_spec("torch") is not None  # the kernel doesn't need it, losses and optimisers do
        self.capabilities = Capabilities(gradients=gradients, plasticity=True, populations=True)
        self.compiled = CompiledNetwork(network, dtype, threads, surrogate, backward, dialect)
        self.declared, self.step, self.real = self.compiled.declared, self.compiled.step, self.compiled.real
        self.semantics: Semantics = semantics(network, dtype).for_training(
            surrogate, self.compiled.scales, not backward.reset, backward.detached, backward.feedback
        )

    def __reduce__(self) -> tuple[type[NativeProgram], tuple[Any, ...]]:
        """Copies and other processes compile the network again, which is quick where its library is kept."""
        name = np.dtype(self.real).name
        return NativeProgram, (self.network, name, self.threads, self.surrogate, self.backward, self.dialect)

    @property
    def source(self) -> str:
        """The C text of a run that records nothing."""
        return self.compiled.executable((), 1).source

    def _run(self, asked: Request) -> Recording:
        """inputs: spikes also as neuro.events.Events."""
        compiled = self.compiled
        feed = compiled.feed(asked)
        wanted = check_record(compiled.network, asked.record, asked.every)
        values = given_parameters(self.declared, asked.parameters, asked.population)
        executable = compiled.executable(compiled.recorded(wanted), feed.batch)
        constants = compiled.constants(executable, values, asked.population)
        begun = beginning(compiled, executable, feed.state)
        given = compiled.inputs(feed) | constants | begun | places(wanted, compiled.order)
        run = executable.forward(given, feed, asked.every, self.threads)
        compiled.check(run.failure, feed)
        return self._recording(executable, run.arrays, feed, wanted, asked.every)

    def _recording(self, executable: Executable, found: Arrays, feed: Feed, wanted: Wanted, every: int) -> Recording:
        compiled, fetched = self.compiled, self.compiled.memory.fetched
        final = {
            f"{s.name}.w": compiled.out_of_order(s, fetched(found[mangled("final", s.name, "w")])).reshape(
                *feed.lead, *s.shape
            )
            for s in self.step.synapses
            if "w" in s.states
        }
        spikes = Rasters({c.name: compiled.events(c, found, feed) for c in self.step.cells if c.spikes}, feed.lead)
        past = layout(compiled.network).spikes
        left = {
            n: events.last(min(feed.steps, past[n][0] if n in past else 0)) if n in wanted.chosen else events
            for n, events in spikes.events.items()
        }
        records = feed.steps // every
        traces = {
            n: fetched(found[mangled("record", t.owner, t.variable)]).reshape(*feed.lead, records, *t.shape)
            for n, t in wanted.traces.items()
        }
        end = Ending.of(compiled, executable, feed, found, {n: partial(left.__getitem__, n) for n in left}).state
        return Recording(self.step.dt, wanted.fired(spikes), traces, every, final, end, wanted.chosen)

    def _session(self, batch: int, parameters: Parameters | None, record: Record, **options: Any) -> Session:
        if self.dialect.owners:  # step by step as runs that go on from a state
            return Session(self, batch, parameters, record, **options)
        return NativeSession(self, self.compiled, batch, parameters, record, **options)

    # -- gradients -----------------------------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensors that `forward` takes and gives."""
        return self.storage.dtype

    @property
    def storage(self) -> Storage:
        """Of this program's tensors."""
        return self.compiled.memory.storage

    def forward(
        self, parameters: Tensors | None = None, inputs: Mapping[str, Any] | None = None, record: Record = (),
        **options: Any,
    ) -> Signals:  # fmt: skip
        """Run under torch's autograd: see TorchProgram.forward. Of the state that it begins with, variables alone get gradients."""
        from backends.native.autograd import forward

        return forward(self.compiled, Request(parameters, inputs, record, **options))

    def value_and_grad(
        self, loss: Callable[[Any], Any], parameters: Parameters, inputs: Inputs, wrt: Sequence[str],
        record: Record = (), **options: Any,
    ) -> tuple[float, dict[str, Array]]:  # fmt: skip
        """Loss and its gradients with respect to the named parameters: see TorchProgram.value_and_grad."""
        from backends.common.autograd import value_and_grad

        return value_and_grad(self, loss, parameters, inputs, wrt, record, **options)

    def prepared(self, wrt: Sequence[str], record: Record = (), *, steps: int, batch: int = 1) -> Callable[..., Any]:
        """See DifferentiableSimulator. Quick where numbers alone are held and sent, and in a run of one span of steps."""
        from backends.native.prepared import Prepared

        if self.dialect.owners:
            return super().prepared(wrt, record, steps=steps, batch=batch)
        found = Prepared(self.compiled, wrt, record, steps, batch)
        return found if found.fits else super().prepared(wrt, record, steps=steps, batch=batch)

    def module(self, trainable: Sequence[str] | None = None) -> NetworkModule:
        """An nn.Module for a user's own loop; trainable: parameter names (default: all weights)."""
        from backends.common.autograd import NetworkModule

        return NetworkModule(self, trainable)

    def compiled_again(self, dtype: str | None, backward: Backward, network: Network | None = None) -> NativeProgram:
        """See DifferentiableSimulator."""
        real = dtype or np.dtype(self.real).name
        return NativeProgram(network or self.network, real, self.threads, self.surrogate, backward, self.dialect)

    def on_device(self, device: Any) -> NativeProgram:
        """See DifferentiableSimulator."""
        name = np.dtype(self.real).name
        try:
            dialect = dialect_of(device)
        except UnsupportedError as error:
            raise RunError(f"{error}; use module.to('cpu'), or compile the network for torch") from None
        return NativeProgram(self.network, name, self.threads, self.surrogate, self.backward, dialect)

    def slope(self, population: str, margin: Array) -> Array:
        """Surrogate derivative of a population's spikes with respect to their margin, SI; same shape."""
        scale = self.compiled.scales[population]
        return np.broadcast_to(evaluate(self.compiled.slope, lambda name: margin / scale) / scale, np.shape(margin))


class NativeBackend:
    """Compiles to C."""

    name = "native"

    def compile(
        self,
        network: Network,
        *,
        dtype: str = "float64",
        threads: int = 1,
        device: Any = "cpu",
        surrogate: str = "fast_sigmoid",
        surrogate_scale: float = 0.0,
        detach_reset: bool = True,
        detached: Sequence[str] = (),
        feedback: Sequence[str] = (),
        **options: Any,
    ) -> NativeProgram:
        """See Backend.compile. threads: processors. device: cpu, cuda, cuda:1, auto, or an emulation (see `devices`). The others as for torch; gradients need torch."""
        if options:
            known = "dtype, threads, device, surrogate, surrogate_scale, detach_reset, detached, feedback"
            raise UnsupportedError(self.name, f"option '{next(iter(options))}'", f"its options are {known}", OTHERS)
        choice(self.name, "dtype", dtype, ("float32", "float64"), OTHERS)
        number = at_least_one(self.name, "threads", threads, OTHERS)
        backward = Backward.of(self.name, detach_reset, detached, feedback, surrogate_scale)
        return NativeProgram(network, dtype, number, surrogate, backward, dialect_of(device))

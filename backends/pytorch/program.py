"""torch: runs the rendered step under autograd. The compiled network is a function of tensors, or an nn.Module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy.typing as npt
import torch

from backends.common.arrays import Feed, with_lead
from backends.common.autograd import NetworkModule, Signals, Tensors, as_tensor, refuse_autocast, value_and_grad
from backends.common.options import choice, flags
from backends.common.recording import check_record
from backends.common.simulator import feed_of
from backends.common.storage import CPU, Storage, device_of, outside_inference
from backends.common.streaming import GraphSession, Session
from backends.common.structure import Backward
from backends.common.values import given_parameters, with_shared
from backends.common.variants import DifferentiableSimulator
from backends.pytorch.compiled import CompiledNetwork
from backends.pytorch.graphs import Graphs, refuse
from backends.pytorch.run import ForwardPass, Kinds, read, signals
from backends.pytorch.spikes import spike
from backends.pytorch.state import arrays
from neuro.compiler.semantics import Semantics, semantics
from neuro.model import Network
from neuro.protocols import Capabilities, Inputs, Parameters, Record, Recording, Request, UnsupportedError

GRAPH = "graph"


class TorchProgram(DifferentiableSimulator):
    """See neuro.protocols.Program."""

    backend = "torch"
    capabilities = Capabilities(gradients=True, plasticity=True, populations=True)

    def __init__(
        self, network: Network, dtype: str, surrogate: str, backward: Backward, compile: bool | str, device: torch.device = CPU,
        matmul_dtype: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.backward = network, backward
        self._options = (dtype, surrogate, compile, matmul_dtype)
        self.storage = Storage(getattr(torch, dtype), device, _products(self.backend, dtype, matmul_dtype, backward))
        self.graphs: Graphs | None = None
        if compile == GRAPH:
            refuse(self.backend, self.storage, network)
            self.graphs = Graphs()
        self._spike = spike(surrogate)
        self.compiled = CompiledNetwork.of(network, backward, self.storage, self._spike, compile is True)
        self.declared, self.step = self.compiled.declared, self.compiled.step
        self.semantics: Semantics = semantics(network, dtype).for_training(
            surrogate, self.compiled.scales, not backward.reset, backward.detached, backward.feedback
        )
        self.semantics = replace(self.semantics, products=matmul_dtype or "")
        self._defaults = {n: self.storage.of(p.value) for n, p in self.declared.items()}

    @property
    def dtype(self) -> torch.dtype:
        """Of its real numbers."""
        return self.storage.dtype

    @property
    def source(self) -> str:
        """The generated code."""
        return self.compiled.source

    # -- running -------------------------------------------------------------------------------------------

    def _run(self, asked: Request) -> Recording:
        with torch.no_grad():
            found = self._forward(asked)
        return Recording(
            dt=self.step.dt,
            spikes={n: (s > 0).cpu().numpy() for n, s in found.spikes.items()},
            traces={n: t.cpu().numpy() for n, t in found.traces.items()},
            every=asked.every,
            final={n: t.cpu().numpy() for n, t in found.final.items()},
            end=None if found.end is None else partial(arrays, found.end),
            chosen=found.chosen,
        )

    def forward(
        self,
        parameters: Tensors | Parameters | None = None,
        inputs: Mapping[str, Any] | None = None,
        record: Record = (),
        **options: Any,
    ) -> Signals:
        """Run under autograd. parameters: those to replace, SI, this program's dtype. inputs: arrays or tensors
        [batch, time, channel]; tensors that require gradients get them. options: steps, batch, every, trial, population and
        state: of arrays, or another pass's `signals.state`, through which gradients go back, or don't after `detach()`.
        The rest as in Program.run. Raises RunError.
        """
        return self._forward(Request(parameters, inputs, record, **options))

    @outside_inference
    def _forward(self, asked: Request) -> Signals:
        refuse_autocast(self.storage)
        wanted = check_record(self.compiled.network, asked.record, asked.every)
        values = {**self._defaults, **self._tensors(asked.parameters, asked.population)}
        feed = self._feed(asked)
        given = read(self.compiled, values, feed, wanted)

        def run(tensors: Kinds) -> Kinds:
            return ForwardPass(self.compiled, tensors, feed, wanted, asked.every)()

        if self.graphs is None:
            return signals(self.compiled, feed, wanted, run(given))
        form = (feed.steps, feed.lead, asked.every, *(n + str(t.shape) for n, t in wanted.traces.items()))
        return signals(self.compiled, feed, wanted, self.graphs.run(form, run, given))

    def session(
        self, batch: int = 1, parameters: Any = None, record: Record = (), *, graph: bool = False, **options: Any
    ) -> Session:
        """See Program.session. graph: steps are run by `forward`, so that gradients go back to the last `session.cut()`."""
        if graph:
            return GraphSession(self, batch, parameters, record, **options)
        return super().session(batch, parameters, record, **options)

    def _tensors(self, given: Any, population: int | None) -> dict[str, torch.Tensor]:
        """The given parameters in this program's dtype; with a population, shaped by `with_lead`."""
        found, given = {}, with_shared(self.declared, given)
        for name, array in given_parameters(self.declared, given, population).items():
            value = as_tensor(given[name], array, self.storage)
            found[name] = (
                value if population is None else value.reshape(with_lead(self.compiled.network, name, array.shape))
            )
        return found

    def _feed(self, asked: Request) -> Feed:
        feed, given = feed_of(asked, self.compiled.network, convert=False), asked.inputs or {}
        tensors = {n: as_tensor(given.get(n), a, self.storage) for n, a in feed.arrays.items()}
        return replace(feed, arrays={n: t.transpose(0, 1) for n, t in tensors.items()})

    def compiled_again(self, dtype: str | None, backward: Backward, network: Network | None = None) -> TorchProgram:
        """See DifferentiableSimulator."""
        own, surrogate, compile, matmul_dtype = self._options
        return TorchProgram(
            network or self.network, dtype or own, surrogate, backward, compile, self.storage.device, matmul_dtype
        )

    def on_device(self, device: Any) -> TorchProgram:
        """See DifferentiableSimulator. Raises UnsupportedError on a device that isn't there."""
        dtype, surrogate, compile, matmul_dtype = self._options
        found = device_of(self.backend, device, self.dtype)
        return TorchProgram(self.network, dtype, surrogate, self.backward, compile, found, matmul_dtype)

    def __reduce__(self) -> tuple[type[TorchProgram], tuple[Any, ...]]:
        """Pickled as what it is compiled from: compiled again where it is read."""
        dtype, surrogate, compile, matmul_dtype = self._options
        return TorchProgram, (self.network, dtype, surrogate, self.backward, compile, self.storage.device, matmul_dtype)

    def slope(self, population: str, margin: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Surrogate derivative of a population's spikes with respect to their margin, SI; same shape."""
        x = torch.tensor(
            margin / self.semantics.surrogate_scale[population], requires_grad=True
        )  # numpy in, numpy out: no device
        (found,) = torch.autograd.grad(self._spike(x).sum(), x)
        return found.numpy() / self.semantics.surrogate_scale[population]

    # -- gradients -----------------------------------------------------------------------------------------

    def value_and_grad(
        self,
        loss: Callable[[Signals], torch.Tensor],
        parameters: Parameters,
        inputs: Inputs,
        wrt: Sequence[str],
        record: Record = (),
        **options: Any,
    ) -> tuple[float, dict[str, npt.NDArray[Any]]]:
        """Loss and its gradients with respect to the named parameters, SI. loss: of Signals, a scalar tensor.

        options: of forward, and truncate: steps after which the graph is cut: see backends.common.autograd.truncated.
        """
        return value_and_grad(self, loss, parameters, inputs, wrt, record, **options)

    def module(self, trainable: Sequence[str] | None = None) -> NetworkModule:
        """An nn.Module for a user's own loop; trainable: parameter names (default: all weights)."""
        return NetworkModule(self, trainable)


def _products(backend: str, dtype: str, asked: str | None, backward: Backward) -> torch.dtype | None:
    """What products with weights round to. Raises UnsupportedError."""
    if asked is None:
        return None
    choice(backend, "matmul_dtype", asked, ("bfloat16",))
    what = f"option 'matmul_dtype'='{asked}'"
    if dtype != "float32":
        raise UnsupportedError(
            backend, what, f"{dtype} is for comparison, where nothing is rounded to less; use dtype='float32'"
        )
    if backward.feedback:
        raise UnsupportedError(backend, what, "feedback weights are multiplied in float32; leave one of the two out")
    return torch.bfloat16


class TorchBackend:
    """Compiles to torch."""

    name = "torch"

    def compile(
        self,
        network: Network,
        *,
        dtype: str = "float64",
        surrogate: str = "fast_sigmoid",
        surrogate_scale: float = 0.0,
        detach_reset: bool = True,
        compile: bool | str = False,
        device: str | torch.device = "cpu",
        matmul_dtype: str | None = None,
        detached: Sequence[str] = (),
        feedback: Sequence[str] = (),
        **options: Any,
    ) -> TorchProgram:
        """See Backend.compile. surrogate: a name in neuro.compiler.surrogates. surrogate_scale: its unit of the margin, SI (default: each
        population's median distance from the initial state to the threshold). compile: torch.compile the step; "graph": whole passes
        as CUDA graphs, float32 on a CUDA device: the first pass of each form (shapes, what is recorded, what wants gradients) is captured, later ones replay it,
        and backward() comes before the next pass. device: where it runs, "cpu", "cuda", "cuda:1"; "auto" for a CUDA one where there is any. Inputs and parameters may be tensors there.
        matmul_dtype: "bfloat16" rounds what products with weights multiply, forward and back, and sums them in float32; parameters, states and everything else stay float32.

        detached: projections through which no gradient goes back. feedback: dense ones through which it goes back by
        weights of their own, the parameter "projection.feedback" (default: the weights; it gets their gradient).
        """
        if options:
            known = "dtype, surrogate, surrogate_scale, detach_reset, compile, device, matmul_dtype, detached, feedback"
            raise UnsupportedError(self.name, f"option '{next(iter(options))}'", f"its options are {known}")
        choice(self.name, "dtype", dtype, ("float32", "float64"))
        if not (isinstance(compile, str) and compile == GRAPH):
            flags(self.name, compile=compile)
        backward = Backward.of(self.name, detach_reset, detached, feedback, surrogate_scale)
        found = device_of(self.name, device, getattr(torch, dtype))
        return TorchProgram(network, dtype, surrogate, backward, compile, found, matmul_dtype)

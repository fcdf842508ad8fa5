"""What all programs share whose `forward` runs under torch's autograd: value_and_grad, and an nn.Module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from backends.common.options import names_of
from backends.common.storage import CPU, Storage
from backends.common.streaming import check_part, in_parts
from backends.common.values import following, given_parameters, known, named
from neuro.compiler.parameters import Parameter
from neuro.language.foreign import shown
from neuro.language.mangling import mangled
from neuro.learning.common.parametrisation import Parametrisation
from neuro.protocols import RunError
from neuro.state import State

if TYPE_CHECKING:
    from neuro.model import Network
    from neuro.protocols import Inputs, Parameters, Record

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Signals:
    """What a differentiable run gave: spikes (0.0 or 1.0) and traces, [batch, time, neuron]; see Recording.

    end: gives the state after the last step, in tensors; it is computed when somebody asks for `state`. On torch, a pass
    that goes on from it brings gradients through both; `state.detach()` cuts them: truncated backpropagation through time.
    """

    spikes: Mapping[str, torch.Tensor] = field(default_factory=dict)
    traces: Mapping[str, torch.Tensor] = field(default_factory=dict)
    final: Mapping[str, torch.Tensor] = field(default_factory=dict)
    end: Callable[[], State] | None = field(default=None, repr=False, compare=False)
    chosen: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @cached_property
    def state(self) -> State:
        """After the last step: what the next run goes on with, tensors with the graph. Raises RunError where nobody kept it."""
        if self.end is None:
            raise RunError("these signals have no state to go on with: they don't come from a run")
        return self.end()


class Differentiable(Protocol):
    """declared: the parameters, feedback weights included. storage: of its tensors."""

    network: Network

    @property
    def declared(self) -> Mapping[str, Parameter]:
        """Parameter by name, feedback weights included."""
        ...

    @property
    def storage(self) -> Storage:
        """Device and precision of its tensors."""
        ...

    @property
    def forward(self) -> Callable[..., Signals]:
        """The run as a function of tensors: see Program.run; it gives Signals."""
        ...

    def in_dtype(self, dtype: str) -> Differentiable:
        """The same program in another precision."""
        ...

    def on_device(self, device: Any) -> Differentiable:
        """The same program on another device."""
        ...


def refuse_autocast(storage: Storage) -> None:
    """Raises RunError where torch would round products to fewer bits than the network was compiled for."""
    kind = storage.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        raise RunError(
            "a compiled network keeps the precision that it was compiled with; run it outside of autocast: "
            f"with torch.autocast('{kind}', enabled=False): ..."
        )


def as_tensor(given: Any, checked: Any, storage: Storage) -> torch.Tensor:
    """What a run is given, as a tensor; one that requires gradients gets them, and one that lies on the device isn't copied
    through the host. checked: its SI array, or a tensor on a device, in the run's shape.
    """
    if isinstance(given, torch.Tensor) and (given.requires_grad or given.device == storage.device != CPU):
        return given.to_dense().to(storage.device, storage.dtype).reshape(checked.shape)
    found = checked if isinstance(checked, torch.Tensor) else torch.from_numpy(np.asarray(checked, order="C"))
    return found.to(storage.device).to(storage.dtype)  # truth values travel as bytes


def value_and_grad(
    program: Differentiable, loss: Callable[[Signals], torch.Tensor], parameters: Parameters, inputs: Inputs,
    wrt: Sequence[str], record: Record = (), *, truncate: int | None = None, **options: Any,
) -> tuple[float, dict[str, npt.NDArray[Any]]]:  # fmt: skip
    """Loss and its gradients with respect to the named parameters, SI. loss: of Signals, a scalar tensor.

    Of weights that projections share, one name alone gets the whole derivative, several get that by their own synapses each.
    truncate: steps after which the graph is cut, None for none: see `truncated`. options: of forward.
    """
    given = given_parameters(program.declared, parameters, options.get("population"))
    tensors = {n: program.storage.of(np.array(v)) for n, v in given.items()}
    wrt = names_of("wrt", wrt, next(iter(program.declared), "population.parameter"))
    for name in wrt:
        if name not in program.declared:
            known(name, program.declared, "parameter")
        if name not in tensors:
            tensors[name] = program.storage.of(np.array(program.declared[name].value))
        tensors[name].requires_grad_()
    for name in following(program.declared, wrt):
        tensors.pop(name, None)
    forward = program.forward if truncate is None else partial(truncated, program.forward, truncate)
    value = scalar(loss, forward(tensors, inputs, record, **options))
    wanted, depends = [tensors[n] for n in wrt], value.requires_grad  # a loss may depend on no parameter at all
    grads = torch.autograd.grad(value, wanted, allow_unused=True) if depends else [None] * len(wanted)
    found = {
        n: np.zeros(tensors[n].shape) if g is None else g.cpu().numpy().copy() for n, g in zip(wrt, grads, strict=True)
    }
    return float(value.detach()), found


def truncated(
    forward: Callable[..., Signals], length: int, parameters: Any, inputs: Any, record: Record = (), *,
    steps: int | None = None, every: int = 1, state: State | None = None, **options: Any,
) -> Signals:  # fmt: skip
    """The signals of a whole run whose graph is cut every `length` steps: each part begins with a state that nothing led to.

    forward: a program's; the rest as it takes them. A run that is no longer than a part has its whole graph. Raises RunError.
    Source: Williams & Peng (1990), Neural Comput 2:490, BPTT(h; h') with h = h' = length.
    """
    every = check_part("truncate", length, every)
    total = next((a.shape[1] for a in named(inputs, "inputs").values() if len(getattr(a, "shape", ())) > 1), steps)
    if total is None or length >= total:  # forward refuses what is missing
        return forward(parameters, inputs, record, steps=steps, every=every, state=state, **options)
    parts = in_parts(
        forward, parameters, inputs, record,
        steps=total, length=length, state=state, carried=State.detach, every=every, **options,
    )  # fmt: skip
    found: list[Signals] = list(parts)
    end, axis = found[-1], 1 if options.get("population") is None else 2
    spikes, traces = _Joined([p.spikes for p in found], axis), _Joined([p.traces for p in found], axis)
    return Signals(spikes, traces, end.final, end.end, end.chosen)


class _Joined(Mapping[str, torch.Tensor]):
    """The signals of parts one after another along time, each put together when somebody asks for it. axis: that of time."""

    def __init__(self, parts: Sequence[Mapping[str, torch.Tensor]], axis: int) -> None:
        self.parts, self.axis, self.made = parts, axis, dict[str, torch.Tensor]()

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self.made:
            self.made[name] = torch.cat([p[name] for p in self.parts], dim=self.axis)
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts[0])

    def __len__(self) -> int:
        return len(self.parts[0])


def scalar(loss: Any, signals: Signals) -> torch.Tensor:
    """The loss of what a run gave. Raises RunError where it is no real number."""
    call = "write loss=lambda signals: signals.spikes['population'].sum()"
    if not callable(loss):
        raise RunError(f"loss is {shown(loss)}, not a function of what the run gives; {call}")
    value = loss(signals)
    if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.is_floating_point():
        raise RunError(f"loss gives {shown(value)}, not one real number as a tensor; {call}")
    return value


class NetworkModule(torch.nn.Module):
    """A compiled network with its trainable parameters, free of bounds: see neuro.learning.common.parametrisation.

    double(), float(), to(dtype) and to(device) compile it again for that precision and device. Copies share the program, which no run
    changes.
    """

    def __init__(self, program: Differentiable, trainable: Sequence[str] | None = None) -> None:
        super().__init__()
        declared = {n: p for n, p in program.declared.items() if not n.endswith(".feedback")}
        chosen = (
            [n for n, p in declared.items() if n.endswith(".w") and not p.frozen]
            if trainable is None
            else names_of("trainable", trainable, "*.w")
        )
        self.program = program
        self.parametrisation = Parametrisation.of(declared, chosen)
        free = self.parametrisation.free(dtype=program.storage.dtype)
        self._keys = {name: mangled(*name.split(".")) for name in free}
        self.free = torch.nn.ParameterDict(
            {self._keys[n]: torch.nn.Parameter(program.storage.of(t.detach())) for n, t in free.items()}
        )

    def forward(self, inputs: Mapping[str, Any] | None = None, record: Record = (), **options: Any) -> Signals:
        """Run under autograd with the present parameters; inputs and options as in Program.run. A state that is given
        holds plastic weights itself: they go on from there, not from this module's.
        """
        refuse_autocast(self.program.storage)
        state = options.get("state")
        held = state.variables if isinstance(state, State) else {}
        values = {n: v for n, v in self.values().items() if n not in held}
        return self.program.forward(values, inputs, record, **options)

    def values(self) -> dict[str, torch.Tensor]:
        """The trained parameters, SI."""
        return self.parametrisation.values({name: self.free[key] for name, key in self._keys.items()})

    def __deepcopy__(self, memo: dict[int, Any]) -> NetworkModule:
        copied = self.__class__.__new__(self.__class__)
        memo |= {id(self): copied, id(self.program): self.program}
        copied.__dict__.update(deepcopy(self.__dict__, memo))
        return copied

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> NetworkModule:
        """What to(), double() and their like do to each tensor. Raises RunError on a device or precision that it can't have."""
        storage = self.program.storage
        wanted = fn(storage.zeros())
        name = str(wanted.dtype).removeprefix("torch.")
        if name not in ("float32", "float64"):
            raise RunError(
                f"a compiled network computes in float32 or float64, not in {name}; use module.float(), "
                "or compile with dtype='float32'"
            )
        if wanted.dtype != storage.dtype:
            self.program = self.program.in_dtype(name)
        if wanted.device != storage.device:
            self.program = self.program.on_device(wanted.device)
        return super()._apply(fn, recurse)  # type: ignore[no-any-return, no-untyped-call]

"""A program that gives gradients, compiled again: for another precision, or with another way back. Knows nothing of torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

from backends.common.options import choice
from backends.common.simulator import Simulator
from backends.common.structure import Backward
from neuro.model import Network
from neuro.protocols import Inputs, Parameters, Record, RunError
from neuro.state import State


class DifferentiableSimulator(Simulator):
    """backward: how gradients go back. A program writes `compiled_again`."""

    backward: Backward

    def __init__(self) -> None:
        self._variants: dict[Backward, Self] = {}

    @abstractmethod
    def compiled_again(self, dtype: str | None, backward: Backward, network: Network | None = None) -> Self:
        """The same network with the same options but these. dtype, network: None for this program's."""

    def of_network(self, network: Network) -> Self:
        """Another network with this program's options, such as a part of its own. Raises UnsupportedError."""
        return self.compiled_again(None, self.backward, network)

    def variant(
        self, *, detached: tuple[str, ...] = (), feedback: tuple[str, ...] = (), detach_reset: bool | None = None
    ) -> Self:
        """The same program with other projections detached or with feedback weights, or another reset; made once."""
        detach_reset = not self.backward.reset if detach_reset is None else detach_reset
        backward = Backward.of(self.backend, detach_reset, detached, feedback, self.backward.scale)
        if backward not in self._variants:
            self._variants[backward] = self.compiled_again(None, backward)
        return self._variants[backward]

    def in_dtype(self, dtype: str) -> Self:
        """The same program in another precision, float32 or float64."""
        choice(self.backend, "dtype", dtype, ("float32", "float64"))
        return self.compiled_again(dtype, self.backward)

    def on_device(self, device: Any) -> Self:
        """The same program on another device. Raises RunError."""
        raise RunError(
            f"backend '{self.backend}' computes on the CPU, not on '{device}'; use module.to('cpu'), or compile the network for torch"
        )

    @abstractmethod
    def value_and_grad(
        self, loss: Callable[[Any], Any], parameters: Parameters, inputs: Inputs, wrt: Sequence[str],
        record: Record = (), **options: Any,
    ) -> tuple[float, dict[str, Any]]:  # fmt: skip
        """Loss and its gradients with respect to the named parameters."""

    def prepared(self, wrt: Sequence[str], record: Record = (), *, steps: int, batch: int = 1) -> Callable[..., Any]:
        """value_and_grad for many calls of one form: (loss, parameters, inputs, state=None) -> its loss and gradients.

        What doesn't depend on the numbers is done once, as far as a backend can. No gradient goes back into the state. The function is
        for one thread at a time.
        """

        def call(loss: Any, parameters: Parameters, inputs: Inputs, state: State | None = None) -> Any:
            options: dict[str, Any] = {"steps": steps, "batch": batch}
            if state is not None:
                options["state"] = state.detach()
            return self.value_and_grad(loss, parameters, inputs, wrt, record, **options)

        return call

"""Where a program's tensors lie, and in which precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

from neuro.language.foreign import shown
from neuro.protocols import UnsupportedError

CPU = torch.device("cpu")
Given = ParamSpec("Given")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Storage:
    """dtype: of real numbers. device: that computes with them. products: to which those with weights round what they multiply, None for dtype."""

    dtype: torch.dtype
    device: torch.device = CPU
    products: torch.dtype | None = None

    def of(self, values: Any) -> torch.Tensor:
        """Real numbers in this precision; a tensor keeps its graph. One number isn't copied: a device writes it itself."""
        if isinstance(values, float | int):
            return torch.full((), values, dtype=self.dtype, device=self.device)
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)

    def as_it_is(self, values: Any) -> torch.Tensor:
        """Indices or truth values, of their own type."""
        return torch.as_tensor(values, device=self.device)

    def count(self, number: int) -> torch.Tensor:
        """A whole number."""
        return torch.full((), number, dtype=torch.int64, device=self.device)

    def zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=self.dtype, device=self.device)


def outside_inference(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """In torch's inference mode it runs without gradients only: what it keeps for later calls, autograd must be able to save there."""

    @wraps(function)
    def call(*given: Given.args, **options: Given.kwargs) -> Found:
        if not torch.is_inference_mode_enabled():
            return function(*given, **options)
        with torch.inference_mode(False), torch.no_grad():
            return function(*given, **options)

    return call


def device_of(backend: str, asked: Any, dtype: torch.dtype) -> torch.device:
    """The device of this name; "auto" is a CUDA one where torch sees any. As its tensors call it: cuda:0 where
    cuda is asked for, which torch takes for another one. Raises UnsupportedError.
    """
    if isinstance(asked, str) and asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    if not isinstance(asked, str | torch.device):
        raise UnsupportedError(backend, f"device {shown(asked)}", "give a name, like 'cpu', 'cuda' or 'cuda:1'")
    try:
        number = torch.zeros((), dtype=dtype, device=torch.device(asked))
        float(number)
    except Exception as error:  # whatever a device says that isn't there, or lacks the precision
        said = str(error).strip().splitlines()[0].rstrip(".")
        raise UnsupportedError(
            backend, f"device '{asked}'", f"torch says: {said}; use 'cpu', or 'auto' for what is there"
        ) from None
    return number.device

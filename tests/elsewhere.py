"""A device that isn't there: tensors that say they lie on "meta" and hold their numbers on the CPU, so that code for a GPU runs without one.

What a GPU refuses is refused here: an operation on tensors of two devices, `.numpy()` of a tensor that isn't on the CPU. What travels is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
READ = "_local_scalar_dense"  # one number, by Python
TRAVELS = ("_to_copy", "copy_", READ)
MAKERS = (torch.tensor, torch.as_tensor, torch.asarray)


class Elsewhere(torch.Tensor):
    """A tensor on the device. held: its numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Elsewhere:
        made: Elsewhere = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device=DEVICE
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, given: Any = (), options: Any = None) -> Any:
        return computed(function, given, options or {}, Travelled())

    def data_ptr(self) -> int:
        """What a kernel is given."""
        return self.held.data_ptr()


class Travelled(Counter[str]):
    """How often numbers travelled, by operation. bytes: of all of them."""

    bytes = 0


def computed(function: Any, given: Any, options: dict[str, Any], travelled: Travelled) -> Any:
    """What an operation gives, on the device where it computes. Raises RuntimeError on tensors of two devices."""
    tensors = [a for a in tree_leaves((given, options)) if isinstance(a, torch.Tensor)]
    there = [a for a in tensors if isinstance(a, Elsewhere)]
    name, asked = function.overloadpacket.__name__, options.get("device")
    if there and name not in TRAVELS and any(a.ndim and not isinstance(a, Elsewhere) for a in tensors):
        raise RuntimeError(f"{function}: expected all tensors to be on the same device")
    to_device = bool(there) if asked is None else torch.device(asked) == DEVICE
    sides = {to_device, *(isinstance(a, Elsewhere) for a in tensors)} if name != READ else {True, not there}
    if name in TRAVELS and len(sides) == 2:
        travelled[name] += 1
        travelled.bytes += max(a.numel() * a.itemsize for a in tensors)
    held = lambda a: a.held if isinstance(a, Elsewhere) else a
    options = tree_map(held, options if asked is None else {**options, "device": "cpu"})
    found = function(*tree_map(held, given), **options)
    same = {id(a.held): a for a in there}  # what is changed in place stays the same tensor

    def shown(a: Any) -> Any:
        if not isinstance(a, torch.Tensor):
            return a
        return same[id(a)] if id(a) in same else Elsewhere(a)

    return tree_map(shown, found) if to_device else found


class _Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.travelled = Travelled()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {}, self.travelled)


class _Makers(TorchFunctionMode):
    """Those functions that fill a tensor where no mode sees it."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if function in MAKERS and options.get("device") is not None:
            place = torch.device(options.pop("device"))
            return function(*args, **options).to(place)
        return function(*args, **options)


@contextmanager
def elsewhere() -> Iterator[Travelled]:
    """Tensors can be made on DEVICE. Gives how often numbers travelled between it and the CPU."""
    with _Makers(), _Operations() as operations:
        yield operations.travelled

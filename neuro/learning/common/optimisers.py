"""Optimisers by name, torch's and ours, and their state as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from neuro.options import OptionError, hint
from neuro.registry import Registry

OPTIMISERS = Registry(
    "optimiser",
    {
        "adam": "torch.optim:Adam",
        "adamw": "torch.optim:AdamW",
        "sgd": "torch.optim:SGD",
        "rmsprop": "torch.optim:RMSprop",
        "shift-adamax": "neuro.learning.common.shift_adamax:ShiftAdaMax",
    },
    OptionError,
)
_GIVEN = ("params", "lr", "weight_decay")  # by the rules' own options


def check(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Raises OptionError on an optimiser that isn't there, or an option that it doesn't take."""
    known = [n for n in signature(OPTIMISERS.get(name)).parameters if n not in _GIVEN]
    for option in options:
        if option not in known:
            raise OptionError(f"optimiser_options: optimiser '{name}' has no '{option}'; {hint(option, known)}")


def make(
    name: str, tensors: Sequence[torch.Tensor], learning_rate: float, rates: Sequence[float] = (), **options: Any
) -> Any:
    """The optimiser of that name for these leaf tensors. rates: of each of them, where they differ."""
    groups = [{"params": [t], "lr": r} for t, r in zip(tensors, rates, strict=True)] if rates else list(tensors)
    try:
        return OPTIMISERS.get(name)(groups, lr=learning_rate, **options)
    except (TypeError, ValueError) as error:  # torch's own words on a value
        raise OptionError(f"optimiser '{name}' with {options}: {error}") from None


def arrays(optimiser: Any) -> dict[str, Any]:
    """An optimiser's state, "0/exp_avg" -> array: exact."""
    state = optimiser.state_dict()["state"]
    return {f"{i}/{n}": np.asarray(v).copy() for i, slots in state.items() for n, v in slots.items() if v is not None}


def restore(optimiser: Any, saved: Mapping[str, Any]) -> None:
    """Inverse of `arrays`."""
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in saved.items():
        i, name = key.split("/")
        slots.setdefault(int(i), {})[name] = torch.as_tensor(np.array(value))
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})


def under(prefix: str, saved: Mapping[str, Any]) -> dict[str, Any]:
    """The entries "prefix/..." without their prefix."""
    return {n.removeprefix(f"{prefix}/"): v for n, v in saved.items() if n.startswith(f"{prefix}/")}

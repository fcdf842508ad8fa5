"""Shift-based AdaMax: every product of a rate is a shift, since its factors are powers of two.

    m = b1 m + (1 - b1) g,  v = max(b2 v, |g|, eps),  w -= lr AP2(1/(1 - b1^t)) m AP2(1/v)

with AP2(x) = 2^round(log2 x). eps, positive, keeps v from 0. Two sets of constants are published; the defaults are the paper's:

    paper                lr 2^-10, betas (1 - 2^-3, 1 - 2^-10)
    authors' Torch code  lr 2^-6, betas (0.9, 0.999), eps 2^-27, rounded=True: v is stored as AP2(v)

A rule's learning_rate is lr. The paper gives no eps; ours is the code's. AP2(0.999 v) is v where v is a power of two, so with the code's
constants v never falls.
Source: Hubara et al. (2018), JMLR 18(187).
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch.optim import Optimizer

from neuro.options import OptionError

PAPER: dict[str, Any] = {"lr": 2.0**-10, "betas": (1 - 2.0**-3, 1 - 2.0**-10), "eps": 2.0**-27, "rounded": False}
TORCH_CODE: dict[str, Any] = {"lr": 2.0**-6, "betas": (0.9, 0.999), "eps": 2.0**-27, "rounded": True}


def ap2(x: torch.Tensor) -> torch.Tensor:
    """The nearest power of two by its logarithm, exactly, for finite x > 0. See neuro.export.quantisation.quantisers.ap2."""
    mantissa, _ = torch.frexp(x)  # x = mantissa 2^exponent, 1/2 <= mantissa < 1
    size = x / mantissa
    return torch.where(mantissa < sqrt(0.5), size / 2, size)


class ShiftAdaMax(Optimizer):
    """torch's Adamax with shifts. lr: a power of two, where rates shall be shifts. weight_decay: times w, added to g.

    rounded: v is stored as a power of two. State by parameter: step, exp_avg (m), exp_inf (v). Raises OptionError.
    """

    def __init__(
        self, params: Any, lr: float = PAPER["lr"], betas: tuple[float, float] = PAPER["betas"], eps: float = PAPER["eps"],
        weight_decay: float = 0.0, rounded: bool = PAPER["rounded"],
    ) -> None:  # fmt: skip
        if not lr >= 0:
            raise OptionError(f"lr={lr}; give a number that isn't negative")
        if not eps > 0:
            raise OptionError(f"eps={eps}; give a positive number: 0 has no nearest power of two")
        if len(betas) != 2 or not all(0 <= b < 1 for b in betas):
            raise OptionError(f"betas={betas}; give two numbers of at least 0 and below 1")
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "rounded": rounded}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient. Returns what the closure gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _update(parameter, self.state[parameter], group)
        return loss


def _update(parameter: torch.Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if not state:
        state |= {"step": torch.zeros((), dtype=torch.float64)}
        state |= {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_inf")}
    slope = torch.as_tensor(parameter.grad)
    if group["weight_decay"]:
        slope = slope + group["weight_decay"] * parameter
    (first, second), m, v = group["betas"], state["exp_avg"], state["exp_inf"]
    state["step"] += 1
    correction = ap2(torch.tensor(1 / (1 - first ** int(state["step"])), dtype=torch.float64))
    m.mul_(first).add_((1 - first) * slope)
    v.mul_(second).copy_(torch.maximum(v, slope.abs()).clamp_(min=group["eps"]))
    if group["rounded"]:
        v.copy_(ap2(v))
    parameter.sub_(group["lr"] * float(correction) * ap2(1 / v) * m)

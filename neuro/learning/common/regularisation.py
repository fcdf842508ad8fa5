"""Terms added to a loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def rate_penalty(spikes: Mapping[str, torch.Tensor], dt: float, target: float) -> torch.Tensor:
    """Mean squared distance of every cell's rate, averaged over the batch, from `target`; rates and target in Hz.

    spikes: population -> [batch, time, neuron]. dt: seconds. Source: Bellec et al. (2018), NeurIPS 31.
    """
    terms = [((s.mean(dim=(0, 1)) / dt - target) ** 2).mean() for s in spikes.values()]
    return torch.stack(terms).mean()

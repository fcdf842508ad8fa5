"""Policies over a readout whose last channel is a value: what is drawn, what it returns, and what actor-critics make of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from neuro.protocols import Array


def softmax(logits: Array) -> Array:
    """Probabilities [..., action]."""
    return torch.softmax(torch.as_tensor(np.asarray(logits, np.float64)), -1).numpy()


def drawn(pi: Array, random: np.random.Generator) -> Array:
    """Actions [...] by probabilities [..., action]; one uniform number each."""
    below = pi.cumsum(axis=-1)[..., :-1] < random.random(pi.shape[:-1])[..., None]
    return np.asarray(below.sum(axis=-1))


def discounted(rewards: Array, discount: float) -> Array:
    """Sums of later rewards, this step's included [batch, time]; nothing is expected after the last step."""
    found, later = np.zeros(rewards.shape), np.zeros(len(rewards))
    for k in reversed(range(rewards.shape[1])):
        later = rewards[:, k] + discount * later
        found[:, k] = later
    return found


def chosen(log_pi: Any, actions: Array) -> Any:
    """Log probability [batch, time] of the actions that were taken, from that of all [batch, time, action]."""
    return log_pi.gather(-1, torch.as_tensor(actions, dtype=torch.int64, device=log_pi.device)[..., None])[..., 0]

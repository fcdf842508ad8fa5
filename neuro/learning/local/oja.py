"""Oja's rule for rate units: weights turn to the first principal component, at length 1. Source: Oja (1982), J Math Biol 15:267."""

from __future__ import annotations

from functools import partial

from neuro.learning.local.plasticity import Plasticity, local_rule

oja = Plasticity(
    "oja", "", {"eta": "0.01"}, "Oja (1982), J Math Biol 15:267", every_step="w += eta*x_post*(x_pre - x_post*w)"
)
rule = partial(local_rule, oja)

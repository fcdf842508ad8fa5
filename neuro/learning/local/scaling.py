"""Synaptic scaling: all weights onto a cell grow or shrink by the same share until it fires at a given rate. Source: Turrigiano et
al. (1998), Nature 391:892; the form of van Rossum, Bi & Turrigiano (2000), J Neurosci 20:8812.
"""

from __future__ import annotations

from functools import partial

from neuro.learning.local.plasticity import Plasticity, local_rule

scaling = Plasticity(
    "scaling",
    "drate_out/dt = -rate_out/tau_rate : Hz",
    {"tau_rate": "1 s", "target": "5 Hz", "eta": "0.1"},
    "van Rossum, Bi & Turrigiano (2000), J Neurosci 20:8812",
    on_post="rate_out += 1/tau_rate",
    every_step="w = clip(w + eta*w*(target - rate_out)*dt, 0*w_max, w_max)",
)
rule = partial(local_rule, scaling)

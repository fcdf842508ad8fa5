"""Pair-based STDP, all pairs or nearest neighbours. Source: Song, Miller & Abbott (2000), Nat Neurosci 3:919."""

from __future__ import annotations

from functools import partial

from neuro.learning.local.plasticity import Plasticity, local_rule

_TRACES = "dtrace_in/dt = -trace_in/tau_plus : 1\ndtrace_out/dt = -trace_out/tau_minus : 1"
_DOWN = "w = clip(w - A_minus*w_max*trace_out, 0*w_max, w_max)"
_UP = "w = clip(w + A_plus*w_max*trace_in, 0*w_max, w_max)"
_CONSTANTS = {"tau_plus": "20 ms", "tau_minus": "20 ms", "A_plus": "0.005", "A_minus": "0.00525"}

stdp = Plasticity(
    "stdp",
    _TRACES,
    _CONSTANTS,
    "Song, Miller & Abbott (2000), Nat Neurosci 3:919",
    on_pre=f"trace_in += 1\n{_DOWN}",
    on_post=f"trace_out += 1\n{_UP}",
)
nearest = Plasticity(
    "stdp_nearest",
    _TRACES,
    _CONSTANTS,
    "Morrison, Diesmann & Gerstner (2008), Biol Cybern 98:459, symmetric nearest neighbours",
    on_pre=f"trace_in = 1\n{_DOWN}",
    on_post=f"trace_out = 1\n{_UP}",
)
stdp_rule, nearest_rule = partial(local_rule, stdp), partial(local_rule, nearest)

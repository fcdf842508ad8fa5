"""Homeostatic inhibition: inhibitory weights grow until the target fires at a given rate. Source: Vogels et al. (2011), Science
334:1569.
"""

from __future__ import annotations

from functools import partial

from neuro.learning.local.plasticity import Plasticity, local_rule

inhibitory = Plasticity(
    "inhibitory_stdp",
    "dtrace_in/dt = -trace_in/tau_trace : 1\ndtrace_out/dt = -trace_out/tau_trace : 1",
    {"tau_trace": "20 ms", "eta": "0.001", "target": "5 Hz"},
    "Vogels et al. (2011), Science 334:1569",
    on_pre="trace_in += 1\nw = clip(w + eta*w_max*(trace_out - 2*target*tau_trace), 0*w_max, w_max)",
    on_post="trace_out += 1\nw = clip(w + eta*w_max*trace_in, 0*w_max, w_max)",
)
rule = partial(local_rule, inhibitory)

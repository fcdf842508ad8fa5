"""Triplet STDP, all to all. Source: Pfister & Gerstner (2006), J Neurosci 26:9673; constants of Pokorny et al. (2020), Cereb
Cortex 30:952, whose amplitudes are for weights of order 1 to 100.
"""

from __future__ import annotations

from functools import partial

from neuro.learning.local.plasticity import Plasticity, local_rule

triplet = Plasticity(
    "triplet_stdp",
    """
    dr1/dt = -r1/tau_r1 : 1
    dr2/dt = -r2/tau_r2 : 1
    do1/dt = -o1/tau_o1 : 1
    do2/dt = -o2/tau_o2 : 1
    """,
    {
        "tau_r1": "25 ms", "tau_r2": "25 ms", "tau_o1": "1000 ms", "tau_o2": "25 ms",
        "A2_minus": "0.005", "A3_minus": "0.005", "A2_plus": "0.1", "A3_plus": "0.1",
    },
    "Pfister & Gerstner (2006), J Neurosci 26:9673",
    # the second trace of the cell that spikes is read before its own jump
    on_pre="w = clip(w - w_max*o1*(A2_minus + A3_minus*r2), 0*w_max, w_max)\nr1 += 1\nr2 += 1",
    on_post="w = clip(w + w_max*r1*(A2_plus + A3_plus*o2), 0*w_max, w_max)\no1 += 1\no2 += 1",
)  # fmt: skip
rule = partial(local_rule, triplet)

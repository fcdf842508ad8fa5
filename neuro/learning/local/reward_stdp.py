"""Reward-modulated STDP: pairings mark a synapse, a global signal turns marks into weight. Source: Izhikevich (2007), Cereb Cortex
17:2443. The network gets an input `reward`, one channel, in weights (of w_max) per second and mark; or reward="population.variable" names cells that send it.
"""

from __future__ import annotations

from functools import partial

from neuro.learning.local.plasticity import Plasticity, local_rule

reward = Plasticity(
    "reward_stdp",
    """
    dtrace_in/dt = -trace_in/tau_plus : 1
    dtrace_out/dt = -trace_out/tau_minus : 1
    dmark/dt = -mark/tau_mark : 1
    """,
    {"tau_plus": "20 ms", "tau_minus": "20 ms", "tau_mark": "1 s", "A_plus": "1", "A_minus": "1.05"},
    "Izhikevich (2007), Cereb Cortex 17:2443",
    on_pre="trace_in += 1\nmark -= A_minus*trace_out",
    on_post="trace_out += 1\nmark += A_plus*trace_in",
    every_step="w = clip(w + w_max*reward_post*mark*dt, 0*w_max, w_max)",
    received={"reward": "Hz"},
)
rule = partial(local_rule, reward)

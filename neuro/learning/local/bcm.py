"""BCM for rate units: potentiation above a threshold that follows the squared rate. Source: Bienenstock, Cooper & Munro (1982),
J Neurosci 2:32; the form of Intrator & Cooper (1992), Neural Netw 5:3.
"""

from __future__ import annotations

from functools import partial

from neuro.learning.local.plasticity import Plasticity, local_rule

bcm = Plasticity(
    "bcm",
    "theta : 1",
    {"eta": "0.001", "share": "0.01"},
    "Intrator & Cooper (1992), Neural Netw 5:3",
    every_step="theta += share*(x_post**2 - theta)\nw += eta*x_pre*x_post*(x_post - theta)",
)
rule = partial(local_rule, bcm)

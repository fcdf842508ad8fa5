"""A spike is a current of the weight's size for one step, from its arrival on."""

from neuro.model import Synapse

pulse = Synapse(
    "pulse",
    "w : amp",
    on_pre="I_post += w",
    source="the input of discrete-time LIF networks, e.g. Eshraghian et al. (2023), Proc IEEE 111:1016",
)

"""A spike adds the weight to a current that decays exponentially."""

from neuro.model import Synapse

exponential_current = Synapse(
    "exponential_current",
    "w : amp",
    on_pre="I_syn_post += w",
    receptor="""
    dI_syn/dt = -I_syn/tau_syn : amp
    I = I_syn : amp
    """,
    parameters={"tau_syn": "5 ms"},
    source="Gerstner et al. (2014), Neuronal Dynamics, section 3.1.1",
)

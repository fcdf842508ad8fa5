"""Short-term plasticity: utilisation u facilitates, resources x deplete; a spike releases u*x."""

from neuro.model import Synapse

short_term_plasticity = Synapse(
    "short_term_plasticity",
    """
    w : amp
    du/dt = -u/tau_f : 1
    dx/dt = (1 - x)/tau_d : 1
    """,
    on_pre="""
    u += U*(1 - u)
    I_post += w*u*x
    x -= u*x
    """,
    parameters={"U": "0.2", "tau_f": "1500 ms", "tau_d": "200 ms"},
    initial={"x": "1"},
    method="exact",
    source="Tsodyks, Pawelzik & Markram (1998), Neural Comput 10:821; Mongillo et al. (2008), Science 319:1543",
)

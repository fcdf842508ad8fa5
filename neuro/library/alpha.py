"""A spike causes a current of alpha shape that peaks at the weight after tau_syn."""

from neuro.model import Synapse

alpha = Synapse(
    "alpha",
    "w : amp",
    on_pre="x_post += exp(1)*w",
    receptor="""
    dx/dt = -x/tau_syn : amp
    dI_syn/dt = (x - I_syn)/tau_syn : amp
    I = I_syn : amp
    """,
    parameters={"tau_syn": "3 ms"},
    source="Rall (1967), J Neurophysiol 30:1138",
)

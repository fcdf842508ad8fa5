"""A spike adds the weight to a conductance that decays exponentially and has a reversal potential."""

from neuro.model import Synapse

exponential_conductance = Synapse(
    "exponential_conductance",
    "w : siemens",
    on_pre="g_post += w",
    receptor="""
    dg/dt = -g/tau_syn : siemens
    I = g*(E_syn - v) : amp
    """,
    parameters={"tau_syn": "5 ms", "E_syn": "0 mV"},
    source="Destexhe, Mainen & Sejnowski (1994), Neural Comput 6:14",
)

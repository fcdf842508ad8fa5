"""LIF with an adaptive threshold that jumps with each spike and decays."""

from neuro.model import Neuron

alif = Neuron(
    "alif",
    """
    dv/dt = (E_L - v + R*I)/tau_m : volt (unless refractory)
    da/dt = -a/tau_a : volt
    I : amp
    """,
    threshold="v > v_th + a",
    reset="""
    v = v_reset
    a += beta
    """,
    parameters={
        "E_L": "-70 mV",
        "R": "100 Mohm",
        "tau_m": "20 ms",
        "tau_a": "200 ms",
        "beta": "2 mV",
        "v_th": "-50 mV",
        "v_reset": "-70 mV",
    },
    initial={"v": "-70 mV"},
    method="exact",
    source="Bellec et al. (2018), NeurIPS 31, and Bellec et al. (2020), Nat Commun 11:3625",
)

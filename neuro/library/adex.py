"""Adaptive exponential integrate-and-fire neuron."""

from neuro.model import Neuron

adex = Neuron(
    "adex",
    """
    dv/dt = (g_L*(E_L - v) + g_L*Delta_T*exp((v - v_T)/Delta_T) - w + I)/C : volt (unless refractory)
    dw/dt = (a*(v - E_L) - w)/tau_w : amp
    I : amp
    """,
    threshold="v > v_peak",
    reset="""
    v = v_reset
    w += b
    """,
    parameters={
        "C": "281 pF",
        "g_L": "30 nS",
        "E_L": "-70.6 mV",
        "v_T": "-50.4 mV",
        "Delta_T": "2 mV",
        "tau_w": "144 ms",
        "a": "4 nS",
        "b": "80.5 pA",
        "v_peak": "-40 mV",
        "v_reset": "-70.6 mV",
    },
    initial={"v": "-70.6 mV"},
    method="euler",
    source="Brette & Gerstner (2005), J Neurophysiol 94:3637",
)

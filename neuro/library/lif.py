"""Leaky integrate-and-fire neuron, driven by a current."""

from neuro.model import Neuron

lif = Neuron(
    "lif",
    """
    dv/dt = (E_L - v + R*I)/tau_m : volt (unless refractory)
    I : amp
    """,
    threshold="v > v_th",
    reset="v = v_reset",
    parameters={"E_L": "-70 mV", "R": "100 Mohm", "tau_m": "10 ms", "v_th": "-50 mV", "v_reset": "-70 mV"},
    initial={"v": "-70 mV"},
    method="exact",
    source="Lapicque (1907), J Physiol Pathol Gen 9:620; Gerstner et al. (2014), Neuronal Dynamics, section 1.3",
)

"""LIF with its own exponential synaptic current: spikes add to `I_syn` (synapse `current_jump`)."""

from neuro.model import Neuron

cuba_lif = Neuron(
    "cuba_lif",
    """
    dv/dt = (E_L - v + R*(I_syn + I))/tau_m : volt (unless refractory)
    dI_syn/dt = -I_syn/tau_syn : amp
    I : amp
    """,
    threshold="v > v_th",
    reset="v = v_reset",
    parameters={
        "E_L": "-70 mV",
        "R": "100 Mohm",
        "tau_m": "10 ms",
        "tau_syn": "5 ms",
        "v_th": "-50 mV",
        "v_reset": "-70 mV",
    },
    initial={"v": "-70 mV"},
    method="exact",
    source="Vogels & Abbott (2005), J Neurosci 25:10786; Brette et al. (2007), J Comput Neurosci 23:349, benchmark 2",
)

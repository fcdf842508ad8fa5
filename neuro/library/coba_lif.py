"""LIF with excitatory and inhibitory conductances and their reversal potentials."""

from neuro.model import Neuron

coba_lif = Neuron(
    "coba_lif",
    """
    dv/dt = (g_L*(E_L - v) + g_e*(E_e - v) + g_i*(E_i - v) + I)/C : volt (unless refractory)
    dg_e/dt = -g_e/tau_e : siemens
    dg_i/dt = -g_i/tau_i : siemens
    I : amp
    """,
    threshold="v > v_th",
    reset="v = v_reset",
    parameters={
        "C": "200 pF",
        "g_L": "10 nS",
        "E_L": "-60 mV",
        "E_e": "0 mV",
        "E_i": "-80 mV",
        "tau_e": "5 ms",
        "tau_i": "10 ms",
        "v_th": "-50 mV",
        "v_reset": "-60 mV",
    },
    initial={"v": "-60 mV"},
    refractory="5 ms",
    method="exponential_euler",
    source="Vogels & Abbott (2005), J Neurosci 25:10786; Brette et al. (2007), J Comput Neurosci 23:349, benchmark 1",
)

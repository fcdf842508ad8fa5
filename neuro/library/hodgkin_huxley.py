"""Hodgkin-Huxley squid axon, per membrane area; a spike is v above v_th, counted once in `refractory`."""

from neuro.model import Neuron

hodgkin_huxley = Neuron(
    "hodgkin_huxley",
    """
    dv/dt = (g_Na*m**3*h*(E_Na - v) + g_K*n**4*(E_K - v) + g_L*(E_L - v) + I)/C : volt
    dm/dt = alpha_m*(1 - m) - beta_m*m : 1
    dh/dt = alpha_h*(1 - h) - beta_h*h : 1
    dn/dt = alpha_n*(1 - n) - beta_n*n : 1
    alpha_m = 1/exprel(-(v + 40*mV)/(10*mV))/ms : hertz
    beta_m = 4*exp(-(v + 65*mV)/(18*mV))/ms : hertz
    alpha_h = 0.07*exp(-(v + 65*mV)/(20*mV))/ms : hertz
    beta_h = 1/(1 + exp(-(v + 35*mV)/(10*mV)))/ms : hertz
    alpha_n = 0.1/exprel(-(v + 55*mV)/(10*mV))/ms : hertz
    beta_n = 0.125*exp(-(v + 65*mV)/(80*mV))/ms : hertz
    I : amp/meter**2
    """,
    threshold="v > v_th",
    parameters={
        "C": "1 ufarad/cm**2",
        "g_Na": "120 msiemens/cm**2",
        "g_K": "36 msiemens/cm**2",
        "g_L": "0.3 msiemens/cm**2",
        "E_Na": "50 mV",
        "E_K": "-77 mV",
        "E_L": "-54.387 mV",
        "v_th": "-20 mV",
    },
    initial={"v": "-65 mV", "m": "0.0529", "h": "0.5961", "n": "0.3177"},
    refractory="3 ms",
    method="exponential_euler",
    source="Hodgkin & Huxley (1952), J Physiol 117:500, shifted to absolute voltages",
)

"""Izhikevich's quadratic neuron with recovery; a, b and I carry his unit of time, 1 ms. Regular spiking."""

from neuro.model import Neuron

izhikevich = Neuron(
    "izhikevich",
    """
    dv/dt = 0.04*v**2/(ms*mV) + 5*v/ms + 140*mV/ms - u + I : volt
    du/dt = a*(b*v - u) : volt/second
    I : volt/second
    """,
    threshold="v > v_peak",
    reset="""
    v = c
    u += d
    """,
    parameters={"a": "20 Hz", "b": "200 Hz", "c": "-65 mV", "d": "8 volt/second", "v_peak": "30 mV"},
    initial={"v": "-70 mV", "u": "-14 volt/second"},
    method="euler",
    source="Izhikevich (2003), IEEE Trans Neural Netw 14:1569",
)

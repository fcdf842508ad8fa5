"""FitzHugh-Nagumo neuron; a spike is v above v_th, counted once in `refractory`."""

from neuro.model import Neuron

fitzhugh_nagumo = Neuron(
    "fitzhugh_nagumo",
    """
    dv/dt = (v - v**3/3 - w + I)/tau : 1
    dw/dt = (v + a - b*w)/tau_w : 1
    I : 1
    """,
    threshold="v > v_th",
    parameters={"a": "0.7", "b": "0.8", "tau": "1 ms", "tau_w": "12.5 ms", "v_th": "1"},
    initial={"v": "-1.1994", "w": "-0.6243"},
    refractory="20 ms",
    method="rk4",
    source="FitzHugh (1961), Biophys J 1:445; Nagumo, Arimoto & Yoshizawa (1962), Proc IRE 50:2061",
)

"""Morris-Lecar neuron (Hopf regime), per membrane area; a spike is v above v_th, counted once in `refractory`.

PRESETS has the parameters of other regimes: `morris_lecar.with_parameters(**PRESETS["snic"])`. `morris_lecar_trapezoid` takes them too.
A preset says nothing of the start, which stays the rest of the Hopf regime: give `initial` where it matters.
"""

from collections.abc import Mapping

from neuro.model import Neuron

morris_lecar = Neuron(
    "morris_lecar",
    """
    dv/dt = (g_L*(E_L - v) + g_Ca*m_inf*(E_Ca - v) + g_K*n*(E_K - v) + I)/C : volt
    dn/dt = phi*(n_inf - n)*cosh((v - v3)/(2*v4)) : 1
    m_inf = 0.5*(1 + tanh((v - v1)/v2)) : 1
    n_inf = 0.5*(1 + tanh((v - v3)/v4)) : 1
    I : amp/meter**2
    """,
    threshold="v > v_th",
    parameters={
        "C": "20 ufarad/cm**2",
        "g_L": "2 msiemens/cm**2",
        "g_Ca": "4.4 msiemens/cm**2",
        "g_K": "8 msiemens/cm**2",
        "E_L": "-60 mV",
        "E_Ca": "120 mV",
        "E_K": "-84 mV",
        "v1": "-1.2 mV",
        "v2": "18 mV",
        "v3": "2 mV",
        "v4": "30 mV",
        "phi": "40 Hz",
        "v_th": "10 mV",
    },
    initial={"v": "-60.9 mV", "n": "0.0149"},
    refractory="40 ms",
    method="rk4",
    source="Morris & Lecar (1981), Biophys J 35:193; Rinzel & Ermentrout (1998), Methods in Neuronal Modeling, ch. 7",
)

# How spiking begins: on an invariant circle (snic), at a Hopf bifurcation, at a homoclinic orbit; a2: the units of Hazelden et al. (2023),
# arXiv:2311.10869, nearly snic. Which regime has which numbers is textbook knowledge after Rinzel & Ermentrout.
PRESETS: Mapping[str, Mapping[str, str]] = {
    "a2": {"phi": "66.66666666666667 Hz", "g_Ca": "4 msiemens/cm**2", "v3": "12 mV", "v4": "17 mV"},
    "snic": {"phi": "67 Hz", "g_Ca": "4 msiemens/cm**2", "v3": "12 mV", "v4": "17.4 mV"},
    "hopf": {"phi": "40 Hz", "g_Ca": "4.4 msiemens/cm**2", "v3": "2 mV", "v4": "30 mV"},
    "homoclinic": {"phi": "230 Hz", "g_Ca": "4 msiemens/cm**2", "v3": "12 mV", "v4": "17.4 mV"},
}

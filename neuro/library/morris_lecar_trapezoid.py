"""Morris-Lecar unit without a threshold, stepped by the semi-implicit trapezoid: first n from the old v, then v from the new n.

Each equation is dx/dt = b - a*x, with a and b taken as constant for the step. The two follow one another, which an integrator of the
language can't say, as it advances all states together, and statements can; so every backend runs it, Brian2 too. The order is 1. Its
graded output is the synapse's: `w*sigmoid((v_pre - v_half)/v_slope)`. The parameters are those of the preset a2.
"""

from neuro.library.morris_lecar import PRESETS, morris_lecar
from neuro.model import Neuron

morris_lecar_trapezoid = Neuron(
    "morris_lecar_trapezoid",
    """
    v : volt
    n : 1
    m_inf = 0.5*(1 + tanh((v - v1)/v2)) : 1
    n_inf = 0.5*(1 + tanh((v - v3)/v4)) : 1
    rate_n = phi*cosh((v - v3)/(2*v4)) : hertz
    rate_v = (g_L + g_Ca*m_inf + g_K*n)/C : hertz
    flow_v = (g_L*E_L + g_Ca*m_inf*E_Ca + g_K*n*E_K + I)/C : volt/second
    I : amp/meter**2
    """,
    every_step="""
    n = (n*(1 - 0.5*dt*rate_n) + dt*rate_n*n_inf)/(1 + 0.5*dt*rate_n)
    v = (v*(1 - 0.5*dt*rate_v) + dt*flow_v)/(1 + 0.5*dt*rate_v)
    """,
    parameters={**{n: v for n, v in morris_lecar.parameters.items() if n != "v_th"}, **PRESETS["a2"]},
    initial={"v": "-59.469066 mV", "n": "0.000222998"},
    source="Morris & Lecar (1981), Biophys J 35:193; the step is that of Hazelden et al. (2023), arXiv:2311.10869",
)

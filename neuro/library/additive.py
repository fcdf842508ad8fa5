"""Additive unit of logistic activity V, with a teacher: `z` is the sum of its inputs, `d` what V should be.

beta: strength of the teacher, 0 without one. clamp: 0, or 1 where the teacher alone acts, so that V settles at d.
"""

from neuro.model import Neuron

additive = Neuron(
    "additive",
    """
    du/dt = ((1 - clamp)*(-u + b + z) + beta*(d - V))/tau : 1
    V = sigmoid(u) : 1
    z : 1
    d : 1
    """,
    parameters={"tau": "10 ms", "b": "0", "beta": "0", "clamp": "0"},
    bounds={"clamp": ("0", "1")},
    method="euler",
    source="Hopfield (1984), PNAS 81:3088; teacher after Baldi & Pineda (1991), Neural Comput 3:526",
)

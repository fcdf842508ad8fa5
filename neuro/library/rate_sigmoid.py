"""Leaky logistic rate unit; `z` is the sum of its inputs, `b` its bias, `I` a drive that passes by the nonlinearity."""

from neuro.model import Neuron

rate_sigmoid = Neuron(
    "rate_sigmoid",
    """
    dx/dt = (-x + sigmoid(z + b) + I)/tau : 1
    z : 1
    I : 1
    """,
    parameters={"tau": "10 ms", "b": "0"},
    initial={"x": "0.5"},
    method="euler",
    source="Pearlmutter (1989), Neural Comput 1:263",
)

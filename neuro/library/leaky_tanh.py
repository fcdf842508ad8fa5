"""Leaky unit whose rate is the tanh of its state; `z` is the sum of its inputs."""

from neuro.model import Neuron

leaky_tanh = Neuron(
    "leaky_tanh",
    """
    dx/dt = (-x + z)/tau : 1
    r = tanh(x) : 1
    z : 1
    """,
    parameters={"tau": "10 ms"},
    method="euler",
    source="Sompolinsky, Crisanti & Sommers (1988), Phys Rev Lett 61:259",
)

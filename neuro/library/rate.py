"""Leaky tanh rate unit; `z` is the sum of its inputs."""

from neuro.model import Neuron

rate = Neuron(
    "rate",
    """
    dx/dt = (-x + tanh(z))/tau : 1
    z : 1
    """,
    parameters={"tau": "10 ms"},
    method="euler",
    source="Sompolinsky, Crisanti & Sommers (1988), Phys Rev Lett 61:259; form of Murray (2019), eLife 8:e43299",
)

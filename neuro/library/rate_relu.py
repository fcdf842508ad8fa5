"""Leaky rectified-linear rate unit; `z` is the sum of its inputs."""

from neuro.model import Neuron

rate_relu = Neuron(
    "rate_relu",
    """
    dx/dt = (-x + relu(z))/tau : 1
    z : 1
    """,
    parameters={"tau": "10 ms"},
    method="euler",
    source="Dayan & Abbott (2001), Theoretical Neuroscience, section 7.2",
)

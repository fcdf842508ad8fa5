"""Leaky integrator without spikes: a readout."""

from neuro.model import Neuron

leaky_integrator = Neuron(
    "leaky_integrator",
    """
    dv/dt = (-v + R*I)/tau_m : volt
    I : amp
    """,
    parameters={"R": "100 Mohm", "tau_m": "20 ms"},
    method="exact",
    source="Gerstner et al. (2014), Neuronal Dynamics, section 1.3.1",
)

"""The rules that a model must obey: one small function a rule, each yields Problems with a fix."""

from neuro.checks.cells import neuron, population
from neuro.checks.common import ModelWarning, enforce, read_quantity, same_dimension, unknown_name
from neuro.checks.networks import network
from neuro.checks.synapses import input_, projection, synapse

__all__ = [
    "ModelWarning",
    "enforce",
    "input_",
    "network",
    "neuron",
    "population",
    "projection",
    "read_quantity",
    "same_dimension",
    "synapse",
    "unknown_name",
]

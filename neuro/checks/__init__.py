"""The rules that a model must obey: one small function a rule, each yields Problems with a fix."""

from neuro.checks.cells import neuron, population
from neuro.checks.common import (
    ModelWarning,
    check_value,
    enforce,
    least,
    pair,
    read_quantity,
    unknown_name,
)
from neuro.checks.distances import distance
from neuro.checks.distributions import distribution
from neuro.checks.memory import in_words, machine_memory, memory, too_many
from neuro.checks.networks import network
from neuro.checks.steps import delays_drawn
from neuro.checks.synapses import input_, projection, synapse
from neuro.checks.types import indices, part, types

__all__ = [
    "ModelWarning",
    "check_value",
    "delays_drawn",
    "distance",
    "distribution",
    "enforce",
    "in_words",
    "indices",
    "input_",
    "least",
    "machine_memory",
    "memory",
    "network",
    "neuron",
    "pair",
    "part",
    "population",
    "projection",
    "read_quantity",
    "synapse",
    "too_many",
    "types",
    "unknown_name",
]

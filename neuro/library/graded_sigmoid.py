"""Graded transmission: a current that follows the presynaptic potential through a sigmoid."""

from neuro.model import Synapse

graded_sigmoid = Synapse(
    "graded_sigmoid",
    "w : amp",
    transmits="w*sigmoid((v_pre - v_half)/v_slope)",
    target="I",
    parameters={"v_half": "-50 mV", "v_slope": "5 mV"},
    source="Wang & Rinzel (1992), Neural Comput 4:84, instantaneous activation",
)

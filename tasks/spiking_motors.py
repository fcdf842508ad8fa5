"""Spiking policies: senses -> leaky integrate-and-fire cells, plastic or not -> motors, one step of 1 ms for each step of the environment.

A sense is a current: what its synapses send is its value, signed, in place of a spike, and in their plasticity its low-pass filtered value stands for its trace.
Cells, synapses and rules are those of tasks.plastic_networks. A motor is a leaky readout, a weighted sum of the cells' filtered spikes and a bias.
What comes in acts on a cell's potential in the same step; a spike is in its trace, and so in the motors, one step later.

Where a search starts: cells without weights never fire, and what never fires no plasticity can change. So the weights onto the cells, alpha and the modulator begin as
drawn there, and at rest a fifth to a third of an ant's cells fire; the motors' weights and biases begin at 0, as everything does in tasks.motor_networks.
Source of the plasticity: Schmidgall et al. (2021), Front Neurorobot 15:629210, whose controller isn't known; of the task: Schmidgall (2020), arXiv 2006.05832.
"""

from __future__ import annotations

import numpy as np

from neuro.model import Input, Network, Population, Projection
from tasks.plastic_networks import DT, FORMS, READS, plastic_layer
from tasks.rate_networks import answer

PREFIX = "spiking-"
SPIKING = tuple(f"{PREFIX}{form}" for form in FORMS)
READOUT = ("readout.w", "motors.bias")


def spiking_network(name: str, senses: int, size: int, motors: int, form: str, *, seed: int) -> Network:
    """senses -> `size` cells -> motors. form: one of tasks.plastic_networks. Raises OptionError."""
    populations, projections = plastic_layer(form, senses, size)
    populations.append(Population("motors", answer, motors, {"bias": np.zeros(motors)}))
    projections.append(Projection("readout", "cells", "motors", READS, np.zeros((size, motors)), summed="end"))
    inputs = (Input("senses", senses, "current", "source.I"),)
    return Network(tuple(populations), tuple(projections), inputs, dt=DT, seed=seed, name=name)

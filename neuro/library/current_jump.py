"""A spike adds the weight to the synaptic current of a `cuba_lif`."""

from neuro.model import Synapse

current_jump = Synapse("current_jump", "w : amp", on_pre="I_syn_post += w", source="Brette et al. (2007), benchmark 2")

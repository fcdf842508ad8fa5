"""A spike moves the membrane potential by the weight."""

from neuro.model import Synapse

delta = Synapse("delta", "w : volt", on_pre="v_post += w", source="Brunel (2000), J Comput Neurosci 8:183")

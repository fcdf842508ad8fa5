"""Events of a group's own that synapses follow: cells that spike where the event happens, told by a sum at the end of the same step."""

from __future__ import annotations

from brian2.utils.stringtools import get_identifiers

from backends.brian.importing.cells import Cells
from backends.brian.importing.synapses import event_name
from backends.brian.importing.words import Words
from neuro.language.drawn import DRAWN
from neuro.language.scope import SPIKE_STATES
from neuro.model import Neuron, OneToOne, Population, Projection, Synapse


def told(cells: Cells, event: str) -> tuple[Population, Projection]:
    """Cells that spike in the step in which those have this event, and the projection that tells them. Raises NotImportedError.

    Brian2 asks for the condition after the thresholds, here it is asked before them: what these change may not be in it.
    """
    group, own = cells.words.group, cells.words
    name, text = event_name(cells.population.name, event), group.events[event]
    names = {theirs: f"{ours}_pre" for theirs, ours in {**own.names, **own.renamed}.items()}
    words = Words(group, own.namespace, names, own.counts)
    read = get_identifiers(text) & {*SPIKE_STATES, *DRAWN}
    condition = words.expression(text)
    if read or words.tables:
        what = min(read) if read else f"the TimedArray '{next(iter(words.tables))}'"
        reason = f"synapses follow its event '{event}', whose condition reads {what}"
        raise words.refused(reason, "let the condition read variables of the group")
    relay = Neuron(name, "happens : 1", threshold="happens > 0.5", source="imported from Brian2")
    synapse = Synapse(
        name, transmits=f"int({condition})", target="happens", parameters=words.constants, source="imported from Brian2"
    )
    tell = Projection(f"{name}_tell", cells.population.name, name, synapse, connectivity=OneToOne(), summed="end")
    return Population(name, relay, cells.population.size), tell

"""Local rules: text that a synapse gets in addition, so that every backend that compiles plasticity learns while it runs.

Spikes act on a synapse when they arrive: with a delay, a presynaptic spike is seen `delay` after it was sent, a postsynaptic
one at once (axonal delays; neuro.compiler.semantics says so in every record). In one step arrivals come first, then the target's spike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neuro.learning.common import naming
from neuro.learning.common.summed_inputs import refuse_parts
from neuro.model import AllToAll, Input, Network, OneToOne, Population, Projection, Synapse
from neuro.options import OptionError
from neuro.protocols import Array, Batch, Parameters, require

_DECLARED = re.compile(r"^\s*(?:d(\w+)/dt\s*=|(\w+)\s*[:=])", re.MULTILINE)


class PlasticityError(Exception):
    """A rule that doesn't fit the projection or its constants."""


@dataclass(frozen=True)
class Plasticity:
    """What a rule adds. equations, on_pre, on_post, every_step: as in Synapse; `w` is the weight, w_max its unit and bound.

    parameters: defaults. received: name -> unit of a variable that the target cells get: from an input of that name, one
    channel for all of them, or from cells of the network.
    """

    name: str
    equations: str
    parameters: Mapping[str, str]
    source: str
    on_pre: str = ""
    on_post: str = ""
    every_step: str = ""
    received: Mapping[str, str] = field(default_factory=dict)

    def attach(self, network: Network, projection: str, **constants: Any) -> Network:
        """The network with this rule in one projection. constants: replace defaults; w_max is needed where the text has it.
        What is received may be given as "population.variable": one cell reaches all, as many as there are targets reach one each.

        Names that synapse, target or network have already get a number: trace_in_2, an input reward_2. Variables of the
        synapse's own keep its method. Raises PlasticityError, ModelError.
        """
        found = next((p for p in network.projections if p.name == projection), None)
        if found is None:
            known = ", ".join(p.name for p in network.projections)
            raise PlasticityError(f"there is no projection '{projection}'; known: {known}")
        if found.frozen:
            raise PlasticityError(f"projection '{projection}' is frozen; name another, or give it frozen=False")
        target = network.population(found.post)
        senders = {n: constants.pop(n) for n in self.received if n in constants}
        received = naming.fresh(self.received, naming.in_neuron(target.neuron))
        projections = tuple(
            replace(p, synapse=self._synapse(p, constants, received)) if p is found else p for p in network.projections
        )
        if not self.received:
            return replace(network, projections=projections)
        lines = "".join(f"\n{received[name]} : {unit}" for name, unit in self.received.items())
        cells = replace(target.neuron, equations=f"{target.neuron.equations}{lines}")
        populations = tuple(replace(p, neuron=cells) if p is target else p for p in network.populations)
        names = naming.fresh(self.received, naming.in_network(network))
        sent = tuple(self._sent(network, names[n], sender, target, received[n]) for n, sender in senders.items())
        added = tuple(
            Input(names[n], 1, "current", f"{target.name}.{received[n]}") for n in self.received if n not in senders
        )
        return replace(
            network, populations=populations, projections=(*projections, *sent), inputs=(*network.inputs, *added)
        )

    def _sent(self, network: Network, name: str, sender: Any, target: Population, variable: str) -> Projection:
        """What brings a variable of other cells to the target's, in the step in which it changes."""
        owner, _, own = str(sender).partition(".")
        cells = network.parts["population"].get(owner)
        if cells is None or own not in cells.neuron.scope.dimensions:
            known = ", ".join(f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states)
            raise PlasticityError(
                f"rule '{self.name}', {name}: there is no variable '{sender}'; write population.variable, such as {known}"
            )
        if cells.size not in (1, target.size):
            why = f"'{owner}' has {cells.size} cells and '{target.name}' {target.size}"
            raise PlasticityError(f"rule '{self.name}', {name}: {why}; send from one cell, or from as many")
        synapse = Synapse(f"{name}_signal", transmits=f"{own}_pre", target=variable, source=self.source)
        connectivity = AllToAll() if cells.size == 1 else OneToOne()
        return Projection(name, owner, target.name, synapse, connectivity=connectivity, summed="end")

    def _constants(self, projection: Projection, given: Mapping[str, Any]) -> dict[str, Any]:
        bounded = "w_max" in naming.in_texts(self.equations, self.on_pre, self.on_post, self.every_step)
        known = {**self.parameters, **({"w_max": None} if bounded else {})}
        for name in given:
            if name not in known:
                raise PlasticityError(f"rule '{self.name}' has no constant '{name}'; it has {', '.join(known)}")
        chosen = {**known, **given}
        if chosen.get("w_max", "") is None:
            raise PlasticityError(f"rule '{self.name}' needs w_max, the largest weight, in the weights' unit")
        if bounded and projection.sign == "-":
            why = f"projection '{projection.name}' has sign '-'"
            raise PlasticityError(
                f"rule '{self.name}' keeps weights between 0 and w_max, but {why}; leave the sign out"
            )
        return chosen

    def _synapse(self, projection: Projection, given: Mapping[str, Any], received: Mapping[str, str]) -> Synapse:
        synapse, chosen = projection.synapse, self._constants(projection, given)
        own = [a or b for a, b in _DECLARED.findall(self.equations)]
        names = naming.fresh([*own, *chosen], naming.in_synapse(projection))
        table = {**names, **{f"{old}_post": f"{new}_post" for old, new in received.items()}}

        def both(old: str, new: str) -> str:
            return "\n".join(t.strip() for t in (old, naming.renamed(new, table)) if t.strip())

        moving = bool(synapse.scope.of_kind("differential"))
        return replace(
            synapse,
            name=f"{synapse.name}_{self.name}",
            equations=both(synapse.equations, self.equations),
            on_pre=both(synapse.on_pre, self.on_pre),
            on_post=both(synapse.on_post, self.on_post),
            every_step=both(synapse.every_step, self.every_step),
            parameters={**synapse.parameters, **{names[n]: v for n, v in chosen.items()}},
            method=synapse.method if moving else "exact",
            source=f"{synapse.source}; {self.source}",
        )


@dataclass(frozen=True)
class LocalRule:
    """A local rule for twinspike train: each update is one run of the plastic network; its weights, averaged over the trials of
    the batch, are where the next one starts.

    projection: the one that learns. constants: see Plasticity.attach.
    """

    plasticity: Plasticity
    projection: str
    constants: Mapping[str, Any]

    def attach(self, network: Network) -> Network:
        """The network with the rule in its projection. Raises PlasticityError, ModelError."""
        return self.plasticity.attach(network, self.projection, **self.constants)

    def init(self, program: Any, parameters: Parameters | None = None) -> dict[str, int]:
        """State: the number of updates. Raises UnsupportedError where the program has no plasticity."""
        require(program, "plasticity", f"rule '{self.plasticity.name}'")
        return {"updates": 0}

    def step(
        self, program: Any, parameters: Parameters, state: dict[str, int], batch: Batch, task: Any
    ) -> tuple[Parameters, dict[str, int], Mapping[str, float]]:
        """One run. Returns parameters, state, and as metrics the task's loss and the norm of the change."""
        import torch

        refuse_parts(batch, self.plasticity.name)
        found = program.run(parameters, batch.inputs, tuple(task.record()), state=batch.state)
        kept = {f"{p.name}.w" for p in program.network.projections if p.frozen}
        learned = {name: values.mean(axis=0) for name, values in found.final.items() if name not in kept}
        change = float(np.sqrt(sum(np.sum((v - parameters[n]) ** 2) for n, v in learned.items())))
        spikes = {n: torch.from_numpy(v.astype(np.float64)) for n, v in found.spikes.items()}
        loss = task.loss(spikes, {n: torch.from_numpy(np.array(v)) for n, v in found.traces.items()}, batch)
        after: dict[str, Array] = {**parameters, **learned}
        return after, {"updates": state["updates"] + 1}, {"loss": float(loss), "gradient_norm": change}

    def save(self, state: dict[str, int]) -> dict[str, Any]:
        """The state as arrays."""
        return {"updates": np.asarray(state["updates"])}

    def load(self, program: Any, saved: Mapping[str, Any]) -> dict[str, int]:
        """Inverse of save."""
        return {"updates": int(saved["updates"])}


def local_rule(plasticity: Plasticity, *, projection: str = "", **constants: Any) -> LocalRule:
    """A LocalRule. Raises OptionError where no projection is named."""
    if not projection:
        raise OptionError('name the projection that learns: projection = "..."')
    return LocalRule(plasticity, projection, constants)

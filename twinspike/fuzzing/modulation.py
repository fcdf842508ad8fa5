"""Random networks in which something is summed at the end of a step (readouts, and modulators that synapses read there), or at turns.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from neuro import (
    AllToAll,
    ModelError,
    Network,
    Neuron,
    OneToOne,
    Population,
    Probability,
    Projection,
    Synapse,
    lower,
    quantity,
)
from neuro.language.equations import Equation
from neuro.language.units import Quantity
from neuro.model import Connectivity
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.editing import models
from twinspike.fuzzing.expressions import SCALES, put
from twinspike.fuzzing.names import Names
from twinspike.fuzzing.synapses import units_of

_UNITS = {
    "at once": "Z : 1\nY = tanh(Z + B) : 1",
    "leaky": "dU/dt = (B + Z - U)/(4*ms) : 1\nZ : 1\nY = tanh(2*U) : 1",
    "stepped": "Z : 1\nU : 1\nY = U*U - 0.5 : 1",
}
_STATEMENTS = ("H = clip(0.9*H + 0.2*M*A*B, -1, 1)", "H += 0.3*(M*A - H)", "H = 0.5*H + 0.25*M")


def modulated(network: Network, dice: Dice) -> Network:
    """Some graded sums at the end of a step, where nothing reads them before; in some networks a modulator."""
    for post, target in sorted({(p.post, p.synapse.target) for p in network.projections if p.synapse.transmits}):
        if dice.chance(0.4):
            network = accepted(network, _late(network, post, target))
    return _Modulator(network, dice).added() if dice.chance(0.2) else network


def turned(network: Network, dice: Dice) -> Network:
    """Some graded sums at their target's turn to be integrated, where nothing reads them before."""
    for post, target in sorted({(p.post, p.synapse.target) for p in network.projections if p.synapse.transmits}):
        if dice.chance(0.2):
            network = accepted(network, _late(network, post, target, "turn"))
    return network


def _late(
    network: Network, post: str, target: str, place: Literal["turn", "end"] = "end"
) -> dict[str, tuple[Projection, ...]]:
    def moved(p: Projection) -> Projection:
        return replace(p, summed=place) if p.synapse.transmits and (p.post, p.synapse.target) == (post, target) else p

    return {"projections": tuple(map(moved, network.projections))}


def accepted(network: Network, changed: Mapping[str, object]) -> Network:
    """The changed network, or the one there was where that breaks a rule."""
    with suppress(ModelError):
        found = replace(network, **changed)  # type: ignore[arg-type]
        lower(found)  # refuses loops
        return found
    return network


class _Modulator:
    """Cells that hear a population, and that synapses to another one read: of one cell for all, or one for each target."""

    def __init__(self, network: Network, dice: Dice) -> None:
        self.network, self.dice = network, dice
        self.names = Names(dice)
        for kind in ("population", "projection", "input"):
            self.names.taken |= {*network.parts[kind]}
        self.names.taken |= {m.name for m in models(network)} | {"w"}
        for model in models(network):
            self.names.taken |= {*model.parameters, *model.scope.dimensions}

    def added(self) -> Network:
        network, dice = self.network, self.dice
        heard, post = (dice.choose(network.populations) for _ in range(2))
        variables = {
            n: u for n, u in units_of(heard.neuron).items() if n in heard.neuron.scope.states and u != "second"
        }
        if not variables:
            return network
        received, form = self.names.new(), dice.choose(tuple(_UNITS))
        post = replace(post, neuron=self.receiving(post.neuron, received))
        cells = self.modulator(form)
        modulator = Population(self.names.new(), cells, post.size if dice.chance(0.5) else 1)
        late = form == "at once" and dice.chance(0.8)
        stepped = [s.target for s in heard.neuron.scope.every_step if s.target in variables]
        read = dice.choose(stepped if stepped and dice.chance(0.6) else tuple(variables))
        hear = Synapse(
            self.names.new(), "w : 1", transmits=f"w*tanh({read}_pre/({SCALES[variables[read]]}))", target=self.z
        )
        send = Synapse(self.names.new(), "w : 1", transmits=f"w*{self.y}_pre", target=received)
        projections = [
            self.projection(heard, modulator, hear, "end" if late else "start"),
            self.projection(modulator, post, send, "end"),
        ]
        changing = self.changing(heard, post, received)
        return accepted(network, {
            "populations": (*(post if p.name == post.name else p for p in network.populations), modulator),
            "projections": (*projections, *network.projections, *([changing] if changing else [])),
        })  # fmt: skip

    def receiving(self, neuron: Neuron, received: str) -> Neuron:
        """A neuron that has the modulator's value, and now and then uses it where it may."""
        lines = f"{neuron.equations}\n{received} : 1"
        if self.dice.chance(0.4):
            lines += f"\n{self.names.new()} = tanh({received}) : 1"
        threshold = neuron.threshold
        if threshold and self.dice.chance(0.25):
            threshold = f"({threshold}) and {received} > -0.6"
        return replace(neuron, name=self.names.new(), equations=lines, threshold=threshold)

    def modulator(self, form: str) -> Neuron:
        self.z, self.y, state, bias = (self.names.new() for _ in range(4))
        text = put(_UNITS[form], dU=f"d{state}", Z=self.z, Y=self.y, U=state, B=bias)
        parameters = {} if form == "stepped" else {bias: repr(self.dice.number(-0.8, 0.8))}
        every_step = f"{state} = 0.6*{state} + 0.4*{self.z}" if form == "stepped" else ""
        return Neuron(self.names.new(), text, every_step=every_step, parameters=parameters)

    def projection(self, pre: Population, post: Population, synapse: Synapse, summed: str) -> Projection:
        connectivity: Connectivity = AllToAll() if self.dice.chance(0.7) else Probability(0.7)
        if pre.size == post.size and self.dice.chance(0.4):
            connectivity = OneToOne()
        weights = self.dice.random.uniform(-1.2, 1.2, (pre.size, post.size)).round(3)
        given = quantity(weights) if isinstance(connectivity, AllToAll) else quantity(self.dice.number(-1.2, 1.2))
        name = self.names.new()
        return Projection(name, pre.name, post.name, synapse, given, connectivity, summed=summed)  # type: ignore[arg-type]

    def changing(self, pre: Population, post: Population, received: str) -> Projection | None:
        """Synapses that the modulator changes; None where these cells can't have any."""
        dice, scope = self.dice, post.neuron.scope
        inputs = {e.name: e for e in scope.of_kind("declaration") if e.name in scope.inputs and e.name != received}
        if not inputs:
            return None
        target, mark = inputs[dice.choose(tuple(inputs))], self.names.new()
        statement = self.statement(pre.neuron, post.neuron, mark, received)
        lines, amount = f"w : {target.unit}\n{mark} : 1", f"w*(1 + 0.5*{mark})"
        blocks: dict[str, Any] = {"every_step": statement}
        if pre.neuron.threshold and dice.chance(0.6):
            blocks["on_pre"] = f"{target.name}_post += {amount}"
            where = dice.choose(("every_step", "on_pre", "on_post" if post.neuron.threshold else "on_pre"))
            if where != "every_step":
                blocks.pop("every_step")
                blocks[where] = "\n".join(
                    [*([blocks[where]] if where in blocks else []), statement][:: dice.choose((1, -1))]
                )
            synapse = Synapse(self.names.new(), lines, **blocks)
        else:
            sent = bounded(self.dice, pre.neuron, "_pre")
            synapse = Synapse(self.names.new(), lines, transmits=f"{amount}*{sent}", target=target.name, **blocks)
        return Projection(self.names.new(), pre.name, post.name, synapse, self.amount(target))

    def amount(self, target: Equation) -> Quantity:
        scale = {"1": (0.5, "1"), "volt": (5.0, "mV"), "amp": (0.5, "nA")}.get(target.unit, (1.0, target.unit))
        return quantity(*scale)

    def statement(self, pre: Neuron, post: Neuron, mark: str, received: str) -> str:
        parts = {
            "A": bounded(self.dice, pre, "_pre"),
            "B": bounded(self.dice, post, "_post"),
            "M": f"{received}_post",
            "H": mark,
        }
        return put(self.dice.choose(_STATEMENTS), **parts)


def bounded(dice: Dice, neuron: Neuron, suffix: str) -> str:
    """A number between -1 and 1 of a cell's state; 0.5 where it has none."""
    units = {n: u for n, u in units_of(neuron).items() if n in neuron.scope.states and u != "second"}
    if not units:
        return "0.5"
    name = dice.choose(tuple(units))
    return f"tanh({name}{suffix}/({SCALES[units[name]]}))"

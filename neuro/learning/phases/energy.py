"""What contrastive learning asks of a network: one energy for all its cells, and a teacher in the equations of the output.

Cells relax, du/dt = (-u + b + z + beta*(d - V))/tau with an activity V = f(u) and the sum z = sum w V of graded synapses, and each
weight has an equal one in the other direction. Then all of them descend one energy, of which -V_i V_j is the derivative by w_ij.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from neuro.caching import per_object
from neuro.compiler.formulas import CellFormulas
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import Parameter
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.compiler.resolve import resolve
from neuro.language.symbolic import symbol, within_functions
from neuro.language.units import quantity, unit
from neuro.learning.common.summed_inputs import NoSummedInput, SummedInput, summed_input_of
from neuro.model import Network
from neuro.protocols import Array, Parameters, UnsupportedError

ACTIVITY, TARGET, STRENGTH, CLAMP, BIAS = "V", "d", "beta", "clamp", "b"  # as in neuro.library.additive
EQUAL = 1e-9  # relative difference up to which two directions have the same weight


def refusal(what: str, why: str) -> UnsupportedError:
    """Of a part of the network that the rule doesn't serve."""
    return UnsupportedError("any", f"rule 'contrastive' with {what}", why)


@dataclass(frozen=True)
class Energy:
    """A network as the rule reads it.

    output: the taught population. target: the input that says what its activity should be. relaxing, sources: populations
    with and without a state. biased: those whose bias `b` can be trained. links: the projections, by name. back: projection -> the one in the other direction (the same
    one within a population); none from sources, nor where weights may be asymmetric.
    """

    network: Network
    output: str
    target: str
    relaxing: tuple[str, ...]
    sources: tuple[str, ...]
    biased: tuple[str, ...]
    links: Mapping[str, SummedInput]
    back: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def declared(self) -> dict[str, Parameter]:
        """The network's parameters."""
        return declared_parameters(self.network)

    @cached_property
    def states(self) -> tuple[str, ...]:
        """ "population.variable" of all that relaxes."""
        cells = resolve(self.network).cells
        return tuple(f"{p}.{n}" for p in self.relaxing for n in cells[p].system.states)

    @property
    def activities(self) -> tuple[str, ...]:
        """Traces that correlations are made of."""
        return tuple(f"{p}.{ACTIVITY}" for p in (*self.relaxing, *self.sources))

    def asymmetry(self, parameters: Parameters) -> tuple[float, float, str]:
        """Largest |w_ij - w_ji|, SI, the largest |w| of the projection where that is, and its name."""
        worst = (0.0, 1.0, "")
        for name, other in self.back.items():
            ahead, behind = (self.links[n].dense(np.asarray(parameters[f"{n}.w"], np.float64)) for n in (name, other))
            apart = float(np.abs(ahead - behind.T).max(initial=0.0))
            if apart > worst[0]:
                worst = (apart, float(np.abs(ahead).max()), name)
        return worst

    def check_symmetric(self, parameters: Parameters) -> float:
        """Largest |w_ij - w_ji|, SI. Raises UnsupportedError where the two directions differ by more than rounding."""
        apart, size, name = self.asymmetry(parameters)
        if apart > EQUAL * size:
            unit_of = self.declared[f"{name}.w"].unit
            raise refusal(
                f"projection '{name}'",
                f"its weights and those back ('{self.back[name]}') differ by up to {apart / float(unit(unit_of).value):.3g} {unit_of}; compile "
                "rule.attach(network), which takes the symmetric part, give both the same unit, sign and bounds, or allow it: "
                "asymmetric=True",
            )
        return apart

    def check_trained(self, names: Sequence[str]) -> None:
        """Only weights and biases are trained, and of two directions both or none. Raises UnsupportedError."""
        allowed = {*(f"{n}.w" for n in self.links), *(f"{p}.{BIAS}" for p in self.biased)}
        for name in names:
            if name not in allowed:
                why = f"it trains weights, and biases '{BIAS}' that enter as the sum does; leave it out of trainable"
                raise refusal(f"parameter '{name}'", why)
            other = self.back.get(name.removesuffix(".w"))
            if other is not None and f"{other}.w" not in names:
                raise refusal(f"parameter '{name}'", f"'{other}.w' is the same in the other direction; train both")

    def correlation(self, name: str, activity: Mapping[str, Array], weights: Array | float = 1.0) -> Array:
        """Minus the energy's derivative by weights "projection.w" or biases "population.b", averaged over trials and steps.

        activity: population -> [batch, time, neuron]. weights: [batch, time, 1], of steps in the mean; 0 for those that don't count.
        """
        owner, _, variable = name.partition(".")
        count = float(np.sum(np.broadcast_to(weights, (*next(iter(activity.values())).shape[:2], 1))))
        if variable == BIAS:
            found = np.sum(activity[owner] * weights, axis=(0, 1)) / count
            scalar = self.declared[name].shape == ()
            return np.asarray(found.sum() if scalar else found)
        link = self.links[owner]
        pre, post = activity[link.synapses.pre], activity[link.synapses.post] * weights
        found = link.credit(pre, post) / count
        if link.synapses.pre == link.synapses.post:  # a cell's weight onto itself is one parameter, all others are two
            found = found * link.layout(1.0 - 0.5 * np.eye(pre.shape[2]))
        return found


def symmetric_part(network: Network) -> Network:
    """The network with the mean of both directions in the place of each weight between relaxing cells. Raises UnsupportedError."""
    energy = read(network)
    declared, dense = energy.declared, {}
    for name, other in energy.back.items():
        ahead, behind = (energy.links[n].dense(declared[f"{n}.w"].value) for n in (name, other))
        dense[name] = (ahead + behind.T) / 2
    for name, other in energy.back.items():  # to the last bit, whatever order they were added in
        dense[other] = dense[name].T if other != name else (dense[name] + dense[name].T) / 2

    def weights(name: str) -> Any:
        text = declared[f"{name}.w"].unit
        return quantity(energy.links[name].layout(dense[name]) / float(unit(text).value), text)

    for p in (p for p in network.projections if p.name in dense):
        what, fix = f"projection '{p.name}'", "or allow what has no energy: asymmetric=True"
        own = energy.links[p.name].dense(declared[f"{p.name}.w"].value)
        if p.shares and not np.array_equal(dense[p.name], dense.get(p.shares, own)):
            why = f"its weights are those of '{p.shares}', and their means with those back differ"
            raise refusal(what, f"{why}; let those back share theirs, too, {fix}")
        if p.frozen and not np.array_equal(dense[p.name], own):
            raise refusal(what, f"it is frozen, and its weights aren't those back; give it frozen=False, {fix}")
    made = tuple(
        replace(p, weights=weights(p.name)) if p.name in dense and not p.shares else p for p in network.projections
    )
    return replace(network, projections=made)


@per_object
def read(network: Network) -> Energy:
    """What the rule needs to know of a network with symmetric weights. Raises UnsupportedError naming the part and the fix."""
    found = read_asymmetric(network)
    return replace(found, back=_pairs(found.links, found.relaxing))


@per_object
def read_asymmetric(network: Network) -> Energy:
    """The same of any weights, which then have no energy."""
    cells = resolve(network).cells
    relaxing = tuple(n for n, cell in cells.items() if cell.system.states)
    for population in network.populations:
        _check_cell(network, population.name, cells[population.name])
    links = {p.name: _link(network, p.name, cells) for p in network.projections}
    output, target = _taught(network, cells)
    sources = tuple(n for n in cells if n not in relaxing)
    biased = tuple(n for n in relaxing if _check_rate(network, n, cells[n], links, taught=n == output))
    return Energy(network, output, target, relaxing, sources, biased, links)


def _check_cell(network: Network, name: str, cell: CellFormulas) -> None:
    """A cell of the right kind: graded, without noise, with at most one state and an activity."""
    what, neuron = f"population '{name}'", network.population(name).neuron
    if neuron.threshold:
        raise refusal(what, "its cells fire; the rule needs graded cells that settle, such as neuro.library.additive")
    found = lower(network).population(name)
    if found.noise:
        raise refusal(what, "its cells have noise and never settle; leave xi out")
    if found.counts:
        raise refusal(what, f"the drive '{found.counts[0][1]}' never lets its cells settle; leave it out")
    if neuron.regularly or neuron.scope.held:
        raise refusal(
            what, "'regularly' or '(constant over dt)' changes its cells beside their equations; leave it out"
        )
    if neuron.events:
        raise refusal(what, "events of their own change its cells beside their equations; leave them out")
    if neuron.every_step:
        raise refusal(what, "'every_step' changes its cells beside their equations; write it as an equation")
    if len(cell.system.states) > 1:
        raise refusal(
            what,
            f"its cells have several states ({', '.join(cell.system.states)}); the energy is that of cells with one",
        )
    if ACTIVITY not in {*cell.system.states, *dict(cell.subexpressions)}:
        raise refusal(what, f"its cells have no activity '{ACTIVITY}'; write one, such as {ACTIVITY} = sigmoid(u) : 1")


def _link(network: Network, name: str, cells: Mapping[str, CellFormulas]) -> SummedInput:
    """A projection that adds weight times activity to cells that relax."""
    what, projection = f"projection '{name}'", network.projection(name)
    if projection.pre not in cells:
        raise refusal(
            what, "it brings spikes; give the rule graded values, by a population without a state and a current input"
        )
    if not cells[projection.post].system.states:
        raise refusal(
            what, f"the cells of '{projection.post}' have no state that relaxes; give them one (neuro.library.additive)"
        )
    try:
        found = summed_input_of(network, name)
    except NoSummedInput as error:
        raise refusal(what, f"{error}; transmit w*{ACTIVITY}_pre") from None
    shown = _inlined(cells[projection.pre], symbol(ACTIVITY))
    if found.pre is None or found.lands or sp.simplify(found.pre - shown) != 0:
        raise refusal(what, f"what it sends is not weight times the activity '{ACTIVITY}'; transmit w*{ACTIVITY}_pre")
    return found


def _inlined(cell: CellFormulas, expression: sp.Expr) -> sp.Expr:
    """An expression of states, inputs and parameters alone."""
    for name, value in reversed(cell.subexpressions):
        expression = expression.xreplace({symbol(name): value})
    return expression


def _taught(network: Network, cells: Mapping[str, CellFormulas]) -> tuple[str, str]:
    """The output and its target: the population whose variable `d` an input drives."""
    ends = [(*i.target.partition("."), i.name) for i in network.inputs if i.kind == "current"]
    taught = [(p, n) for p, _, v, n in ends if v == TARGET and cells[p].system.states]
    if len(taught) != 1:
        why = "none" if not taught else f"those of {', '.join(p for p, _ in taught)}"
        raise refusal(
            f"network '{network.name}'",
            f"one population has to be taught, here {why}: give its cells '{STRENGTH}' and '{TARGET}' as neuro.library.additive has them, and "
            f"an input such as Input('target', size, 'current', 'output.{TARGET}')",
        )
    return taught[0]


def _pairs(links: Mapping[str, SummedInput], relaxing: Sequence[str]) -> dict[str, str]:
    """Each projection between relaxing cells with the one in the other direction."""
    between = {n: (s.synapses.pre, s.synapses.post) for n, s in links.items() if s.synapses.pre in relaxing}
    found = {}
    for name, (pre, post) in between.items():
        other = [n for n, ends in between.items() if ends == (post, pre)]
        if len(other) != 1:
            how = "no projection" if not other else f"more than one projection ({', '.join(other)})"
            raise refusal(
                f"projection '{name}'",
                f"there is {how} back from '{post}' to '{pre}' with the same weights; give exactly one, or allow what has no energy: "
                "asymmetric=True",
            )
        if links[other[0]].gain != links[name].gain:
            why = f"'{other[0]}' multiplies its weights by another number; transmit w*{ACTIVITY}_pre in both"
            raise refusal(f"projection '{name}'", why)
        there, back = (links[n].dense(np.ones(links[n].synapses.shape)) for n in (name, other[0]))
        if np.any(there != back.T):
            why = f"it has synapses without exactly one in '{other[0]}' the other way; give both by Pairs, or all pairs"
            raise refusal(f"projection '{name}'", f"{why}, or allow it: asymmetric=True")
        found[name] = other[0]
    return found


def _check_rate(
    network: Network, name: str, cell: CellFormulas, links: Mapping[str, SummedInput], *, taught: bool
) -> bool:
    """Sum and teacher pull at a cell with one factor, so that its rate is the slope of the energy. Returns whether a bias does so, too."""
    what, ((state, rate),) = f"population '{name}'", cell.system.rates
    given, fix = network.population(name).values(), f"d{state}/dt; write it as neuro.library.additive does"
    sums = {s.variable for s in links.values() if s.population == name}
    if len(sums) != 1:
        raise refusal(what, f"its cells get {len(sums)} sums of synapses; give them one and the same target, such as z")
    free = {symbol(n): sp.Integer(0) for n in (STRENGTH, CLAMP)}
    summed = symbol(sums.pop())
    pull = rate.diff(summed).xreplace(free)
    if pull == 0 or summed in within_functions(rate) or pull.free_symbols - {symbol(n) for n in given}:
        raise refusal(what, f"what its cells sum doesn't enter with a constant factor into {fix}")
    if taught:
        teacher = pull * (symbol(TARGET) - symbol(ACTIVITY))
        if STRENGTH not in given or sp.simplify(rate.diff(symbol(STRENGTH)).xreplace(free) - teacher) != 0:
            raise refusal(what, f"there is no teacher {STRENGTH}*({TARGET} - {ACTIVITY}) beside the sum in {fix}")
    declared = declared_parameters(network)
    for parameter in (STRENGTH, CLAMP):
        if parameter in given and np.any(declared[f"{name}.{parameter}"].value != 0):
            why = f"'{parameter}' isn't 0, so that no phase is free; leave it at 0, the rule sets it in the forced one"
            raise refusal(what, why)
    return BIAS in given and bool(sp.simplify(rate.diff(symbol(BIAS)).xreplace(free) - pull) == 0)

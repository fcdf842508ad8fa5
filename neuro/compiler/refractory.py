"""Cells that know when they are refractory: those of whose neuron a text gives the period, or names `lastspike` or `not_refractory`.

A constant period that nobody asks about is counted by each backend (Cells.refractory). Otherwise the two are states like others, and
what a refractory cell keeps is a choice between two values: backends read expressions, as of anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import sympy as sp

from neuro.caching import per_object
from neuro.compiler.rewriting import merged
from neuro.compiler.step import Assign, Couple, Update
from neuro.compiler.systems import DT, TIME
from neuro.language.elementary import chosen, floor_of, greater_equal, number
from neuro.language.mangling import mangled
from neuro.language.scope import SPIKE_STATES, NeuronScope
from neuro.language.symbolic import closed, symbol
from neuro.model import Network, Neuron, Projection

LAST, FREE = symbol("lastspike"), symbol("not_refractory")


def free(period: sp.Expr) -> sp.Expr:
    """not_refractory at the start of a step. period: seconds, of which whole steps count.

    The time since a spike is a whole number of steps, and rounded to one, so that no precision loses a step as time goes on.
    """
    passed = floor_of((TIME - LAST) / DT + sp.Rational(1, 2))
    return closed(greater_equal(passed, floor_of((period + DT / 1000) / DT)))


def still(condition: sp.Expr) -> sp.Expr:
    """not_refractory at the start of a step: a cell stays refractory while the condition holds."""
    return closed(1 - (1 - FREE) * condition)


def constant(neuron: Neuron) -> sp.Expr:
    """not_refractory at the start of a step, where the period is one number."""
    return free(number(neuron.period))


def noted(population: str, scope: NeuronScope) -> Update:
    """What cells that have just fired remember. No gradient passes from spikes into it, as none passes through a count of steps."""
    values = {"lastspike": TIME, "not_refractory": sp.Integer(0)}
    return Update(population, "spike", tuple(Assign(n, values[n]) for n in scope.spike_states), "spikes", detached=True)


def keeping(update: Update, neuron: Neuron) -> Update:
    """The same for cells that know when they are refractory: what they keep they choose."""
    if not neuron.scope.spike_states or not update.frozen:
        return update
    assigns = (
        replace(a, expr=chosen(FREE, a.expr, symbol(a.target))) if a.target in update.frozen and not a.temporary else a
        for a in update.assigns
    )
    return replace(update, assigns=tuple(assigns), frozen=())


def taking(coupling: Couple, neuron: Neuron) -> Couple:
    """The same into such cells, which take nothing for what they keep."""
    if not neuron.scope.spike_states or coupling.target not in neuron.frozen:
        return coupling
    here, factors = symbol(f"{FREE.name}_post"), coupling.factors
    if factors is not None:
        factors = replace(factors, post=chosen(here, factors.post, 0))
    return replace(coupling, value=chosen(here, coupling.value, 0), factors=factors)


# -- what synapses ask about ---------------------------------------------------------------------------------------------


def asked(network: Network) -> Network:
    """The network in which cells have what their synapses read of SPIKE_STATES: a neuron that names it has it."""
    return _asked(network) if any(_missing(network)) else network


def _missing(network: Network) -> Iterator[tuple[str, str]]:
    """(population, state) that a synapse reads and the cells don't have."""
    for projection in network.projections:
        for name in _read(projection):
            end, _, side = name.rpartition("_")
            population = network.parts["population"].get(projection.pre if side == "pre" else projection.post)
            if end in SPIKE_STATES and population is not None and end not in population.neuron.scope.spike_states:
                yield population.name, end


def _read(projection: Projection) -> Iterable[str]:
    return (n for e in projection.synapse.scope.expressions for n in e.names if n.endswith(("_pre", "_post")))


@per_object
def _asked(network: Network) -> Network:
    missing = dict.fromkeys(_missing(network))
    populations = []
    for population in network.populations:
        neuron, named = population.neuron, (n for owner, n in missing if owner == population.name)
        lines = [f"{mangled('read', n)} = {_READ[n]}" for n in named]
        if lines:
            neuron = merged(neuron, equations="\n".join([neuron.equations, *lines]))
        populations.append(replace(population, neuron=neuron))
    return replace(network, populations=tuple(populations))


_READ = {"lastspike": "lastspike : second", "not_refractory": "int(not_refractory) : 1"}

"""f) Shared and frozen weights: a network is the one with its weights put in by hand, to the last bit; the derivative by weights that
projections share is the sum of those by each; no rule trains what is frozen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neuro import AllToAll, Network, OneToOne, Pairs, Projection
from neuro.compiler.parameters import parameters, sharing, values
from neuro.compiler.resolve import resolve
from neuro.language.units import Quantity
from neuro.learning.common.parametrisation import ParameterError, Parametrisation
from neuro.protocols import UnsupportedError
from twinspike.fuzzing.networks import Case, with_network
from twinspike.fuzzing.oracles.gradients import BOUND, Loss
from twinspike.fuzzing.oracles.outcome import ALL, Failure, Outcome, Programs, attempt, expected, summary
from twinspike.fuzzing.oracles.tolerance import first_difference

NAME = "sharing"
EXACTLY = 0.0


def check(case: Case, programs: Programs) -> Outcome:
    """On the reference and one other backend, gradients on torch or native; nothing where nothing is shared or frozen."""
    outcome, network = Outcome(), case.network
    frozen = [p.frozen for p in network.populations] + [p.frozen for p in network.projections]
    if not any(frozen) and not any(p.shares for p in network.projections):
        return outcome
    declared = attempt(lambda: parameters(network))
    if isinstance(declared, Exception):
        if not expected(declared):
            raise declared
        return outcome
    trained(network, outcome)
    if any(p.shares for p in network.projections):
        outcome.notes.append("sharing compared")
        hand = Programs(with_network(case, by_hand(network)))
        for name in ("reference", ALL[1 + case.seed % 3]):
            one, two = programs.run(name), hand.run(name)
            if isinstance(one, Exception) or isinstance(two, Exception):
                if type(one) is not type(two):
                    outcome.failures.append(Failure(NAME, f"weights by hand end otherwise on {name}", f"{one} | {two}"))
                continue
            difference = first_difference(one, two, EXACTLY)
            if difference is not None:
                outcome.failures.append(Failure(NAME, f"weights by hand differ on {name}", str(difference)))
        slopes(case, programs, ("torch", "native")[case.seed // 3 % 2], outcome)
    return outcome


def by_hand(network: Network) -> Network:
    """The same network without sharing: each projection has weights and synapses of its own."""
    known, wires = values(network), resolve(network).wires

    def own(p: Projection) -> Projection:
        if not p.shares:
            return p
        holder, connectivity = network.projection(p.shares), p.connectivity
        assert holder.weights is not None
        if not isinstance(connectivity, AllToAll | OneToOne):
            connectivity = Pairs(wires[holder.name].pre_index, wires[holder.name].post_index)
        first = holder.weights if isinstance(holder.weights, Quantity) else next(iter(vars(holder.weights).values()))
        weights = Quantity(known[f"{holder.name}.w"], first.dimension, first.unit)
        return replace(p, shares="", weights=weights, connectivity=connectivity)

    return replace(network, projections=tuple(map(own, network.projections)))


def trained(network: Network, outcome: Outcome) -> None:
    """Patterns pass over all that is frozen, and over nothing else."""
    declared = parameters(network)
    free = {n for n, p in declared.items() if not p.frozen}
    found = attempt(lambda: Parametrisation.of(declared, ["*"]).names)
    if isinstance(found, ParameterError) and not free:
        return
    if isinstance(found, Exception) or {*found} != free:
        outcome.failures.append(Failure(NAME, "something else is trained than what isn't frozen", f"{found} | {free}"))


def slopes(case: Case, programs: Programs, name: str, outcome: Outcome) -> None:
    """The whole derivative by one name against the sum of those by all."""
    recording, program = programs.run("reference"), programs.get(name)
    if isinstance(recording, Exception) or isinstance(program, Exception):
        return
    loss, groups = Loss(case, recording), sharing(parameters(case.network))

    def of(*names: str) -> dict[str, np.ndarray]:
        size = {"steps": case.steps, "batch": case.batch}
        found: dict[str, np.ndarray] = program.value_and_grad(
            loss.torch, {}, case.inputs(), names, case.record(), **size
        )[1]
        return found

    for holder, group in groups.items():
        found = attempt(lambda h=holder, g=group: (of(h)[h], of(*g)))
        if isinstance(found, UnsupportedError):
            outcome.refusals.append((name, found.why))
            return
        if isinstance(found, Exception):
            if not expected(found):
                outcome.failures.append(Failure(NAME, f"{name} raises {type(found).__name__}", summary(found)))
            return
        whole, parts = found
        if not all(np.isfinite(g).all() for g in (whole, *parts.values())):
            outcome.notes.append(f"gradient not finite on {name}")
            continue
        scale = max(float(np.abs(g).max(initial=0.0)) for g in parts.values()) or 1.0
        off = float(np.abs(whole - sum(parts.values())).max(initial=0.0)) / scale
        if not off <= BOUND:
            outcome.failures.append(Failure(NAME, f"gradients don't add up on {name}", f"{holder} by {off:.2g}"))

"""What Brian2 would compute otherwise without a word, and what it has no means for: refused by name when a network is compiled."""

from __future__ import annotations

from backends.brian.errors import OTHERS
from backends.brian.plan import reached
from neuro.compiler.resolve import resolve
from neuro.compiler.stages import Stages
from neuro.model import Network, Neuron, Synapse
from neuro.protocols import UnsupportedError


def refuse(network: Network, target: str) -> None:
    """Raises UnsupportedError naming the part of the network that doesn't fit."""
    refuse_mixed_freezing(network)
    refuse_loops_in_order(network, target)
    refuse_early_subexpressions(network, target)
    refuse_integration(network)


def refuse_mixed_freezing(network: Network) -> None:
    """Brian2's code asks one cell of a synapse whether it is refractory: where a statement reads a variable that the presynaptic
    cell keeps while refractory, it asks that one, and the target's own refractory period counts for nothing.

    Raises UnsupportedError where a statement also adds to a variable that the target keeps.
    """
    for projection in network.projections:
        sender, scope = network.parts["population"].get(projection.pre), projection.synapse.scope
        for phase, block in (("on_pre", scope.on_pre), ("on_post", scope.on_post)):
            kept = {f"{n}_post" for n in network.population(projection.post).neuron.frozen}
            targets = [s.target for s in block if s.target in kept]
            names = [n for s in block for n in s.expression.names]
            if sender is None or not targets:
                continue
            read = sorted(reached(sender.neuron.scope, names, "_pre") & set(sender.neuron.frozen))
            if read:
                why = (
                    f"it reads {read[0]}_pre and adds to {targets[0]}, both of which refractory cells keep, and Brian2 then asks the "
                    f"presynaptic cell instead of the target; leave out '(unless refractory)' at one of them"
                )
                raise UnsupportedError("brian2", f"projection '{projection.name}', {phase}", why, OTHERS)


def refuse_loops_in_order(network: Network, target: str) -> None:
    """Brian2's numpy code computes what all synapses add before it adds; its Cython and C++ go from synapse to synapse.

    Raises UnsupportedError where the cells that a projection adds to are those it reads, and the variable is the same.
    """
    for projection in network.projections if target != "numpy" else ():
        cells, scope = network.population(projection.post).neuron.scope, projection.synapse.scope
        for phase, block in (("on_pre", scope.on_pre), ("on_post", scope.on_post)):
            added = {s.target.removesuffix("_post") for s in block if s.target.endswith("_post")}
            names = scope.reached(n for s in block for n in s.expression.names)
            read = sorted(added & reached(cells, names, "_pre")) if projection.pre == projection.post else []
            if read:
                why = (
                    f"it reads {read[0]}_pre of the cells whose {read[0]} it adds to, one synapse after another; use target='numpy', "
                    "which computes all amounts first"
                )
                raise UnsupportedError(
                    "brian2", f"projection '{projection.name}', {phase}, with target='{target}'", why, OTHERS
                )


def refuse_early_subexpressions(network: Network, target: str) -> None:
    """Brian2's C++ and Cython compute a synapse's subexpressions before all statements, and before its equations are solved up to the event.

    Raises UnsupportedError where one reads what has changed by then.
    """
    for projection in network.projections if target != "numpy" else ():
        scope = projection.synapse.scope
        for phase, block in (("on_pre", scope.on_pre), ("on_post", scope.on_post)):
            changed = {e.name for e in scope.event_driven}
            for statement in block:
                for name in statement.expression.names:
                    read = sorted(scope.reached([name]) & changed - {name})
                    if read:
                        why = (
                            f"its code computes '{name}' first of all, and {read[0]} has changed where it is read; write it out there, "
                            "or use target='numpy'"
                        )
                        what = f"projection '{projection.name}', {phase}, with target='{target}'"
                        raise UnsupportedError("brian2", what, why, OTHERS)
                changed.add(statement.target)


def refuse_integration(network: Network) -> None:
    """Brian2's integrators are explicit, and it forms the sums of synapses once a step.

    Raises UnsupportedError where a network wants an implicit one, or sums at every stage.
    """
    models: list[tuple[str, Neuron | Synapse]] = [(f"population '{p.name}'", p.neuron) for p in network.populations]
    models += [(f"projection '{p.name}'", p.synapse) for p in network.projections]
    for owner, model in models:
        if model.method == "rosenbrock" and model.scope.of_kind("differential"):
            why = "Brian2 has no implicit integrator; use method='rk4' with a smaller dt"
            raise UnsupportedError("brian2", f"{owner}, method 'rosenbrock'", why, OTHERS)
    joined = Stages(resolve(network)).joined
    if joined:
        why = "couplings='stages', but Brian2 holds what synapses send for a step; use couplings='step'"
        raise UnsupportedError("brian2", f"population{'s' * (len(joined) > 1)} {', '.join(joined)}", why, OTHERS)

"""Ways to write the same network otherwise: network -> (network, names that changed), or None where one doesn't fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from neuro import AllToAll, Network, Neuron, Population, Projection, Synapse, quantity
from neuro.compiler.rewriting import rename
from neuro.language.units import Quantity, is_unit_name, unit
from twinspike.fuzzing.editing import blocks, models, substituted, with_blocks
from twinspike.fuzzing.names import POPULATIONS, VARIABLES
from twinspike.fuzzing.oracles.drawing import as_pairs, synapses

Random = np.random.Generator
Made = tuple[Network, Mapping[str, str]] | None


def _fresh(random: Random, taken: Iterable[str], pool: Iterable[str] = VARIABLES) -> Callable[[], str]:
    known = set(taken)
    free = [n for n in pool if n not in known]
    order = iter(random.permutation(free).tolist())
    return lambda: str(next(order))


def _owners(network: Network) -> list[str]:
    return [
        *(p.name for p in network.populations),
        *(p.name for p in network.projections),
        *(i.name for i in network.inputs),
    ]


# -- names -------------------------------------------------------------------------------------------------------------


def renamed_owners(network: Network, random: Random) -> Made:
    """Other names of populations, projections and inputs; those of populations and projections that draw numbers name their streams."""
    owners = _owners(network)
    fresh = _fresh(random, owners, dict.fromkeys((*POPULATIONS, *VARIABLES)))
    kept = {p.name for p in network.populations if p.neuron.scope.noise}
    kept |= {p.name for p in network.projections if p.synapse.scope.noise}
    table = {name: name if name in kept else fresh() for name in owners}
    populations = tuple(replace(p, name=table[p.name]) for p in network.populations)
    projections = tuple(
        replace(p, name=table[p.name], pre=table[p.pre], post=table[p.post], shares=p.shares and table[p.shares])
        for p in network.projections
    )
    inputs = tuple(replace(i, name=table[i.name], target=_moved(i.target, table)) for i in network.inputs)
    found = replace(network, populations=populations, projections=projections, inputs=inputs)
    variables = {f"{p.name}.{v}": f"{table[p.name]}.{v}" for p in network.populations for v in _recorded(p)}
    return found, {**table, **variables}


def _recorded(p: Population) -> tuple[str, ...]:
    return (*p.neuron.scope.states, *p.neuron.scope.subexpressions)


def _moved(target: str, table: Mapping[str, str]) -> str:
    owner, _, variable = target.partition(".")
    return f"{table[owner]}.{variable}" if target else ""


def renamed_variables(network: Network, random: Random) -> Made:
    """Other names of all variables and parameters of cells."""
    taken = {n for m in models(network) for n in _all_names(m)}
    fresh = _fresh(random, taken)
    tables = {p.name: {n: fresh() for n in _own_names(p.neuron)} for p in network.populations}
    populations = tuple(_renamed_population(p, tables[p.name]) for p in network.populations)
    projections = tuple(_renamed_ends(p, tables.get(p.pre, {}), tables[p.post]) for p in network.projections)
    inputs = []
    for i in network.inputs:
        owner, _, variable = i.target.partition(".")
        inputs.append(replace(i, target=f"{owner}.{tables[owner][variable]}") if i.target else i)
    names = {f"{p.name}.{v}": f"{p.name}.{tables[p.name].get(v, v)}" for p in network.populations for v in _recorded(p)}
    return replace(network, populations=populations, projections=projections, inputs=tuple(inputs)), names


def _own_names(neuron: Neuron) -> list[str]:
    return [*dict.fromkeys((*neuron.parameters, *(e.name for e in neuron.scope.equations)))]


def _all_names(model: Any) -> set[str]:
    names = {*model.parameters, *(line.name for lines in blocks(model).values() for line in lines)}
    names |= {*getattr(model.scope, "event_states", ())}  # which keep theirs: their order is that of what they draw
    return {n.removesuffix("_pre").removesuffix("_post") for n in names}


def _renamed(text: str, table: Mapping[str, str]) -> str:
    return rename(text, {**table, **{f"d{old}": f"d{new}" for old, new in table.items() if f"d{old}" not in table}})


def _renamed_population(p: Population, table: Mapping[str, str]) -> Population:
    n = p.neuron
    changed = {}
    for block, lines in blocks(n).items():
        kept = [replace(x, left=_left(x.left, x.name, table), text=x.text and rename(x.text, table)) for x in lines]
        changed[block] = kept
    neuron = with_blocks(
        n,
        changed,
        parameters=_keys(n.parameters, table),
        initial=_keys(n.initial, table),
        bounds=_keys(n.bounds, table),
    )
    return replace(p, neuron=neuron, parameters=_keys(p.parameters, table), initial=_keys(p.initial, table))


def _left(left: str, name: str, table: Mapping[str, str]) -> str:
    new = table.get(name, name)
    return f"d{new}/dt = " if left.startswith(f"d{name}/dt") else rename(left, {name: new})


def _keys(items: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, Any]:
    return {table.get(n, n): v for n, v in items.items()}


def _renamed_ends(p: Projection, pre: Mapping[str, str], post: Mapping[str, str]) -> Projection:
    """A synapse whose cells' variables are called otherwise, but where a parameter of its own hides one from its receptor."""
    s = p.synapse
    ends = {f"{o}_pre": f"{n}_pre" for o, n in pre.items()} | {f"{o}_post": f"{n}_post" for o, n in post.items()}
    cell = {o: n for o, n in post.items() if o not in s.scope.parameters}
    changed = {}
    for block, lines in blocks(s).items():
        table = cell if block == "receptor" else ends
        changed[block] = [
            replace(x, left=_left(x.left, x.name, table), text=x.text and rename(x.text, table)) for x in lines
        ]
    return replace(p, synapse=with_blocks(s, changed, target=post.get(s.target, s.target)))


def renamed_synapses(network: Network, random: Random) -> Made:
    """Other names of synapses, their variables and parameters."""
    cells = {n for p in network.populations for n in _own_names(p.neuron)}
    fresh = _fresh(random, cells | {n for m in models(network) for n in (*_all_names(m), m.name)})
    made: dict[int, tuple[Synapse, dict[str, str]]] = {}
    projections = []
    for p in network.projections:
        if id(p.synapse) not in made:
            made[id(p.synapse)] = _renamed_synapse(
                p.synapse, fresh, set(network.population(p.post).neuron.scope.inputs)
            )
        synapse, table = made[id(p.synapse)]
        projections.append(
            replace(p, synapse=synapse, parameters=_keys(p.parameters, table), initial=_keys(p.initial, table))
        )
    return (replace(network, projections=tuple(projections)), {}) if projections else None


def _renamed_synapse(s: Synapse, fresh: Callable[[], str], inputs: set[str]) -> tuple[Synapse, dict[str, str]]:
    receptor = [e.name for e in s.scope.receptor if e.name not in inputs]
    table = {
        n: fresh() for n in dict.fromkeys((*s.parameters, *(e.name for e in s.scope.equations), *receptor)) if n != "w"
    }
    ends = {f"{n}_post": f"{table[n]}_post" for n in receptor}
    both = {**table, **ends}
    own = {n: table[n] for n in (*receptor, *s.parameters)}  # a receptor's text knows no variables of the synapse
    changed = {}
    for block, lines in blocks(s).items():
        left, text = ({n: own[n] for n in receptor}, own) if block == "receptor" else (both, both)
        changed[block] = [
            replace(x, left=_left(x.left, x.name, left), text=x.text and rename(x.text, text)) for x in lines
        ]
    new = with_blocks(s, changed, name=fresh(), parameters=_keys(s.parameters, table), initial=_keys(s.initial, table))
    return new, table


# -- what nothing depends on -------------------------------------------------------------------------------------------


def unused_parameter(network: Network, random: Random) -> Made:
    """Every neuron has one parameter more, which nothing reads; its name may be one that a backend makes."""
    populations = []
    for p in network.populations:
        known = {
            *_all_names(p.neuron),
            *(n for j in network.projections if j.post == p.name for n in _all_names(j.synapse)),
        }
        made = [f"{i}_in" for i in p.neuron.scope.inputs]
        for j in network.projections:
            if j.post == p.name and j.synapse.receptor:
                made += [
                    f"{n}_{j.synapse.name}"
                    for n in (*j.synapse.parameters, *(e.name for e in j.synapse.scope.receptor))
                ]
        free = [n for n in made if n not in known and "__" not in n] if random.random() < 0.6 else []
        name = str(random.choice(free)) if free else _fresh(random, known)()
        populations.append(
            replace(p, neuron=replace(p.neuron, parameters={**p.neuron.parameters, name: quantity(0.123, "nA")}))
        )
    return replace(network, populations=tuple(populations)), {}


def unconnected_population(network: Network, random: Random) -> Made:
    """Cells that nobody hears, among the others."""
    fresh = _fresh(random, _owners(network))
    cells = Neuron(
        "alone",
        "dv/dt = (1.3 - v)/(3*ms) : 1",
        threshold="v > 0.2",
        reset="v = 0",
        refractory=quantity(2 * network.dt.value, "s"),
    )
    place = int(random.integers(len(network.populations) + 1))
    populations = list(network.populations)
    populations.insert(place, Population(fresh(), cells, 3))
    return replace(network, populations=tuple(populations)), {}


def silent_projection(network: Network, random: Random) -> Made:
    """One of weight 0 into an input."""
    targets = [(p, v) for p in network.populations for v in p.neuron.scope.inputs]
    sources = [o for o in (*network.populations, *network.inputs) if getattr(o, "sends", True)]
    sources = [o for o in sources if not isinstance(o, Population) or o.neuron.threshold]
    if not targets or not sources:
        return None
    post, variable = targets[int(random.integers(len(targets)))]
    pre: Any = sources[int(random.integers(len(sources)))]
    text = next(e.unit for e in post.neuron.scope.equations if e.name == variable)
    fresh = _fresh(random, _owners(network))
    synapse = Synapse("nothing", f"w : {text}", on_pre=f"{variable}_post += w")
    extra = Projection(fresh(), pre.name, post.name, synapse, quantity(0.0, text), AllToAll(), delay=network.dt)
    return replace(network, projections=(*network.projections, extra)), {}


# -- order and form ----------------------------------------------------------------------------------------------------


def reordered(network: Network, random: Random) -> Made:
    """Populations, where nothing is summed at their turns, and inputs in another order; projections too, where no statement reads what another may have written."""
    populations, inputs = (
        tuple(items[i] for i in random.permutation(len(items))) for items in (network.populations, network.inputs)
    )
    if any(network.turn_inputs.values()):
        populations = network.populations  # whose order says who is integrated first
    projections: Any = network.projections
    if not any(_reads_cells(p.synapse) for p in projections):
        projections = tuple(projections[i] for i in random.permutation(len(projections)))
    return replace(network, populations=populations, inputs=inputs, projections=projections), {}


def _reads_cells(s: Synapse) -> bool:
    statements = s.scope.statements
    return any(n.endswith(("_pre", "_post")) for x in statements for n in s.scope.reached(x.expression.names))


def other_units(network: Network, random: Random) -> Made:
    """Units of the text as numbers times base units, quantities in SI."""
    table: dict[str, str] = {}
    for model in models(network):
        for lines in blocks(model).values():
            for line in lines:
                for word in _words(line.text or ""):
                    if is_unit_name(word) and word not in _all_names(model):
                        one = unit(word)
                        table[word] = f"({one.value!r}*{one.dimension})"
    texts = {n: t for n, t in table.items() if "/" not in t}
    made = {
        id(m): with_blocks(m, {b: [_reworded(x, texts) for x in lines] for b, lines in blocks(m).items()}, **_in_si(m))
        for m in models(network)
    }
    populations = tuple(replace(p, neuron=made[id(p.neuron)], **_in_si(p)) for p in network.populations)
    projections = tuple(replace(p, synapse=made[id(p.synapse)], **_in_si(p)) for p in network.projections)
    return replace(network, populations=populations, projections=projections), {}


def _words(text: str) -> set[str]:
    import re

    return set(re.findall(r"[A-Za-z_]\w*", text))


def _reworded(line: Any, table: Mapping[str, str]) -> Any:
    return replace(line, text=substituted(line.text, dict(table))) if line.text else line


def _in_si(item: Any) -> dict[str, Any]:
    return {
        "parameters": {n: _si(v) for n, v in item.parameters.items()},
        "initial": {n: _si(v) for n, v in item.initial.items()},
    }


def _si(value: Any) -> Any:
    return quantity(np.asarray(value.value), str(value.dimension)) if isinstance(value, Quantity) else value


def split_projection(network: Network, random: Random) -> Made:
    """Every projection as two, each with some of its synapses; not where one could read what the other has added."""
    fresh = _fresh(random, _owners(network))
    projections, tied = [], {n for p in network.projections if p.shares for n in (p.name, p.shares)}
    for p in network.projections:
        count = synapses(network, p)
        drawing = bool(p.synapse.scope.noise)  # by their places
        if (
            p.name in tied
            or count < 2
            or drawing
            or p.synapse.scope.every_step
            or (p.pre == p.post and _reads_cells(p.synapse))
        ):
            projections.append(p)
            continue
        first = random.random(count) < 0.5
        projections += [
            as_pairs(network, p, np.flatnonzero(first)),
            replace(as_pairs(network, p, np.flatnonzero(~first)), name=fresh()),
        ]
    return (
        (replace(network, projections=tuple(projections)), {}) if len(projections) > len(network.projections) else None
    )


def put_in(network: Network, random: Random) -> Made:
    """Every subexpression of a cell or synapse written out where it stands, but numbers alone: powers of those may be refused."""
    cells = {p.name: _expanded(p.neuron) for p in network.populations}
    own = {p.name: _expanded(p.synapse) for p in network.projections}
    if not any((*cells.values(), *own.values())):
        return None
    populations = tuple(replace(p, neuron=_without(p.neuron, cells[p.name])) for p in network.populations)
    projections = []
    for p in network.projections:
        table: dict[str, Any] = {}
        for owner, end in ((p.pre, "pre"), (p.post, "post")):
            if owner in cells:
                names = {"i": "i" if end == "pre" else "j", "N": f"N_{end}"}
                names |= {n: f"{n}_{end}" for n in _own_names(network.population(owner).neuron)}
                table |= {f"{n}_{end}": f"({substituted(t, names)})" for n, t in cells[owner].items()}
        inside = {n: f"({t})" for n, t in cells[p.post].items() if n not in p.synapse.scope.parameters}
        synapse = _without(p.synapse, own[p.name])
        changed = {
            b: [_reworded(x, table if b != "receptor" else inside) for x in lines]
            for b, lines in blocks(synapse).items()
        }
        projections.append(replace(p, synapse=with_blocks(synapse, changed)))
    return replace(network, populations=populations, projections=tuple(projections)), {}


def _expanded(model: Any) -> dict[str, str]:
    """Subexpression -> its text over states, inputs and parameters alone; those of numbers alone are left out."""
    expressions = {e.name: e.expression for e in model.scope.of_kind("subexpression") if e.expression}

    def varies(name: str) -> bool:
        return any(n not in expressions or varies(n) for n in expressions[name].names)

    texts = {n: e.text for n, e in expressions.items() if varies(n)}

    def full(name: str) -> str:
        inner = {n: f"({full(n)})" for n in texts if n in _words(texts[name])}
        return substituted(texts[name], inner)

    return {n: full(n) for n in texts}


def _without(model: Any, texts: Mapping[str, str]) -> Any:
    table = {n: f"({t})" for n, t in texts.items()}
    return with_blocks(
        model,
        {
            b: [_reworded(x, table) for x in lines if b != "equations" or x.name not in texts]
            for b, lines in blocks(model).items()
        },
    )


ALL: Mapping[str, Callable[[Network, Random], Made]] = {
    "other names of populations": renamed_owners, "other names of variables": renamed_variables, "other names in synapses": renamed_synapses,
    "an unused parameter": unused_parameter, "an unconnected population": unconnected_population, "a projection of weight 0": silent_projection,
    "another order": reordered, "other units": other_units, "a projection split in two": split_projection, "subexpressions put in": put_in,
}  # fmt: skip

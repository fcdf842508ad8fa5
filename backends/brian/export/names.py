"""The user's own names in a Brian2 script, wherever Brian2, Python and the script itself leave them free."""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import sympy as sp

from backends.brian.devices import Device, brian2, numpy_generator, numpy_rt  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.functions import FUNCTIONS
from backends.brian.names import Names, brian2s_own
from backends.brian.text import Table
from neuro.language.mangling import unmangled
from neuro.language.scope import NeuronScope, SynapseScope
from neuro.model import Network, Neuron, Population, Projection, Synapse

OWN = ("np", "data", "network", "own", "sympy", "Path", "DEFAULT_FUNCTIONS", *FUNCTIONS)  # the script's
_WORDS = (
    *dir(builtins),
    "self",
    "LazyArange",
    "numpy_True",
    "numpy_False",
)  # of the code that Brian2 makes, and of what it calls with variables' names
# Names that the builder makes of others, and ends of names that Brian2 gives to parts of an object.
_MADE = re.compile(
    r"(next|assigned|noise|drawn|had|sum|current|count|values)_.*|numbered_.*|rate\d+|draw\d+|(xi|rand|poisson).*_of_.*|lowest|highest|place"
    r"|(BA|array|dynamic_array|var|lio)_.*|.*_indices"  # Brian2 makes them of others behind a `_`, see `_of_code`
)
_PART = re.compile(
    r".*_(pre|post|stateupdater|thresholder|resetter|subexpression_update|run_regularly|summed_variable).*|(spikes|values|traces|steps)_.*|(xi|rand|poisson).*_of_.*"
)
_MEANINGS = {  # of the parts of names that this package makes, in the order in which `unmangled` gives them
    "in": "{}_events",
    "weight": "weight_{}",
}


@cache
def _kept_by_brian2() -> frozenset[str]:
    """What a group or its synapses have as attributes already."""
    group = brian2.NeuronGroup(1, "", name="names*")
    synapses = brian2.Synapses(group, group, name="names*")
    variables = (*group.variables, *synapses.variables)
    return frozenset(
        (
            *dir(group),
            *dir(synapses),
            *variables,
            *(n.lstrip("_") for n in variables),
            *_WORDS,
            *_of_code(),
            "lastupdate",
            "lastspike",
        )
    )


def _templates() -> dict[str, str]:
    """Of the code that Brian2 makes for what a script has."""
    folder = Path(inspect.getfile(numpy_rt)).parent / "templates"
    found = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.py_")}
    return {name: text for name, text in found.items() if not name.startswith(("spatial", "synapses_create"))}


@cache
def _of_code() -> frozenset[str]:
    """What templates are given under the names of variables; and names of the code that solves equations, without their `_`: Brian2 calls
    the next value of a state `numpy` there `_numpy`, as a module.
    """
    templates = _templates()
    solving = [templates[name] for name in ("common_group", "stateupdate", "synapses")]
    blocks = re.findall(r"{[{%](.*?)[%}]}", "".join(templates.values()), re.DOTALL)
    return frozenset(
        (
            *re.findall(r"\b_+([A-Za-z]\w*)", "\n".join((*solving, inspect.getsource(numpy_generator)))),
            *re.findall(r"\b[A-Za-z]\w*", " ".join(blocks)),
            *re.findall(r"\b([A-Za-z]\w*)=", inspect.getsource(Device.code_object)),
        )
    )


@cache
def _objects_of_brian2() -> frozenset[str]:
    return frozenset((*dir(brian2), *dir(builtins), *OWN))


@cache
def _allowed(name: str) -> bool:
    """Whether a variable may be called that."""
    try:
        brian2.Equations.check_identifier(name)
    except SyntaxError:
        return False
    return not (
        name in FUNCTIONS or name in _kept_by_brian2() or _MADE.fullmatch(name) or name.endswith(("_pre", "_post", "_"))
    )


def _means_something(name: str) -> bool:
    """Whether sympy reads it as another thing than a variable: Brian2's exact method hands it states' names as text."""
    return hasattr(sp, name) or hasattr(builtins, name)


def _free(name: str, taken: Collection[str], read: bool = False) -> str:
    """The name, or one like it that Brian2 allows and nothing has. read: by sympy too."""
    base, number = name if not _MADE.fullmatch(name) else f"own_{name}", 1
    found = base
    while found in taken or not _allowed(found) or (read and _means_something(found)):
        number += 1
        found = f"{base.strip('_')}_{number}"
    return found


def _readable(name: str) -> str:
    """A name that was generated, in words."""
    role, *names = unmangled(name)
    return _MEANINGS.get(role, f"{role}_{{}}").format("_".join(names)) if names else name


def _table(model: Neuron | Synapse, taken: Collection[str] = (), instead: str = "") -> Table:
    """instead: what is added to a name that is taken."""
    found: Table = {}
    differential = model.scope.of_kind("differential")  # solved exactly: in each step, or from event to event
    solved = {e.name for e in differential if model.method == "exact" or "event-driven" in e.flags}
    for name in dict.fromkeys(_variables(model.scope)):
        wanted = _readable(name)
        if instead and wanted in taken:
            wanted = f"{wanted}_{instead}"
        found[name] = _free(wanted, {*taken, *found.values()}, name in solved)
    return found


def _variables(scope: NeuronScope | SynapseScope) -> Iterable[str]:
    return (*(e.name for e in scope.equations), *scope.parameters)


def _drawn(scope: NeuronScope | SynapseScope, prefix: str) -> Table:
    return {n: f"{prefix}_{n.replace('__', '_')}" for n in scope.noise}


class ReadableNames(Names):
    """Those of a script. objects: Python's names of populations, inputs and projections, which are Brian2's too.

    numbered: whose variables have the backend's names: sympy puts what it solves into the order of names, and in some orders Brian2's
    formula divides by what vanishes in refractory cells.
    """

    objects: Mapping[str, str]
    numbered: Collection[str]

    def __init__(self, network: Network, numbered: Collection[str] = ()) -> None:
        object.__setattr__(self, "objects", _objects(network))
        object.__setattr__(self, "numbered", numbered)
        super().__init__(network)

    def of_cells(self, population: Population) -> Table:
        scope = population.neuron.scope
        if population.name in self.numbered:
            return super().of_cells(population)
        own = {name: f"had_{name}" for name in scope.event_states}
        return _table(population.neuron) | brian2s_own(scope) | own | _drawn(scope, "noise")

    def of_synapse(self, projection: Projection) -> Table:
        if projection.name in self.numbered:
            return {n: f"numbered_{own}" for n, own in super().of_synapse(projection).items()}
        ends = [self.tables[e] for e in (projection.pre, projection.post) if e in self.network.parts["population"]]
        taken = {name for end in ends for name in end.values()}
        own, scope = _table(projection.synapse, taken, projection.synapse.name), projection.synapse.scope
        return own | brian2s_own(scope) | _drawn(scope, "drawn")

    def object(self, role: str, owner: str) -> str:
        found = self.objects[owner]
        return f"spikes_{found}" if role == "spikes" else found

    def given(self, feed: str, number: int) -> str:
        owner, _, noise = feed.partition(".")
        return f"{noise.replace('__', '_')}_of_{self.objects[owner]}" if noise else f"values_of_{self.objects[owner]}"

    def part(self, variable: str, source: str) -> str:
        kind = "current" if any(i.name == source for i in self.network.inputs) else "sum"
        return f"{kind}_{variable}_{self.objects[source]}"

    def count(self, drive: str) -> str:
        return f"count_{self.objects[drive]}"

    def owner(self, brian2_object: str) -> str | None:
        """The longest name that it begins with is whose it is."""
        found = [ours for ours, theirs in self.objects.items() if brian2_object.startswith(theirs)]
        return max(found, key=lambda name: len(self.objects[name]), default=None)

    def translated(self, message: str, owner: str) -> str:
        return message

    def changed(self) -> dict[str, str]:
        """ "owner.name", or an owner's name -> what the script calls it, where that is another one."""
        found = {name: other for name, other in self.objects.items() if name != other}
        for owner, table in self.tables.items():
            own: Any = self._own(owner)
            found |= {
                f"{owner}.{n}": table[n] for n in dict.fromkeys(own) if n in table and table[n] != n and "__" not in n
            }
        return found

    def _own(self, owner: str) -> Iterable[str]:
        parts = self.network.parts
        if owner in parts["population"]:
            return _variables(parts["population"][owner].neuron.scope)
        return _variables(parts["projection"][owner].synapse.scope)


def _objects(network: Network) -> dict[str, str]:
    found: dict[str, str] = {}
    for own in [part.name for kind in ("population", "input", "projection") for part in network.parts[kind].values()]:
        base = own if not _PART.fullmatch(own) else f"part_{len(found)}"
        name, number, taken = base, 1, {*_objects_of_brian2(), *found.values()}
        while name in taken:
            number += 1
            name = f"{base.rstrip('_')}{number}"
        found[own] = name
    return found

"""Our random numbers in a user's Brian2 objects, so that both sides compute with the same ones.

Brian2's numpy code asks a function for the numbers of the cells it works on: rand, randn, poisson, or a PoissonInput's
binomial one. Once Brian2 has written its code, each such function is replaced by one that answers from the stream that our
network has for the same place in the text.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import brian2
import numpy as np
import numpy.typing as npt
from brian2.core.base import BrianObject
from brian2.groups.group import CodeRunner
from brian2.groups.neurongroup import Resetter, StateUpdater, SubexpressionUpdater, Thresholder
from brian2.groups.subgroup import Subgroup
from brian2.synapses.synapses import SynapticPathway

from backends.brian.importing.importer import Imported
from backends.brian.importing.words import free
from neuro.compiler import drives, streams
from neuro.compiler.noise import synapses_of
from neuro.compiler.resolve import resolve
from neuro.language.counts import poisson
from neuro.language.drawn import DRAWN, drawn_by
from neuro.language.equations import Expression, Statement
from neuro.language.scope import NeuronScope, SynapseScope
from twinspike.brian2_runs.first_run import FirstRun

Array = npt.NDArray[Any]
Draw = Callable[[int, int], Array]  # steps from first to last - 1 -> numbers [time, cell]
_PHASES = {Thresholder: "threshold", Resetter: "reset", SubexpressionUpdater: "held", CodeRunner: "regularly"}
_XI = re.compile(r"^\s*(xi\w*)\s*=.*\brandn\(\)", re.MULTILINE)
_CALLS = re.compile(rf"\b({'|'.join(DRAWN)})\(")

_COMMENT = re.compile(r"#.*")  # statements are repeated there


class NumbersError(Exception):
    """A number that Brian2 draws has no place in our network."""


def drawing(found: FirstRun) -> bool:
    """Whether a step of the network draws numbers; known once it was run."""
    return any(isinstance(o, brian2.PoissonInput) or _calls(o) for o in found.objects)


def _calls(item: Any) -> list[str]:
    """The functions that draw numbers, in the order in which an object's code calls them."""
    code = getattr(item, "codeobj", None)
    return [] if code is None else _CALLS.findall(_COMMENT.sub("", str(getattr(code.code, "run", code.code))))


class OurNumbers(BrianObject):  # type: ignore[misc]
    """Gives Brian2's code our numbers, when everything else of a network has been prepared for its run."""

    add_to_magic_network = False

    def __init__(self, found: FirstRun, imported: Imported) -> None:
        super().__init__(clock=found.clock, when="end", order=10**7, name="our_numbers")
        self.found, self.imported = found, imported

    def before_run(self, run_namespace: Any) -> None:
        _Giver(self.found, self.imported).give()

    def run(self) -> None:
        """Nothing happens within a step."""


class _Rows:
    """A stream's rows [cell], one a step, asked for in the order of steps."""

    def __init__(self, draw: Draw, clock: Any) -> None:
        self.draw, self.step = draw, clock.variables["timestep"].get_value()
        self.first, self.held = 0, np.zeros((0, 0))

    def now(self) -> Array:
        step = int(self.step[0])
        if not 0 <= step - self.first < len(self.held):
            self.first = step - step % streams.BLOCK
            self.held = self.draw(self.first, self.first + streams.BLOCK)
        row: Array = self.held[step - self.first]
        return row


class _Giver:
    def __init__(self, found: FirstRun, imported: Imported) -> None:
        self.found, self.imported = found, imported
        self.network = resolve(imported.network).network
        self.waiting: dict[tuple[str, str, str], deque[str]] = {}

    def give(self) -> None:
        """Replace what draws numbers in the code of every object. Raises NumbersError."""
        for item in self.found.objects:
            if isinstance(item, brian2.PoissonInput):
                (name,) = item.variables.keys() & item.codeobj.namespace.keys()
                item.codeobj.namespace[name] = self.answer(item, [self.counts(item)])
                continue
            calls = _calls(item)
            for kind in sorted({*calls}):
                names = self.names(item, kind, calls.count(kind))
                answer = self.answer(item, [self.noise(item, n) for n in names])
                item.codeobj.namespace[kind] = _counted(answer) if kind == "poisson" else answer

    def names(self, item: Any, kind: str, number: int) -> list[str]:
        """Of our numbers those that this object's code draws, in the order of its calls."""
        owner = self.owner(item)
        if isinstance(item, StateUpdater):
            names = _XI.findall(item.abstract_code)
        else:
            waiting = self.waiting_for(owner, _phase(item), kind)
            names = [waiting.popleft() for _ in range(min(number, len(waiting)))]
        known = self.scope(owner).noise
        if len(names) != number or any(n not in known for n in names):
            raise NumbersError(
                f"'{item.name}' calls {kind}() {number} times, and our text draws {len(names)} numbers there"
            )
        return names

    def waiting_for(self, owner: str, phase: str, kind: str) -> deque[str]:
        place = owner, phase, kind
        if place not in self.waiting:
            scope = self.scope(owner)
            self.waiting[place] = deque(n for e in _expressions(scope, phase) for n in e.names if drawn_by(n) == kind)
        return self.waiting[place]

    def owner(self, item: Any) -> str:
        """The population or projection whose numbers an object draws."""
        name = _whole(item.group)[0]
        if name in self.imported.synapses:
            return self.projection(self.imported.synapses[name].projections, item)
        place = self.imported.groups.get(name)
        if place is None or place.name not in self.network.parts["population"]:
            raise NumbersError(f"'{item.name}' draws numbers, and '{name}' is no population here")
        return place.name

    def projection(self, made: tuple[str, ...], item: Any) -> str:
        """Of the projections of one Synapses object that which has an object's statements: those of another event have one of their own."""
        if isinstance(item, SynapticPathway):
            for name in made:
                labels = self.network.projection(name).synapse.scope.pathways
                if name == f"{made[0]}_{item.objname}" or free(item.objname, ["pre", "post"]) in labels:
                    return name
        return made[0]

    def scope(self, owner: str) -> NeuronScope | SynapseScope:
        parts = self.network.parts
        found = parts["population"].get(owner)
        scope: NeuronScope | SynapseScope = (
            parts["projection"][owner].synapse.scope if found is None else found.neuron.scope
        )
        return scope

    def noise(self, item: Any, name: str) -> Draw:
        owner, network = self.owner(item), self.network
        if owner in network.parts["population"]:
            return lambda first, last: streams.noise(network, owner, name, 0, 1, first, last)[0]
        size = synapses_of(network, owner)
        return lambda first, last: streams.synaptic(network.seed, owner, name, 0, 1, size, first, last)[0]

    def counts(self, item: Any) -> Draw:
        return lambda first, last: drives.counts(self.network, item.name, 0, 1, last - first, first)[0]

    def answer(self, item: Any, draws: list[Draw]) -> Callable[..., Array]:
        """What Brian2's code calls, for one draw after the other."""
        rows = deque(_Rows(draw, self.found.clock) for draw in draws)
        first = _whole(item._group if isinstance(item, brian2.PoissonInput) else item.group)[1]

        def drawn(vectorisation_idx: Any) -> Array:
            rows.rotate(-1)
            row = rows[-1].now()[first:]
            if isinstance(vectorisation_idx, np.integer):  # of a loop over synapses, one after another
                return row[vectorisation_idx]  # type: ignore[no-any-return]
            if isinstance(vectorisation_idx, int):
                raise NumbersError(f"'{item.name}' draws one number for all cells")
            indices = getattr(
                vectorisation_idx, "indices", vectorisation_idx
            )  # of cells, or of synapses that a spike reaches
            chosen: Array = row[: len(vectorisation_idx)] if indices is None else row[np.asarray(indices)]
            return chosen

        return drawn


def _counted(uniform: Callable[..., Array]) -> Callable[..., Array]:
    """poisson(mean), which we make of a uniform number."""
    return lambda mean, vectorisation_idx: np.asarray(poisson(mean, uniform(vectorisation_idx)))


def _whole(group: Any) -> tuple[str, int]:
    """The name of the group that this one is, or is a part of, and the first of its cells there."""
    return (group.source.name, group.start) if isinstance(group, Subgroup) else (group.name, 0)


def _phase(item: Any) -> str:
    if isinstance(item, SynapticPathway):
        return f"{item.prepost}: {item.objname}"
    if isinstance(item, Thresholder | Resetter) and item.event != "spike":
        return f"{'event' if isinstance(item, Thresholder) else 'on_event'}: {item.event}"
    for kind, phase in _PHASES.items():
        if isinstance(item, kind):
            return phase
    raise NumbersError(f"'{item.name}', a {type(item).__name__}, draws numbers, and there is no place for them")


def _expressions(scope: NeuronScope | SynapseScope, phase: str) -> Iterator[Expression]:
    end, _, own = phase.partition(": ")
    if end == "threshold" and isinstance(scope, NeuronScope):
        yield from (e for e in (scope.threshold,) if e is not None)
        return
    regularly = [s for r in scope.regularly for s in r.statements]
    blocks: dict[str, Iterable[Statement]] = {"held": scope.held, "regularly": regularly}
    if isinstance(scope, SynapseScope):
        label = free(own, ["pre", "post"])
        blocks |= {"pre": scope.pathways.get(label if label in scope.pathways else "", ()), "post": scope.on_post}
    else:
        blocks["reset"] = scope.reset
        blocks["on_event"] = [s for e in scope.events if e.name == own for s in e.statements]
        if end == "event":
            yield from (e.condition for e in scope.events if e.name == own)
            return
    yield from (s.expression for s in blocks[end])

"""One seed -> one network over the whole language, and how it is run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neuro import (
    AllToAll,
    Input,
    Network,
    Neuron,
    Normal,
    OneToOne,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
    Uniform,
    quantity,
)
from neuro.language.equations import ModelError
from twinspike.fuzzing.cells import UNITS, CellMaker, Setting, population, spread
from twinspike.fuzzing.chips import chain
from twinspike.fuzzing.connections import connected
from twinspike.fuzzing.delaying import delayed
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.driving import driven
from twinspike.fuzzing.events import event_driven
from twinspike.fuzzing.following import following
from twinspike.fuzzing.happening import happening
from twinspike.fuzzing.integration import diagonal, integrated
from twinspike.fuzzing.modulation import modulated, turned
from twinspike.fuzzing.names import PLAIN, PLAIN_OWNERS, POPULATIONS, VARIABLES, Names
from twinspike.fuzzing.pathways import pathways
from twinspike.fuzzing.refractory import kicked, refractory
from twinspike.fuzzing.releasing import releasing
from twinspike.fuzzing.sharing import shared
from twinspike.fuzzing.starting import starting
from twinspike.fuzzing.synapses import Draft, SynapseMaker, units_of
from twinspike.fuzzing.words import worded

Array = np.ndarray[Any, Any]
_DRAFTS = 20  # of one part, before its error is raised
_AMPLITUDE = {"1": 0.6, "volt": 6e-3, "amp": 0.6e-9, "siemens": 5e-9, "hertz": 50.0}  # of currents, SI


@dataclass(frozen=True)
class Case:
    """A network and how it is run. seed: of its inputs, and what it was made from. dyadic: its arithmetic rounds nothing.

    large: native takes it for a large network, see `sizes`.
    """

    network: Network
    steps: int
    batch: int
    seed: int
    dyadic: bool = False
    large: bool = False

    def inputs(self) -> dict[str, Array]:
        """Spikes at random, currents that vary; Poisson inputs and drives are left to the network's own seed."""
        random = np.random.default_rng([self.seed, 77])
        found: dict[str, Array] = {}
        for item in self.network.inputs:
            shape = (self.batch, self.steps, item.size)
            if item.kind == "spikes":
                found[item.name] = random.random(shape) < 0.3
            elif item.kind == "current":
                owner, _, variable = item.target.partition(".")
                unit = units_of(self.network.population(owner).neuron)[variable]
                found[item.name] = self.grid(random.normal(0.5, 1, shape)) * _AMPLITUDE[unit]
        return found

    def grid(self, values: Array) -> Array:
        return np.round(values * 4) / 4 / 0.6 if self.dyadic else values

    def record(self) -> list[str]:
        """Everything that all backends can record."""
        cells = [
            f"{p.name}.{v}"
            for p in self.network.populations
            for v in (*p.neuron.scope.states, *p.neuron.scope.subexpressions)
        ]
        return cells + [f"{p.name}.{v}" for p in self.network.projections for v in p.synapse.scope.states]

    def run(self, program: Any, **options: Any) -> Any:
        """A recording of everything."""
        given: Mapping[str, Any] = {
            "inputs": self.inputs(),
            "record": self.record(),
            "steps": self.steps,
            "batch": self.batch,
        }
        return program.run(**{**given, **options})


@dataclass
class Tally:
    """drafts: parts that broke a rule of the language and were drawn again."""

    drafts: int = 0
    parts: int = 0
    reasons: list[str] = field(default_factory=list)


class NetworkMaker:
    """One random network."""

    def __init__(self, seed: int) -> None:
        self.seed, self.dice, self.tally = seed, Dice(seed), Tally()
        self.large = Dice([seed, 5]).chance(0.5)
        self.crowds = Dice([seed, 6])
        self.crowded = self.crowds.chance(0.1)  # more cells than a vector or a warp has places for
        dyadic = self.dice.chance(0.12)
        dt = 2.0**-7 if dyadic else self.dice.choose((1e-4, 2.5e-4, 5e-4, 1e-3))
        hostile = self.dice.chance(0.8)
        self.setting = Setting(dt, dyadic, VARIABLES if hostile else PLAIN)
        self.names = Names(self.dice, tuple(dict.fromkeys((*POPULATIONS, *VARIABLES))) if hostile else PLAIN_OWNERS)
        self.kinds = Names(self.dice, self.setting.names)  # of neurons and synapses

    def make(self) -> Case:
        dice = self.dice
        if not self.setting.dyadic and dice.chance(0.04):
            network = chain(dice, self.names, self.seed)
            return Case(network, dice.whole(20, 40), dice.whole(1, 3), self.seed, large=self.large)
        neurons = [
            self.part(lambda: CellMaker(dice, self.setting, self.kinds.new()).make())
            for _ in range(dice.weighted({1: 5, 2: 3, 3: 1}))
        ]
        populations = [population(dice, self.setting, self.names.new(), n, self.size()) for n in neurons]
        inputs = self.make_inputs(populations)
        projections = self.make_projections(populations, [i for i in inputs if i.sends])
        steps, batch = (
            dice.whole(10, 16) if self.setting.dyadic else dice.whole(15, 40),
            dice.weighted({1: 6, 2: 3, 3: 1}),  # Brian2 writes its code for one trial anyway
        )
        network = Network(
            tuple(populations),
            tuple(projections),
            tuple(inputs),
            dt=self.setting.time(1),
            seed=dice.whole(0, 10**6),
            name=f"seed_{self.seed}",
        )
        if (
            not self.setting.dyadic
        ):  # drawn from streams of their own, so that a seed's other choices stay what they were
            network = modulated(integrated(network, Dice([self.seed, 1])), Dice([self.seed, 2]))
            network = connected(network, Dice([self.seed, 3]))
            network = driven(network, Dice([self.seed, 4]))
            network = shared(network, Dice([self.seed, 7]))
            network = worded(network, Dice([self.seed, 36]))
            network = event_driven(network, Dice([self.seed, 36, 1]))
            network = diagonal(starting(network, Dice([self.seed, 18])), Dice([self.seed, 19]))
            network = delayed(network, Dice([self.seed, 39]))
            network = refractory(network, Dice([self.seed, 37]))
            network = pathways(network, Dice([self.seed, 73]))
            network = turned(network, Dice([self.seed, 36, 2]))
            network = releasing(network, Dice([self.seed, 42]))
            network = happening(network, Dice([self.seed, 42, 1]))
            network = following(network, Dice([self.seed, 43]))
            network = kicked(network, Dice([self.seed, 43, 1]))
        return Case(network, steps, batch, self.seed, self.setting.dyadic, self.large)

    def size(self) -> int:
        """Of a population or an input."""
        few = self.dice.whole(1, 5)
        return self.crowds.whole(7, 40) if self.crowded else few

    def part(self, make: Any) -> Any:
        """What `make` gives, drawn again where it breaks a rule."""
        for _ in range(_DRAFTS):
            self.tally.parts += 1
            try:
                return make()
            except ModelError as error:
                self.tally.drafts += 1
                self.tally.reasons.append(str(error.problems[0]))
        return make()

    # -- inputs --------------------------------------------------------------------------------------------

    def make_inputs(self, populations: list[Population]) -> list[Input]:
        dice, found = self.dice, []
        for _ in range(dice.weighted({0: 1, 1: 5, 2: 2})):
            kind = dice.weighted({"spikes": 5, "poisson": 2, "current": 2})
            size, name = self.size(), self.names.new()
            if kind == "poisson" and not self.setting.dyadic:
                rate = (
                    quantity(dice.random.uniform(0.1, 0.5, size).round(2) / self.setting.dt, "Hz")
                    if dice.chance(0.4)
                    else quantity(0.3 / self.setting.dt, "Hz")
                )
                found.append(Input(name, size, "poisson", rate=rate))
            elif kind == "current":
                targets = [(p, v) for p in populations for v in p.neuron.scope.inputs]
                if targets:
                    chosen, variable = dice.choose(targets)
                    found.append(
                        Input(name, dice.choose((1, chosen.size)), "current", target=f"{chosen.name}.{variable}")
                    )
            else:
                found.append(Input(name, size))
        return found

    # -- projections ---------------------------------------------------------------------------------------

    def make_projections(self, populations: list[Population], sources: list[Input]) -> list[Projection]:
        dice, found = self.dice, []
        ends: list[Population | Input] = [*populations, *sources]
        wanted: list[tuple[Population | Input, Population]] = [(s, dice.choose(populations)) for s in sources]
        for _ in range(dice.weighted({0: 2, 1: 4, 2: 3, 3: 2})):
            wanted.append((dice.choose(ends), dice.choose(populations)))
        earlier: dict[tuple[str, str], tuple[Synapse, Draft]] = {}
        for pre, post in wanted:
            neuron = pre.neuron if isinstance(pre, Population) else None
            key = (neuron.name if neuron else "", post.neuron.name)
            made = earlier.get(key) if dice.chance(0.25) else None
            if made is None:
                made = self.synapse(neuron, post.neuron, [s for (_, p), (s, _) in earlier.items() if p == key[1]])
            if made is not None:
                earlier[key] = made
                found.append(self.part(lambda a=pre, b=post, m=made: self.projection(a, b, *m)))
        return found

    def synapse(self, pre: Neuron | None, post: Neuron, earlier: list[Synapse]) -> tuple[Synapse, Draft] | None:
        """Between two such cells; now and then another receptor that is called as one of the earlier ones into these cells."""
        alike = [s.name for s in earlier if s.receptor]
        name = self.dice.choose(alike) if alike and self.dice.chance(0.5) else ""

        def make() -> tuple[Synapse, Draft] | None:
            maker = SynapseMaker(self.dice, self.setting, name or self.kinds.new(), pre, post)
            return maker.make("receptor" if name else "")

        found: tuple[Synapse, Draft] | None = self.part(make)
        return found

    def projection(self, pre: Population | Input, post: Population, synapse: Synapse, draft: Draft) -> Projection:
        dice = self.dice
        connectivity, count = self.connectivity(pre, post)
        shape: tuple[int, ...] | None = None if count is None else (count,)
        if isinstance(connectivity, AllToAll):
            shape = (pre.size, post.size)
        options: dict[str, Any] = {}
        if draft.weight is not None:
            options["weights"] = self.weights(draft, shape, options)
        if not draft.transmits:
            delay = dice.weighted({"none": 4, "uniform": 3, "each": 2 if shape else 0})
            steps = (
                np.asarray(dice.whole(1, 4))
                if delay == "uniform"
                else np.zeros(())
                if delay == "none"
                else dice.random.integers(0, 4, shape or ())
            )
            options["delay"] = quantity(steps * self.setting.dt, "s")
        if not self.setting.dyadic:
            options["parameters"] = {
                k: self.one_each(v, shape)
                for k, v in synapse.parameters.items()
                if self.lives_in_synapse(synapse, k) and dice.chance(0.2)
            }
            states = [s for s in synapse.scope.states if s != "w" and dice.chance(0.15)]
            options["initial"] = {s: self.one_each(quantity(0.3), shape) for s in states}
        return Projection(self.names.new(), pre.name, post.name, synapse, connectivity=connectivity, **options)

    @staticmethod
    def lives_in_synapse(synapse: Synapse, name: str) -> bool:
        return not any(e.expression and name in e.expression.names for e in synapse.scope.receptor)

    def one_each(self, value: Any, shape: tuple[int, ...] | None) -> Any:
        """Another value: one number, one per synapse, or a distribution."""
        if shape is not None and self.dice.chance(0.5):
            factors = self.dice.random.uniform(0.8, 1.2, shape).round(3)
            return quantity(float(value.to(value.unit)) * factors, value.unit)
        if self.dice.chance(0.5):
            return quantity(float(value.to(value.unit)) * 1.1, value.unit)
        found = spread(self.dice, value, 1)
        return found if isinstance(found, Normal | Uniform) else quantity(float(value.to(value.unit)) * 0.9, value.unit)

    def connectivity(self, pre: Population | Input, post: Population) -> tuple[Any, int | None]:
        """Which synapses there are, and how many, where that is known."""
        dice = self.dice
        kind = dice.weighted(
            {"all": 4, "one": 2 if pre.size == post.size else 0, "probability": 2, "pairs": 2, "empty": 0.15}
        )
        if kind == "all":
            return AllToAll(not (pre is post and dice.chance(0.5))), None
        if kind == "one":
            return OneToOne(), pre.size
        if kind == "probability":
            return Probability(dice.choose((0.0, 0.3, 0.6, 1.0, 0.5)), not (pre is post and dice.chance(0.5))), None
        count = 0 if kind == "empty" else dice.whole(1, 8)
        return Pairs(dice.random.integers(0, pre.size, count), dice.random.integers(0, post.size, count)), count

    def weights(self, draft: Draft, shape: tuple[int, ...] | None, options: dict[str, Any]) -> Any:
        dice, unit = self.dice, UNITS[draft.weight or "1"]
        size = draft.size if draft.weight != "siemens" else 8.0
        sign = dice.weighted({None: 6, "+": 2, "-": 1})
        options["sign"] = sign
        low, high = {None: (-0.5, 1.5), "+": (0.1, 1.5), "-": (-1.5, -0.1)}[sign]
        if dice.chance(0.2):
            options["bounds"] = dice.choose(
                ((None, quantity(2 * size, unit)), (quantity(-2 * size, unit), quantity(2 * size, unit)))
            )
        kind = dice.choose(("one", "each", "normal", "uniform"))
        if self.setting.dyadic:
            kind, grid = dice.choose(("one", "each")), 4
            low, high = {None: (-0.5, 1.5), "+": (0.25, 1.5), "-": (-1.5, -0.25)}[sign]
        else:
            grid = 1000
        if kind == "each" and shape is not None:
            return quantity(np.round(dice.random.uniform(low, high, shape) * grid) / grid * size, unit)
        if kind == "normal" and sign is None and "bounds" not in options:
            return Normal(quantity(0.5 * size, unit), quantity(0.6 * size, unit))
        if kind == "uniform":
            return Uniform(quantity(low * size, unit), quantity(high * size, unit))
        return quantity(
            np.round(dice.random.uniform(max(low, 0.25) if high > 0 else low, high) * grid) / grid * size, unit
        )


def generate(seed: int) -> Case:
    """The case of this seed. Raises ModelError where twenty drafts of one part broke rules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return NetworkMaker(seed).make()


def with_network(case: Case, network: Network) -> Case:
    """The same run of another network."""
    return replace(case, network=network)

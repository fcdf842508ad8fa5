"""What goes into a run, checked once for every backend: parameters, inputs, noise. All SI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.common.starting_state import check_state
from backends.common.values import given_parameters, input_array, known, named, of_input, on_device, whole
from neuro import checks
from neuro.compiler import drives, streams
from neuro.compiler.noise import noise, synapses_of
from neuro.compiler.parameters import Parameter
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.compiler.resolve import resolve
from neuro.events import Events
from neuro.language.foreign import numbers
from neuro.model import Input, Network
from neuro.protocols import Inputs, Parameters, RunError
from neuro.state import State

Array = npt.NDArray[Any]
_SMALL = 2**20  # numbers of a run that fits every machine


@dataclass(frozen=True)
class Feed:
    """Everything from outside for one run. arrays: input name -> [batch, time, channel], bool for spikes.

    population: number of parameter sets, None where there is no such axis. state: that the run begins with, with the axes
    of this run; None for the initial one. trial: index of the first trial in the random streams.
    """

    steps: int
    batch: int
    arrays: Mapping[str, Any]
    population: int | None = None
    state: State | None = None
    trial: int = 0

    @property
    def start(self) -> int:
        """Steps done before."""
        return 0 if self.state is None else self.state.step

    @property
    def lead(self) -> tuple[int, ...]:
        """The axes before those of cells and synapses: (batch,) or (population, batch)."""
        return (self.batch,) if self.population is None else (self.population, self.batch)


def check_parameters(
    network: Network, given: Parameters | None, population: int | None = None,
    declared: Mapping[str, Parameter] | None = None,
) -> dict[str, Array]:  # fmt: skip
    """The network's parameters with the given ones put in: see backends.common.values.given_parameters. Raises RunError.

    With a population the given ones have its axis first, and come back as `with_lead` shapes them. declared: the network's
    parameters where somebody has them at hand; random ones are drawn for this otherwise.
    """
    declared = declared_parameters(network) if declared is None else declared
    found = {name: parameter.value for name, parameter in declared.items()}
    for name, value in given_parameters(declared, given, population).items():
        found[name] = value if population is None else value.reshape(with_lead(network, name, value.shape))
    return found


def with_lead(network: Network, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a parameter set [population, ...] that broadcasts against states [population, batch, ...]."""
    owner = name.partition(".")[0]
    projection = next((p for p in network.projections if p.name == owner), None)
    rank = 1 if projection is None else len(resolve(network).wires[projection.name].shape)
    return (shape[0], 1, *(1,) * (rank - len(shape) + 1), *shape[1:])


def check_inputs(
    network: Network, given: Inputs | None, *, steps: int | None = None, batch: int | None = None, trial: int = 0,
    population: int | None = None, state: Any = None, convert: bool = True, events: bool = False,
) -> Feed:  # fmt: skip
    """Inputs and first state of one run, Poisson inputs drawn where left out. Raises RunError naming the input and its shape.

    convert: False leaves the given arrays' own types, and a state's. events: spikes come back as Events, not as arrays, and drives are
    left to a kernel that draws them itself.
    """
    population = None if population is None else whole("population", population)
    whole("trial", trial, 0)
    found, steps, batch = given_inputs(network, given, steps, batch)
    if state is not None:
        state = check_state(network, state, batch, population)
        state = state.numpy() if convert else state
        batch = state.lead[-1]
        trial = same_trials(state, trial)
    if steps is None:
        raise RunError("the number of steps is unknown; give steps=..., or an input array")
    batch = 1 if batch is None else batch
    if steps < 1 or batch < 1:  # an empty array
        raise RunError(f"a run needs at least one step and one trial, not steps={steps}, batch={batch}")
    check_room(network, steps, batch, population or 1, events, steps)
    arrays = {}
    for item in network.inputs:
        if item.name in found:
            arrays[item.name] = converted(item, found[item.name], convert=convert, events=events)
        elif not item.drawn:
            raise missing(network, item)
        elif item.sends or not events:
            arrays[item.name] = _drawn(network, item, trial, batch, steps, events, 0 if state is None else state.step)
    return Feed(steps, batch, arrays, population, state, trial)


def given_inputs(network: Network, given: Any, steps: Any, batch: Any) -> tuple[dict[str, Any], int | None, int | None]:
    """The given inputs, SI, in their own types, and the numbers of steps and trials on which all agree. Raises RunError."""
    inputs = {i.name: i for i in network.inputs}
    steps, batch = (None if n is None else whole(k, n) for k, n in (("steps", steps), ("batch", batch)))
    found = {}
    for name, value in named(given, "inputs").items():
        if name not in inputs:
            known(name, inputs, "input")
        found[name] = array = input_array(network, inputs[name], value)
        batch, steps = _agree(name, array.shape, batch, steps)
    return found, steps, batch


def missing(network: Network, item: Input) -> RunError:
    """What is said where nobody gives an input."""
    call = of_input(network, item)[2]
    return RunError(f"input '{item.name}' is missing; give an array [batch, time, {item.size}]: write {call}")


def same_trials(state: State, trial: int) -> int:
    """Index of a state's first trial, which a run that goes on keeps. Raises RunError."""
    if trial not in (0, state.trial):
        raise RunError(f"trial={trial}, and the state is of the trials from {state.trial}; leave trial out")
    return state.trial


def check_room(network: Network, steps: int, batch: int, sets: int, events: bool, drawn: int) -> None:
    """Raises RunError where states, noise, Poisson spikes and rasters of such a run won't fit. events: no rasters are made.

    drawn: steps whose random numbers are there at once.
    """
    cells = sum(p.size for p in network.populations) + sum(i.size for i in network.inputs)
    if steps * batch * sets * (1 + cells) < _SMALL:
        return
    sizes = {"its clock": 8 * steps}
    for population in network.populations:
        sizes[f"the noise of population '{population.name}'"] = (
            8 * batch * drawn * population.size * len(population.neuron.scope.noise)
        )
        states = sets * batch * population.size
        sizes[f"the states of population '{population.name}'"] = 4 * states * len(population.neuron.scope.states)
        if population.neuron.threshold and not events:
            sizes[f"the spikes of population '{population.name}'"] = states * steps
    for p in (p for p in network.projections if p.synapse.scope.noise and not events):
        numbers = synapses_of(network, p.name) * len(p.synapse.scope.noise)
        sizes[f"the numbers that the synapses of projection '{p.name}' draw"] = 8 * batch * drawn * numbers
    for item in network.inputs:
        if item.kind == "poisson":
            sizes[f"input '{item.name}'"] = (1 if events else batch) * drawn * item.size
        elif item.kind == "drive" and not events:
            sizes[f"the counts of input '{item.name}'"] = 16 * batch * drawn * item.size
    total, free = float(sum(sizes.values())), checks.machine_memory()
    if total > free:
        largest = max(sizes, key=lambda name: sizes[name])
        raise RunError(
            f"a run with steps={steps}, batch={batch}{f', population={sets}' if sets > 1 else ''} needs {checks.in_words(total)}, and this machine has "
            f"{checks.in_words(free)}; most of it is {largest}; use a smaller batch{', fewer sets' if sets > 1 else ''} or fewer steps"
        )


def _drawn(network: Network, item: Input, trial: int, batch: int, steps: int, events: bool, first: int) -> Any:
    """Counts, or Poisson spikes; as events, they are drawn trial by trial, so that no array of all of them exists."""
    if item.kind == "drive":
        return drives.counts(network, item.name, trial, batch, steps, first)
    if not events:
        return draw_poisson(network, item, trial, batch, steps, first)
    return Events.joined([Events.of(draw_poisson(network, item, trial + b, 1, steps, first)) for b in range(batch)])


def converted(item: Input, value: Any, *, convert: bool = True, events: bool = False) -> Any:
    """An input's SI values as an array of its kind, or in its own type; spikes as events if those are wanted."""
    if on_device(value):
        if not convert:
            return value
        value = numbers(value)
    if events and item.sends:
        return Events.of(value)
    value = np.asarray(value)
    return value.astype(np.bool_ if item.sends else np.float64, copy=False) if convert else value


def _agree(name: str, shape: tuple[int, ...], batch: int | None, steps: int | None) -> tuple[int, int]:
    """Trials and steps of the run, which all inputs share."""
    for axis, known_, found in (("batch", batch, shape[0]), ("time", steps, shape[1])):
        if known_ is not None and known_ != found:
            turned = batch in (None, shape[1]) and steps in (None, shape[0])
            fix = "; an array [time, batch, channel] needs array.swapaxes(0, 1)" if turned else ""
            raise RunError(f"input '{name}' has {found} entries along {axis}; the run has {known_}{fix}")
    return shape[0], shape[1]


def draw_poisson(
    network: Network, item: Input, trial: int, batch: int, steps: int, first: int = 0
) -> npt.NDArray[np.bool_]:
    """Spikes of a Poisson input, one at most a step and channel, from the network's seed."""
    if item.rate is None:
        raise RunError(f"Poisson input '{item.name}' has no rate; give one, or an array [batch, time, {item.size}]")
    return streams.poisson(network, item, trial, batch, steps, first)


def draw_noise(network: Network, feed: Feed, *, synapses: bool = True) -> dict[str, Array]:
    """A run's random numbers, "owner.name" -> array: see neuro.compiler.noise. network: without receptors."""
    return noise(network, feed.trial, feed.batch, feed.start, feed.start + feed.steps, synapses=synapses)


def check_finite(owner: str, variable: str, values: Array, step: int, feed: Feed) -> None:
    """Raises RunError naming the first variable, cell and step that left the finite numbers. values: [*lead, ...]."""
    if not np.isfinite(values).all():
        cell = [int(i) for i in np.argwhere(~np.isfinite(values))[0]][len(feed.lead) - 1 :]
        raise RunError(
            f"'{owner}.{variable}' is not finite at step {step} (trial {cell[0]}, cell {cell[1:]}); "
            "use a smaller dt, another method, or weaker input"
        )

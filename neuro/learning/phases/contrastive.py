"""Contrastive learning: a network relaxes without a teacher, goes on with one, and weights follow the difference of correlations.

    free phase    du/dt = (-u + b + z)/tau                       until it settles
    forced phase  du/dt = (-u + b + z + beta*(d - V))/tau        from there, until it settles
    dw_ij         rate * (V_i V_j forced - V_i V_j free) / beta

The energy of the forced phase is that of the free one and beta times half the squared error of the output, so that the update follows
the gradient of that error at the free fixed point as beta goes to 0 (equilibrium propagation). A clamped output (teacher="hard")
is contrastive Hebbian learning, which is no gradient of it. Everything happens in runs of one program: the teacher is in the network's equations.

Source: Baldi & Pineda (1991), Neural Comput 3:526; Movellan (1990), Connectionist Models, p. 10; Scellier & Bengio (2017), Front Comput
Neurosci 11:24; phases of both signs: Laborieux et al. (2021), Front Neurosci 15:633674.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from neuro.compiler.parameters import for_all, unit_of_variable
from neuro.language.units import quantity, unit
from neuro.learning.common.parametrisation import Parametrisation
from neuro.learning.common.summed_inputs import refuse_state, silent
from neuro.learning.gradient.gradient_rule import GradientRule, GradientState
from neuro.learning.phases.energy import (
    ACTIVITY,
    CLAMP,
    STRENGTH,
    Energy,
    read,
    read_asymmetric,
    refusal,
    symmetric_part,
)
from neuro.learning.phases.settling import Settling, in_si, speed
from neuro.learning.search.search_space import loss_of
from neuro.model import Network
from neuro.options import OptionError, one_of
from neuro.protocols import Array, Batch, Parameters, Recording
from neuro.state import State

TEACHERS, PHASES, UNSETTLED = ("weak", "hard"), ("one-sided", "symmetric"), ("raise", "report")
_START = "start/"


@dataclass(frozen=True)
class Phase:
    """One phase. activity: population -> [batch, time, neuron], of the last step or of the whole trajectory.

    recording: what the task's loss reads. residual: largest |du/dt| there, SI. steps: all that were run. begin: state in which
    the trajectory began, or the settled one.
    """

    activity: Mapping[str, Array]
    recording: Recording
    residual: float
    steps: int
    begin: State


@dataclass(frozen=True)
class Contrastive(GradientRule):
    """Options besides GradientRule's:

    beta: strength of the teacher, a number in SI or text with the unit that the network gives it ("5 mV"). teacher: weak, or hard:
    the output settles at its target, beta says how fast, and the update is divided by one unit of the weights. phases: one-sided (0
    and beta), or symmetric (beta and -beta, error of second order in beta). tolerance: largest |du/dt| of a settled network, per
    second, in SI or with a unit. longest: steps that a phase may take. chunk: steps between two looks. unsettled: a phase that
    takes longer raises SettlingError, or goes into the update and the metric `residual` (report). persistent: the free phase begins where
    that of the update before ended, if it had as many trials; else in the network's initial state. trajectory: inputs and targets
    change over the trial; both phases settle at its beginning and follow it, and correlations are averaged over it, which is the gradient only
    as far as the network keeps up. asymmetric: allow weights that differ between directions; the update is the same, and no gradient.

    Needs a network as neuro.learning.phases.energy says, and targets [batch, output], or [batch, time, output] of a trajectory. The
    gradient is that of half the squared error, summed over outputs, averaged over trials, and of w_ij and w_ji
    moved together: both have all of it. Metrics: `residual`, the largest |du/dt| that went into the update; `asymmetry`, the largest
    |w_ij - w_ji|; both SI; `settling_steps`, of all phases.
    """

    beta: float | str = 0.1
    teacher: str = "weak"
    phases: str = "one-sided"
    tolerance: float | str = 1e-4
    longest: int = 2000
    chunk: int = 50
    unsettled: str = "raise"
    persistent: bool = False
    trajectory: bool = False
    asymmetric: bool = False

    needs: ClassVar[tuple[str, ...]] = ("state",)
    known_as: ClassVar[str] = "contrastive"
    unsliced: ClassVar[str] = "a phase ends when the last trial of the batch has settled"
    metrics: ClassVar[tuple[str, ...]] = ("residual", "asymmetry", "settling_steps")

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, known in (("teacher", TEACHERS), ("phases", PHASES), ("unsettled", UNSETTLED)):
            one_of(option, getattr(self, option), known)
        if self.teacher == "hard" and self.phases == "symmetric":
            raise OptionError("phases='symmetric' needs a teacher of both signs; leave teacher='hard' or phases out")
        if self.rate_strength:
            raise OptionError("rate_strength: cells that don't fire have no rates; leave it out")
        for option, least in (("longest", 2), ("chunk", 2)):
            if getattr(self, option) < least:
                raise OptionError(f"{option}={getattr(self, option)}; give at least {least} steps, which show a change")

    def attach(self, network: Network) -> Network:
        """The network to compile: with the symmetric part of its weights, unless they may be asymmetric."""
        return network if self.asymmetric else symmetric_part(network)

    def energy(self, network: Network) -> Energy:
        """The network as the rule reads it. Raises UnsupportedError."""
        return (read_asymmetric if self.asymmetric else read)(network)

    def check(self, program: Any) -> None:
        super().check(program)
        energy = self.energy(program.network)
        energy.check_trained(self.names(program))
        self.strength(energy)
        self.settling(energy)

    def init(self, program: Any, parameters: Parameters | None = None) -> GradientState:
        """State before the first update. Raises UnsupportedError, ParameterError, OptionError."""
        state = super().init(program, parameters)
        energy = self.energy(program.network)
        energy.check_symmetric(_all(energy, parameters))
        return state

    def memory(self, program: Any) -> dict[str, Array]:
        return {name: np.asarray(0.0) for name in self.metrics}

    def step(
        self, program: Any, parameters: Parameters, state: GradientState, batch: Batch, task: Any
    ) -> tuple[Parameters, GradientState, Mapping[str, float]]:
        """One update, with the metrics of both phases."""
        after, state, found = super().step(program, parameters, state, batch, task)
        return after, state, {**found, **{n: float(state.memory[n]) for n in self.metrics}}

    def strength(self, energy: Energy) -> float:
        """beta, SI. Raises OptionError."""
        parameter = energy.declared[f"{energy.output}.{STRENGTH}"]
        beta = in_si("beta", self.beta, parameter.dimension)
        if not beta > 0:
            raise OptionError(f"beta={self.beta!r}; give a strength above 0, the rule itself takes the other sign")
        return beta

    def settling(self, energy: Energy) -> Settling:
        """When a phase ends. Raises OptionError."""
        moving = {
            unit(unit_of_variable(energy.network, n)).dimension / quantity("1 second").dimension for n in energy.states
        }
        tolerance = max(in_si("tolerance", self.tolerance, d) for d in moving)
        return Settling(tolerance, self.longest, self.chunk, self.unsettled == "raise")

    # -- phases --------------------------------------------------------------------------------------------

    def estimate(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: dict[str, Array], draw: int
    ) -> tuple[float, dict[str, Array]]:
        refuse_state(batch, "contrastive")
        energy = self.energy(program.network)
        names, now = Parametrisation.of(energy.declared, self.trainable).names, _all(energy, parameters)
        energy.check_trained(names)
        memory["asymmetry"] = np.asarray(energy.check_symmetric(now))
        drive, beta = self.drive(energy, batch, task), self.strength(energy)
        free = self.phase(program, energy, now, drive, "free", _kept(program, drive, memory), tuple(task.record()))
        forced = [
            self.phase(program, energy, {**now, **self.taught(energy, now, s * beta)}, drive, "forced", free.begin)
            for s in ((1.0, -1.0) if self.phases == "symmetric" else (1.0,))
        ]
        all_phases = [free, *forced]
        memory["residual"] = np.asarray(max(p.residual for p in all_phases))
        memory["settling_steps"] = np.asarray(float(sum(p.steps for p in all_phases)))
        if self.persistent:
            memory |= {f"{_START}{n}": np.asarray(v) for n, v in free.begin.variables.items()}
        counted = _counted(batch, self.trajectory)
        near, far = (forced[1], forced[0]) if len(forced) > 1 else (free, forced[0])
        slopes = {}
        for name in names:
            apart = energy.correlation(name, far.activity, counted) - energy.correlation(name, near.activity, counted)
            slopes[name] = -apart / self.divisor(energy, name, beta * len(forced))
        return loss_of(task, free.recording, batch), slopes

    def divisor(self, energy: Energy, name: str, beta: float) -> float:
        """What makes a gradient of the contrast: the distance of the teachers, SI; of a clamped output, one unit of the parameter."""
        return float(unit(energy.declared[name].unit).value) if self.teacher == "hard" else beta

    def taught(self, energy: Energy, parameters: Parameters, beta: float) -> dict[str, Array]:
        """Parameters that let the teacher act."""
        name, clamp = f"{energy.output}.{STRENGTH}", f"{energy.output}.{CLAMP}"
        found = {name: np.full_like(parameters[name], beta)}
        if self.teacher == "hard":
            if clamp not in parameters:
                why = f"teacher='hard' needs cells with '{CLAMP}', as neuro.library.additive has it; take that or teacher='weak'"
                raise refusal(f"population '{energy.output}'", why)
            found[clamp] = np.ones_like(parameters[clamp])
        return found

    def drive(self, energy: Energy, batch: Batch, task: Any) -> dict[str, Array]:
        """Inputs and target of the phases, [batch, time, channel]; one step where they are held. Raises UnsupportedError."""
        if task.output != energy.output:
            why = f"the target drives '{energy.output}'; drive '{task.output}', whose loss the task gives"
            raise refusal(f"the task's output '{task.output}'", why)
        found = {n: np.asarray(v, np.float64) for n, v in silent(energy.network, batch.inputs).items()}
        trials, steps = next(iter(found.values())).shape[:2]
        size = energy.network.population(energy.output).size
        target = np.asarray(batch.targets, np.float64)
        if target.shape == (trials, size):
            target = np.repeat(target[:, None], steps, axis=1)
        if target.shape != (trials, steps, size):
            why = f"they have the shape {np.shape(batch.targets)}; give what the activities should be, [{trials}, {size}] or [{trials}, {steps}, {size}]"
            raise refusal("the task's targets", why)
        found[energy.target] = target
        if self.trajectory:
            return found
        for name, value in found.items():
            if np.any(value != value[:, -1:]):
                raise refusal(f"input '{name}'", "it changes within the trial; hold it, or follow it: trajectory=True")
        return {n: v[:, -1:] for n, v in found.items()}

    def phase(
        self, program: Any, energy: Energy, parameters: Parameters, drive: Mapping[str, Array], name: str,
        state: State | None, record: Sequence[str] = (),
    ) -> Phase:  # fmt: skip
        """Settle under the first step's inputs; on a trajectory, follow it from there."""
        watched = tuple(dict.fromkeys((*energy.activities, *record)))
        held = {n: v[:, 0] for n, v in drive.items()}
        settled = self.settling(energy).relax(program, parameters, held, energy.states, name, watched, state)
        found, residual, steps = settled.recording, settled.residual, settled.steps
        begin, last = found.state, slice(-1, None)
        if self.trajectory:
            found = program.run(parameters, drive, tuple(dict.fromkeys((*energy.states, *watched))), state=begin)
            residual, last = speed(found, energy.states, whole=True)[0], slice(None)
            steps += next(iter(drive.values())).shape[1]
        activity = {
            p: np.asarray(found.traces[f"{p}.{ACTIVITY}"], np.float64)[:, last]
            for p in (*energy.relaxing, *energy.sources)
        }
        return Phase(activity, found, residual, steps, begin)


def _all(energy: Energy, parameters: Parameters | None) -> dict[str, Array]:
    """The network's parameters, and those given in their place, SI."""
    return {n: p.value for n, p in energy.declared.items()} | dict(for_all(energy.declared, parameters or {}))


def _kept(program: Any, drive: Mapping[str, Array], memory: Mapping[str, Array]) -> State | None:
    """The state in which the last free phase settled, where it had as many trials; else None."""
    trials = len(next(iter(drive.values())))
    kept = {n.removeprefix(_START): v for n, v in memory.items() if n.startswith(_START)}
    if not kept or any(len(v) != trials for v in kept.values()):
        return None
    return State(program.semantics.dt, 0, (trials,), variables=kept)


def _counted(batch: Batch, trajectory: bool) -> Array | float:
    """Weights of the steps in a mean: [batch, time, 1] where a trajectory's batch has a mask."""
    return 1.0 if batch.mask is None or not trajectory else np.asarray(batch.mask, np.float64)[..., None]

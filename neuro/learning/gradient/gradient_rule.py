"""What all rules share that estimate a gradient and leave the update to an optimiser."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from neuro.caching import per_object
from neuro.compiler.parameters import for_all, parameters
from neuro.language.foreign import shown
from neuro.learning.common import optimisers
from neuro.learning.common.optimisers import under
from neuro.learning.common.parametrisation import Parametrisation, fitting
from neuro.learning.common.processes import CPU, here
from neuro.learning.common.regularisation import rate_penalty
from neuro.learning.gradient import sliced
from neuro.learning.gradient.quantisation_aware import StraightThrough
from neuro.options import OptionError, checked, counts, hint, one_of
from neuro.protocols import Array, Batch, Parameters, UnsupportedError, require
from neuro.state import State
from neuro.surgery.moving import Surgery

# A network's parameters, drawn once for all updates: to be read only.
declared_parameters = per_object(parameters)
SLICES = 2**16  # of a batch, at most
SCHEDULERS = {"cosine": "CosineAnnealingLR", "step": "StepLR", "exponential": "ExponentialLR"}


class RuleError(Exception):
    """A rule gives something else than a loss and a gradient; the message names the rule and the parameter."""


def check_estimate(rule: str, found: Any, shapes: Mapping[str, tuple[int, ...]]) -> tuple[float, dict[str, Array]]:
    """A rule's estimate, (loss, {name: gradient}). shapes: of the trained parameters. Raises RuleError."""
    wrong = f"rule '{rule}', estimate"
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], Mapping):
        raise RuleError(f"{wrong}: it gives {shown(found)}; return loss, {{name: gradient}}")
    loss, slopes = found
    if np.shape(loss) != () or not isinstance(loss, int | float | np.number):
        raise RuleError(f"{wrong}: its loss is {shown(loss)}; return a number")
    for name in slopes:
        if name not in shapes:
            raise RuleError(f"{wrong}: it gives a gradient for '{name}', which isn't trained; {hint(name, shapes)}")
    for name, shape in shapes.items():
        if name not in slopes:
            raise RuleError(f"{wrong}: it gives no gradient for parameter '{name}'")
        if np.shape(slopes[name]) != shape:
            raise RuleError(
                f"{wrong}: the gradient for parameter '{name}' has the shape {np.shape(slopes[name])}; give {shape}"
            )
    return float(loss), dict(slopes)


@dataclass
class GradientState:
    """Free parameters, optimiser, scheduler, and arrays of the rule's own; `save` writes all of it.

    fixed: real values of quantised parameters that aren't trained. scales: of quantised weights, those that stay.
    """

    parametrisation: Parametrisation
    theta: dict[str, torch.Tensor]
    optimiser: Any
    scheduler: Any
    memory: dict[str, Array] = field(default_factory=dict)
    updates: int = 0
    through: StraightThrough | None = None
    fixed: dict[str, Array] = field(default_factory=dict)
    scales: dict[str, Array] = field(default_factory=dict)

    def real(self, parameters: Parameters) -> dict[str, Array]:
        """All parameters before quantisation, SI."""
        return {**parameters, **self.fixed, **self.parametrisation.arrays(self.theta)}

    @property
    def quantised(self) -> StraightThrough | None:
        """The quantiser, once it acts."""
        return self.through if self.through is not None and self.updates >= self.through.after else None

    def seen(self, real: Parameters) -> Parameters:
        """The parameters that the program gets."""
        if self.quantised is None:
            return real
        if self.updates == self.quantised.after:
            self.scales = self.quantised.kept(real)
        return self.quantised.forward(real, self.scales)


@dataclass(frozen=True)
class GradientRule:
    """trainable: names or patterns. logarithmic: likewise, positive ones that learn by factors, through their logarithm.
    optimiser_options: the optimiser's own, such as eps or momentum. learning_rate: in the parameters' own units. learning_rates: name or pattern -> another one; the last that fits counts.
    schedule_options: the scheduler's own, counted in updates. clip: gradient norm, 0 for none. target_rate: Hz, with strength
    rate_strength (0: off). quantise: train for these integers; options of neuro.export.quantisation.calibration.Scheme, and
    `after`: updates with real weights before. slices: of every batch, which are estimated on one thread each and summed in an order of their own, so that the numbers are the
    same bits for any number of processes; 0: one a process.
    """

    optimiser: str = "adam"
    learning_rate: float = 1e-2
    trainable: tuple[str, ...] = ("*.w",)
    scheduler: str = ""
    schedule_options: Mapping[str, float] = field(default_factory=dict)
    clip: float = 0.0
    weight_decay: float = 0.0
    target_rate: float = 0.0
    rate_strength: float = 0.0
    quantise: Mapping[str, Any] = field(default_factory=dict)
    logarithmic: tuple[str, ...] = ()
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    optimiser_options: Mapping[str, Any] = field(default_factory=dict)
    slices: int = 0

    def __post_init__(self) -> None:
        optimisers.check(self.optimiser, self.optimiser_options)
        if self.slices:
            counts(slices=self.slices)
            if self.slices > SLICES:
                raise OptionError(f"slices={self.slices}; give {SLICES} at most, as no batch has so many examples")
        for name, rate in self.learning_rates.items():
            if not 0 <= rate < float("inf"):
                raise OptionError(
                    f"learning_rates: '{name}' has the rate {rate}; give a finite number that isn't negative"
                )
        if self.scheduler:
            one_of("scheduler", self.scheduler, SCHEDULERS)

    # -- what a rule says of itself ------------------------------------------------------------------------

    needs: ClassVar[tuple[str, ...]] = ()  # capabilities of a program, by their names in neuro.protocols.Capabilities
    known_as: ClassVar[str] = ""  # its name in messages; a class that gives none is called by the class's name

    @classmethod
    def called(cls) -> str:
        """The rule as messages name it, never by the name of a class that it derives from."""
        return vars(cls).get("known_as") or cls.__name__

    # why its estimate of a batch isn't the mean of those of its slices, "" where it is; a class says it of itself, not of those that derive from it
    unsliced: ClassVar[str] = "it doesn't say that its estimate of a batch is the mean of those of its slices"

    def check(self, program: Any) -> None:
        """Raises UnsupportedError where the program can't do what the rule needs."""
        for capability in self.needs:
            require(program, capability, f"rule '{self.called()}'")

    def undivided(self, program: Any) -> str:
        """Why a batch of this program's can't be estimated slice by slice; "" where it can."""
        return str(vars(type(self)).get("unsliced", GradientRule.unsliced))

    def check_slices(self, program: Any, task: Any) -> None:
        """Raises UnsupportedError or OptionError where slices of a batch, which processes share, would give another gradient than the whole."""
        what = f"rule '{self.called()}' over processes, or in slices"
        if why := self.undivided(program):
            raise UnsupportedError("any", what, f"{why}; train in one process, without slices")
        if self.rate_strength:
            raise OptionError(
                "rate_strength: the penalty is of the whole batch's mean rates, which no slice of it knows; "
                "leave rate_strength out, or train in one process, without slices"
            )
        if why := getattr(task, "indivisible", ""):
            raise UnsupportedError("any", what, f"task '{task.name}': {why}; train in one process, without slices")

    def memory(self, program: Any) -> dict[str, Array]:
        """Arrays that the rule keeps besides the parameters, before the first update."""
        return {}

    def estimate(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: dict[str, Array], draw: int
    ) -> tuple[float, dict[str, Array]]:
        """Loss, and its gradient with respect to the trainable parameters, in their shapes, SI. memory: the rule may change it."""
        raise RuleError(f"rule '{self.called()}' has no `estimate` of its own: it gives loss and gradient of a batch")

    def remember(self, state: GradientState, before: Parameters, after: Parameters) -> None:
        """Change the state's memory after an update."""

    # -- Rule ----------------------------------------------------------------------------------------------

    def init(self, program: Any, parameters: Parameters | None = None) -> GradientState:
        """State before the first update. Raises UnsupportedError, ParameterError, QuantiseError."""
        self.check(program)
        declared = declared_parameters(program.network)
        chosen = Parametrisation.of(declared, self.trainable, self.logarithmic)
        theta = chosen.free(parameters, dtype=_precision(program))
        tensors = list(theta.values())
        rates = self._rates(list(theta), declared)
        own = {"weight_decay": self.weight_decay, **self.optimiser_options}
        optimiser = optimisers.make(self.optimiser, tensors, self.learning_rate, rates, **own)
        state = GradientState(chosen, theta, optimiser, self._scheduler(optimiser), self.memory(program))
        if self.quantise:
            state.through = StraightThrough.of(program.network, self.quantise)
            real = {n: p.value for n, p in declared.items()} | dict(for_all(declared, parameters or {}))
            state.fixed = {n: real[n] for n in state.through.quantiser.values(real) if n not in chosen.names}
        return state

    def step(
        self, program: Any, parameters: Parameters, state: GradientState, batch: Batch, task: Any
    ) -> tuple[Parameters, GradientState, Mapping[str, float]]:
        """One update. task: its `loss` and `record`. Returns SI arrays of all parameters, state, metrics."""
        if self.slices and torch.get_num_threads() > 1:
            with sliced.one_thread():
                return self.step(program, parameters, state, batch, task)
        before, quantised = state.real(parameters), state.quantised
        shapes = state.parametrisation.shapes
        loss, slopes = self.estimated(program, state.seen(before), batch, task, state.memory, state.updates, shapes)
        if quantised is not None:
            slopes = quantised.backward(slopes, before, state.scales)
        state.optimiser.zero_grad(set_to_none=True)
        now = state.parametrisation.values(state.theta)
        torch.autograd.backward(
            [now[n] for n in slopes], [torch.as_tensor(g, dtype=now[n].dtype) for n, g in slopes.items()]
        )
        norm = torch.nn.utils.clip_grad_norm_(list(state.theta.values()), self.clip if self.clip else float("inf"))
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient is not finite at update {state.updates}; lower the learning rate")
        state.optimiser.step()
        if state.scheduler is not None:
            state.scheduler.step()
        if quantised is not None:
            quantised.clip(state.parametrisation, state.theta, state.scales)
        state.updates += 1
        self.remember(state, before, state.real(parameters))
        after = state.seen(state.real(parameters))
        return after, state, {"loss": loss, "gradient_norm": float(norm)}

    def gradient(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, draw: int = 0
    ) -> dict[str, Array]:
        """See Rule.gradient."""
        chosen = Parametrisation.of(declared_parameters(program.network), self.trainable)
        found = self.estimated(program, parameters, batch, task, self.memory(program), draw, chosen.shapes)[1]
        return chosen.collected(found)

    def estimated(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, memory: dict[str, Array], draw: int,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> tuple[float, dict[str, Array]]:  # fmt: skip
        """What `estimate` says of the whole batch, of which each process estimates its part. shapes: of the trained parameters."""

        def estimate(part: Batch, task: Any, memory: dict[str, Array]) -> tuple[float, dict[str, Array]]:
            return check_estimate(self.called(), self.estimate(program, parameters, part, task, memory, draw), shapes)

        together = here()
        if together.number == 1 and not self.slices:
            return estimate(batch, task, memory)
        self.check_slices(program, task)
        dtype = np.float32 if _precision(program) == torch.float32 else np.float64
        device = getattr(getattr(program, "storage", None), "device", CPU)
        return sliced.estimated(
            estimate,
            batch,
            task,
            memory,
            shapes=shapes,
            number=self.slices,
            dtype=dtype,
            device=device,
            together=together,
        )

    def names(self, program: Any) -> tuple[str, ...]:
        """The trainable parameters."""
        return Parametrisation.of(declared_parameters(program.network), self.trainable).names

    def penalty(self, program: Any, found: Any) -> Any:
        """Rate regularisation of what a differentiable run gave."""
        if not self.rate_strength:
            return 0.0
        return self.rate_strength * rate_penalty(found.spikes, program.semantics.dt, self.target_rate)

    def results(self, state: GradientState, parameters: Parameters) -> dict[str, Any]:
        """Groups for the run file: the integers of quantised parameters, their calibration, and the real-valued copies."""
        if state.through is None:
            return {}
        real = state.real(parameters)
        found = state.through.calibrate(real, state.scales).to_data()
        return {"quantisation": {**found, "shadow": {n: real[n] for n in found["codes"]}}}

    # -- resumption ----------------------------------------------------------------------------------------

    def save(self, state: GradientState) -> dict[str, Any]:
        """All of the state as arrays and numbers, "theta/...", "optimiser/...", "memory/...", ...: exact."""
        found: dict[str, Any] = {f"theta/{n}": t.detach().numpy().copy() for n, t in state.theta.items()}
        found |= {f"optimiser/{n}": v for n, v in optimisers.arrays(state.optimiser).items()}
        for name in ("memory", "fixed", "scales"):
            found |= {f"{name}/{n}": v for n, v in getattr(state, name).items()}
        return found | {"updates": np.asarray(state.updates)}

    def load(self, program: Any, saved: Mapping[str, Any]) -> GradientState:
        """Inverse of save; continues with the same numbers."""
        state = self.init(program)
        with torch.no_grad():
            for name, theta in state.theta.items():
                theta.copy_(torch.as_tensor(np.array(saved[f"theta/{name}"])))
        optimisers.restore(state.optimiser, under("optimiser", saved))
        for name in ("memory", "fixed", "scales"):
            setattr(state, name, {n: np.array(v) for n, v in under(name, saved).items()})
        state.updates = int(saved["updates"])
        for group in state.optimiser.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"])
        state.scheduler = self._scheduler(state.optimiser, state.updates)
        return state

    def operated(self, program: Any, saved: Mapping[str, Any], surgery: Surgery) -> dict[str, Any]:
        """What `save` gave before cells came or went, for the network after it. program: of that network.

        New cells and synapses begin as in a new run, with nothing in the optimiser's memory. Raises RuleError naming what has no rule for that.
        """
        fresh = under("theta", self.save(self.init(program)))
        names, found = list(fresh), dict[str, Any]()
        shapes = {n: np.shape(v) for n, v in under("theta", saved).items()}
        carried = under("memory/carried", saved)
        for key, value in saved.items():
            head, _, rest = key.partition("/")
            if head == "theta":
                found[key] = surgery.arrays({rest: value}, fresh)[rest]
            elif head == "optimiser":
                place, _, memory = rest.partition("/")
                name = names[int(place)]
                own = memory != "step" and np.shape(value) == shapes[name]  # else a count, of steps and such
                found[key] = surgery.arrays({name: value})[name] if own else value
            elif not rest:
                found[key] = value
            elif not key.startswith("memory/carried/"):
                raise RuleError(
                    f"rule '{self.called()}', '{key}': nothing says what becomes of it where cells come or go; begin anew"
                )
        if carried:
            found |= {f"memory/carried/{n}": a for n, a in surgery.state(State.from_arrays(carried)).arrays().items()}
        return found

    def _rates(self, trained: Sequence[str], declared: Mapping[str, Any]) -> list[float]:
        """Learning rates of the trained parameters; none where they are all the same. Raises ParameterError."""
        found = dict.fromkeys(declared, self.learning_rate)
        for pattern, rate in self.learning_rates.items():
            found |= {declared[n].shares or n: rate for n in fitting(pattern, declared)}
        return [found[n] for n in trained] if self.learning_rates else []

    def _scheduler(self, optimiser: Any, updates: int = 0) -> Any:
        """The scheduler after as many updates; its schedule depends on their number only."""
        if not self.scheduler:
            return None
        schedule = getattr(torch.optim.lr_scheduler, SCHEDULERS[self.scheduler])
        try:
            options = checked(schedule, {"optimizer": optimiser, **self.schedule_options})
        except OptionError as error:
            raise OptionError(f"schedule_options of '{self.scheduler}': {error}") from None
        made = schedule(**options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "scheduler before optimiser": the updates were made before the stop
            for _ in range(updates):
                made.step()
        return made


def _precision(program: Any) -> torch.dtype:
    """Of what is learned."""
    own = getattr(program, "dtype", None)
    return own if isinstance(own, torch.dtype) else torch.float64

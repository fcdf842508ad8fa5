"""Rules that only run the program: a search proposes a population of parameter sets, one run gives all their losses.

Every backend that runs populations serves. All candidates see the same inputs, noise and initial states (common random
numbers); the candidates themselves come from the network's seed, so that they are the same on every backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from neuro.compiler import streams
from neuro.episodes import acts
from neuro.learning.common import optimisers
from neuro.learning.common.summed_inputs import refuse_parts
from neuro.learning.search.full_cma import FullCMA
from neuro.learning.search.search_space import EPISODES, FITNESS, Array, SearchSpace, check_capable, losses, trials
from neuro.learning.search.searches import (
    PGPE,
    SNES,
    GradientSearch,
    Search,
    SeparableCMA,
    Smoothing,
    State,
)
from neuro.learning.search.spread import SPENT, Held, Moment, Rows, found_losses, spent
from neuro.options import OptionError, joined, one_of
from neuro.protocols import Batch, Parameters, UnsupportedError


@dataclass
class BlackBoxState:
    """space: what is searched. search: where it stands. best: lowest loss of a candidate so far, and that candidate. held: by workers."""

    space: SearchSpace
    search: State
    best: float
    best_vector: Array
    evaluations: int = 0
    held: Held | None = None


@dataclass(frozen=True)
class BlackBox:
    """A search over trainable parameters.

    sigma: standard deviation of candidates at the start, in free numbers (the parameters' own units where they have no
    bounds), one for all or one a name or pattern; the last that fits counts. fitness: the task's loss, or its metric.
    confirm: a second program, which runs the `elite` best candidates of each update again; its losses replace the first's,
    and the metric `disagreement` is the largest difference between the two. episodes: where the task acts, all candidates of an update play those of its
    batch ("common"), or each as many of its "own".
    """

    search: Search
    name: str = "es"
    trainable: tuple[str, ...] = ("*.w",)
    sigma: float | Mapping[str, float] = 0.1
    fitness: str = "loss"
    confirm: Any = None
    elite: int = 4
    episodes: str = "common"

    metrics = ("best_loss", "evaluations", "disagreement", *SPENT)
    acting: ClassVar[bool] = True
    runs_at_once: ClassVar[float] = np.inf  # that workers can share

    def __post_init__(self) -> None:
        one_of("fitness", self.fitness, FITNESS)
        one_of("episodes", self.episodes, EPISODES)
        if self.confirm is not None and self.episodes == "own":
            raise OptionError("episodes='own': who confirms plays the same episodes again; use episodes='common'")

    def init(self, program: Any, parameters: Parameters | None = None) -> BlackBoxState:
        """State before the first update. Raises UnsupportedError where the program runs one parameter set at a time."""
        check_capable(self.name, program)
        space = SearchSpace.of(program, self.trainable)
        mean, seed = space.vector(parameters), program.network.seed

        def draw(update: int) -> np.random.Generator:
            return streams.generator(seed, f"rule/{self.name}", update)

        return BlackBoxState(space, self.search.init(mean, space.scale(self.sigma), draw), np.inf, mean)

    def step(
        self, program: Any, parameters: Parameters, state: BlackBoxState, batch: Batch, task: Any
    ) -> tuple[Parameters, BlackBoxState, Mapping[str, float]]:
        """One update. task: its `loss` or `metric`, and `record`. Returns SI arrays, state, metrics."""
        refuse_parts(batch, self.name)
        if acts(task) and self.name == "finite-differences":
            why = "the return of actions that are drawn is a step function of the parameters; use rule 'es'"
            raise UnsupportedError("any", f"task '{task.name}' for rule '{self.name}'", why)
        if self.episodes == "own" and not acts(task):
            why = "it has no episodes, its trials are common to all candidates; use episodes='common'"
            raise UnsupportedError("any", f"task '{task.name}' with episodes='own'", why)
        candidates, directions = self.search.ask(state.search)
        trial = state.search.updates * trials(batch)
        found = self.judged(program, state, candidates, parameters, batch, task, trial)
        if not np.isfinite(found).all():
            raise FloatingPointError(f"a candidate's loss is not finite at update {state.search.updates}; lower sigma")
        state.evaluations += len(found)
        metrics = {}
        if self.confirm is not None:
            chosen = np.argsort(found, kind="stable")[: self.elite]
            again = self.judged(self.confirm, state, candidates, parameters, batch, task, trial, chosen)
            metrics["disagreement"] = float(np.max(np.abs(again - found[chosen])))
            found[chosen] = again
        best = int(np.argmin(found))
        if found[best] < state.best:
            state.best, state.best_vector = float(found[best]), candidates[best]
        self.search.tell(state.search, directions, found)
        state.search.updates += 1
        metrics |= {"loss": self.search.level(found), "best_loss": state.best, "evaluations": state.evaluations}
        metrics |= spent(program)
        return {**parameters, **state.space.arrays(state.search.mean.detach().numpy())}, state, metrics

    def judged(
        self, program: Any, state: BlackBoxState, candidates: Array, parameters: Parameters, batch: Batch, task: Any,
        trial: int = 0, chosen: Rows | None = None,
    ) -> Array:  # fmt: skip
        """Losses of candidates [P, n], or of those that are chosen: in one run, or by the workers of a program that has some."""
        if not hasattr(program, "each"):
            vectors = candidates if chosen is None else candidates[chosen]
            options: dict[str, Any] = {"trial": trial, "fitness": self.fitness, "episodes": self.episodes}
            return losses(program, state.space.candidates(vectors, parameters), batch, task, **options)
        if state.held is None or state.held.task is not task:
            state.held = Held(replace(self, confirm=None), task)
        search, changed = state.search, state.space.changed(parameters)
        moment = Moment(search.mean.detach().numpy(), search.arrays, search.updates, changed, trial)
        return found_losses(program, state.held, moment, candidates, batch, chosen)

    def save(self, state: BlackBoxState) -> dict[str, Any]:
        """All of the state as arrays and numbers: exact."""
        found: dict[str, Any] = {f"search/{n}": v for n, v in state.search.arrays.items()}
        if state.search.optimiser is not None:
            found |= {f"optimiser/{n}": v for n, v in optimisers.arrays(state.search.optimiser).items()}
        found["mean"] = state.search.mean.detach().numpy().copy()
        found |= {"best": np.asarray(state.best), "best_vector": state.best_vector}
        return found | {"updates": np.asarray(state.search.updates), "evaluations": np.asarray(state.evaluations)}

    def load(self, program: Any, saved: Mapping[str, Any]) -> BlackBoxState:
        """Inverse of save; continues with the same numbers."""
        state = self.init(program)
        with torch.no_grad():
            state.search.mean.copy_(torch.from_numpy(np.array(saved["mean"])))
        if state.search.optimiser is not None:
            optimisers.restore(state.search.optimiser, optimisers.under("optimiser", saved))
        self.search.restore(state.search, optimisers.under("search", saved), int(saved["updates"]))
        state.best, state.best_vector = float(saved["best"]), np.array(saved["best_vector"])
        state.evaluations = int(saved["evaluations"])
        return state


@dataclass(frozen=True)
class Estimator(BlackBox):
    """A search whose estimate of the gradient can be looked at. Options: see BlackBox."""

    search: GradientSearch

    def gradient(
        self, program: Any, parameters: Parameters, batch: Batch, task: Any, draw: int = 0
    ) -> dict[str, Array]:
        """See Rule.gradient; of the shaped losses, where the search shapes them."""
        state = self.init(program, parameters)
        state.search.updates = draw
        candidates, directions = self.search.ask(state.search)
        found = self.judged(program, state, candidates, parameters, batch, task)
        return state.space.push(
            state.search.mean.detach().numpy(), self.search.estimate(state.search, directions, found)
        )


def _rule(name: str, search: Callable[..., Search], **fixed: Any) -> Callable[..., BlackBox]:
    """A rule of that name; its options are the search's and BlackBox's own."""
    own = ("trainable", "sigma", "fitness", "confirm", "elite", "episodes")
    signature = joined(search, BlackBox, without=("search", "name"))

    def make(**options: Any) -> BlackBox:
        rest = {n: options.pop(n) for n in own if n in options}
        made = search(**(fixed | options))
        return Estimator(made, name, **rest) if isinstance(made, GradientSearch) else BlackBox(made, name, **rest)

    make.__doc__ = search.__doc__
    make.__signature__ = signature  # type: ignore[attr-defined]  # what a caller may give
    return make


es = _rule("es", Smoothing, shaping="ranks")
spsa = _rule("spsa", Smoothing, directions="signs", samples=1, optimiser="sgd", learning_power=0.602, sigma_power=0.101)
wp = _rule("wp", Smoothing, sampling="baseline", samples=1, optimiser="sgd")
finite_differences = _rule("finite-differences", Smoothing, directions="axes", sampling="baseline", optimiser="sgd")
pgpe = _rule("pgpe", PGPE)
snes = _rule("snes", SNES)
separable_cma = _rule("sep-cma", SeparableCMA)
cma = _rule("cma", FullCMA)

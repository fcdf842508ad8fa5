"""Black-box searches over a vector of numbers: each asks for candidates and is told their losses.

All randomness comes from `State.draw`, one generator an update, so that the same seed asks for the same candidates wherever
the losses are computed. `State.arrays` and torch's optimiser hold all that a search keeps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from neuro.learning.common import optimisers
from neuro.options import one_of

Array = npt.NDArray[np.float64]
SHAPINGS = ("none", "standardised", "ranks")
DIRECTIONS = ("gaussian", "signs", "axes")
SAMPLINGS = ("plain", "baseline", "antithetic")


@dataclass
class State:
    """mean: [n]. scale: [n], standard deviations at the start. draw: update -> random generator.

    extra: what can be made again from the rest.
    """

    mean: torch.Tensor
    scale: Array
    draw: Callable[[int], np.random.Generator]
    arrays: dict[str, Array] = field(default_factory=dict)
    optimiser: Any = None
    updates: int = 0
    extra: Any = None

    @property
    def random(self) -> np.random.Generator:
        return self.draw(self.updates)

    def descend(self, gradient: Array) -> None:
        """One step of the optimiser."""
        self.mean.grad = torch.from_numpy(gradient)
        self.optimiser.step()


class Search(ABC):
    """A search minimises. `ask` and `tell` come in turn; between updates the state is mean, arrays and optimiser.

    repeatable: whether `ask` follows from mean, arrays and number of the update alone, so that it may be asked again elsewhere.
    """

    repeatable: ClassVar[bool] = True

    def init(self, mean: Array, scale: Array, draw: Callable[[int], np.random.Generator]) -> State:
        """State before the first update."""
        return self.begin(State(torch.tensor(mean, requires_grad=True), scale, draw))

    def restore(self, state: State, saved: Mapping[str, Array], updates: int) -> None:
        """Put saved arrays in; `state` is fresh, mean and optimiser are back."""
        state.arrays, state.updates = {n: np.array(v) for n, v in saved.items()}, updates

    def level(self, losses: Array) -> float:
        """The loss to report of candidates' losses [P]."""
        return float(losses[0] if getattr(self, "sampling", "") == "baseline" else losses.mean())

    @abstractmethod
    def begin(self, state: State) -> State:
        """Add what this search keeps."""

    @abstractmethod
    def ask(self, state: State) -> tuple[Array, Array]:
        """Candidates [P, n], and the directions that `tell` wants back."""

    @abstractmethod
    def tell(self, state: State, directions: Array, losses: Array) -> None:
        """Move the state by the candidates' losses [P]."""


class GradientSearch(Search):
    """A search that estimates the loss's gradient and leaves the step to torch's optimiser."""

    @abstractmethod
    def estimate(self, state: State, directions: Array, losses: Array) -> Array:
        """The gradient by the free numbers [n]."""


def shaped(losses: Array, how: str) -> Array:
    """Losses as they are, standardised, or as centred ranks in [-0.5, 0.5]; equal losses share their mean rank."""
    if how == "standardised":
        spread = losses.std()
        return (losses - losses.mean()) / spread if spread > 0 else np.zeros_like(losses)
    if how == "ranks":
        from scipy.stats import rankdata

        return np.asarray((rankdata(losses) - 1) / max(len(losses) - 1, 1) - 0.5)
    return losses


@dataclass(frozen=True)
class Smoothing(GradientSearch):
    """Gradient of the loss smoothed around the mean: losses times directions, averaged; torch's optimiser does the rest.

    directions: gaussian; signs (simultaneous perturbation); axes (one number at a time, finite differences).
    sampling: plain, L(m + e); baseline, L(m + e) - L(m); antithetic, (L(m + e) - L(m - e)) / 2. samples: directions an
    update; for axes all n. decay: the mean is multiplied by 1 - decay after each update. learning_power, sigma_power,
    stability: learning rates fall as (stability + k)^-power, sigmas as k^-power (Spall 1998), 0 for constant ones.
    weight_cost: so many times the mean square of a candidate's own numbers is added to its loss once that is shaped; standardise: after that, losses are
    standardised. l2: so many times the mean is added to the gradient. optimiser_options: the optimiser's own, such as betas.

    Sources: Salimans et al. (2017), arXiv:1703.03864; Spall (1992), IEEE Trans Autom Control 37:332; Jabri & Flower
    (1991), Neural Comput 3:546; weight perturbation as in Zuege et al. (2023), Phys Rev X 13:021006.
    """

    samples: int = 16
    directions: str = "gaussian"
    sampling: str = "antithetic"
    shaping: str = "none"
    optimiser: str = "adam"
    learning_rate: float = 1e-2
    decay: float = 0.0
    learning_power: float = 0.0
    sigma_power: float = 0.0
    stability: float = 0.0
    weight_cost: float = 0.0
    standardise: bool = False
    l2: float = 0.0
    optimiser_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        optimisers.check(self.optimiser, self.optimiser_options)
        one_of("directions", self.directions, DIRECTIONS)
        one_of("sampling", self.sampling, SAMPLINGS)
        one_of("shaping", self.shaping, SHAPINGS)

    def begin(self, state: State) -> State:
        state.optimiser = optimisers.make(self.optimiser, [state.mean], self.learning_rate, **self.optimiser_options)
        return state

    def sigma(self, state: State) -> Array:
        return np.asarray(state.scale * (1.0 + state.updates) ** -self.sigma_power)

    def ask(self, state: State) -> tuple[Array, Array]:
        n = len(state.mean)
        directions = np.eye(n) if self.directions == "axes" else state.random.standard_normal((self.samples, n))
        if self.directions == "signs":
            directions = np.where(directions < 0, -1.0, 1.0)
        return self.candidates(state, directions), directions

    def candidates(self, state: State, directions: Array) -> Array:
        """Where these directions lead [P, n]."""
        mean, moves = state.mean.detach().numpy(), directions * self.sigma(state)
        if self.sampling == "baseline":
            return np.asarray(mean + np.concatenate([np.zeros((1, len(mean))), moves]))
        return np.asarray(mean + (np.concatenate([moves, -moves]) if self.sampling == "antithetic" else moves))

    def judged(self, state: State, directions: Array, losses: Array) -> Array:
        """Losses as the gradient takes them: shaped, then what large numbers cost is added, then standardised."""
        found = shaped(losses, self.shaping)
        if self.weight_cost:
            found = found + self.weight_cost * np.mean(self.candidates(state, directions) ** 2, axis=1)
        return shaped(found, "standardised") if self.standardise else found

    def estimate(self, state: State, directions: Array, losses: Array) -> Array:
        found = self.judged(state, directions, losses)
        if self.sampling == "baseline":
            found = found[1:] - found[0]
        elif self.sampling == "antithetic":
            found = (found[: len(directions)] - found[len(directions) :]) / 2
        gradient = found @ directions / self.sigma(state)
        return np.asarray(gradient if self.directions == "axes" else gradient / len(directions))

    def tell(self, state: State, directions: Array, losses: Array) -> None:
        gradient = self.estimate(state, directions, losses) + self.l2 * state.mean.detach().numpy()
        for group in state.optimiser.param_groups:
            group["lr"] = self.learning_rate * (1 + state.updates / (1 + self.stability)) ** -self.learning_power
        state.descend(gradient)
        if self.decay:
            with torch.no_grad():
                state.mean.mul_(1 - self.decay)


@dataclass(frozen=True)
class PGPE(GradientSearch):
    """Parameter-exploring policy gradients: mean and one standard deviation a number follow the likelihood gradient.

    Source: Sehnke et al. (2010), Neural Networks 23:551, symmetric sampling; a deviation changes by at most `largest` at once.
    """

    samples: int = 16
    shaping: str = "ranks"
    optimiser: str = "adam"
    learning_rate: float = 1e-2
    sigma_rate: float = 0.1
    largest: float = 0.2

    def __post_init__(self) -> None:
        optimisers.check(self.optimiser)
        one_of("shaping", self.shaping, SHAPINGS)

    def begin(self, state: State) -> State:
        state.optimiser = optimisers.make(self.optimiser, [state.mean], self.learning_rate)
        state.arrays = {"sigma": state.scale.copy()}
        return state

    def ask(self, state: State) -> tuple[Array, Array]:
        mean = state.mean.detach().numpy()
        directions = state.random.standard_normal((self.samples, len(mean)))
        moves = directions * state.arrays["sigma"]
        return mean + np.concatenate([moves, -moves]), directions

    def estimate(self, state: State, directions: Array, losses: Array) -> Array:
        found = shaped(losses, self.shaping)
        difference = (found[: self.samples] - found[self.samples :]) / 2
        return np.asarray(difference @ directions / state.arrays["sigma"] / self.samples)

    def tell(self, state: State, directions: Array, losses: Array) -> None:
        state.descend(self.estimate(state, directions, losses))
        found, sigma = shaped(losses, self.shaping), state.arrays["sigma"]
        plus, minus = found[: self.samples], found[self.samples :]
        wider = ((plus + minus) / 2 - found.mean()) @ (directions**2 - 1) / self.samples
        state.arrays["sigma"] = sigma * (1 - np.clip(self.sigma_rate * wider, -self.largest, self.largest))


def default_candidates(n: int) -> int:
    """4 + 3 ln n, as usual for natural and covariance-adapting strategies."""
    return 4 + int(3 * np.log(n))


@dataclass(frozen=True)
class SNES(Search):
    """Separable natural evolution strategy. candidates: 0 for 4 + 3 ln n.

    Source: Schaul, Glasmachers & Schmidhuber (2011), GECCO, p. 845; its learning rates and utilities.
    """

    candidates: int = 0
    mean_rate: float = 1.0

    def begin(self, state: State) -> State:
        state.arrays = {"sigma": state.scale.copy()}
        return state

    def ask(self, state: State) -> tuple[Array, Array]:
        mean = state.mean.detach().numpy()
        directions = state.random.standard_normal((self.candidates or default_candidates(len(mean)), len(mean)))
        return mean + directions * state.arrays["sigma"], directions

    def tell(self, state: State, directions: Array, losses: Array) -> None:
        count, n = directions.shape
        sigma, order = state.arrays["sigma"], np.argsort(losses, kind="stable")
        utility = np.maximum(0.0, np.log(count / 2 + 1) - np.log(np.arange(1, count + 1)))
        utility = utility / utility.sum() - 1 / count
        best = directions[order]
        with torch.no_grad():
            state.mean.add_(torch.from_numpy(self.mean_rate * sigma * (utility @ best)))
        rate = (3 + np.log(n)) / (5 * np.sqrt(n))
        state.arrays["sigma"] = sigma * np.exp(rate / 2 * (utility @ (best**2 - 1)))


@dataclass(frozen=True)
class SeparableCMA(Search):
    """CMA-ES with a diagonal covariance. candidates: 0 for 4 + 3 ln n.

    Sources: Ros & Hansen (2008), PPSN X, p. 296: rates of the full matrix times (n + 2) / 3; Hansen (2016), arXiv:1604.00772,
    for the rates.
    """

    candidates: int = 0
    _kept: ClassVar[tuple[str, ...]] = ("variance", "path_sigma", "path", "step")

    def begin(self, state: State) -> State:
        n = len(state.scale)
        state.arrays = dict(zip(self._kept, (state.scale**2, np.zeros(n), np.zeros(n), np.array(1.0)), strict=True))
        return state

    def ask(self, state: State) -> tuple[Array, Array]:
        mean = state.mean.detach().numpy()
        directions = state.random.standard_normal((self.candidates or default_candidates(len(mean)), len(mean)))
        return mean + state.arrays["step"] * np.sqrt(state.arrays["variance"]) * directions, directions

    def tell(self, state: State, directions: Array, losses: Array) -> None:
        count, n = directions.shape
        variance, path_sigma, path, step = (state.arrays[name] for name in self._kept)
        weights = np.log((count + 1) / 2) - np.log(np.arange(1, count // 2 + 1))
        weights /= weights.sum()
        mu = 1 / np.sum(weights**2)
        c_sigma = (mu + 2) / (n + mu + 5)
        damping = 1 + 2 * max(0.0, np.sqrt((mu - 1) / (n + 1)) - 1) + c_sigma
        c_path = (4 + mu / n) / (n + 4 + 2 * mu / n)
        c_one = (n + 2) / 3 * 2 / ((n + 1.3) ** 2 + mu)
        c_mu = min(1 - c_one, (n + 2) / 3 * 2 * (mu - 2 + 1 / mu) / ((n + 2) ** 2 + mu))
        z = directions[np.argsort(losses, kind="stable")[: count // 2]]
        y, deviation = z * np.sqrt(variance), np.sqrt(variance)
        with torch.no_grad():
            state.mean.add_(torch.from_numpy(step * (weights @ y)))
        path_sigma = (1 - c_sigma) * path_sigma + np.sqrt(c_sigma * (2 - c_sigma) * mu) * (weights @ z)
        chi = np.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
        length = np.linalg.norm(path_sigma)
        stalled = length / np.sqrt(1 - (1 - c_sigma) ** (2 * (state.updates + 1))) >= (1.4 + 2 / (n + 1)) * chi
        drive = 0.0 if stalled else np.sqrt(c_path * (2 - c_path) * mu)
        path = (1 - c_path) * path + drive * deviation * (weights @ z)
        lost = c_path * (2 - c_path) if stalled else 0.0
        variance = (1 - c_one - c_mu) * variance + c_one * (path**2 + lost * variance) + c_mu * (weights @ y**2)
        step = step * np.exp(min(1.0, c_sigma / damping * (length / chi - 1)))
        state.arrays = dict(zip(self._kept, (variance, path_sigma, path, np.asarray(step)), strict=True))

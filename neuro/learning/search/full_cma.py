"""CMA-ES with the full covariance matrix, by its author's package `cma`.

Source: Hansen & Ostermeier (2001), Evol Comput 9:159; Hansen, Akimoto & Baudis, CMA-ES/pycma.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from neuro.learning.search.searches import Array, Search, State
from neuro.registry import needed_by


@dataclass
class _Strategy:
    """The package's object, which works around 0 in units of the scale, and the generator of this update."""

    random: np.random.Generator
    own: Any = None

    def normal(self, *shape: int) -> Array:
        return self.random.standard_normal(shape)


@dataclass(frozen=True)
class FullCMA(Search):
    """candidates: 0 for 4 + 3 ln n. Keeps start and losses, from which the package's own state is made again."""

    candidates: int = 0
    repeatable: ClassVar[bool] = False  # the package's object has a history

    def begin(self, state: State) -> State:
        state.extra = _strategy(state.random, len(state.scale), self.candidates)
        state.arrays = {"start": state.mean.detach().numpy().copy(), "losses": np.zeros((0, state.extra.own.popsize))}
        return state

    def restore(self, state: State, saved: Mapping[str, Array], updates: int) -> None:
        state.arrays["start"] = np.array(saved["start"])
        for losses in np.array(saved["losses"]):
            self.tell(state, self.ask(state)[1], losses)
            state.updates += 1

    def ask(self, state: State) -> tuple[Array, Array]:
        state.extra.random = state.random
        asked = np.stack(state.extra.own.ask())
        return state.arrays["start"] + asked * state.scale, asked

    def tell(self, state: State, directions: Array, losses: Array) -> None:
        state.extra.own.tell(list(directions), list(losses))
        state.arrays["losses"] = np.concatenate([state.arrays["losses"], losses[None]])
        with torch.no_grad():
            state.mean.copy_(torch.from_numpy(state.arrays["start"] + state.extra.own.mean * state.scale))


def _strategy(random: np.random.Generator, n: int, candidates: int) -> _Strategy:
    with needed_by("rule 'cma'"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cma
    found = _Strategy(random)
    options: dict[str, Any] = {"verbose": -9, "randn": found.normal, "seed": np.nan}
    if candidates:
        options["popsize"] = candidates
    found.own = cma.CMAEvolutionStrategy(np.zeros(n), 1.0, options)
    return found

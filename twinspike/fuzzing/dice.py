"""Random choices of one seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """Everything that a generated network draws; equal seeds give equal networks."""

    def __init__(self, seed: int | list[int]) -> None:
        self.random = np.random.default_rng(seed)

    def chance(self, p: float) -> bool:
        return bool(self.random.random() < p)

    def choose(self, items: Sequence[T]) -> T:
        return items[int(self.random.integers(len(items)))]

    def weighted(self, items: Mapping[T, float]) -> T:
        """A key, in proportion to its value."""
        shares = np.array(list(items.values()))
        return list(items)[int(self.random.choice(len(items), p=shares / shares.sum()))]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """Different ones, in random order."""
        return [items[i] for i in self.random.permutation(len(items))[:count]]

    def whole(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def number(self, low: float, high: float) -> float:
        """Three significant digits, as a user writes."""
        return float(f"{self.random.uniform(low, high):.3g}")

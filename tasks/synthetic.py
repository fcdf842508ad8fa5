"""Tasks without a data set: every trial is drawn; the test trials are the same in every run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neuro.compiler import streams
from neuro.protocols import Batch

TEST_SEED = 1_000_003


class SameBatch:
    """A task with one batch, for training and test alike. updates: how often an epoch shows it. A subclass says what `batch` holds."""

    updates: int

    def batch(self) -> Batch:
        """The one there is."""
        raise NotImplementedError

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch: the same batch, `updates` times."""
        for _ in range(self.updates):
            yield self.batch()

    def test_batch(self) -> Batch:
        return self.batch()


class SyntheticTask:
    """updates: batches an epoch. test_trials: size of the test batch. A subclass says how `sample` draws trials."""

    name: str
    updates = 20
    test_trials = 200

    def sample(self, rng: np.random.Generator, trials: int) -> Batch:
        """This many new trials."""
        raise NotImplementedError

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch of new trials."""
        for _ in range(self.updates):
            yield self.sample(rng, batch)

    def test_batch(self) -> Batch:
        return self.sample(streams.generator(TEST_SEED, f"test/{self.name}"), self.test_trials)

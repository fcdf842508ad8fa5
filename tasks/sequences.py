"""Labelled sequences of unequal lengths into adaptive spiking cells: what tasks on recordings share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neuro.events import Events
from neuro.model import Network
from neuro.options import OptionError, counts
from neuro.protocols import Array, Batch, Recording
from tasks.adaptive_srnn import Layer, lag, network
from tasks.buckets import batches


@dataclass(frozen=True)
class Examples:
    """sequences: one an example, as the task's `shown` reads them. labels: int [example]. train, test, valid: indices of the examples for each; valid is None
    where the task draws it from those for training."""

    sequences: Sequence[Any]
    labels: Array
    train: Array
    test: Array
    valid: Array | None = None

    @staticmethod
    def of(*parts: tuple[Iterable[Any], Array]) -> Examples:
        """Of sequences and labels that come in parts: for training, for validation where there are three, and for the test."""
        ends = np.cumsum([len(labels) for _, labels in parts])
        train, *valid, test = np.split(np.arange(ends[-1]), ends[:-1])
        sequences = [sequence for part, _ in parts for sequence in part]
        return Examples(sequences, np.concatenate([labels for _, labels in parts]), train, test, *valid)


class Sequences(ABC):
    """Loss: cross entropy of the readout's mean over a sequence, each of which counts the same, whatever its length. Metric: accuracy of the largest mean.

    steps: of a trial; shorter sequences are filled up with nothing and read until they end, longer ones are cut. A layer answers a step after the one before it.
    kind: of the input, "current" or "spikes". valid: share of the training examples that says when to stop, drawn once and for all. buckets: batches whose examples
    are sorted by length together (see tasks.buckets); a training batch then ends with its longest example, 1 for that alone; 0 for batches of `steps`. An example's loss is the same
    for all of them; a rule's rate regularisation, which is over all steps of a batch, is not.
    """

    name: str
    output = "output"
    readout = ("readout.w", "output.bias")
    kind = "current"
    channels: int
    classes: int
    steps: int
    valid: float
    buckets: int = 0
    layers: Sequence[Layer]

    @abstractmethod
    def examples(self) -> Examples:
        """All that there is. Raises OptionError."""

    @abstractmethod
    def length(self, sequence: Any) -> int:
        """Steps that it lasts, uncut."""

    @abstractmethod
    def shown(self, chosen: Array, steps: int, rng: np.random.Generator) -> Array | Events:
        """Inputs [example, step, channel] of these examples. rng: for what is drawn anew each time."""

    @cached_property
    def data(self) -> Examples:
        """The same, read when it is first asked for."""
        return self.examples()

    @cached_property
    def lengths(self) -> Array:
        """Steps of every example that count, int [example]."""
        return np.minimum([self.length(sequence) for sequence in self.data.sequences], self.steps)

    @property
    def lag(self) -> int:
        """Steps by which the readout answers late."""
        return lag(self.layers, self.kind)

    def network(self, seed: int) -> Network:
        """Input -> adaptive cells -> a leaky readout for each class."""
        return network(self.name, self.channels, self.layers, self.classes, kind=self.kind, seed=seed)

    @cached_property
    def sides(self) -> tuple[Array, Array, Array]:
        """Indices of the examples for training, validation and test."""
        if self.data.valid is not None:
            return self.data.train, self.data.valid, self.data.test
        return *kept_back(self.data.train, self.valid), self.data.test

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        train = self.sides[0]
        for places in batches(self.lengths[train], batch, self.buckets, rng):
            chosen = train[places]
            yield self._batch(chosen, rng, self.lengths[chosen].max() if self.buckets else self.steps)

    def valid_batch(self) -> Batch | None:
        """Examples that say when to stop; None where the data keep none."""
        return self._batch(self.sides[1], np.random.default_rng(1), self.steps) if len(self.sides[1]) else None

    def test_batch(self) -> Batch:
        return self._batch(self.sides[2], np.random.default_rng(0), self.steps)

    def _batch(self, chosen: Array, rng: np.random.Generator, steps: int) -> Batch:
        """steps: without the lag."""
        step = np.arange(steps + self.lag) - self.lag
        counted = (step >= 0) & (step < self.lengths[chosen][:, None])
        return Batch({"x": self.shown(chosen, len(step), rng)}, self.data.labels[chosen], counted)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.m",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        m = traces[f"{self.output}.m"]
        counted = torch.as_tensor(np.array(batch.mask)).to(m)[..., None]
        targets = torch.as_tensor(batch.targets).to(m.device)
        return torch.nn.functional.cross_entropy((m * counted).sum(1) / counted.sum(1), targets)

    def metric(self, recording: Recording, batch: Batch) -> float:
        counted = np.asarray(batch.mask)[..., None]
        mean = (recording.traces[f"{self.output}.m"] * counted).sum(axis=1)
        return float((mean.argmax(axis=1) == batch.targets).mean())

    def perfect(self, batch: Batch) -> Recording:
        """The right output is large in every step."""
        m = np.repeat(20.0 * np.eye(self.classes)[batch.targets][:, None], np.asarray(batch.mask).shape[1], axis=1)
        return Recording(1e-3, traces={f"{self.output}.m": m})


class Currents(Sequences):
    """Sequences [step, channel] of numbers, as currents with mean 0 and deviation 1 of each channel over the training examples, 0 after their end."""

    @cached_property
    def scale(self) -> tuple[Array, Array]:
        """Mean and deviation of each channel; a channel that never changes is only shifted."""
        every = np.concatenate([self.data.sequences[k] for k in self.sides[0]])
        deviation = every.std(axis=0)
        return every.mean(axis=0), np.where(deviation > 0, deviation, 1.0)

    def length(self, sequence: Any) -> int:
        return len(sequence)

    def shown(self, chosen: Array, steps: int, rng: np.random.Generator) -> Array | Events:
        mean, deviation = self.scale
        x = np.zeros((len(chosen), steps, self.channels))
        for row, k in enumerate(chosen):
            cut = self.data.sequences[k][: self.steps]
            x[row, : len(cut)] = (cut - mean) / deviation
        return x


def kept_back(examples: Array, valid: float) -> tuple[Array, Array]:
    """Indices for training and for validation, a share of them that is drawn once and for all."""
    order = np.random.default_rng(0).permutation(examples)
    kept = round(valid * len(order))
    return np.sort(order[kept:]), np.sort(order[:kept])


def check_share(valid: float) -> None:
    """Raises OptionError on a share of validation examples that leaves none to learn."""
    if not 0 <= valid < 1:
        raise OptionError(f"valid={valid}; give a share from 0 to below 1")


def check_layers(hidden: Sequence[int]) -> None:
    """Raises OptionError unless there is a layer, and each has cells."""
    if not hidden:
        raise OptionError(f"hidden={hidden!r}; give the cells of at least one layer")
    counts(**{f"hidden[{k}]": n for k, n in enumerate(hidden)})

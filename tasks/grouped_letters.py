"""The next character of an endless stream of groups of letters in parentheses: how many cells a network needs depends on the stream.

Source: Miconi (2016), arXiv 1606.06216. Its text has groups of five letters, its published curves groups of six.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Literal, get_args

import numpy as np

from neuro.compiler import streams
from neuro.model import Input, Network, Neuron, Population, Projection
from neuro.options import OptionError, counts, one_of
from neuro.protocols import Array, Batch, Recording, Settings
from tasks.self_modifying import enters, given, linear, reads
from tasks.synthetic import TEST_SEED

Stream = Literal["easy", "hard", "easy-hard-easy"]
ALPHABET = "ab()"
ONE_HOT = np.eye(len(ALPHABET))
SOURCE = "Miconi (2016), arXiv 1606.06216"
STEPS = 40  # characters of a batch, and of losses
GOES_ON = 0.75  # probability of one more "ab"; the published curves fit this one
FIRST, LETTERS = "abbaab", 6
_AT_ONCE = 256  # groups drawn at once
_INDEX = {letter: i for i, letter in enumerate(ALPHABET)}
_OTHER = {"a": "b", "b": "a"}

unit = Neuron("tanh_unit", "z : 1\nx : 1", every_step="x = tanh(z + b)", parameters={"b": "0"}, source=SOURCE)
scaled_unit = Neuron(
    "scaled_tanh_unit", "z : 1\nx : 1\ny = m*x : 1", every_step="x = tanh(z + b)", parameters={"b": "0", "m": "1"}, source=SOURCE
)  # fmt: skip


def easy(random: np.random.Generator) -> Iterator[str]:
    """Groups of one or more "ab"; another one follows with probability 0.75."""
    while True:
        for pairs in random.geometric(1 - GOES_ON, _AT_ONCE).tolist():
            yield f"({'ab' * pairs})"


def hard(random: np.random.Generator) -> Iterator[str]:
    """Groups of six letters; each is the one before it in reverse, with one letter, drawn at random, turned into the other one."""
    group = FIRST
    while True:
        for k in random.integers(0, LETTERS, _AT_ONCE).tolist():
            yield f"({group})"
            group = group[::-1]
            group = group[:k] + _OTHER[group[k]] + group[k + 1 :]


GROUPS: Mapping[str, Callable[[np.random.Generator], Iterator[str]]] = {"easy": easy, "hard": hard}


def optimum(stream: str) -> float:
    """The least loss that any predictor can have, nats per 40 characters: the entropy of the stream.

    easy: a decision for each "ab", of which a group has 1/(1 - p) on average, over its 2 + 2/(1 - p) characters. hard: which of six letters
    is another one, over the eight characters of a group.
    """
    one_of("stream", stream, GROUPS)
    if stream == "hard":
        return STEPS * math.log(LETTERS) / (LETTERS + 2)
    decisions = 1 / (1 - GOES_ON)
    entropy = -GOES_ON * math.log(GOES_ON) - (1 - GOES_ON) * math.log(1 - GOES_ON)
    return STEPS * decisions * entropy / (2 + 2 * decisions)


class GroupedLetters:
    """Each batch goes on where the one before it ended. Loss: nats per 40 characters; metric: share of characters of which the largest output is right.

    stream: easy, hard, or easy-hard-easy, which changes after each third of the updates. updates: batches of 40 characters an epoch. hidden:
    tanh units that there is room for. start: those that there are to begin with, with weights 0.01 N(0, 1); all weights of the others are 0, so that they
    stay at 0, give nothing and get no gradient. multipliers: whether each unit's output is scaled on its way to the readout alone (the version of July 2016).
    """

    name = "grouped-letters"
    version = 1
    output = "output"
    readout = ("readout.w", "output.b")
    settings = Settings(
        epochs=1,
        batch=1,
        backends={"torch": {"dtype": "float64"}},
        rules={
            "differentiable-structure": {"trainable": ("*.w", "*.b")},
            "bptt": {"optimiser": "rmsprop", "learning_rate": 1e-3, "trainable": ("*.w", "*.b")},
        },
    )

    def __init__(
        self, stream: Stream = "hard", updates: int = 20_000, hidden: int = 100, start: int = 1, multipliers: bool = False
    ) -> None:  # fmt: skip
        one_of("stream", stream, get_args(Stream))
        counts(updates=updates, hidden=hidden, start=start)
        if start > hidden:
            raise OptionError(f"start={start}, and there is room for hidden={hidden} units; give at most as many")
        self.stream, self.updates, self.hidden, self.start, self.multipliers = (
            stream,
            updates,
            hidden,
            start,
            multipliers,
        )

    def network(self, seed: int) -> Network:
        """Characters -> tanh units, all joined -> one output a character, in the same step. dt is one character, 1 ms."""
        random, size, n = streams.generator(seed, "grouped-letters/weights"), len(ALPHABET), self.start

        def weights(rows: int, columns: int, shape: tuple[int, int]) -> Array:
            found = np.zeros(shape)
            found[:rows, :columns] = 0.01 * random.standard_normal((rows, columns))
            return found

        hidden = {"b": np.zeros(self.hidden)} | ({"m": np.ones(self.hidden)} if self.multipliers else {})
        return Network(
            (
                Population("letters", given, size),
                Population("hidden", scaled_unit if self.multipliers else unit, self.hidden, hidden),
                Population("output", linear, size, {"b": np.zeros(size)}),
            ),
            (
                Projection("enter", "letters", "hidden", enters, weights(size, n, (size, self.hidden))),
                Projection("loop", "hidden", "hidden", reads, weights(n, n, (self.hidden, self.hidden))),
                Projection(
                    "readout", "hidden", "output", enters if self.multipliers else reads,
                    weights(n, size, (self.hidden, size)), summed="end",
                ),
            ),
            (Input("letters_in", size, "current", "letters.I"),),
            dt="1 ms", seed=seed, name=self.name,
        )  # fmt: skip

    def letters(self, random: np.random.Generator) -> Iterator[str]:
        """The characters of an epoch and the one after them."""
        third = self.updates // 3
        parts = [(self.stream, self.updates)]
        if self.stream == "easy-hard-easy":
            parts = [("easy", third), ("hard", self.updates - 2 * third), ("easy", third)]
        for k, (stream, updates) in enumerate(parts):
            yield from islice(chain.from_iterable(GROUPS[stream](random)), updates * STEPS + (k == len(parts) - 1))

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch. batch: streams side by side."""
        found = [self.letters(r) for r in ([rng] if batch == 1 else _several(rng, batch))]
        first = [next(letters) for letters in found]
        for k in range(self.updates):
            texts = [[c, *islice(letters, STEPS)] for c, letters in zip(first, found, strict=True)]
            first = [text[-1] for text in texts]
            yield shown(texts, follows=k > 0)

    def test_batch(self) -> Batch:
        """Ten streams of 400 characters, easy ones where the epoch ends with them."""
        groups = GROUPS["easy" if self.stream != "hard" else "hard"]
        random = _several(streams.generator(TEST_SEED, f"test/{self.name}/{self.stream}"), 10)
        return shown([list(islice(chain.from_iterable(groups(r)), 10 * STEPS + 1)) for r in random])

    def record(self) -> Sequence[str]:
        return (f"{self.output}.y",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        y = traces[f"{self.output}.y"].flatten(0, 1)
        total = torch.nn.functional.cross_entropy(
            y, torch.from_numpy(batch.targets.ravel()).to(y.device), reduction="sum"
        )
        return total if len(y) == STEPS else total * (STEPS / len(y))

    def metric(self, recording: Recording, batch: Batch) -> float:
        return float((recording.traces[f"{self.output}.y"].argmax(axis=2) == batch.targets).mean())

    def perfect(self, batch: Batch) -> Recording:
        """Knows what comes; no network can."""
        return Recording(1e-3, traces={f"{self.output}.y": 20.0 * ONE_HOT[batch.targets]})


def shown(texts: Sequence[Sequence[str]], follows: bool | None = None) -> Batch:
    """Characters and the ones after them, [batch, time]."""
    index = np.array([[_INDEX[c] for c in text] for text in texts])
    return Batch({"letters_in": ONE_HOT[index[:, :-1]]}, np.ascontiguousarray(index[:, 1:]), follows=follows)


def _several(random: np.random.Generator, number: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in random.integers(0, 2**63, number)]

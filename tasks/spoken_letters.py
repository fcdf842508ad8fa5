"""Letters of the alphabet, or digits, as a synthesiser says them: spikes of a cochlea into spiking layers, which are counted.

Data: tasks.synthetic_speech; three of the thirteen voices are held out for the test. It stands in for TI46 (LDC93S9), of which no free copy exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from neuro.model import Network
from neuro.options import counts, one_of
from neuro.protocols import Array, Batch, Recording, Settings
from tasks.self_recurrent import BACKWARDS, INTRINSIC, lag, network
from tasks.synthetic_speech import CHANNELS, VOICES, WORDS, utterances

STEP = 1.6  # ms of a step of what the cochlea sends
TIMED = {"torch": {"dtype": "float32", "surrogate": "straight_through_estimator", "detach_reset": True}}
SHARPNESS = 30.0  # of the probabilities, which are softmax of the share of steps with a spike


class SpokenLetters:
    """Loss: cross entropy of the output cells' counts, 30 times their share of the steps. Metric: accuracy of the largest count.

    words: "letters" or "digits". hidden: cells of each layer. self_recurrent, skip: see tasks.self_recurrent.network. bins: steps of 1.6 ms that are one, with a spike
    where one of them has one. held_out: voices of the test. backward: see tasks.self_recurrent. Shorter words are followed by silence.
    """

    name = "spoken-letters"
    version = 1
    output = "output"
    settings = Settings(
        epochs=16, batch=30,
        backends={"torch": {"dtype": "float32", "surrogate": "sigmoid", "surrogate_scale": 5.0, "detach_reset": False}},
        rules={
            "bptt": {
                "trainable": ("*.w", *INTRINSIC), "logarithmic": INTRINSIC, "optimiser": "adamw", "learning_rate": 2e-3,
                "learning_rates": dict.fromkeys(INTRINSIC, 4e-3), "weight_decay": 0.01, "clip": 1.0,
            },
        },
    )  # fmt: skip

    def __init__(
        self, words: str = "letters", hidden: Sequence[int] = (64, 64), self_recurrent: bool = True, skip: bool = True, bins: int = 4,
        held_out: Sequence[str] = ("m3", "m7", "f3"), backward: str = "surrogate",
    ) -> None:  # fmt: skip
        one_of("words", words, WORDS)
        one_of("backward", backward, BACKWARDS)
        counts(bins=bins, **{f"hidden[{k}]": n for k, n in enumerate(hidden)})
        for voice in held_out:
            one_of("held_out", voice, VOICES)
        self.words, self.hidden, self.bins, self.held_out = words, tuple(hidden), bins, tuple(held_out)
        self.self_recurrent, self.skip, self.backward = self_recurrent, skip, backward
        if backward == "spike times":
            self.settings = replace(self.settings, backends=TIMED)

    @property
    def readout(self) -> tuple[str, ...]:
        """All weights onto the output, those that skip a layer too."""
        return tuple(f"{kind}{len(self.hidden)}.w" for kind in ("feed", *(("skip",) if self.skip else ())))

    def network(self, seed: int) -> Network:
        """Spikes -> layers of cells with membranes of their own -> a cell for each word."""
        return network(
            self.name, CHANNELS, self.hidden, len(WORDS[self.words]), self_recurrent=self.self_recurrent, skip=self.skip, dt=STEP * self.bins, seed=seed,
            backward=self.backward,
        )  # fmt: skip

    @cached_property
    def spikes(self) -> Array:
        """Of all utterances, boolean [utterance, step, channel], silent until the last layer has answered."""
        found = utterances(self.words).spikes
        steps = -(-max(map(len, found)) // self.bins)
        every = np.zeros((len(found), steps + lag(self.hidden), CHANNELS), bool)
        for row, each in enumerate(found):
            whole = np.pad(each, ((0, -len(each) % self.bins), (0, 0))).reshape(-1, self.bins, CHANNELS)
            every[row, : len(whole)] = whole.any(axis=1)
        return every

    @cached_property
    def sides(self) -> tuple[Array, Array]:
        """Indices of the utterances for training and for the test."""
        tested = np.isin(utterances(self.words).voice, [VOICES.index(v) for v in self.held_out])
        return np.flatnonzero(~tested), np.flatnonzero(tested)

    def _batch(self, chosen: Array) -> Batch:
        return Batch({"x": self.spikes[chosen]}, utterances(self.words).word[chosen])

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        order = rng.permutation(self.sides[0])
        for first in range(0, len(order), batch):
            yield self._batch(order[first : first + batch])

    def test_batch(self) -> Batch:
        return self._batch(self.sides[1])

    def record(self) -> Sequence[str]:
        return ()

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        shares = spikes[self.output].mean(1)
        return torch.nn.functional.cross_entropy(SHARPNESS * shares, torch.as_tensor(batch.targets).to(shares.device))

    def metric(self, recording: Recording, batch: Batch) -> float:
        return float((recording.spikes[self.output].sum(axis=1).argmax(axis=1) == batch.targets).mean())

    def perfect(self, batch: Batch) -> Recording:
        """The right cell fires in every step, no other one ever."""
        right = np.eye(len(WORDS[self.words]), dtype=bool)[batch.targets]
        return Recording(1e-3, spikes={self.output: np.repeat(right[:, None], self.spikes.shape[1], axis=1)})

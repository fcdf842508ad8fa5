"""A word-level language model of gated cells, plain or with synapses that modulate themselves: predict each word before it is heard.

Sources: Zaremba, Sutskever & Vinyals (2014), arXiv:1409.2329, for the plain model and its windows; Miconi, Rawal, Clune & Stanley (2019), ICLR, arXiv
2002.10585, for the plastic one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import isqrt
from typing import Any

import numpy as np

from neuro.compiler import streams
from neuro.events import Events
from neuro.model import Input, Network, Population, Projection, Synapse
from neuro.options import OptionError, counts, one_of
from neuro.protocols import Array, Batch, Recording, Settings
from neuro.state import State
from tasks.corpora import CHAIN, Corpus, corpus
from tasks.counting import frames
from tasks.gated_networks import GATES, Plasticity, hears, lstm_layer
from tasks.self_modifying import given, linear

FORMS = ("static", "modulated")
CLIP = 2.0
LARGEST = 10**9
EXACT = 1e-3  # how near a number of parameters must come to the one that was asked for
looked_up = Synapse("looked_up", "w : 1", on_pre="I_post += w", source="a row of a table")


def count(vocabulary: int, size: int, hidden: int, layers: int, form: str) -> int:
    """Parameters of a model: table of `size` columns, layers of `hidden` cells, readout."""
    gates = sum(4 * hidden * (below + hidden + 1) for below in (size, *[hidden] * (layers - 1)))
    own = layers * (hidden**2 + 3 * hidden + 1) if form == "modulated" else 0  # alpha; hear, fan and b_m; b
    return vocabulary * size + gates + own + (hidden + 1) * vocabulary


def sizes(parameters: int, vocabulary: int, layers: int, form: str) -> tuple[int, int]:
    """Columns of the table and cells a layer, as equal as can be, of a model with so many parameters, to a thousandth. Raises OptionError."""
    found = []
    for hidden in range(1, min(parameters // vocabulary, isqrt(parameters)) + 1):
        each = vocabulary + 4 * hidden  # what a column more adds
        size = max(1, round((parameters - count(vocabulary, 0, hidden, layers, form)) / each))
        off = abs(count(vocabulary, size, hidden, layers, form) - parameters)
        found.append((off > EXACT * parameters, abs(size - hidden), size, hidden))
    if not found or min(found)[0]:
        raise OptionError(
            f"parameters={parameters}: no sizes of a {form} model with {vocabulary} words come within {EXACT:.1%} of it; give more"
        )
    return min(found)[2:]


class LanguageModel:
    """Loss: cross entropy of each word, nats, before it is heard. Metric: minus it on the first words of the test text; exp(-metric) is the perplexity.

    data: "chain" (words drawn so that each depends on the one before), a folder with train.txt, valid.txt and test.txt (the Penn Treebank's form), or a text file.
    vocabulary: words at most. words: of training, 0 for all. form: static or modulated (plastic synapses into the candidates). parameters: of the model;
    columns and cells follow from it, so that both forms have as many. steps: of a window; the state is carried from each into the next one.
    test_words: of the test text that an epoch's test takes. In a step the table is asked at the end, and each layer hears the one before as it was at the
    step's beginning: an answer of L layers has heard the words up to L steps before.
    """

    name = "language-model"
    output = "output"
    readout = ("readout.w", "output.b")

    def __init__(
        self, data: str = CHAIN, form: str = "static", vocabulary: int = 10_000, words: int = 0, parameters: int = 20_000, layers: int = 1,
        steps: int = 20, test_words: int = 2_000,
    ) -> None:  # fmt: skip
        one_of("form", form, FORMS)
        counts(vocabulary=vocabulary, parameters=parameters, layers=layers, steps=steps, test_words=test_words)
        if vocabulary < 2 or parameters > LARGEST:
            raise OptionError(
                f"vocabulary={vocabulary}, parameters={parameters}; give at least 2 words and at most {LARGEST} parameters"
            )
        if steps < layers:
            raise OptionError(
                f"steps={steps}: the answer of {layers} layers has heard nothing in the first {layers - 1} steps; give more"
            )
        if words < 0:
            raise OptionError(f"words={words}; give a number of training words, or 0 for all")
        self.data, self.form, self.vocabulary, self.words = data, form, vocabulary, words
        self.parameters, self.layers, self.steps, self.test_words = parameters, layers, steps, test_words
        trained = ("*.w", "*.b", "layer*.b_*", *(("*.alpha",) if form == "modulated" else ()))
        self.settings = Settings(
            epochs=5, batch=20, rules={"bptt": {"trainable": trained, "learning_rate": 0.02, "clip": 5.0}}
        )

    @cached_property
    def version(self) -> int:
        """A number of the text, so that a run of another one is told from one of this."""
        return 1 if self.data == CHAIN else self.corpus.checksum

    @cached_property
    def corpus(self) -> Corpus:
        """What is read. Raises OptionError."""
        return corpus(self.data, self.vocabulary, self.words)

    def network(self, seed: int) -> Network:
        """Words -> table -> layers of gated cells -> a score for each word. Weights are U(-0.1, 0.1), biases 0, those of forget gates 1."""
        size = len(self.corpus.vocabulary)
        columns, hidden = sizes(self.parameters, size, self.layers, self.form)
        random = streams.generator(seed, f"{self.name}/weights")

        def uniform(*shape: int) -> Array:
            return random.uniform(-0.1, 0.1, shape)

        populations = [Population("embedding", given, columns)]
        projections = [Projection("look_up", "words", "embedding", looked_up, uniform(size, columns))]
        below, sent, above = "embedding", "y", columns
        for k in range(self.layers):
            weights = {f"{kind}_{g}": uniform(n, hidden) for kind, n in (("x", above), ("h", hidden)) for g in GATES}
            biases = {g: np.full(hidden, float(g == "f")) for g in GATES}
            made = lstm_layer(f"layer{k}", hidden, below, sent, weights, biases, self._plasticity(hidden, random))
            populations, projections = [*populations, *made[0]], [*projections, *made[1]]
            below, sent, above = f"layer{k}", "h", hidden
        populations.append(Population("output", linear, size, {"b": np.zeros(size)}))
        projections.append(Projection("readout", below, "output", hears, uniform(hidden, size), summed="end"))
        words = Input("words", size)
        return Network(tuple(populations), tuple(projections), (words,), dt="1 ms", seed=seed, name=self.name)

    def _plasticity(self, hidden: int, random: np.random.Generator) -> Plasticity | None:
        if self.form == "static":
            return None

        def uniform(*shape: int) -> Array:
            return random.uniform(-0.1, 0.1, shape)

        return Plasticity(uniform(hidden, hidden), CLIP, uniform(hidden, 1), 0.0, uniform(1, hidden), np.zeros(hidden))

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch: as many places in the text as the batch has trials, side by side, window after window. rng: where the first window begins."""
        text = self.corpus.train[int(rng.integers(self.steps)) :]
        if len(text) // batch < self.steps:
            raise OptionError(
                f"batch={batch}, steps={self.steps}: {len(text)} words of training are too few for so many windows; give fewer, shorter ones, or more words"
            )
        return self.windows(text, batch, self.steps)

    def windows(self, text: Array, batch: int, steps: int) -> Iterator[Batch]:
        """All whole windows of a text in so many equal pieces; each goes on where the one before ended."""
        pieces = text[: len(text) // batch * batch].reshape(batch, -1)
        late = self.layers - 1
        heard = np.concatenate([np.zeros((batch, late), np.int64), pieces], axis=1)
        for first in range(0, pieces.shape[1] - steps + 1, steps):
            shown = pieces[:, first : first + steps]
            known = np.broadcast_to(np.arange(first, first + steps) >= late, shown.shape)
            size = len(self.corpus.vocabulary)
            events = Events((batch, steps, size), np.arange(shown.size + 1), shown.ravel().astype(np.int32))
            yield Batch({"words": events}, heard[:, first : first + steps], known, follows=first > 0)

    def valid_batch(self) -> Batch:
        """The first words of the validation text."""
        return self._whole(self.corpus.valid[: self.test_words])

    def test_batch(self) -> Batch:
        return self._whole(self.corpus.test[: self.test_words])

    def _whole(self, text: Array) -> Batch:
        """One window of all of it, in ten pieces, of which each has words that count. Raises OptionError."""
        batch = min(10, len(text) // self.layers)
        if not batch:
            raise OptionError(
                f"layers={self.layers}: {len(text)} words of validation or test are too few; give more (test_words, or a longer text)"
            )
        return replace(next(self.windows(text, batch, len(text) // batch)), follows=None)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.y",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        scores = traces[f"{self.output}.y"]
        targets, known = (torch.as_tensor(a).to(scores.device) for a in (batch.targets, np.array(batch.mask)))
        return torch.nn.functional.cross_entropy(scores[known], targets[known])

    def weight(self, batch: Batch) -> float:
        return frames(batch)

    def metric(self, recording: Recording, batch: Batch) -> float:
        return -float(self._surprise(recording.traces[f"{self.output}.y"], batch).mean())

    def perplexity(self, program: Any, parameters: Any, split: str = "test", batch: int = 20, steps: int = 50) -> float:
        """Of a whole split: exp of the mean cross entropy, the state carried from window to window."""
        state: State | None = None
        found = []
        for window in self.windows(getattr(self.corpus, split), batch, steps):
            recording = program.run(parameters, window.inputs, self.record(), state=state)
            state = recording.state
            found.append(self._surprise(recording.traces[f"{self.output}.y"], window))
        return float(np.exp(np.concatenate(found).mean()))

    def _surprise(self, scores: Array, batch: Batch) -> Array:
        """Nats for each word that counts."""
        from scipy.special import logsumexp

        right = np.take_along_axis(scores, batch.targets[..., None], -1)[..., 0]
        return np.asarray((logsumexp(scores, axis=-1) - right)[batch.mask])

    def perfect(self, batch: Batch) -> Recording:
        scores = 1e3 * np.eye(len(self.corpus.vocabulary))[batch.targets]
        return Recording(1e-3, traces={f"{self.output}.y": scores})

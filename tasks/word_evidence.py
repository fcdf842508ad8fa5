"""Which of three words was said most often: a phrase of words, one after another, and a late answer, for Morris-Lecar units.

Source: Hazelden et al. (2023), arXiv:2311.10869, its stimulus integration task.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.language.units import quantity
from neuro.library.morris_lecar_trapezoid import morris_lecar_trapezoid
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse
from neuro.options import OptionError
from neuro.protocols import Batch, Recording, Settings
from neuro.state import State
from tasks.rate_networks import answer, linear
from tasks.synthetic import SyntheticTask

Array = npt.NDArray[np.float64]

CLASSES, CHANNELS = 3, 50
NULL, EOS = CLASSES, CLASSES + 1  # words without evidence: nothing, and the end of a phrase
WINDOW = 10.0  # ms at the end, in which the answer is read
OUTPUT = {"v_half": "-3 mV", "v_slope": "8 mV"}  # of the graded output
GAIN = {"gain": "36.75 uA/cm**2"}  # current in a summed input of 1
BASE = 36.75 * 0.1 + 39.9  # uA/cm**2 that every unit gets
START, SPREAD, GATE = -20e-3, 5e-3, 0.014173  # v(0): mean and deviation, V; n(0)

UNIT = Neuron(
    "evidence_unit",
    morris_lecar_trapezoid.equations.replace("*E_K + I)/C", "*E_K + I_base + I)/C"),
    every_step=morris_lecar_trapezoid.every_step,
    parameters={**morris_lecar_trapezoid.parameters, "I_base": quantity(BASE, "uA/cm**2")},
    source=morris_lecar_trapezoid.source,
)
WORD = Synapse("word", "w : 1", transmits="gain*w*x_pre", target="I", parameters=GAIN, source="weighted sum")
SENT = "w*sigmoid((v_pre - v_half)/v_slope)"
GRADED = Synapse(
    "graded_output", "w : 1", transmits=f"gain*{SENT}", target="I", parameters={**GAIN, **OUTPUT}, source="Hazelden et al. (2023)"
)  # fmt: skip
READ = Synapse(
    "graded_readout", "w : 1", transmits=SENT, target="z", parameters=OUTPUT, source="Hazelden et al. (2023)"
)


class WordEvidence(SyntheticTask):
    """A phrase of `words` words, `delay` words of nothing, and the end; the class is the word of evidence that came most often.

    A word is one of three of evidence or nothing; their numbers are uniform over all that add up, phrases without a single winner left out.
    Each stands for a fixed pattern of 50 channels at 0 or 0.2 for `word_steps` steps of `dt` ms. units, coupling: of the recurrent network,
    all to all; coupling multiplies its initial weights. v(0) is N(-20 mV, 5 mV) for each trial and unit. Loss: cross entropy of the mean
    output in the last 10 ms. Metric: accuracy. In a step the units get their own outputs of the step before.
    """

    name = "word-evidence"
    version = 1
    output = "output"
    readout = ("readout.w", "output.bias")
    updates = 20
    settings = Settings(
        epochs=5,
        batch=24,
        backends={"torch": {"dtype": "float32"}},
        rules={
            "bptt": {"trainable": ("*.w", "output.bias"), "learning_rate": 5e-3, "clip": 10.0},
            "es": {
                "trainable": ("*.w", "output.bias"), "sigma": {"*": 0.03, "feed.w": 0.1}, "shaping": "standardised", "learning_rate": 0.01,
            },
        },
    )  # fmt: skip

    def __init__(
        self, units: int = 64, words: int = 24, delay: int = 0, word_steps: int = 40, dt: float = 0.2, coupling: float = 1.0,
        test_trials: int = 200,
    ) -> None:  # fmt: skip
        if units < 1 or words < 1 or delay < 0 or word_steps < 1 or not dt > 0:
            raise OptionError(
                f"units={units}, words={words}, delay={delay}, word_steps={word_steps}, dt={dt}: at least one unit, word and step; "
                "no delay below 0"
            )
        self.units, self.words, self.delay, self.word_steps, self.dt = units, words, delay, word_steps, dt
        self.coupling, self.test_trials = coupling, test_trials
        self.steps = (words + delay + 1) * word_steps
        self.window = round(WINDOW / dt)
        if self.window > self.steps:
            raise OptionError(
                f"words={words}, word_steps={word_steps}, dt={dt}: a phrase shorter than the answer's {WINDOW:g} ms"
            )
        patterns = streams.generator(0, f"words/{self.name}").random((EOS + 1, CHANNELS)) < 0.5
        self.patterns: Array = patterns / math.sqrt(CHANNELS / 2)

    def network(self, seed: int) -> Network:
        """50 channels -> units, all to all -> 3 linear outputs with a bias."""
        random, s = streams.generator(seed, f"weights/{self.name}"), 1 / math.sqrt(self.units)

        def uniform(middle: float, *shape: int) -> Array:
            return random.uniform(middle - s, middle + s, shape)

        feed, loop = uniform(0.1, CHANNELS, self.units), uniform(0.001, self.units, self.units)
        loop[random.random(loop.shape) < 0.2] = 0.001
        readout = uniform(0.1, self.units, CLASSES)
        return Network(
            (
                Population("words", linear, CHANNELS),
                Population("cells", UNIT, self.units, initial={"v": quantity(START, "volt"), "n": quantity(GATE, "")}),
                Population("output", answer, CLASSES, parameters={"bias": quantity(np.zeros(CLASSES), "")}),
            ),
            (
                Projection("feed", "words", "cells", WORD, quantity(feed, "")),
                Projection("loop", "cells", "cells", GRADED, quantity(self.coupling * loop, "")),
                Projection("readout", "cells", "output", READ, quantity(readout, "")),
            ),
            (Input("x", CHANNELS, "current", "words.z"),),
            dt=quantity(self.dt, "ms"), seed=seed, name=self.name,
        )  # fmt: skip

    def counts(self, rng: np.random.Generator, trials: int) -> npt.NDArray[np.int64]:
        """Words of each kind in a phrase [trials, 4]: three bars among words and bars, drawn again where two kinds of evidence lead."""
        found = np.zeros((0, CLASSES + 1), np.int64)
        while len(found) < trials:
            order = rng.random((2 * trials, self.words + CLASSES)).argsort(axis=1)
            bars = np.sort(order[:, :CLASSES], axis=1)
            ends = [np.full((len(bars), 1), e) for e in (-1, self.words + CLASSES)]
            drawn = np.diff(np.hstack([ends[0], bars, ends[1]]), axis=1) - 1
            ranked = np.sort(drawn[:, :CLASSES], axis=1)
            found = np.concatenate([found, drawn[ranked[:, -1] > ranked[:, -2]]])
        return found[:trials]

    def sample(self, rng: np.random.Generator, trials: int) -> Batch:
        counts = self.counts(rng, trials)
        phrases = np.stack([np.repeat(np.arange(CLASSES + 1), n) for n in counts])
        said = np.full((trials, self.words + self.delay + 1), NULL)
        said[:, : self.words], said[:, -1] = rng.permuted(phrases, axis=1), EOS
        inputs = np.repeat(self.patterns[said], self.word_steps, axis=1)
        shape = (trials, self.units)
        start = {"cells.v": rng.normal(START, SPREAD, shape), "cells.n": np.full(shape, GATE)}
        state = State(float(quantity(self.dt, "ms").value), 0, (trials,), variables=start)
        return Batch({"x": inputs}, counts[:, :CLASSES].argmax(axis=1), state=state)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.y",)

    def logits(self, traces: Mapping[str, Any]) -> Any:
        """Mean output in the last 10 ms [batch, class], arrays or tensors."""
        return traces[f"{self.output}.y"][:, -self.window :].mean(1)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        logits = self.logits(traces)
        return torch.nn.functional.cross_entropy(logits, torch.as_tensor(batch.targets).to(logits.device))

    def metric(self, recording: Recording, batch: Batch) -> float:
        return float(np.mean(self.logits(recording.traces).argmax(axis=1) == batch.targets))

    def perfect(self, batch: Batch) -> Recording:
        """The right output is 20 above the others."""
        y = np.repeat(20.0 * np.eye(CLASSES)[batch.targets][:, None], self.steps, axis=1)
        return Recording(self.dt * 1e-3, traces={f"{self.output}.y": y})

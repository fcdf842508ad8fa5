"""Waves of an electrocardiogram: level-crossing events of two leads, and for every step which of six segments it belongs to.

Data: QT database (PhysioNet, ODC-By), coded by Yin, Corradi & Bohte (2021), Nat Mach Intell 3:905: 618 and 141 recordings of 1,301 steps, channels up and down of two
leads. 8.2 and 10.4 % of the steps have no label.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from neuro.events import Events
from neuro.model import Network
from neuro.options import OptionError, counts
from neuro.protocols import Array, Batch, Recording, Settings
from tasks.adaptive_srnn import BACKENDS, CONSTANTS, Layer, lag, network
from tasks.counting import check_per, number
from tasks.files import File
from tasks.sequences import check_share, kept_back

_SOURCE = "https://github.com/byin-cwi/Efficient-spiking-networks (data of the publication)", "ODC-By"
TRAIN = File(
    "QTDB_train.mat",
    "training recordings of the QT database",
    *_SOURCE,
    "72d1a10c96f1540880447e07256835d66da419c0b34f3dff495731a7928c5bc7",
)
TEST = File(
    "QTDB_test.mat",
    "test recordings of the QT database",
    *_SOURCE,
    "916f11e21679a5b61988305bbb7cd1e6df8b34f1ed4a157a7a4e295d400ef232",
)
CLASSES, CHANNELS, STEPS = 6, 4, 1301
SETTLING = 10  # steps at the beginning of a trial that don't count
UNLABELLED = -1


@cache
def recordings(part: File) -> tuple[Array, Array]:
    """Spikes bool [recording, step, channel] and labels int [recording, step], UNLABELLED where there is none. Raises OptionError."""
    from scipy.io import loadmat

    found = loadmat(part.found(), variable_names=["x", "y"])
    spikes = np.ascontiguousarray(found["x"] > 0)  # one -1 a recording stands at its last step
    return spikes, np.where(found["y"].any(axis=2), found["y"].argmax(axis=2), UNLABELLED)


class Ecg:
    """Loss: cross entropy of every step's label, from step 10 of a trial on. Metric: accuracy over the labelled steps of the test recordings.

    hidden: recurrent adaptive cells. adaptation: whether their thresholds rise. crop: steps of a training trial, cut at random; 0 for all. unlabelled: whether steps
    without a label count as the first class, as in the publication, in loss and metric. valid: share of the training recordings that says when to stop. per: what the sum of the losses of
    all steps that count is divided by: "frame", their number, or "sequence", the number of recordings. The network answers `lag` steps late: the label of step k is
    compared with its output in step k + lag, which has heard the events up to step k.
    """

    name = "ecg"
    version = 1
    sources = (TRAIN, TEST)
    output = "output"
    readout = ("readout.w", "output.bias")
    settings = Settings(
        epochs=50, batch=64,
        backends=BACKENDS,
        rules={
            "bptt": {
                "trainable": ("*.w", "*.bias", *CONSTANTS), "learning_rate": 0.01,
                "learning_rates": {"layer0.tau_*": 0.03, "output.tau_*": 0.02},
            },
        },
    )  # fmt: skip

    def __init__(
        self, hidden: int = 36, adaptation: bool = True, crop: int = 400, unlabelled: bool = False, valid: float = 0.0,
        per: str = "frame",
    ) -> None:  # fmt: skip
        counts(hidden=hidden)
        check_share(valid)
        check_per(per)
        if crop and not 50 <= crop <= STEPS:
            raise OptionError(f"crop={crop}; give 50 to {STEPS} steps, or 0 for whole recordings")
        self.hidden, self.adaptation, self.crop = hidden, adaptation, crop
        self.unlabelled, self.valid, self.per = unlabelled, valid, per

    @property
    def layers(self) -> list[Layer]:
        """The recurrent layers: cells, adaptation and time constants, ms."""
        return [Layer(self.hidden, beta=1.8 if self.adaptation else 0.0, tau_m=(20.0, 0.0), tau_adp=(7.0, 0.0))]

    @property
    def lag(self) -> int:
        """Steps by which it answers late."""
        return lag(self.layers)

    def network(self, seed: int) -> Network:
        """Events -> recurrent adaptive cells -> an adaptive cell for each segment, whose potential is the answer."""
        return network(self.name, CHANNELS, self.layers, CLASSES, readout="adaptive", seed=seed)

    @property
    def sides(self) -> tuple[Array, Array]:
        """Indices of the training recordings to learn, and of those for validation."""
        return kept_back(np.arange(len(recordings(TRAIN)[0])), self.valid)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        spikes, labels = recordings(TRAIN)
        order, steps = rng.permutation(self.sides[0]), self.crop or STEPS
        for first in range(0, len(order), batch):
            chosen = order[first : first + batch]
            begin = rng.integers(0, STEPS - steps + 1, len(chosen))
            place = chosen[:, None], begin[:, None] + np.arange(steps)
            yield self._batch(spikes[place], labels[place])

    def valid_batch(self) -> Batch | None:
        chosen = self.sides[1]
        return self._batch(*(a[chosen] for a in recordings(TRAIN))) if len(chosen) else None

    def test_batch(self) -> Batch:
        return self._batch(*recordings(TEST))

    def _batch(self, spikes: Array, labels: Array) -> Batch:
        """Trials are as much longer as the answer is late."""
        late = self.lag
        longer = np.pad(spikes, [(0, 0), (0, late), (0, 0)])
        targets = np.pad(labels, [(0, 0), (late, 0)], constant_values=UNLABELLED)
        counted = np.broadcast_to(np.arange(targets.shape[1]) >= late + SETTLING, targets.shape)
        if not self.unlabelled:
            counted = counted & (targets != UNLABELLED)
        return Batch({"x": Events.of(longer)}, np.maximum(targets, 0), counted)

    def record(self) -> Sequence[str]:
        return (f"{self.output}.u",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        scores = traces[f"{self.output}.u"]
        targets, counted = (torch.as_tensor(a).to(scores.device) for a in (batch.targets, np.array(batch.mask)))
        if self.per == "frame":
            return torch.nn.functional.cross_entropy(scores[counted], targets[counted])
        return torch.nn.functional.cross_entropy(scores[counted], targets[counted], reduction="sum") / len(targets)

    def weight(self, batch: Batch) -> float:
        return float(number(np.asarray(batch.mask), len(batch.targets), self.per))

    def metric(self, recording: Recording, batch: Batch) -> float:
        right = recording.traces[f"{self.output}.u"].argmax(axis=2) == batch.targets
        return float(right[batch.mask].mean())

    def perfect(self, batch: Batch) -> Recording:
        return Recording(1e-3, traces={f"{self.output}.u": 100.0 * np.eye(CLASSES)[batch.targets]})

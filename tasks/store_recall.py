"""Store and recall: keep the bit that was shown with the last store command until it is asked for.

Source: Bellec et al. (2018), NeurIPS 31.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.events import Events
from neuro.language.units import quantity
from neuro.library.alif import alif
from neuro.library.leaky_integrator import leaky_integrator
from neuro.library.lif import lif
from neuro.library.pulse import pulse
from neuro.model import AllToAll, Input, Network, Normal, Population, Projection
from neuro.options import OptionError
from neuro.protocols import Batch, Recording, Settings
from tasks.synthetic import SyntheticTask

STEP = 1e-3
RATE, CHANNELS = 100.0, 10  # Hz while a group speaks; channels a group
VALUES, COMMANDS = 2, 2  # groups: bit 0, bit 1, store, recall
COMMAND = 0.3  # probability of a command in a slot
VOLTS = 100.0  # logits per volt


class StoreRecall(SyntheticTask):
    """`slots` slots of `slot` steps, each with a random bit; a store command in some, and a recall in some after it.

    Loss: cross entropy of the mean readout in recall slots. Metric: accuracy there.
    """

    name = "store-recall"
    version = 1
    output = "output"
    readout = ("lif_to_output.w", "alif_to_output.w")
    settings = Settings(
        epochs=20,
        batch=32,
        backends={"torch": {"dtype": "float32", "surrogate": "triangle"}},
        rules={"bptt": {"learning_rate": 0.02, "clip": 1.0}},
    )

    def __init__(self, slots: int = 8, slot: int = 50, cells: int = 40) -> None:
        if slots < 2 or slot < 1 or cells < 1:
            raise OptionError(f"slots={slots}, slot={slot}, cells={cells}: at least two slots, one step, one cell")
        self.slots, self.slot, self.cells = slots, slot, cells

    def network(self, seed: int) -> Network:
        """40 channels -> LIF and adaptive LIF cells, all to all -> two leaky readouts, current pulses, 1 ms."""
        adaptive = alif.with_parameters(tau_a=quantity(self.slots * self.slot, "ms"), beta=quantity("3 mV"))
        size = (VALUES + COMMANDS) * CHANNELS

        def weights(fan_in: int, scale: float) -> Normal:
            return Normal(quantity("0 nA"), quantity(scale / np.sqrt(fan_in), "nA"))

        hidden = ("lif", "alif")
        return Network(
            (
                Population("lif", lif.with_parameters(tau_m=quantity("20 ms")), self.cells),
                Population("alif", adaptive, self.cells),
                Population("output", leaky_integrator, 2),
            ),
            (
                *(Projection(f"x_to_{p}", "x", p, pulse, weights(size, 16.0)) for p in hidden),
                *(
                    Projection(f"{a}_to_{b}", a, b, pulse, weights(2 * self.cells, 8.0), AllToAll(a != b))
                    for a in hidden
                    for b in hidden
                ),
                *(Projection(f"{p}_to_output", p, "output", pulse, weights(2 * self.cells, 4.0)) for p in hidden),
            ),
            (Input("x", size),),
            dt=quantity("1 ms"),
            seed=seed,
            name=self.name,
        )

    def sample(self, rng: np.random.Generator, trials: int) -> Batch:
        bits = rng.integers(0, 2, (trials, self.slots))
        store, recall = self._commands(rng, trials)
        kept = _last(bits, store)
        active = np.stack([bits == 0, bits == 1, store, recall], axis=-1)
        active[..., :VALUES] &= ~recall[..., None]  # nothing to see while it is asked
        rates = np.repeat(np.repeat(active, CHANNELS, axis=2), self.slot, axis=1) * RATE * STEP
        spikes = rng.random(rates.shape) < rates
        return Batch({"x": Events.of(spikes)}, np.repeat(kept, self.slot, axis=1), np.repeat(recall, self.slot, axis=1))

    def _commands(self, rng: np.random.Generator, trials: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Slots with a store, slots with a recall: the first command is a store, and the last slot a recall."""
        store, recall = (np.zeros((trials, self.slots), bool) for _ in range(2))
        draws = rng.random((trials, self.slots))
        stored = np.zeros(trials, bool)
        for slot in range(self.slots):
            last = slot == self.slots - 1
            recall[:, slot] = stored & ((draws[:, slot] < COMMAND) | last)
            store[:, slot] = ~recall[:, slot] & ~np.bool_(last) & (draws[:, slot] > 1 - COMMAND)
            if slot == self.slots - 2:
                store[:, slot] |= ~stored & ~recall[:, slot]
            stored |= store[:, slot]
        return store, recall

    def record(self) -> Sequence[str]:
        return (f"{self.output}.v",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        logits = self._slots(traces[f"{self.output}.v"]) * VOLTS
        answers = batch.targets[:, :: self.slot], self._asked(batch)
        targets, asked = (torch.as_tensor(a).to(logits.device) for a in answers)
        return torch.nn.functional.cross_entropy(logits[asked], targets[asked])

    def weight(self, batch: Batch) -> float:
        """Slots that are asked for."""
        return float(np.count_nonzero(self._asked(batch)))

    def metric(self, recording: Recording, batch: Batch) -> float:
        answers = self._slots(recording.traces[f"{self.output}.v"]).argmax(axis=-1)
        asked = self._asked(batch)
        return float(np.mean(answers[asked] == batch.targets[:, :: self.slot][asked]))

    def _slots(self, voltage: Any) -> Any:
        """Mean readout of each slot [batch, slot, class]; arrays or tensors."""
        return voltage.reshape(voltage.shape[0], self.slots, self.slot, 2).mean(2)

    def _asked(self, batch: Batch) -> Any:
        return np.asarray(batch.mask)[:, :: self.slot]

    def perfect(self, batch: Batch) -> Recording:
        """The right readout is 1 V above the other."""
        return Recording(STEP, traces={f"{self.output}.v": np.eye(2)[batch.targets]})


def _last(bits: npt.NDArray[np.int64], store: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The bit of the last store so far [batch, slot]; 0 before the first."""
    kept = np.zeros_like(bits)
    for slot in range(bits.shape[1]):
        kept[:, slot] = np.where(store[:, slot], bits[:, slot], kept[:, slot - 1] if slot else 0)
    return kept

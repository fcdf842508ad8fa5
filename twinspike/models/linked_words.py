"""Isolated words by linked modules, as in Daphne: two modules are trained apart, each on half of the words, and linked to a third by a text.

Modules are recurrent rate units on mel bands. The text is a composition in TOML: its parts are the modules' runs, frozen, and the third's
definition. First the third learns all words on what the two send; then all of them learn together. Two controls have the same text with other
parts: modules that never learned, frozen, with a third that learns; and the whole that learns from the start.

Source: Frasconi, Gori & Soda (1993), Int J Mod Phys C 4:17 (a language of linked modules, aimed at speech). Sizes and data are ours: Free
Spoken Digit Dataset, its official split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import backends
from neuro import learning
from neuro.compiler.parameters import parameters
from neuro.io.results import Run, open_run
from neuro.io.serialisation import from_json, read_network, to_json
from neuro.learning.loop import measured, metrics_of, train
from neuro.model import Network
from neuro.options import OptionError
from tasks.arrays import Arrays, from_arrays
from tasks.spoken_digits import OFFICIAL, recordings
from twinspike.study import Study

Array = npt.NDArray[Any]

CHANNELS, EVERY, STEPS = 16, 2, 40  # mel bands; frames of 10 ms a step; steps, at most
HALVES = {"low": (0, 1, 2, 3, 4), "high": (5, 6, 7, 8, 9)}
APART, LINKED, TOGETHER = "modules apart", "linked, modules frozen", "then all together"
RANDOM, WHOLE = "random modules frozen (control)", "the whole from the start (control)"

MODULE = f"""
name = "module"
dt = "20 ms"
[neurons.linear]
equations = "x = z : 1\\nz : 1"
[neurons.unit]
equations = "dx/dt = (-x + tanh(z + bias))/tau : 1\\nz : 1"
parameters = {{ tau = "60 ms", bias = 0 }}
[synapses.sum]
equations = "w : 1"
transmits = "w*x_pre"
target = "z"
[populations]
bands = {{ neuron = "linear", size = {CHANNELS} }}
features = {{ neuron = "unit", size = 24, parameters = {{ bias = {{ type = "Normal", mean = 0, std = 0.1 }} }} }}
words = {{ neuron = "linear", size = 5 }}
[inputs.sound]
kind = "current"
size = {CHANNELS}
target = "bands.z"
[projections]
feed = {{ pre = "bands", post = "features", synapse = "sum", weights = {{ type = "Normal", mean = 0, std = 0.25 }} }}
loop = {{ pre = "features", post = "features", synapse = "sum", weights = {{ type = "Normal", mean = 0, std = 0.2 }} }}
readout = {{ pre = "features", post = "words", synapse = "sum", weights = {{ type = "Normal", mean = 0, std = 0.2 }} }}
"""
THIRD = """
name = "third"
dt = "20 ms"
[neurons.unit]
equations = "dx/dt = (-x + tanh(z + bias))/tau : 1\\nz : 1"
parameters = { tau = "60 ms", bias = 0 }
[neurons.linear]
equations = "x = z : 1\\nz : 1"
[synapses.sum]
equations = "w : 1"
transmits = "w*x_pre"
target = "z"
[populations]
units = { neuron = "unit", size = 16 }
words = { neuron = "linear", size = 10 }
[projections]
readout = { pre = "units", post = "words", synapse = "sum", weights = { type = "Normal", mean = 0, std = 0.25 } }
"""
LINK = """
name = "linked words"
[synapses.sum]
equations = "w : 1"
transmits = "w*x_pre"
target = "z"
[parts]
low = {{ {low}, ports = {{ sound = "sound", features = "features" }} }}
high = {{ {high}, ports = {{ sound = "sound", features = "features" }} }}
third = {{ file = "third.toml", ports = {{ units = "units", words = "words" }} }}
[projections]
from_low = {{ pre = "low.features", post = "third.units", synapse = "sum", weights = {{ type = "Normal", mean = 0, std = 0.2 }} }}
from_high = {{ pre = "high.features", post = "third.units", synapse = "sum", weights = {{ type = "Normal", mean = 0, std = 0.2 }} }}
"""
FREE = """
name = "all together"
parts.all = { run = "linked.h5", frozen = false }
"""


@dataclass(frozen=True)
class Sizes:
    """per_word: recordings of each word and speaker for training. epochs: of the modules apart, of the third on them, of all together."""

    per_word: int
    apart: int
    linked: int
    together: int


QUICK, FULL = Sizes(10, 8, 8, 4), Sizes(45, 15, 15, 8)
LEARNS = 0.5  # accuracy that ten words by chance never come near


@dataclass(frozen=True)
class Words:
    """x: [recording, step, band], mean 0 and deviation 1 of each band over training. mask: [recording, step]. y: the word."""

    x: Array
    mask: Array
    y: Array
    tested: Array

    @staticmethod
    def heard(per_word: int) -> Words:
        """Raises OptionError where the recordings are missing."""
        found = recordings(CHANNELS)
        chosen = np.flatnonzero(found.index < OFFICIAL + per_word)
        x, mask = np.zeros((len(chosen), STEPS, CHANNELS)), np.zeros((len(chosen), STEPS), bool)
        for row, k in enumerate(chosen):
            frames = found.features[k][: EVERY * STEPS : EVERY]
            x[row, : len(frames)], mask[row, : len(frames)] = frames, True
        tested = found.index[chosen] < OFFICIAL
        learned = x[~tested][mask[~tested]]
        x = np.where(mask[..., None], (x - learned.mean(axis=0)) / learned.std(axis=0), 0.0)
        return Words(x, mask, found.digit[chosen], tested)

    def task(self, network: Network, words: Sequence[int], output: str) -> Arrays:
        """Those words, numbered in this order, into all inputs of a network."""
        own, labels = np.isin(self.y, words), np.searchsorted(words, self.y)
        one, two = own & ~self.tested, own & self.tested
        x, x_test = ({i.name: self.x[side] for i in network.inputs} for side in (one, two))
        return from_arrays(
            x, labels[one], network, x_test=x_test, y_test=labels[two], mask=self.mask[one], mask_test=self.mask[two],
            output=output,
        )  # fmt: skip


def learned(path: Path, network: Network, task: Any, epochs: int, seed: int, update: Any = None) -> float:
    """Train as twinspike train does, into a run file; returns the test accuracy."""
    network = task.network(seed) if seed != network.seed else network
    program = backends.get("native").compile(network, dtype="float32")
    rule = learning.get("bptt", learning_rate=5e-3, trainable=("*.w", "*.bias"), clip=1.0)
    run = Run.create(
        path, model=to_json(network), semantics=program.semantics.to_data(), config={}, seed=seed, metrics=metrics_of(rule, task)
    )  # fmt: skip
    say = {} if update is None else {"update": update}
    found = train(task, program, rule, run, epochs=epochs, seed=seed, batch=32, **say)
    return measured(task, program, found, None)["test_accuracy"]


def linked(folder: Path, low: str, high: str, name: str) -> Network:
    """The composition of two parts, as its text says, and the third module."""
    (folder / "third.toml").write_text(THIRD, encoding="utf-8")
    (folder / name).write_text(LINK.format(low=low, high=high), encoding="utf-8")
    return read_network(folder / name)


def still(before: Network, path: Path, prefixes: Sequence[str]) -> bool:
    """Whether a run left all numbers of these parts as they were, to the last bit."""
    after, declared = open_run(path).parameters(), parameters(before)
    own = [n for n in declared if n.startswith(tuple(prefixes))]
    return bool(own) and all(np.array_equal(after[n], declared[n].value) for n in own)


def run_all(folder: Path, sizes: Sizes, seed: int, update: Any = None) -> dict[str, Any]:
    """Test accuracies by arm, and whether the frozen modules are what they were."""
    words, found = Words.heard(sizes.per_word), dict[str, Any]()
    (folder / "module.toml").write_text(MODULE, encoding="utf-8")
    every = (*HALVES["low"], *HALVES["high"])
    apart = {}
    for number, (half, own) in enumerate(HALVES.items()):
        module = read_network(folder / "module.toml")
        task = words.task(module, own, "words.x")
        apart[half] = learned(folder / f"{half}.h5", module, task, sizes.apart, seed + 1 + number, update)
    found[APART] = apart
    arms: Mapping[str, tuple[str, str]] = {
        LINKED: ("linked", 'run = "{half}.h5", frozen = true'),
        RANDOM: ("random", 'file = "module.toml", frozen = true'),
        WHOLE: ("whole", 'file = "module.toml"'),
    }
    for arm, (name, part) in arms.items():
        network = linked(folder, part.format(half="low"), part.format(half="high"), f"{name}.toml")
        task = words.task(network, every, "third_words.x")
        epochs = sizes.linked + (sizes.together + sizes.apart if arm == WHOLE else 0)
        found[arm] = learned(folder / f"{name}.h5", network, task, epochs, network.seed, update)
        if arm != WHOLE:
            found[f"{arm}: unchanged"] = still(network, folder / f"{name}.h5", ("low_", "high_"))
    (folder / "together.toml").write_text(FREE, encoding="utf-8")
    network = read_network(folder / "together.toml")
    task = words.task(network, every, "all_third_words.x")
    found[TOGETHER] = learned(folder / "together.h5", network, task, sizes.together, network.seed, update)
    found["moved together"] = not still(network, folder / "together.h5", ("all_low_features", "all_low_feed"))
    found["text"] = str(from_json(open_run(folder / "linked.h5").model))
    return found


def linked_words(study: Study) -> None:
    """D4: linked from a text, modules that were trained apart learn all words; what they learned is of use, and stays until it is freed."""
    from tempfile import TemporaryDirectory

    name, wanted = "D4 linked modules", f"accuracy above {LEARNS:g}, frozen modules unchanged to the bit"
    try:
        recordings(CHANNELS)
    except OptionError as error:
        study.unmeasured(name, wanted, str(error))
        return
    sizes, seeds = (QUICK, 1) if study.quick else (FULL, 3)
    found = []
    with study.progress(f"linked modules, {seeds} seeds") as update:
        for number in range(seeds):
            with TemporaryDirectory() as folder:
                found.append(run_all(Path(folder), sizes, study.seed + 10 * number))
            update(number + 1, seeds, "")
    arms = (LINKED, TOGETHER, RANDOM, WHOLE)
    means = {arm: float(np.mean([f[arm] for f in found])) for arm in arms}
    apart = {half: float(np.mean([f[APART][half] for f in found])) for half in HALVES}
    rows = [(f"{APART}: words {min(w)} to {max(w)}", apart[h], 1 / len(w)) for h, w in HALVES.items()]
    study.table(
        f"isolated words, accuracy on the test, mean of {seeds}", ("what learned", "accuracy", "chance"),
        [*rows, *((arm, means[arm], 0.1) for arm in arms)],
    )  # fmt: skip
    for arm in arms:
        study.array(f"linked words/{arm}", [f[arm] for f in found])
    unchanged = all(f[f"{arm}: unchanged"] for f in found for arm in (LINKED, RANDOM))
    moved = all(f["moved together"] for f in found)
    study.criterion(
        name,
        f"{means[LINKED]:.3f}, {'unchanged' if unchanged else 'CHANGED'}",
        wanted,
        means[LINKED] > LEARNS and unchanged,
    )
    study.criterion(
        "D4 freed modules learn on",
        f"{means[TOGETHER]:.3f}",
        "they move, and it gets no worse",
        moved and means[TOGETHER] >= means[LINKED],
    )
    study.criterion(
        "D4 what they learned is of use", f"{means[LINKED]:.3f} against {means[RANDOM]:.3f}", "more than random modules give",
        means[LINKED] > means[RANDOM], full=True,
    )  # fmt: skip

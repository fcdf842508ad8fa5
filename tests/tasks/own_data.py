"""Examples and networks as users bring them: a class each of two channels that fire, spiking and graded networks that answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuro import Input, Network, Neuron, Population, Projection, Synapse, library
from neuro.io.serialisation import to_json
from neuro.language.units import quantity

STEPS, CHANNELS = 20, 4
SERIES = "# a comment\n@problemName x\n@timeStamps false\n@classLabel true yes no maybe\n@data\n"


def spiking(size: int = 2) -> Network:
    """Spikes -> leaky cells."""
    cells = Population("out", library.get("lif"), size)
    link = Projection("link", "x", "out", library.get("pulse"), quantity(np.full((CHANNELS, size), 2.0), "nA"))
    return Network((cells,), (link,), (Input("x", CHANNELS),), dt="1 ms")


def graded(size: int = 2) -> Network:
    """Currents -> leaky sums."""
    cell = Neuron("leaky", "dy/dt = (z - y)/tau : 1\nz : 1", parameters={"tau": "5 ms"})
    given = Neuron("given", "I : 1\nv = I : 1")
    link = Synapse("link", "w : 1", transmits="w*v_pre", target="z")
    populations = (Population("given", given, CHANNELS), Population("out", cell, size))
    joined = Projection("link", "given", "out", link, np.full((CHANNELS, size), 0.1))
    return Network(populations, (joined,), (Input("x", CHANNELS, "current", "given.I"),), dt="1 ms")


def examples(number: int = 40, seed: int = 0) -> tuple[Any, Any]:
    """Spikes [example, time, channel] of the first two channels or the last two, and which."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, number)
    rate = np.where(np.arange(CHANNELS) // 2 == y[:, None], 0.5, 0.05)
    return random.random((number, STEPS, CHANNELS)) < rate[:, None], y


def files(folder: Path, network: Network | None = None, **arrays: Any) -> dict[str, str]:
    """A network's file and an npz of examples, as options of task "arrays"."""
    model, data = folder / "net.json", folder / "x.npz"
    model.write_text(to_json(network or spiking()))
    x, y = examples()
    np.savez(data, **(arrays or {"x": x, "y": y}))
    return {"network": str(model), "data": str(data)}


def series(folder: Path) -> dict[str, str]:
    """Two .ts files of two channels, three classes that stand in another order in the second, as options of task "time-series"."""
    random, names = np.random.default_rng(0), ["yes", "no", "maybe"]

    def lines(number: int) -> str:
        cases = [random.normal(k % 3, 0.3, (2, 4 + k % 5)) for k in range(number)]
        rows = [[",".join(map(str, row)) for row in case] for case in cases]
        return "\n".join(":".join([*channels, names[k % 3]]) for k, channels in enumerate(rows))

    train, test = folder / "train.ts", folder / "test.ts"
    train.write_text(SERIES + lines(36))
    test.write_text(SERIES.replace("yes no maybe", "maybe yes no") + lines(6))
    return {"train": str(train), "test": str(test)}


def spike_lists(path: Path, number: int = 7, change: Callable[[h5py.File], None] = lambda file: None) -> Path:
    """A file laid out as SHD's: recording k has 3 + k spikes, 1/64 s apart. change: made to it afterwards."""
    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        file["labels"] = np.arange(number, dtype=np.uint16) % 20
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            rows = file.create_dataset(f"spikes/{name}", (number,), h5py.vlen_dtype(kind))
            for k in range(number):
                event = np.arange(3 + k)
                rows[k] = event / 64 if name == "times" else event * 100 % 700
        change(file)
    return path


def crowded(file: h5py.File) -> None:
    """Makes 500 spikes within a second of each recording."""
    random = np.random.default_rng(0)
    for k in range(len(file["labels"])):
        file["spikes/times"][k], file["spikes/units"][k] = random.random(500), random.integers(0, 700, 500)


def tone(path: Path, rate: int, hertz: float, samples: int, seed: int) -> None:
    """A WAV file of a tone with some noise."""
    import wave

    sound = np.sin(2 * np.pi * hertz * np.arange(samples) / rate) + np.random.default_rng(seed).normal(0, 0.1, samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((8000 * sound).astype("<i2").tobytes())


def words(folder: Path, number: int = 12) -> dict[str, Any]:
    """Recordings of two words, tones of two frequencies and lengths, as options of task "speech-commands": a sixth each for validation and test."""
    (folder / "_background_noise_").mkdir(parents=True)
    named = [
        (f"{word}/{take:02d}.wav", 400 + 1200 * k, take)
        for k, word in enumerate(("down", "up"))
        for take in range(number)
    ]
    for name, hertz, take in named:
        tone(folder / name, 16000, hertz, 3000 + 200 * take, take)
    for k, name in enumerate(("validation_list.txt", "testing_list.txt")):
        (folder / name).write_text("\n".join(n for n, _, _ in named[k::6]) + "\n")
    return {"folder": str(folder), "words": ["up", "down"], "counted": False}


def ti46(folder: Path) -> dict[str, Any]:
    """Recordings of two of TI46's words by one speaker, five takes for training and four for the test, and one of another word."""
    for k, word in enumerate(("00", "0A")):
        for take in range(5):
            tone(folder / "train" / f"{word}f1set{take}.wav", 12500, 400 + 1200 * k, 3000 + 100 * take, take)
        for take in range(4):
            tone(folder / "test" / "F1" / f"{word}F1S{take + 1}T0.WAV", 12500, 400 + 1200 * k, 3000 + 100 * take, take)
    tone(folder / "train" / "gof1set0.wav", 12500, 100, 3000, 0)
    return {"folder": str(folder), "words": ["00", "0a"]}

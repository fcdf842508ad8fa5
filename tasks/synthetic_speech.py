"""Letters and digits as a speech synthesiser says them, heard by a model of the cochlea and written as spikes.

espeak-ng (GPL-3 program; what it says is free) with 13 of its voices, each at three pitches and speeds; Lyon's passive ear at 12.5 kHz in frames of 16 ms, 78 channels; Ben's
spiker algorithm on ten steps a frame. What was heard once is kept in a cache. Synthetic voices are variants of one synthesiser: how networks differ
carries over to people's voices, how well they do doesn't.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from neuro.encoders import bsa
from neuro.io.files import cache_folder, replaced
from neuro.io.npz import NpzError, read_npz
from neuro.options import OptionError
from neuro.protocols import Array

WORDS = {
    "letters": tuple(f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz"),  # with a full stop a letter is said by its name
    "digits": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
}  # fmt: skip
VOICES = (*(f"m{k}" for k in range(1, 9)), *(f"f{k}" for k in range(1, 6)))
MANNERS = ((35, 140), (50, 160), (65, 180))  # pitch, of 0 to 99, and words a minute
RATE, DECIMATION, CHANNELS = 12500, 200, 78  # Hz, samples of a frame, of the cochlea
REPEATS, AMPLITUDE = 10, 2000.0  # steps of a frame, factor of what BSA is given
QUIET = 0.01  # of the largest sample that can be: what is cut off at both ends
LARGEST = 2**28  # bytes of the arrays
INSTALL = "install espeak-ng (apt-get install espeak-ng)"


@dataclass(frozen=True)
class Utterances:
    """spikes: one boolean [step, channel] each, steps of 1.6 ms. word: index in WORDS. voice: index in VOICES."""

    spikes: tuple[Array, ...]
    word: Array
    voice: Array


@cache
def utterances(words: str) -> Utterances:
    """All of them, voice by voice. words: "letters" or "digits". Raises OptionError where the synthesiser or the cochlea is missing."""
    version = _synthesiser()
    path = _kept_at(words, version)
    try:
        found = read_npz(path, LARGEST)
        return _unpacked(**found)
    except (OSError, NpzError, TypeError, ValueError):  # not heard yet, or not by this version
        pass
    heard = [
        (spikes(said(word, voice, pitch, speed)), k, v)
        for v, voice in enumerate(VOICES)
        for pitch, speed in MANNERS
        for k, word in enumerate(WORDS[words])
    ]
    packed = {
        "bits": np.packbits(np.concatenate([s for s, _, _ in heard]), axis=1),
        "steps": np.array([len(s) for s, _, _ in heard]),
        "word": np.array([k for _, k, _ in heard]),
        "voice": np.array([v for _, _, v in heard]),
    }
    _keep(path, packed)
    return _unpacked(**packed)


def spikes(sound: Array) -> Array:
    """What the cochlea sends of a sound [sample] of 12.5 kHz within -1 and 1: boolean [step, channel]. Raises OptionError without the package lyon."""
    try:
        from lyon.calc import LyonCalc
    except ImportError:
        raise OptionError("the cochlea needs lyon; install the extra: twinspike[speech]") from None
    frames = LyonCalc().lyon_passive_ear(np.ascontiguousarray(sound, np.float64), RATE, DECIMATION)
    heard: Array = np.asarray(bsa(np.repeat(frames * AMPLITUDE, REPEATS, axis=0)[None]))
    return np.asarray(heard[0])


def said(word: str, voice: str, pitch: int, speed: int) -> Array:
    """A word by one of espeak-ng's American voices: samples at 12.5 kHz within -1 and 1, without the silence at both ends. Raises OptionError."""
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        _run(["-v", f"en-us+{voice}", "-p", str(pitch), "-s", str(speed), "-w", str(path), word])
        rate, samples = wavfile.read(path)
    common = np.gcd(rate, RATE)
    sound = np.clip(resample_poly(samples / 32768, RATE // common, rate // common), -1, 1)
    loud = np.flatnonzero(np.abs(sound) > QUIET)
    return np.asarray(sound[loud[0] : loud[-1] + 1])


def _synthesiser() -> str:
    """What it calls itself, its version with it."""
    return _run(["--version"]).partition("Data at")[0].strip()


def _run(arguments: Sequence[str]) -> str:
    program = shutil.which("espeak-ng")
    if program is None:
        raise OptionError(f"there is no program 'espeak-ng', which says the words; {INSTALL}")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OptionError(f"'espeak-ng {' '.join(arguments)}' fails: {done.stderr.strip()}; {INSTALL} again")
    return done.stdout


def _kept_at(words: str, version: str) -> Path:
    """Named by all that it depends on."""
    made_of = [WORDS[words], VOICES, MANNERS, version, RATE, DECIMATION, REPEATS, AMPLITUDE, QUIET]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    return cache_folder("speech") / f"{words}-{key}.npz"


def _keep(path: Path, arrays: dict[str, Array]) -> None:
    """Where there is no place for it, it is heard anew the next time."""

    def write(side: Path) -> None:
        with side.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replaced(path, write)
    except OSError:
        pass


def _unpacked(bits: Array, steps: Array, word: Array, voice: Array) -> Utterances:
    """Raises ValueError where the arrays don't fit together."""
    every = np.unpackbits(bits, axis=1, count=CHANNELS).astype(bool)
    if steps.sum() != len(every) or not len(steps) == len(word) == len(voice):
        raise ValueError("steps don't add up")
    return Utterances(tuple(np.split(every, np.cumsum(steps)[:-1])), word, voice)

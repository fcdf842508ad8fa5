"""Folders of recordings, a word a folder: plain WAV files of 16 bits, one channel."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuro.options import OptionError, hint
from neuro.protocols import Array

LONGEST = 2**24  # bytes of a list, and of a recording


@dataclass(frozen=True)
class WavFolder:
    """folder: of the words' folders. words: their names, those with a leading underscore left out. files: as word/name.wav, in the alphabet's order."""

    folder: Path
    words: tuple[str, ...]
    files: tuple[str, ...]

    @staticmethod
    def of(folder: Path) -> WavFolder:
        """What is there. Raises OptionError where there is nothing."""
        words = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(("_", ".")))
        files = [f"{word}/{p.name}" for word in words for p in sorted((folder / word).glob("*.wav"))]
        if not files:
            raise OptionError(f"'{folder}' has no folders of .wav files, one for each word")
        return WavFolder(folder, tuple(words), tuple(files))

    def only(self, words: Sequence[str]) -> WavFolder:
        """Some words, in that order. Raises OptionError."""
        for word in words:
            if word not in self.words:
                raise OptionError(f"words: there is no '{word}' in '{self.folder}'; {hint(word, self.words)}")
        return WavFolder(self.folder, tuple(words), tuple(f for f in self.files if f.partition("/")[0] in words))

    @property
    def labels(self) -> Array:
        """Places in words, int64 [file]."""
        return np.array([self.words.index(f.partition("/")[0]) for f in self.files], np.int64)

    def listed(self, name: str) -> Array:
        """bool [file]: those that a list, a file of word/name.wav a line, names. Raises OptionError."""
        path = self.folder / name
        if not path.is_file() or path.stat().st_size > LONGEST:
            raise OptionError(
                f"there is no file '{path}' of at most {LONGEST >> 20} MB, a line word/name.wav for each recording"
            )
        lines = {line.strip() for line in path.read_text("utf-8", "replace").splitlines()} - {""}
        return np.array([f in lines for f in self.files])

    def wave(self, file: str, rate: int) -> Array:
        """int16 [sample] of a file. Raises OptionError."""
        return read_wav(within(self.folder, self.folder / file), rate)


def within(folder: Path, path: Path) -> Path:
    """A path that no link leads out of the folder. Raises OptionError."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise OptionError(f"'{path}' is a link out of its folder")
    return path


def read_wav(path: Path, rate: int) -> Array:
    """int16 [sample]. rate: Hz that it must have. Raises OptionError."""
    size = path.stat().st_size if path.is_file() else 0
    try:
        with path.open("rb") as file, wave.open(file) as sound:
            form, frames = (sound.getnchannels(), 8 * sound.getsampwidth(), sound.getframerate()), sound.getnframes()
            if form != (1, 16, rate):
                raise OptionError(
                    f"'{path}' has {form[0]} channels of {form[1]} bits at {form[2]} Hz; one of 16 bits at {rate} Hz is read"
                )
            if 2 * frames > min(size, LONGEST):
                raise OptionError(f"'{path}' declares {2 * frames} bytes of sound in {size}")
            content = sound.readframes(frames)
    except (wave.Error, EOFError, OSError) as error:
        raise OptionError(f"'{path}' is no readable WAV file: {error or 'it ends early'}") from None
    return np.frombuffer(content, "<i2").astype(np.int16)

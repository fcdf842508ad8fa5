"""The list of recordings: what is here, what isn't, what is another file; for each what isn't here the way to it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import tasks
from tasks.ecg import TEST, TRAIN
from tasks.files import FOLDER, File
from twinspike import data


def test_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr("tasks.files._folder", lambda place: None)
    (tmp_path / TRAIN.name).write_bytes(b"another")
    right = File("own.bin", "mine", "nowhere", "mine alone", hashlib.sha256(b"own").hexdigest())
    (tmp_path / "own.bin").write_bytes(b"own")
    known = tasks.sources()
    monkeypatch.setattr(tasks, "sources", lambda: {**known, right: ["mine"]})
    data.main()
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert f"{TRAIN.name}: wrong checksum; get it: {TRAIN.source}" in lines
    assert f"{TEST.name}: missing; get it: {TEST.source}" in lines
    assert str(tmp_path / "own.bin") in lines and "own.bin: " not in printed
    for file in known:
        assert any(file.source in line and file.name in line for line in lines), file.name
        assert file.licence and file.what


def test_every_task_says_what_it_is_on() -> None:
    """A file is named once, with all tasks that read it."""
    known = tasks.sources()
    names = [file.name for file in known]
    assert len(set(names)) == len(names)
    assert {name for users in known.values() for name in users} >= {
        "speech-commands", "ecg", "spoken-digits", "spoken-spikes", "sequential-digits", "images", "time-series",
    }  # fmt: skip
    assert known[next(f for f in known if f.name == "fsdd.npz")] == ["spoken-digits", "spoken-spikes"]


def test_where_files_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder comes first, then what packages bring; a Python package isn't imported for it."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "own"))
    package = tmp_path / "brought"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError")
    (package / "data" / "x.bin").write_bytes(b"1")
    monkeypatch.syspath_prepend(str(tmp_path))
    brought = File(
        "set/x.bin", "x", "pip install brought", "mine", installed=("brought/data", str(tmp_path / "debian"))
    )
    assert brought.found() == package / "data" / "x.bin" and brought.state == "found"
    (package / "data" / "x.bin").unlink()
    assert brought.state == "missing" and brought.path == tmp_path / "own" / "set" / "x.bin"
    for folder in (tmp_path / "debian", tmp_path / "own" / "set"):
        folder.mkdir(parents=True)
        (folder / "x.bin").write_bytes(b"2")
        assert brought.found() == folder / "x.bin"

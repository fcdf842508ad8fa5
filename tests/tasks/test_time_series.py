"""Time series of .ts files: what is read, what of a broken file is named, and the archive's own files where a package brings them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import backends
import tasks
from neuro.options import OptionError
from tasks import ts_files
from tasks.files import FOLDER
from tasks.ts_files import read_ts
from tests.tasks.own_data import SERIES as HEAD
from tests.tasks.own_data import series
from tests.tasks.recordings import needs

CASES = "1,2,3:4,5,6:yes\n\n-1e-2,0:0.5,7:no\n"


def written(folder: Path, text: str | bytes, name: str = "x.ts") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_cases(tmp_path: Path) -> None:
    """Unequal lengths, two channels, any line ends, a mark at the beginning."""
    for text in (HEAD + CASES, (HEAD + CASES).replace("\n", "\r\n"), "\ufeff" + HEAD + CASES):
        found = read_ts(written(tmp_path, text))
        assert found.classes == ("yes", "no", "maybe") and found.labels == [0, 1] and found.channels == 2
        np.testing.assert_array_equal(found.series[0], [[1, 4], [2, 5], [3, 6]])
        np.testing.assert_array_equal(found.series[1], [[-0.01, 0.5], [0, 7]])


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 0, "ends before a case"),
        (HEAD, 5, "ends before a case"),
        (HEAD.replace("@data\n", "") + CASES, 7, "ends before a case"),
        (HEAD + "1,2:what\n", 6, "'what' is none that"),
        (HEAD + CASES + "1,2,3\n", 9, "is none that"),
        (HEAD + "yes\n", 6, "no values"),
        (HEAD + "1,?,3:yes\n", 6, "no number"),
        (HEAD + "1,,3:yes\n", 6, "no number"),
        (HEAD + ":yes\n", 6, "no number"),
        (HEAD + "1,nan:yes\n", 6, "finite"),
        (HEAD + "1,1e999:yes\n", 6, "finite"),
        (HEAD + "1,2:3:yes\n", 6, "2, 1 values"),
        (HEAD + CASES + "1,2:yes\n", 9, "1 channels, and the first case has 2"),
        (HEAD.replace("true yes no maybe", "false") + CASES, 4, "only cases with a class"),
        (HEAD.replace("@classLabel", "@targetLabel") + CASES, 4, "only cases with a class"),
        (HEAD.replace("Stamps false", "Stamps true") + CASES, 3, "without time stamps"),
        (HEAD.replace("@classLabel true yes no maybe\n", "") + CASES, 4, "no line '@classLabel"),
        (HEAD.encode() + b"1,\xff:yes\n", 6, "no text in UTF-8"),
        (HEAD + "1," * 60 + "1:yes\n", 6, "it has more than"),
    ],
)
def test_broken_files_are_named_with_the_line(
    text: str | bytes, line: int, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ts_files, "LONGEST", 100)
    path = written(tmp_path, text)
    with pytest.raises(OptionError, match=rf"x\.ts', line {line}: .*{what}".replace("?", r"\?")):
        read_ts(path)


def test_what_is_no_file_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, what in ((tmp_path, "no plain file"), (tmp_path / "none.ts", "No such file")):
        with pytest.raises(OptionError, match=what):
            read_ts(path)
    monkeypatch.setattr(ts_files, "LARGEST", 10)
    with pytest.raises(OptionError, match="more than"):
        read_ts(written(tmp_path, HEAD + CASES))


def test_own_files_as_a_task(tmp_path: Path) -> None:
    """Series are scaled by the training's, filled up, and read until they end; labels are the first file's."""
    task = tasks.get("time-series", hidden=(8, 6), valid=0.25, **series(tmp_path))
    assert [len(s) for s in task.sides] == [27, 9, 6] and task.classes == 3 and task.steps == 8 and task.lag == 2
    batch = task.test_batch()
    assert batch.targets.tolist() == [0, 1, 2, 0, 1, 2] and batch.inputs["x"].shape == (6, 10, 2)
    assert batch.mask.sum(axis=1).tolist() == [4, 5, 6, 7, 8, 4] and not batch.mask[:, :2].any()
    every = np.concatenate([task.data.sequences[k] for k in task.sides[0]])
    mean, deviation = every.mean(axis=0), every.std(axis=0)
    np.testing.assert_allclose(batch.inputs["x"][1, :5], (task.data.sequences[37] - mean) / deviation)
    assert not batch.inputs["x"][1, 5:].any()
    cut = tasks.get("time-series", steps=5, **series(tmp_path)).test_batch()
    assert cut.inputs["x"].shape == (6, 6, 2) and cut.mask.sum(axis=1).tolist() == [4, 5, 5, 5, 5, 4]


def test_what_comes_after_a_series_does_not_matter(tmp_path: Path) -> None:
    task = tasks.get("time-series", hidden=(12,), **series(tmp_path))
    batch, program = task.test_batch(), backends.get("native").compile(task.network(0))
    x, ended = batch.inputs["x"], ~np.roll(batch.mask, -task.lag, axis=1)
    found = [
        program.run(None, {"x": np.where(ended[..., None], e, x)}, task.record()).traces["output.m"] for e in (0, 5)
    ]
    assert (found[0] != found[1]).any()
    np.testing.assert_array_equal(found[0][batch.mask], found[1][batch.mask])


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    files = series(tmp_path)
    channels = written(tmp_path, HEAD + "1,2:yes\n", "one.ts")
    fewer = written(tmp_path, HEAD.replace(" maybe", "") + CASES, "fewer.ts")
    for wrong, what in (
        ({"data": "Vowels"}, "data"), ({"test": ""}, "belong together"), ({"hidden": ()}, "hidden"), ({"valid": 1.0}, "valid"), ({"steps": -1}, "steps"),
        ({"test": str(channels)}, "1 channels"), ({"test": str(fewer)}, "classes yes, no"), ({"train": str(tmp_path / "none.ts")}, "No such file"),
    ):  # fmt: skip
        with pytest.raises(tasks.UnknownTaskError, match=what):
            tasks.get("time-series", **{**files, **wrong})


def test_a_missing_package_is_said_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setattr("tasks.files.find_spec", lambda package: None)
    with pytest.raises(tasks.UnknownTaskError, match=r"no file .*PLAID_TRAIN.ts.*pip install --no-deps sktime==1.2.0"):
        tasks.get("time-series", data="PLAID")
    written(tmp_path, HEAD + CASES, "PLAID_TRAIN.ts")
    with pytest.raises(tasks.UnknownTaskError, match="is not the train cases of PLAID"):
        tasks.get("time-series", data="PLAID")


def test_japanese_vowels() -> None:
    needs("time-series")
    task = tasks.get("time-series")
    lengths = [len(s) for s in task.data.sequences]
    assert [len(task.data.train), len(task.data.test)] == [270, 370] and lengths[:5] == [20, 26, 22, 20, 21]
    assert task.channels == 12 and task.classes == 9 and (min(lengths), max(lengths)) == (7, 29)
    assert np.bincount(task.data.labels[:270]).tolist() == [30] * 9 and task.network(0).inputs[0].size == 12


def test_plaid() -> None:
    needs("time-series", data="PLAID")
    task = tasks.get("time-series", data="PLAID")
    lengths = [len(s) for s in task.data.sequences]
    assert [len(task.data.train), len(task.data.test)] == [537, 537]
    assert (min(lengths), max(lengths)) == (100, 1344) and task.channels == 1 and task.classes == 11
    assert len(np.unique(task.data.labels)) == 11

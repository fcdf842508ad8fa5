"""A user's own network, examples and task code, from training to export; a run file makes nobody import code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neuro.io.results import open_run
from tests.scripts.test_mistakes import called
from tests.tasks.own_data import examples, files, graded

CODE = """
from tasks.digits import Digits

print("imported")

class Mine(Digits):
    name = "mine"

    def __init__(self, hidden: int = 4) -> None:
        super().__init__(hidden=hidden, steps=4)
"""


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *arguments: called(capsys, monkeypatch, *arguments)


def test_from_files_to_an_export(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given as relative paths; every script finds the data again from another folder."""
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run.h5"
    code, out, error = call("train", "--network", "net.json", "--data", "x.npz", "--epochs", 2, "--out", run)
    assert code == 0 and "test accuracy" in out, error
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for arguments in (
        ("compare_backends", run, "--backends", "native,reference"), ("quantise", run, "--to", "linear8"),
        ("export_weights", run, "--target", "nir", "--out", "out", "--force"),
    ):  # fmt: skip
        code, out, error = call(*arguments)
        assert code == 0, error
    code, _, error = call(
        "train", "--resume", "--out", run, "--network", tmp_path / "net.json", "--data", tmp_path / "x.npz"
    )
    assert code == 2 and "complete" in error
    x, y = examples(seed=1)
    np.savez(tmp_path / "x.npz", x=x, y=y)
    code, _, error = call("quantise", run)
    assert code == 0 and "it learned version" in error  # other data
    (tmp_path / "x.npz").unlink()
    code, _, error = call("quantise", run)
    assert code == 2 and "x.npz can't be read" in error


def test_more_epochs_of_a_complete_run(tmp_path: Path, call: Any) -> None:
    options = files(tmp_path)
    ours = ("--network", options["network"], "--data", options["data"], "--backend", "torch")
    for name, epochs in (("run", 1), ("whole", 3)):
        assert call("train", *ours, "--epochs", epochs, "--out", tmp_path / f"{name}.h5")[0] == 0
    run = tmp_path / "run.h5"
    assert call("quantise", run, "--to", "linear8")[0] == 0
    code, _, error = call("train", "--resume", "--out", run, "--epochs", 1)
    assert code == 2 and "is complete" in error
    code, _, error = call("train", "--resume", "--out", run, "--epochs", 3)
    assert code == 0 and "what was measured of" in error and "post_training" in error, error
    a, b = open_run(run), open_run(tmp_path / "whole.h5")
    assert a.config["epochs"] == 3
    np.testing.assert_array_equal(a.metrics()["loss"], b.metrics()["loss"])
    np.testing.assert_array_equal(a.parameters()["link.w"], b.parameters()["link.w"])


def test_patience(tmp_path: Path, call: Any) -> None:
    options, config = files(tmp_path), tmp_path / "c.toml"
    ours = (
        "--network",
        options["network"],
        "--data",
        options["data"],
        "--epochs",
        50,
        "--patience",
        3,
        "--backend",
        "torch",
    )
    code, _, error = call("train", *ours, "--out", tmp_path / "none.h5")
    assert code == 2 and "task 'arrays' keeps none" in error
    config.write_text("[task_options]\nvalid = 0.3\n[rule_options]\nlearning_rate = 0.2\n")
    code, out, error = call("train", *ours, "--config", config, "--out", tmp_path / "run.h5")
    assert code == 0 and "by validation" in out, error
    valid = open_run(tmp_path / "run.h5").metrics()["valid_accuracy"][:, 1]
    assert 3 < len(valid) < 50 and valid.argmax() == len(valid) - 4
    code, _, error = call("train", *ours, "--config", config, "--quantise", "linear4", "--out", tmp_path / "none.h5")
    assert code == 2 and "leave one of them out" in error


def test_a_schedule_over_all_epochs_is_not_made_longer(tmp_path: Path, call: Any) -> None:
    options, config = files(tmp_path), tmp_path / "c.toml"
    config.write_text('[rule_options]\nscheduler = "cosine"\n')
    ours = ("--network", options["network"], "--data", options["data"], "--config", config)
    assert call("train", *ours, "--epochs", 1, "--out", tmp_path / "run.h5")[0] == 0
    before = (tmp_path / "run.h5").read_bytes()
    code, _, error = call("train", "--resume", "--out", tmp_path / "run.h5", "--epochs", 2)
    assert code == 2 and "falls to 0 over its 1 epochs" in error
    assert (tmp_path / "run.h5").read_bytes() == before


def test_a_variable_that_answers(tmp_path: Path, call: Any) -> None:
    x, y = examples()
    options = files(tmp_path, graded(), x=x.astype(float), y=y)
    ours = ("--network", options["network"], "--data", options["data"])
    code, _, error = call("train", *ours, "--out", tmp_path / "run.h5")
    assert code == 2 and "name a variable: out.y" in error
    code, _, error = call("train", *ours, "--answer", "out.y", "--epochs", 1, "--out", tmp_path / "run.h5")
    assert code == 0, error
    assert open_run(tmp_path / "run.h5").config["task_options"]["output"] == "out.y"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("--network", "net.json"), "belong together"),
        (("--data", "x.npz"), "belong together"),
        (("--answer", "out"), "belong together"),
        (("--network", "net.json", "--data", "x.npz", "--task", "digits"), "leave --task digits out"),
        (("--network", "net.json", "--data", "y.npz"), "there is no file"),
        (("--task", "nobody:Mine"), "no module 'nobody'"),
        (("--task", "mine:Mime"), "did you mean 'Mine'"),
        (("--task", "mine:"), "names no module and class"),
        (("--task", ":Mine"), "names no module and class"),
        (("--task", ".mine:Mine"), "names no module and class"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together(
    arguments: tuple[str, ...], wrong: str, tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    code, _, error = call("train", *arguments, "--out", "run.h5")
    assert code == 2 and wrong in error
    assert not (tmp_path / "run.h5").exists()


def test_a_task_of_one_s_own_code(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_task.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    code, out, error = call("train", "--task", "own_task:Mine", "--epochs", 1, "--batch", 1000, "--out", "run.h5")
    assert code == 0 and "imported" in out, error
    for script, *more in (
        ("quantise",),
        ("compare_backends", "--backends", "native,reference"),
        ("export_weights", "--force"),
    ):
        code, out, error = call(script, "run.h5", *more)
        assert code == 2 and "if it is yours, give --task own_task:Mine" in error
        code, out, error = call(script, "run.h5", *more, "--task", "own_task:Mine")
        assert code == 0, error


def test_a_run_file_makes_nobody_import_code(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to replay nor to continue, nor does a file of settings."""
    (tmp_path / "never_imported.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    code, _, error = call("train", "--epochs", 1, "--batch", 1000, "--out", "run.h5")
    assert code == 0, error
    with h5py.File("run.h5", "r+") as file:
        config = file["config"][()].decode().replace('"digits"', '"never_imported:Task"')
        del file["config"]
        file["config"] = config
    for arguments in (
        ("quantise", "run.h5"),
        ("compare_backends", "run.h5"),
        ("lyapunov", "run.h5"),
        ("audit_gradients", "run.h5"),
    ):
        code, _, error = call(*arguments)
        assert code == 2 and "never_imported:Task', code that no file may ask for" in error
    (tmp_path / "settings.toml").write_text('task = "never_imported:Task"\n')
    code, _, error = call("train", "--config", "settings.toml", "--out", "other.h5")
    assert code == 2 and "code that no file may ask for" in error


def test_curves_of_a_run(tmp_path: Path, call: Any) -> None:
    options, run = files(tmp_path), tmp_path / "run.h5"
    ours = ("--network", options["network"], "--data", options["data"], "--epochs", 2, "--backend", "torch")
    assert call("train", *ours, "--out", run)[0] == 0
    code, _, error = call("inspect_run", run, "--summary", "--plot", tmp_path / "curves.png")
    assert code == 0 and (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG"), error
    before = run.read_bytes()
    code, _, error = call("inspect_run", run, "--plot", run)
    assert code == 2 and "is the run itself" in error and run.read_bytes() == before

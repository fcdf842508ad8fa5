"""A run that is asked to go on as something else stays as it is, to the last byte; what only lies elsewhere is found there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro.io.results import checkpoint_path, open_run
from neuro.io.serialisation import to_json
from tests.scripts.test_mistakes import called
from tests.tasks.own_data import examples, files, spiking


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda *arguments: called(capsys, monkeypatch, *arguments)


def trained(folder: Path, call: Any, epochs: int, name: str = "run") -> Path:
    """A complete run of own data in this folder."""
    options, out = files(folder), folder / f"{name}.h5"
    ours = ("--network", options["network"], "--data", options["data"], "--backend", "torch")
    code, _, error = call("train", *ours, "--epochs", epochs, "--out", out)
    assert code == 0, error
    return out


def other_data(folder: Path) -> None:
    x, y = examples(seed=1)
    np.savez(folder / "x.npz", x=x, y=y)


def other_network(folder: Path, size: int = 2) -> None:
    text = to_json(spiking(size))
    (folder / "net.json").write_text(text.replace("-50", "-52"))


WRONG: dict[str, tuple[tuple[Any, ...], Callable[[Path], Any], str]] = {
    "another seed": (("--seed", 3), lambda folder: None, "has seed 0, not 3"),
    "the readout alone": (("--control",), lambda folder: None, "leave rule_options out"),
    "a config that is missing": (("--config", "none.toml"), lambda folder: None, "there is no file 'none.toml'"),
    "data that are gone": ((), lambda folder: (folder / "x.npz").unlink(), "x.npz can't be read"),
    "other data": ((), other_data, "it learned version"),
    "a network that is gone": ((), lambda folder: (folder / "net.json").unlink(), "net.json can't be read"),
    "another threshold": ((), other_network, "has trained another network than task 'arrays' makes now"),
    "another size": ((), lambda folder: other_network(folder, 3), "has trained another network"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_complete_run_that_is_not_continued_stays_as_it_is(what: str, tmp_path: Path, call: Any) -> None:
    arguments, change, wrong = WRONG[what]
    run = trained(tmp_path, call, 1)
    before = run.read_bytes()
    change(tmp_path)
    code, _, error = call("train", "--resume", "--out", run, "--epochs", 2, *arguments)
    assert code == 2 and wrong in error
    assert run.read_bytes() == before and not checkpoint_path(run).exists()


def test_files_that_were_moved_are_named_again(tmp_path: Path, call: Any) -> None:
    whole, run = trained(tmp_path, call, 2, "whole"), trained(tmp_path, call, 1)
    moved = ("--network", tmp_path / "n.json", "--data", tmp_path / "d.npz")
    (tmp_path / "net.json").rename(moved[1])
    (tmp_path / "x.npz").rename(moved[3])
    code, _, error = call("train", "--resume", "--out", run, *moved)
    assert code == 2 and "is complete; there is nothing to resume" in error
    code, _, error = call("train", "--resume", "--out", run, "--epochs", 2, *moved, "--answer", "out.v")
    assert code == 2 and "has task_options" in error
    code, _, error = call("train", "--resume", "--out", run, "--epochs", 2, *moved)
    assert code == 0, error
    a, b = open_run(run), open_run(whole)
    assert a.config["task_options"] == {"network": str(moved[1]), "data": str(moved[3])}
    np.testing.assert_array_equal(a.parameters()["link.w"], b.parameters()["link.w"])
    code, _, error = call("quantise", run, "--to", "linear8")
    assert code == 0 and "version" not in error

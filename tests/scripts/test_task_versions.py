"""A task's version and readout, as the scripts read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuro.io.results import open_run
from tasks.digits import Digits
from tests.scripts.test_mistakes import called
from twinspike import cli
from twinspike.continuing import same_version


def test_another_version_is_no_continuation_and_no_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = tmp_path / "run.h5", tmp_path / "config.toml"
    config.write_text("batch = 1000\nepochs = 1\n[task_options]\nhidden = 4\nsteps = 4\n")
    code, _, error = called(capsys, monkeypatch, "train", "--backend", "torch", "--config", config, "--out", run)
    assert code == 0, error
    assert open_run(run).config["task_version"] == Digits.version == 1
    code, _, error = called(capsys, monkeypatch, "quantise", run, "--to", "ternary")
    assert code == 0 and "version" not in error
    monkeypatch.setattr(Digits, "version", 2)
    with pytest.raises(
        cli.UserError, match="it learned version 1 of task 'digits', this is version 2; start another run"
    ):
        same_version(open_run(run).config, Digits())
    code, _, error = called(capsys, monkeypatch, "quantise", run, "--to", "ternary")
    assert code == 0 and f"note: run '{run}': it learned version 1 of task 'digits', this is version 2" in error


def test_a_readout_that_the_network_does_not_have_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Digits, "readout", ("hidden_to_ouput.w",))
    code, _, error = called(capsys, monkeypatch, "train", "--control", "--out", tmp_path / "run.h5")
    assert code == 2 and "no parameter 'hidden_to_ouput.w'; did you mean 'hidden_to_output.w'" in error

"""Exponents of a run from the command line, and flossing as a phase before learning that a stopped run goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro.io.results import Run, open_run
from twinspike import lyapunov as script
from twinspike import train

CONFIG = """
task = "match-to-sample"
rule = "eprop"
backend = "native"
epochs = 1
threads = 1
batch = 4
floss = 14
[task_options]
hidden = 6
[floss_options]
form = "local"
exponents = 2
"""
STOPS = {
    "before the first checkpoint of learning": ("flossing_loss", 5),
    "while flossing": ("flossing_loss", 12),
    "while learning": ("loss", 12),
}


class Stopped(Exception):
    pass


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("stop", STOPS)
def test_a_stopped_run_goes_on_to_the_same_weights(
    stop: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, part = tmp_path / "whole.h5", tmp_path / "part.h5"
    train.main(config=config, out=whole)
    metric, at = STOPS[stop]
    log = Run.log

    def stopping(run: Run, step: int, metrics: Any) -> None:
        if step == at and metric in metrics:
            run.close()
            raise Stopped
        log(run, step, metrics)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Run, "log", stopping)
        train.main(config=config, out=part)
    train.main(out=part, resume=True)
    a, b = open_run(whole), open_run(part)
    for name, array in a.parameters().items():
        assert np.array_equal(array, b.parameters()[name])
    for name, array in a.group("first_parameters").items():
        assert np.array_equal(array, b.group("first_parameters")[name])
    assert len(b.metrics()["flossing_loss"]) == 14 and len(b.metrics()["loss"]) == 50
    assert not np.array_equal(a.group("first_parameters")["loop.w"], a.parameters()["loop.w"])


def test_exponents_of_a_run(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run.h5"
    train.main(config=config, out=run)
    script.main(run, exponents=2, trials=5)
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("as drawn, 1/step", "flossed, 1/s", "trained, 1/s"))
    found = open_run(run).group("lyapunov")
    assert abs(found["flossed"]["per_step"][0]) < abs(found["as drawn"]["per_step"][0])
    assert run.with_suffix(".lyapunov.png").stat().st_size > 1000

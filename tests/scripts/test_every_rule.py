"""Every rule through scripts/train.py: a stopped run continues to the weights of the uninterrupted one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neuro import learning
from neuro.io.results import Run, open_run
from twinspike import train

RATES = 'task = "rflo"\n[task_options]\nhidden = 6\nupdates = 14\n'
REWARDS = 'task = "delayed-choice"\nbatch = 2\n[task_options]\ndelay = 1\nlif = 4\nalif = 4\n'
SPIKES = 'task = "digits"\nbatch = 128\n[task_options]\nhidden = 6\nsteps = 6\n[rule_options]\nprojection = "pixels_to_hidden"\nw_max = "2 nA"\n'
GRADED = f'{RATES}[rule_options]\nprojection = "loop"\n'
CONFIG = dict.fromkeys(learning.names(), RATES) | {"reward-eprop": REWARDS, "oja": GRADED, "bcm": GRADED}
CONFIG |= dict.fromkeys(("stdp", "stdp-nearest", "triplet-stdp", "inhibitory-stdp", "scaling"), SPIKES)
CONFIG["inhibitory-stdp"] = CONFIG["scaling"] = f'{SPIKES}target = "20 Hz"\n'
CONFIG["contrastive"] = 'task = "xor"\n[task_options]\nhidden = 4\nupdates = 14\n'
CONFIG["actor-critic"] = 'task = "cue-reward"\nbatch = 4\n[task_options]\nhidden = 4\nsteps = 12\n'
CONFIG["differentiable-structure"] = 'task = "grouped-letters"\n[task_options]\nhidden = 6\nupdates = 14\n'
CONFIG["layerwise"] = 'task = "quantised-images"\nbatch = 100\n[task_options]\nsource = "digits"\nhidden = [8]\n'
STOP = 12  # a checkpoint is written every 10 updates


class Stopped(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in learning.names() if n != "reward-stdp"])  # no task gives it its signal
def test_a_stopped_run_continues_to_the_same_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"epochs = 1\nthreads = 1\n{CONFIG[name]}")
    whole, part = tmp_path / "whole.h5", tmp_path / "part.h5"

    def call(out: Path, resume: bool = False) -> None:
        given: dict[str, Any] = {} if resume else {"rule": name, "config": config}
        train.main(out=out, resume=resume, **given)

    call(whole)
    log = Run.log

    def stop(run: Run, step: int, metrics: Any) -> None:
        if step == STOP:
            run.close()
            raise Stopped
        log(run, step, metrics)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Run, "log", stop)
        call(part)
    assert not open_run(part).complete
    call(part, resume=True)
    a, b = open_run(whole), open_run(part)
    assert a.complete and b.complete
    with h5py.File(whole) as file:
        first = {n: np.array(d) for n, d in file["parameters/0"].items()}
    for parameter, value in a.parameters().items():
        np.testing.assert_array_equal(value, b.parameters()[parameter])
    assert any(not np.array_equal(value, first[n]) for n, value in a.parameters().items())
    np.testing.assert_array_equal(a.metrics()["loss"], b.metrics()["loss"])

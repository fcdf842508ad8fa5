"""Networks and runs as Brian2 scripts, from the command line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import backends
from neuro import Input, Network, Normal, Population, Projection, quantity
from neuro.io.serialisation import to_json
from neuro.library.lif import lif
from neuro.library.pulse import pulse
from twinspike import cli, export_brian2
from twinspike.fuzzing.oracles.script import ran

pytest.importorskip("brian2")


def network() -> Network:
    weights = Normal(quantity("3 nA"), quantity("1 nA"))
    return Network(
        (Population("cells", lif, 10),), (Projection("p", "x", "cells", pulse, weights),),
        (Input("x", 15, "poisson", rate="80 Hz"),), dt="1 ms", seed=3,
    )  # fmt: skip


def test_a_networks_file_becomes_a_script_of_its_raster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "net.json", tmp_path / "found" / "net.py"
    file.write_text(to_json(network()))
    export_brian2.main(file, out=out, steps=300, trial=2, record="cells.v", task="")
    assert f"written: {out}, {out.with_suffix('.npz')}" in capsys.readouterr().out
    wanted = backends.get("reference").compile(network()).run(steps=300, trial=2).spikes["cells"][0]
    script = SimpleNamespace(write=lambda path: (out,))
    found = ran(script, tmp_path)
    raster = np.zeros_like(wanted)
    raster[np.round(np.asarray(found["spikes_cells"].t) / 1e-3).astype(int), np.asarray(found["spikes_cells"].i)] = True
    assert wanted.sum() > 100
    np.testing.assert_array_equal(raster, wanted)
    assert found["traces0"].v_.shape == (10, 300)


def test_a_run_gives_one_of_its_tasks_test_trials() -> None:
    batch = SimpleNamespace(inputs={"x": np.arange(24).reshape(4, 3, 2)})
    given = SimpleNamespace(task=SimpleNamespace(test_batch=lambda: batch))
    np.testing.assert_array_equal(export_brian2.trial_of(given, 2)["x"], batch.inputs["x"][2:3])
    with pytest.raises(cli.UserError, match="--trial 4: the task has 4 test trials"):
        export_brian2.trial_of(given, 4)


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    file.write_text(to_json(network()))
    with pytest.raises(cli.UserError, match="doesn't say how long to run; give --steps"):
        export_brian2.main(file, out=tmp_path / "net.py", steps=0, trial=0, record="", task="")
    with pytest.raises(cli.UserError, match=r"a script's name ends in \.py"):
        export_brian2.main(file, out=tmp_path / "net.txt", steps=10, trial=0, record="", task="")

"""Long runs from the command line: the numbers of one whole run, whenever and however they were stopped; what doesn't fit is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import backends
from neuro import Input, Network, Normal, Population, Probability, Projection
from neuro.io.appending import RecordingFile
from neuro.io.results import open_run
from neuro.io.serialisation import to_json
from neuro.language.units import quantity
from neuro.library.lif import lif
from neuro.library.pulse import pulse
from twinspike import cli
from twinspike import simulate as script

ROOT = Path(script.__file__).parents[1]


def network(kind: Literal["poisson", "spikes"] = "poisson") -> Network:
    rate = "40 Hz" if kind == "poisson" else None
    return Network(
        (Population("cells", lif, 20),),
        (
            Projection("forth", "x", "cells", pulse, Normal(quantity("4 nA"), quantity("1 nA")), Probability(0.5)),
            Projection("back", "cells", "cells", pulse, Normal(quantity("0 nA"), quantity("1 nA")), delay="2 ms"),
        ),
        (Input("x", 15, kind, rate=rate),),
        dt="1 ms",
        seed=3,
        name="long",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "net.json"
    found.write_text(to_json(network()))
    return found


def options(**changed: Any) -> dict[str, Any]:
    return {
        "duration": "700 ms",
        "record": ["cells.v"],
        "every": 10,
        "checkpoint_every": "100 ms",
        "backend": "native",
        **changed,
    }


def same(out: Path, wanted: Any) -> None:
    """A file holds this recording, whole."""
    reader = open_run(out)
    found = reader.recording()
    assert reader.complete and found is not None
    np.testing.assert_array_equal(found.spikes["cells"], wanted.spikes["cells"])
    np.testing.assert_allclose(found.traces["cells.v"], wanted.traces["cells.v"], rtol=1e-6)  # a file has float32
    assert wanted.spikes["cells"].sum() > 100


def whole() -> Any:
    return backends.get("native").compile(network()).run(record=["cells.v"], steps=700, batch=1, every=10)


def test_a_run_in_parts_is_the_whole(path: Path, tmp_path: Path) -> None:
    script.main(path, out=tmp_path / "run.h5", **options())
    same(tmp_path / "run.h5", whole())


@pytest.mark.parametrize("parts", [0, 3, 6])
def test_a_stopped_run_goes_on_to_the_same_numbers(
    parts: int, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, append = tmp_path / "run.h5", RecordingFile.append

    def stopping(file: RecordingFile, part: Any) -> None:
        if file.steps == 100 * parts:
            raise KeyboardInterrupt
        append(file, part)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RecordingFile, "append", stopping)
        script.main(path, out=out, **options())
    assert not open_run(out).complete
    script.main(out=out, resume=True)
    same(out, whole())
    with pytest.raises(Exception, match="complete; there is nothing to resume"):
        script.main(out=out, resume=True)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_a_file_that_goes_on(how: signal.Signals, path: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "run.h5", tmp_path / "log"
    asked = {"--duration": "100000 s", "--checkpoint-every": "1 s", "--out": str(out)}
    call = [
        sys.executable,
        str(ROOT / "scripts" / "simulate.py"),
        str(path),
        *(a for pair in asked.items() for a in pair),
    ]
    with log.open("w") as file:
        process = subprocess.Popen(call, stderr=file, stdout=file, env=dict(os.environ))
        try:
            end = time.monotonic() + 60
            while not out.exists() or out.stat().st_size < 500_000:
                assert time.monotonic() < end and process.poll() is None, log.read_text()
                time.sleep(0.1)
        finally:
            process.send_signal(how)
            code = process.wait(60)
    assert code == (130 if how is signal.SIGINT else -signal.SIGKILL)
    assert how is signal.SIGKILL or "continues with --resume" in log.read_text()
    reader = open_run(out)
    kept = reader.recording()
    assert not reader.complete and kept is not None and kept.state.step % 1000 == 0
    wanted = backends.get("native").compile(network()).run(steps=kept.state.step, batch=1)
    np.testing.assert_array_equal(kept.spikes["cells"], wanted.spikes["cells"])


def test_given_spikes(tmp_path: Path) -> None:
    path, data, out = tmp_path / "net.json", tmp_path / "x.npz", tmp_path / "run.h5"
    path.write_text(to_json(network("spikes")))
    x = np.random.default_rng(0).random((750, 15)) < 0.05
    np.savez(data, x=x)
    script.main(path, out=out, inputs=data, **options())
    program = backends.get("native").compile(network("spikes"))
    same(out, program.run(inputs={"x": x[None, :700]}, record=["cells.v"], every=10))
    np.savez(data, x=~x)
    with pytest.raises(Exception, match="'x' has no rate"):
        script.main(path, out=tmp_path / "b.h5", **options())
    for wrong, what in ((x[:100], "at least 700 steps"), (x[0], "at least 700 steps"), (np.stack([x, x]), "channel")):
        np.savez(data, x=wrong)
        with pytest.raises(Exception, match=what):
            script.main(path, out=tmp_path / "b.h5", inputs=data, **options())


def test_a_source_that_changed_isn_t_gone_on_with(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run.h5"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RecordingFile, "append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        script.main(path, out=out, **options())
    path.write_text(path.read_text() + "\n")
    with pytest.raises(cli.UserError, match="isn't what it was"):
        script.main(out=out, resume=True)


def test_a_part_that_changed_isn_t_gone_on_with(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source itself is what it was; a file that it names isn't."""
    source, out = tmp_path / "parts.toml", tmp_path / "run.h5"
    source.write_text('[parts.one]\nfile = "net.json"\n')
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RecordingFile, "append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        script.main(source, out=out, **options(record=["one_cells.v"]))
    path.write_text(path.read_text().replace('"delay":', '"frozen":true,"delay":', 1))
    with pytest.raises(cli.UserError, match=r"gives another network than when .* was begun"):
        script.main(out=out, resume=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"duration": "0.5 ms"}, "no whole number of steps"),
        ({"duration": "ten"}, "--duration 'ten'"),
        ({"duration": "3 mV"}, "--duration '3 mV'"),
        ({"duration": "-1 s"}, "no whole number of steps"),
        ({"duration": "nan s"}, "no whole number of steps"),
        ({"duration": "1e308 s"}, "no whole number of steps"),
        ({"checkpoint_every": "inf s"}, "no whole number of steps"),
        ({"checkpoint_every": "1.5 ms"}, "--checkpoint-every"),
        ({"threads": 2, "backend": "torch"}, "--threads 2"),
        ({"record": ["cells.u"]}, "no variable of population 'cells' 'u'"),
        ({"record": ["cell.v"]}, "no population or projection 'cell'"),
        ({"record": ["cells.v", "cells"]}, "no variable of population 'cells' ''"),
        ({"inputs": Path("nowhere.npz")}, "no file 'nowhere.npz'"),
        ({"resume": True}, "leave '.*' out"),
    ],
)
def test_what_does_not_fit_is_said(changed: dict[str, Any], message: str, path: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=message):
        script.main(path, out=tmp_path / "run.h5", **options(**changed))
    assert not (tmp_path / "run.h5").exists()

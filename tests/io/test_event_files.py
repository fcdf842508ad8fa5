"""TensorBoard's event files hold what the run's file does, also when a run was stopped and goes on."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro import Network, Population, library, quantity
from neuro.compiler.parameters import parameters, values
from neuro.io.event_files import Beside
from neuro.io.results import Run, open_run
from neuro.io.serialisation import to_json
from neuro.registry import MissingPackageError

METRICS = ("loss", "test_accuracy")


def network() -> Network:
    taus = quantity([10, 20, 30], "ms")
    return Network([Population("E", library.get("lif"), 3, parameters={"tau_m": taus})])


def begun(path: Path) -> Run:
    return Run.create(path, model=to_json(network()), semantics={}, config={}, seed=0, metrics=METRICS)


def events(folder: Path) -> list[Any]:
    """All that stands in a folder's files, in the order in which they were written: length, checksum, message, checksum."""
    event = pytest.importorskip("tensorboardX.proto.event_pb2").Event
    found = []
    for path in sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime_ns):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            found.append(event.FromString(data[at + 12 : at + 12 + length]))
            at += length + 16
    return found


def shown(folder: Path) -> dict[str, dict[int, float]]:
    """Metric -> step -> value, as TensorBoard shows them: a session that starts at a step takes back what stood from there on."""
    found: dict[str, dict[int, float]] = {}
    for event in events(folder):
        if event.HasField("session_log") and event.session_log.status == 1:
            found = {n: {s: v for s, v in rows.items() if s < event.step} for n, rows in found.items()}
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


@pytest.fixture(autouse=True)
def _writer() -> None:
    pytest.importorskip("tensorboardX", reason="needs the extra 'tensorboard'")


def logged(run: Any, first: int, last: int, scale: float = 1.0) -> None:
    for step in range(first, last):
        run.log(step, {"loss": scale / (step + 1)})
    run.log(last - 1, {"test_accuracy": 0.5 * scale})


def test_metrics_stand_in_both(tmp_path: Path) -> None:
    path, folder, net = tmp_path / "run.h5", tmp_path / "events", network()
    run = Beside(begun(path), folder)
    logged(run, 0, 30)
    run.finish({n: np.array(v) * 2 for n, v in values(net).items()}, parameters(net), 30)
    found, metrics = shown(folder), open_run(path).metrics()
    assert set(found) == set(METRICS)
    for name, rows in metrics.items():
        assert list(found[name]) == rows[:, 0].astype(int).tolist() and len(rows) in (1, 30)
        np.testing.assert_allclose(list(found[name].values()), rows[:, 1], rtol=1e-6)
    histograms = [(v.tag, e.step, v.histo.max) for e in events(folder) for v in e.summary.value if v.HasField("histo")]
    assert histograms == [
        ("parameters/E.tau_m", 0, pytest.approx(0.03)),
        ("parameters/E.tau_m", 30, pytest.approx(0.06)),
    ]


def test_a_run_that_goes_on_takes_back_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    path, folder = tmp_path / "run.h5", tmp_path / "events"
    first = Beside(begun(path), folder)
    logged(first, 0, 10)
    first.checkpoint({"a": np.zeros(1)})
    logged(first, 10, 15, scale=9.0)  # lost
    first._writer.close()
    first.run.close()
    resumed, _ = Run.resume(path)
    second = Beside(resumed, folder)
    logged(second, 10, 20)
    second.discard()
    found = shown(folder)["loss"]
    np.testing.assert_allclose([found[step] for step in range(20)], 1 / np.arange(1, 21), rtol=1e-6)
    assert len(found) == 20


def test_of_several_processes_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinspike import keeping

    for first in (False, True):
        monkeypatch.setattr(keeping.launching, "first", lambda first=first: first)
        run = keeping.beside(begun(tmp_path / f"{first}.h5"), tmp_path / "events")
        assert isinstance(run, Beside) == first
        run.discard()
    nothing = object()
    assert keeping.beside(nothing, None) is nothing


def test_without_the_package_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from twinspike import keeping

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'twinspike[tensorboard]'")):
        keeping.check_beside(tmp_path / "events")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    from twinspike import cli, keeping

    (tmp_path / "events").write_text("")
    with pytest.raises(cli.UserError, match="is a file; name a folder"):
        keeping.check_beside(tmp_path / "events")

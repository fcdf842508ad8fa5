"""Exports with fixture, report and budget: whole or not at all; what is stored compares in every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, Network, Population, Projection, library, quantity
from neuro.compiler.parameters import values
from neuro.compiler.semantics import semantics
from neuro.events import Events
from neuro.export import ExportError, bundle, targets
from neuro.export.bundle import LossError, write_bundle
from neuro.export.fixture import read_fixture
from neuro.export.nir.importer import import_nir
from neuro.export.stages import differing, measure, stored
from neuro.export.targets import Export, Target
from neuro.io.results import Run, open_run, write_group
from neuro.io.serialisation import to_json
from neuro.protocols import Batch, Recording
from tests.backends.able import able
from tests.export.networks import holding

CLASSES, STEPS, TRIALS = 4, 30, 40


@dataclass(frozen=True)
class Pick:
    """The right cell is that of the channel which fires; the network is right by construction."""

    name: str = "pick"

    def record(self) -> tuple[str, ...]:
        return ()

    def test_batch(self) -> Batch:
        random = np.random.default_rng(0)
        labels = random.integers(0, CLASSES, TRIALS)
        spikes = random.random((TRIALS, STEPS, CLASSES)) < 0.1
        spikes[np.arange(TRIALS), ::2, labels] = True
        return Batch({"x": Events.of(spikes)}, labels)

    def metric(self, recording: Recording, batch: Batch) -> float:
        return float((recording.spikes["out"].sum(axis=1).argmax(axis=1) == batch.targets).mean())


TASK: Any = Pick()


def network() -> Network:
    # no whole multiples of one number: sums of their codes could lie at the threshold, where each backend's rounding decides
    weights = quantity(2.5 * np.eye(CLASSES) + np.linspace(-0.41, 0.13, CLASSES**2).reshape(CLASSES, -1), "nA")
    cells = Population("out", library.get("lif"), CLASSES)
    return Network((cells,), (Projection("feed", "x", "out", library.get("pulse"), weights),), (Input("x", CLASSES),),
                   dt="1 ms", name="pick")  # fmt: skip


def delivered(target: str, out: Path, **options: Any) -> Any:
    given = network()
    reference: Any = backends.get("reference")
    return write_bundle(target, given, values(given), TASK, out, reference, **{"budget": 1.0, **options})


@pytest.mark.parametrize("target", holding(network()))
def test_everything_is_delivered(target: str, tmp_path: Path) -> None:
    found = delivered(target, tmp_path / "out")
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert written == {p.name for p in (*found.export.files, found.fixture, found.report)}
    assert found.export.files[0].name == f"pick{targets.get(target).profile.suffix}"
    names = [m.stage.name for m in found.stages]
    assert names[:2] == ["float32", "float64"] and (names[2:] in ([], ["quantised", "integers"]))
    assert all(m.accuracy == 1.0 and m.lost == 0 for m in found.stages)
    fixture = read_fixture(found.fixture)
    assert (fixture.target, fixture.dt) == (target, 1e-3)
    np.testing.assert_array_equal(fixture.inputs["x"], np.asarray(TASK.test_batch().inputs["x"]))
    np.testing.assert_array_equal(fixture.rasters["out"], found.stages[-1].recording.spikes["out"])
    assert fixture.rasters["out"].sum() > 200
    assert fixture.semantics == semantics(found.stages[-1].stage.network).to_data()


def test_the_report_holds_what_was_measured(tmp_path: Path) -> None:
    found = delivered("loihi2", tmp_path)
    page = found.report.read_text()
    for m in found.stages:
        assert f"| {m.stage.name} | {m.accuracy:.4f} | {m.lost:.2f} | {m.spikes} |" in page
    assert f"{found.energy.summary()['energy a sample (J)']:.4g}" in page and found.energy.joules > 0
    assert "| out | 0 |" in page or "| out | 1 |" in page  # latency
    assert found.export.files[0].name in page and "`v = v_reset`" in page


def test_the_main_file_by_name(tmp_path: Path) -> None:
    found = delivered("nir", tmp_path / "net.nir")
    assert found.export.files == (tmp_path / "net.nir", tmp_path / "net.nir.json")
    assert import_nir(tmp_path / "net.nir").population("out").size == CLASSES


# -- budget -------------------------------------------------------------------------------------------------------


def coarse(given: Network, parameters: Any, path: Path) -> Export:
    """A target that holds no weights but zero."""
    path.write_text("nothing")
    lost = {**values(given), "feed.w": np.zeros((CLASSES, CLASSES))}
    return Export("coarse", (path,), {"out": 0}, quantised=lost)


@pytest.fixture
def coarse_target(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = replace(targets.get("nir").profile, name="coarse", suffix=".coarse")
    monkeypatch.setattr(bundle.targets, "get", lambda name: Target(profile, coarse))


@pytest.mark.usefixtures("coarse_target")
def test_too_great_a_loss_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LossError, match=r"stage 'quantised' loses 7\d.\d\d points of accuracy, the budget is 1"):
        delivered("coarse", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("coarse_target")
def test_force_and_a_greater_budget(tmp_path: Path) -> None:
    for options in ({"force": True}, {"budget": 90.0}):
        found = delivered("coarse", tmp_path / "out", **options)
        assert found.stages[-1].lost > 70 and found.stages[-1].differing > 200
        assert found.export.files[0].read_text() == "nothing"


def test_what_the_profile_cannot_hold_is_refused_even_by_force(tmp_path: Path) -> None:
    given = network()
    slow = replace(given, projections=(replace(given.projections[0], delay=quantity("2 ms")),))
    with pytest.raises(ExportError, match="projection 'feed', delay"):
        write_bundle(
            "nir", slow, values(slow), TASK, tmp_path / "out", backends.get("reference"), budget=1.0, force=True
        )
    assert not (tmp_path / "out").exists()


# -- the store ----------------------------------------------------------------------------------------------------


def stored_data(found: Any, path: Path) -> Mapping[str, Any]:
    """Through an HDF5 file and back."""
    run = Run.create(path, model=to_json(network()), semantics={}, config={}, seed=0, metrics=())
    run.finish({}, {}, 0)
    write_group(path, "export/loihi2", found.to_data())
    return open_run(path).group("export/loihi2")


def test_stored_stages_compare_in_every_backend(tmp_path: Path) -> None:
    """What was trained, quantised and is computed by the chip: each stage the same spikes in all backends that hold the language."""
    found = delivered("loihi2", tmp_path)
    data = stored_data(found, tmp_path / "run.h5")
    assert data["stages"]["integers"]["accuracy"] == found.stages[-1].accuracy
    given, batch = network(), TASK.test_batch()
    stages = stored(given, values(given), data)
    assert [s.name for s in stages] == ["trained", "quantised", "integers"]
    expected = {m.stage.name: m.recording for m in found.stages}
    for backend in able("state"):
        for m, name in zip(measure(stages, TASK, batch, backends.get(backend)), ("float64", "quantised", "integers")):
            assert m.spikes > 200
            assert differing(m.recording, expected[name]) == 0


def test_entries_that_differ_are_counted() -> None:
    a = {"x": np.array([[[True, False], [True, True]]]), "y": np.ones((1, 2, 1), bool)}
    b = {"x": np.array([[[True, True], [False, True]]])}
    assert differing(Recording(1e-3, a), Recording(1e-3, b)) == 2 + 2

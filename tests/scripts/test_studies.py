"""Quick runs of studies judge what they can show, say what needs the full run, and exit with 0; a study says what that takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
import typer

from tests import extras
from twinspike import cli, reproduce, studies
from twinspike.study import Study, curves

LONGER = {  # quick runs of more than 14 seconds of the processor
    "associations", "backpropamine", "data-parallel", "differentiable-structure", "energy-complexity", "evolved-plasticity", "initial-connectivity", "morris-lecar",
    "neural-ode", "spike-propamine",
}  # fmt: skip


def criteria(name: str, folder: Path) -> list[dict[str, Any]]:
    """Of a study's file."""
    with h5py.File(folder / f"{name}.h5") as file:
        assert file.attrs["seconds"] > 0
        return list(json.loads(file.attrs["criteria"]))


def stored(name: str, folder: Path) -> dict[str, bool | None]:
    """Name of a criterion -> whether it holds, None where the full run is needed; without those that lack what isn't here."""
    return {c["name"]: c["holds"] for c in criteria(name, folder) if not c["lacks"]}


@pytest.mark.parametrize("name", [p for p in extras.each(studies.names()) if p.values[0] not in LONGER])
def test_a_quick_run_holds_and_names_what_needs_the_full_run(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce.main(name, list_=False, out=tmp_path, seed=0, quick=True)
    verdicts = list(stored(name, tmp_path).values())
    assert True in verdicts and False not in verdicts
    judged, left = verdicts.count(True), verdicts.count(None)
    lacks = any(c["lacks"] for c in criteria(name, tmp_path))
    assert left or lacks or name == "agreement"  # a shorter mixed network is all that its quick run leaves out
    said = f"{judged} judged, {left} need the full run of about {studies.minutes(name):g} minutes"
    assert (said in capsys.readouterr().out) == bool(left)


@pytest.mark.slow
@pytest.mark.parametrize("name", [p for p in extras.each(studies.names()) if p.values[0] in LONGER])
def test_a_longer_quick_run(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test_a_quick_run_holds_and_names_what_needs_the_full_run(name, tmp_path, capsys)


@pytest.fixture
def invent(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Study], None]], None]:
    """Makes a function the run of a study called "invented"."""

    def make(run: Callable[[Study], None]) -> None:
        module: Any = ModuleType("twinspike.studies.invented")
        module.run = run
        monkeypatch.setitem(sys.modules, "twinspike.studies.invented", module)
        monkeypatch.setattr(studies, "names", lambda: ("invented",))
        monkeypatch.setattr(studies, "minutes", lambda name: 12.5)

    return make


def nothing_fails(study: Study) -> None:
    study.criterion("short", 1.0, "< 2", True)
    study.criterion("long", 3.0, "< 2", False, full=True)
    if study.quick:
        study.unmeasured("longer", "< 2")


def one_fails(study: Study) -> None:
    study.criterion("short", 3.0, "< 2", False)
    study.criterion("long", 1.0, "< 2", True, full=True)


def nothing_is_judged(study: Study) -> None:
    study.criterion("long", 1.0, "< 2", True, full=True)


@pytest.mark.parametrize(
    ("run", "quick", "code"),
    [
        (nothing_fails, True, 0),
        (nothing_fails, False, 1),
        (one_fails, True, 1),
        (one_fails, False, 1),
        (nothing_is_judged, True, 1),
        (nothing_is_judged, False, 0),
    ],
)
def test_the_exit_code_is_that_of_what_is_judged(
    run: Callable[[Study], None], quick: bool, code: int, tmp_path: Path, invent: Callable[[Any], None]
) -> None:
    invent(run)
    try:
        reproduce.main("invented", list_=False, out=tmp_path, seed=0, quick=quick)
        found = 0
    except typer.Exit as left:
        found = left.exit_code
    assert found == code


def test_what_needs_the_full_run_is_shown_and_stored(
    tmp_path: Path, invent: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    invent(nothing_fails)
    reproduce.main("invented", list_=False, out=tmp_path, seed=0, quick=True)
    assert stored("invented", tmp_path) == {"short": True, "long": None, "longer": None}
    out = capsys.readouterr().out
    rows = {line.split()[1]: line for line in out.splitlines() if line.startswith("│")}
    assert "yes" in rows["short"] and " 3 " in rows["long"] and " - " in rows["longer"]
    assert all("needs the full run" in rows[name] for name in ("long", "longer"))
    assert "1 judged, 2 need the full run of about 12.5 minutes: twinspike reproduce invented" in out


def test_the_list_says_what_full_runs_take(capsys: pytest.CaptureFixture[str]) -> None:
    reproduce.main(list_=True)
    out = capsys.readouterr().out
    for name in studies.names():
        assert studies.minutes(name) > 0
        row = next(line for line in out.splitlines() if line.startswith(f"│ {name} "))
        assert f" {studies.minutes(name):g} " in row


def lacks_a_text(study: Study) -> None:
    study.criterion("short", 1.0, "< 2", True)
    study.unmeasured("text", "< 2", "" if study.data else "needs a text: --data")


def test_data_go_to_studies_that_take_some(
    tmp_path: Path, invent: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    invent(lacks_a_text)
    monkeypatch.setattr(studies, "data", lambda name: "")
    reproduce.main("invented", out=tmp_path)
    assert "needs a text: --data" in capsys.readouterr().out and list(stored("invented", tmp_path)) == ["short"]
    with pytest.raises(cli.UserError, match="takes no data"):
        reproduce.main("invented", out=tmp_path, data=str(tmp_path))
    monkeypatch.setattr(studies, "data", lambda name: "a text file")
    with pytest.raises(cli.UserError, match="no such file; study 'invented' takes a text file"):
        reproduce.main("invented", out=tmp_path, data=str(tmp_path / "nothing"))
    reproduce.main("invented", out=tmp_path, data=str(tmp_path))
    assert "needs the full run" in capsys.readouterr().out


def test_every_run_is_drawn() -> None:
    """Each as its running mean over as many entries as asked for; an arm is named once, and each level."""
    runs = {"a": [np.arange(6.0), np.ones(4)], "b": [np.zeros(5)]}
    (axes,) = curves(runs, "update", "loss", over=3, title="both", levels={"chance": 0.5}).axes
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]
    assert drawn[0] == ([3, 4, 5, 6], pytest.approx([1, 2, 3, 4]))
    assert [len(x) for x, _ in drawn[:3]] == [4, 2, 3] and drawn[3][1] == [0.5, 0.5]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a", "b"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("update", "loss", "both")

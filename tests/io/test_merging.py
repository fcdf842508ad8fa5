"""Many run files as one: what was whole is the same to the last bit, what isn't is named or marked, and nothing leads out of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neuro.compiler.parameters import Parameter
from neuro.io import merging
from neuro.io.merging import Row, merge, named, open_member, read_table
from neuro.io.results import ResultsError, Run, open_run
from neuro.language.units import unit
from tests.export.hostile import Break, declared, link, put

WEIGHT = Parameter("feed.w", np.zeros((700, 300)), "nA", unit("nA").dimension, ("pre", "post"))
TAU = Parameter("c.tau", np.asarray(0.5), "s", unit("s").dimension, ())


def begun(path: Path, rate: float = 0.1, steps: int = 3) -> Run:
    path.parent.mkdir(exist_ok=True)
    config = {"task": "x", "seed": 3, "rule_options": {"rate": rate}, "command": str(path)}
    run = Run.create(path, model="{}", semantics={"dt": 1e-3}, config=config, seed=3, metrics=("loss", "accuracy"))
    run.checkpoint({})
    for step in range(1, steps + 1):
        run.log(step, {"loss": rate / step})
    run.checkpoint({})
    return run


def whole(path: Path, rate: float = 0.1) -> Path:
    run = begun(path, rate)
    run.log(3, {"accuracy": 0.5})
    run.log(6, {"accuracy": 0.25})
    values = {"feed.w": np.random.default_rng(0).normal(size=(700, 300)), "c.tau": np.asarray(0.25)}
    run.finish(values, {"feed.w": WEIGHT, "c.tau": TAU}, 3)
    return path


def test_a_run_in_a_merged_file_is_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_BLOCK", 10_000)  # many blocks, the last one shorter
    paths = [whole(tmp_path / f"{k}.h5", 0.1 * k) for k in (1, 2)]
    before = [p.read_bytes() for p in paths]
    rows = merge(tmp_path / "all.h5", named(paths))
    assert [p.read_bytes() for p in paths] == before
    assert [r.status for r in rows] == ["complete", "complete"]
    for path in paths:
        ours, theirs = open_member(tmp_path / "all.h5", path.stem), open_run(path)
        for name in ("complete", "seed", "created", "versions", "config", "semantics", "model"):
            assert getattr(ours, name) == getattr(theirs, name)
        for name, value in theirs.parameters().items():
            np.testing.assert_array_equal(ours.parameters()[name], value, strict=True)
        assert {n: v.tolist() for n, v in ours.metrics().items()} == {
            n: v.tolist() for n, v in theirs.metrics().items()
        }
    with h5py.File(tmp_path / "all.h5") as file, h5py.File(paths[0]) as own:
        assert dict(file["runs/1/parameters/3/feed.w"].attrs) == dict(own["parameters/3/feed.w"].attrs)
        np.testing.assert_array_equal(file["runs/1/parameters/0/feed.w"], 0)


def test_the_table(tmp_path: Path) -> None:
    paths = [whole(tmp_path / f"{k}.h5", 0.1 * k) for k in (1, 2)]
    merge(tmp_path / "all.h5", named(paths))
    table = read_table(tmp_path / "all.h5")
    assert table["name"] == ["1", "2"] and table["path"] == ["1.h5", "2.h5"] and table["error"] == ["", ""]
    assert list(table["seed"]) == [3, 3] and list(table["rule_options.rate"]) == [0.1, 0.2]
    assert "command" not in table and "task" in table
    assert list(table["final accuracy"]) == [0.25, 0.25] and list(table["largest accuracy"]) == [0.5, 0.5]
    assert list(table["least loss"]) == [0.1 / 3, 0.2 / 3]
    with h5py.File(tmp_path / "all.h5") as file:
        assert [file[f"table/{n}"].attrs["kind"] for n in ("name", "seed", "final loss")] == [
            "run",
            "setting",
            "metric",
        ]


def test_settings_of_all_kinds_stand_in_the_table(tmp_path: Path) -> None:
    paths = [whole(tmp_path / f"{k}.h5") for k in range(3)]
    kinds: list[dict[str, Any]] = [
        {"a": [1, 2], "b": 1, "c": "x", "d": True},
        {"a": "y", "b": 0.5},
        {"a": {"k": 1}, "b": 2, "c": "z"},
    ]
    rows = [Row(p.stem, p, kind) for p, kind in zip(paths, kinds, strict=True)]
    merge(tmp_path / "all.h5", rows)
    table = read_table(tmp_path / "all.h5")
    assert table["a"] == ["[1, 2]", "y", '{"k": 1}'] and list(table["b"]) == [1, 0.5, 2]
    assert table["c"] == ["x", "", "z"] and table["d"] == ["true", "", ""]


def test_settings_with_names_of_columns(tmp_path: Path) -> None:
    paths = [whole(tmp_path / f"{k}.h5") for k in range(2)]
    merge(tmp_path / "all.h5", [Row(p.stem, p, {"name": f"my {p.stem}", "columns": k}) for k, p in enumerate(paths)])
    table = read_table(tmp_path / "all.h5")
    assert table["name"] == ["0", "1"] and table["setting name"] == ["my 0", "my 1"]
    assert list(table["setting columns"]) == [0, 1]


def test_what_is_not_whole_is_refused_by_name(tmp_path: Path) -> None:
    begun(tmp_path / "half.h5").close()
    (tmp_path / "text.h5").write_text("no run")
    paths = [whole(tmp_path / "whole.h5"), tmp_path / "half.h5", tmp_path / "text.h5"]
    with pytest.raises(
        ResultsError, match=r"half.h5' is incomplete; '.*text.h5' is damaged \(.*not a readable.*--partial"
    ):
        merge(tmp_path / "all.h5", named(paths))
    assert not (tmp_path / "all.h5").exists() and len(list(tmp_path.iterdir())) == 4


def test_partial_takes_what_there_is(tmp_path: Path) -> None:
    """Of a file that was cut off, what its checkpoint has; of one that is under way, what is there."""
    run = begun(tmp_path / "under_way.h5")
    begun(tmp_path / "cut.h5", 0.3).close()
    data = (tmp_path / "cut.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.h5").write_text("no run")
    names = ("under_way", "cut", "text", "none")
    rows = merge(tmp_path / "all.h5", named([tmp_path / f"{n}.h5" for n in names]), partial=True)
    run.close()
    assert [r.status for r in rows] == ["incomplete", "incomplete", "damaged", "missing"]
    table = read_table(tmp_path / "all.h5")
    np.testing.assert_array_equal(table["final loss"], [0.1 / 3, 0.3 / 3, np.nan, np.nan])
    assert "not a readable" in table["error"][2]
    for name in ("under_way", "cut"):
        member = open_member(tmp_path / "all.h5", name)
        assert not member.complete and len(member.metrics()["loss"]) == 3
    with pytest.raises(ResultsError, match="runs/text: it is missing"):
        open_member(tmp_path / "all.h5", "text")


HOSTILE: dict[str, tuple[Break, str]] = {
    "a metric elsewhere": (link("metrics/loss", h5py.ExternalLink("secret.h5", "/x")), "loss: a link to"),
    "parameters elsewhere": (link("parameters", h5py.SoftLink("/model")), "parameters: a link to"),
    "a parameter elsewhere": (link("parameters/3/feed.w", h5py.ExternalLink("secret.h5", "/x")), "feed.w: a link to"),
    "terabytes declared": (declared("parameters/3/feed.w", (2**20, 2**20), "f8"), "declares .* bytes, the file holds 0"),
    "a metric of numbers": (put("metrics/loss", np.ones(4)), "loss: float64 .* where pairs of step and value belong"),
    "a parameter of text": (put("parameters/3/feed.w", ["a", "b"]), "feed.w: object where numbers belong"),
    "settings that are a list": (put("config", "[1]"), "config: list where settings belong"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_runs_are_damaged(what: str, tmp_path: Path) -> None:
    change, wrong = HOSTILE[what]
    change(whole(tmp_path / "run.h5"))
    with pytest.raises(ResultsError, match=rf"run.h5' is damaged \(.*{wrong}"):
        merge(tmp_path / "all.h5", named([tmp_path / "run.h5"]))
    (row,) = merge(tmp_path / "all.h5", named([tmp_path / "run.h5"]), partial=True)
    assert row.status == "damaged" and row.metrics == {}
    with h5py.File(tmp_path / "all.h5") as file:
        assert list(file["runs"]) == []


def test_more_than_a_run_may_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One array under many names."""
    path = whole(tmp_path / "run.h5")
    with h5py.File(path, "r+") as file:
        for k in range(50):
            file[f"parameters/3/more{k}.w"] = file["parameters/3/feed.w"]
    monkeypatch.setattr(merging, "_BESIDE", 2**20)
    with pytest.raises(ResultsError, match="takes the arrays past"):
        merge(tmp_path / "all.h5", named([path]))


def test_names(tmp_path: Path) -> None:
    a, b = whole(tmp_path / "a" / "run.h5"), whole(tmp_path / "b" / "run.h5")
    assert [r.name for r in named([a, b])] == ["a-run", "b-run"]
    with pytest.raises(ResultsError, match="given twice"):
        named([a, tmp_path / "b" / ".." / "a" / "run.h5"])
    with pytest.raises(ResultsError, match="two runs are called 'x'"):
        merge(tmp_path / "all.h5", [Row("x", a), Row("x", b)])
    with pytest.raises(ResultsError, match=r"\.\.h5': no run of a file can be called '\.'; rename it"):
        merge(tmp_path / "all.h5", named([whole(tmp_path / "..h5")]))
    with pytest.raises(ResultsError, match="can be called 'x/y'"):
        merge(tmp_path / "all.h5", [Row("x/y", a)])


def test_nothing_is_replaced_that_is_no_merged_file(tmp_path: Path) -> None:
    run, out = whole(tmp_path / "run.h5"), tmp_path / "all.h5"
    merge(out, named([run]))
    with pytest.raises(ResultsError, match="exists; replace it with --overwrite"):
        merge(out, named([run]))
    merge(out, named([run]), overwrite=True, parameters=False)
    with pytest.raises(ResultsError, match="it is missing"):
        open_member(out, "run").parameters()
    other = whole(tmp_path / "other.h5")
    with pytest.raises(ResultsError, match="is no merged file"):
        merge(other, named([run]), overwrite=True)
    with pytest.raises(ResultsError, match="is one of the runs"):
        merge(run, named([run]), overwrite=True)
    with pytest.raises(ResultsError, match="is no merged file"):
        read_table(run)
    assert open_run(other).complete and open_run(run).complete


def test_a_member_elsewhere(tmp_path: Path) -> None:
    out, run = tmp_path / "all.h5", whole(tmp_path / "run.h5")
    merge(out, named([run]))
    with h5py.File(out, "r+") as file:
        file["runs/other"] = h5py.ExternalLink("run.h5", "/")
        file["runs/within"] = h5py.SoftLink("/runs/run")
    for name in ("other", "within", "../table", "run/metrics/loss"):
        with pytest.raises(ResultsError, match=r"a link to|it is missing|a dataset, not a group"):
            open_member(out, name)
    assert open_member(out, "run").complete


def test_a_hostile_table(tmp_path: Path) -> None:
    out = tmp_path / "all.h5"
    merge(out, named([whole(tmp_path / "run.h5")]))
    with h5py.File(out, "r+") as file:
        del file["table/seed"]
        file["table/seed"] = h5py.ExternalLink("run.h5", "/seed")
    with pytest.raises(ResultsError, match="seed: a link to"):
        read_table(out)
    with h5py.File(out, "r+") as file:
        file["table/columns"][()] = json.dumps(["../runs"])
    with pytest.raises(ResultsError, match=r"it is missing|not a dataset"):
        read_table(out)

"""report.py: one page that needs no network, whatever names and texts a run holds."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro import Input, Network, Population, Projection, Recording, Synapse, library
from neuro.compiler.parameters import parameters, values
from neuro.io.merging import merge, named
from neuro.io.results import Run, open_run, write_group, write_recording
from neuro.io.serialisation import to_json
from neuro.registry import MissingPackageError
from tests.browsing import opened
from twinspike import cli, report
from twinspike.reporting import figures, page

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"' $$\\alpha$$ \\(x\\) \x01 \u202e"
STEPS, DT = 60, 1e-3
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _library() -> None:
    pytest.importorskip("bokeh", reason="the report needs the extra 'report'")


def network(name: str = "net") -> Network:
    pulse = Synapse("pulse", "w : amp", on_pre="I_post += w")
    return Network(
        [Population("E", library.get("lif"), 30), Population("I", library.get("lif"), 5)],
        [Projection("feed", "x", "E", pulse, weights="1 nA"), Projection("ei", "E", "I", pulse, weights="1 nA")],
        [Input("x", 10)],
        dt="1 ms",
        name=name,
    )


def recording() -> Recording:
    spikes = {"E": RNG.random((3, STEPS, 30)) < 0.1, "I": RNG.random((3, STEPS, 5)) < 0.2}
    return Recording(DT, spikes, {"E.v": RNG.normal(-0.06, 0.01, (3, STEPS, 30))})


def begun(path: Path, text: str = "", updates: int = 50) -> Run:
    """A run that goes on. text: stands wherever a file may hold one."""
    config = {
        "task": f"add{text}",
        "rule": "bptt",
        "backend": "native",
        "command": f"train.py {text}",
        "rule_options": {text or "a": [text]},
    }
    run = Run.create(
        path,
        model=to_json(network()),
        semantics={"reset": text},
        config=config,
        seed=3,
        metrics=("loss", f"odd {text}".replace("/", "|")),
    )
    for step in range(updates):
        run.log(step, {"loss": float(np.exp(-step / 10))})
    run.log(updates, {run_metric: 0.5 for run_metric in run.history if run_metric != "loss"})
    return run


def complete(path: Path, text: str = "") -> Path:
    run, net = begun(path, text), network()
    after = {name: np.array(value) * 1.1 for name, value in values(net).items()}
    run.finish(after, parameters(net), 50)
    found = recording()
    write_recording(path, found, {"E.v": "volt"})
    first = {"step": 25, "trial": 2, "neuron": 4, "a": 1.0, "b": 0.0}
    population = {"spikes_a": 10, "spikes_b": 9, "differing": 1, "coincidence": 0.9, "first": first}
    variable = {"max_abs": 1.0, "max_rel": 0.1, "divergent": 3, "entries": 9, "first": {**first, "step": 30}}
    pair = {
        "summary": f"first disagreement in {text}",
        "populations": {"E": population},
        "variables": {"E.v": variable},
        "finals": {},
    }
    write_group(
        path, "comparison", {"reference": f"ref{text}", "accuracies": {"native": 0.5}, "pairs": {"native": pair}}
    )
    write_group(path, "energy", {"summary": {"energy a sample (J)": 1e-8}})
    return path


class Elements(HTMLParser):
    """Tags with their attributes, texts by the tag that they stand in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def written(path: Path, **options: Any) -> str:
    out = path.with_suffix(".html")
    report.main(path, out, **{"watch": False, "metric": "", "least": False, **options})
    return out.read_text(encoding="utf-8")


def test_a_page_holds_everything_and_needs_nothing(tmp_path: Path) -> None:
    text = written(complete(tmp_path / "run.h5"))
    found = Elements(text)
    headings = [t for t in found.texts if t.strip()]
    for wanted in (
        "Learning curves",
        "Activity",
        "Rates and intervals",
        "Parameters",
        "Comparison of backends",
        "Energy",
        "Network",
        "Settings and versions",
    ):
        assert wanted in headings
    assert "step 25, trial 2, cell 4" in headings
    assert len(text.encode()) < page.LIMIT
    for tag, attributes in found.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form", "img")
        assert all(
            value is None or name not in ("src", "href", "data", "action") or value.startswith(("#", "data:"))
            for name, value in attributes.items()
        )
        assert not [name for name in attributes if name.startswith("on")]
    policy = next(
        a["content"] for t, a in found.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None and "default-src 'none'" in policy and "'unsafe-eval'" not in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def test_plots_hold_what_the_file_does(tmp_path: Path) -> None:
    """The trial of the first divergence, its place, all its spikes."""
    from twinspike.reporting.run_report import page_of

    path = complete(tmp_path / "run.h5")
    made, done = page_of(path)
    assert done
    held = json.dumps(made.plots)
    assert '"spikes of E"' in held and '"spikes of I"' in held
    (at,) = {model["attributes"]["location"] for model in _models(made.plots) if model.get("name") == "Span"}
    assert at == pytest.approx(25.0)
    spikes = open_run(path).recording().spikes
    ticks = [m for m in _models(made.plots) if m.get("name") == "ColumnDataSource" and _dtype(m, "y") == "int32"]
    assert [_shape(m) for m in ticks] == [[int(spikes[n][2].sum())] for n in ("E", "I")]


def _models(data: Any) -> list[dict[str, Any]]:
    """Bokeh's objects within its JSON, each once."""
    found: list[dict[str, Any]] = []
    if isinstance(data, dict):
        if data.get("type") == "object" and "attributes" in data:
            found.append(data)
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            found += _models(item)
    return found


def _entries(source: dict[str, Any]) -> dict[str, Any]:
    return dict(source["attributes"]["data"]["entries"])


def _dtype(source: dict[str, Any], name: str) -> str:
    found = _entries(source).get(name)
    return str(found.get("dtype", "")) if isinstance(found, dict) else ""


def _shape(source: dict[str, Any]) -> Any:
    return _entries(source)["x"]["shape"]


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    plain, hostile = (Elements(written(complete(tmp_path / f"{i}.h5", text))) for i, text in enumerate(("", HOSTILE)))
    assert (
        [tag for tag, _ in plain.tags if tag in ("script", "img")]
        == [tag for tag, _ in hostile.tags if tag in ("script", "img")]
        == ["script"] * 3
    )
    assert any("<script>alert(1)</script>" in text for text in hostile.texts)
    data = hostile.scripts[0]
    assert "<" not in data and "$$" not in data and "\\\\(" not in data
    json.loads(data)


def test_a_run_that_goes_on_has_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    run = begun(path)
    first = written(path)
    assert "not complete" in first and "Learning curves" in first and "when it is complete" in first
    run.log(51, {"loss": 0.123456})
    assert "0.1235" in written(path) and "0.1235" not in first
    run.close()


def test_watching_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.h5"
    run, pages = begun(path), []

    def look(seconds: float) -> None:
        pages.append((tmp_path / "run.html").read_text(encoding="utf-8"))
        run.finish(values(network()), parameters(network()), 50)

    monkeypatch.setattr(report.time, "sleep", look)
    last = written(path, watch=True)
    assert len(pages) == 1 and 'http-equiv="refresh"' in pages[0] and 'http-equiv="refresh"' not in last
    assert 'class="state done"' in last


def test_many_runs_are_a_table(tmp_path: Path) -> None:
    paths = [complete(tmp_path / f"r{i}.h5", HOSTILE) for i in range(3)]
    merge(tmp_path / "all.h5", named(paths))
    text = written(tmp_path / "all.h5", metric="loss", least=True)
    found = Elements(text)
    assert {"r0", "r1", "r2", "Runs", "Curves"} <= set(found.texts)
    assert [tag for tag, _ in found.tags].count("script") == 3
    with pytest.raises(cli.UserError, match="no such metric"):
        written(tmp_path / "all.h5", metric="lose")


def test_large_runs_make_small_pages(tmp_path: Path) -> None:
    """Everything at its limits at once."""
    made = page.Page("large")
    when = RNG.random(200_000) * 1e3
    for _ in range(5):
        made.add(
            "raster",
            made.place(figures.raster(when, RNG.integers(0, 9999, len(when)), 9999, 1e3, title="r", colour="#000000")),
        )
    for _ in range(6):
        curve = {str(i): (np.arange(100_000.0), RNG.normal(size=100_000)) for i in range(5)}
        made.add("trace", made.place(figures.curves(curve, "time (ms)", "v (mV)")))
    for _ in range(16):
        made.add("matrix", made.place(figures.matrix(RNG.normal(size=(2000, 3000)), "nA", title="w", limit=1.0)))
    for _ in range(24):
        made.add(
            "curve", made.place(figures.curves({"loss": (np.arange(1e5), RNG.normal(size=100_000))}, "update", "loss"))
        )
    assert 2e6 < len(made.html().encode()) < page.LIMIT


def test_labels_hold_no_mathematics() -> None:
    found = figures.on_canvas("$$x$$$ \\(y\\) \x07 a")
    assert not any(mark in found for mark in ("$$", "\\(", "\\)", "\x07"))
    assert found.replace("\N{ZERO WIDTH SPACE}", "") == "$$x$$$ \\(y\\) \N{REPLACEMENT CHARACTER} a"


def test_blocks_keep_the_mean() -> None:
    value = RNG.normal(size=(300, 257))
    found = figures.blocks(value)
    assert max(found.shape) <= figures.SIDE
    np.testing.assert_allclose(found[0, 0], value[:3, :3].mean())
    np.testing.assert_allclose(found[-1, -1], value[297:, 255:].mean())
    np.testing.assert_array_equal(figures.blocks(value[:9, :9]), value[:9, :9])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"metric": "loss"}, "--metric and --least order many runs"), ({"least": True}, "order many runs")],
)
def test_errors(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = complete(tmp_path / "run.h5")
    with pytest.raises(cli.UserError, match=message):
        written(path, **options)
    with pytest.raises(cli.UserError, match="is the run itself"):
        report.main(path, path)
    merge(tmp_path / "all.h5", named([path]))
    with pytest.raises(cli.UserError, match="--watch follows one run"):
        written(tmp_path / "all.h5", watch=True)


def test_without_the_library_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'twinspike[report]'")):
        report.main(complete(tmp_path / "run.h5"))
    assert not (tmp_path / "run.html").exists()


PLOT = "Bokeh.index.roots.flatMap(r => r.child_views ?? []).find(v => v.model.title?.text === 'spikes of E')"
BOX = f"(() => {{ const v = {PLOT}; v.el.scrollIntoView({{block: 'center'}}); const e = v.el.getBoundingClientRect(); const b = v.frame.bbox; return [e.x + b.left, e.y + b.top, b.width, b.height]; }})()"
RANGES = f"(() => {{ const v = {PLOT}; return [v.model.x_range.start, v.model.x_range.end, new Set(v.parent.child_views.map(c => c.model.x_range)).size]; }})()"


def test_in_a_browser_it_draws_and_zooms(tmp_path: Path) -> None:
    path = complete(tmp_path / "run.h5", HOSTILE)
    written(path)
    with opened(path.with_suffix(".html"), tmp_path / "profile") as tab:
        tab.until(f"typeof Bokeh !== 'undefined' && {PLOT}?.frame?.bbox?.width > 100")
        places = tab.evaluate("document.querySelectorAll('[id^=plot-]').length")
        assert places >= 4
        assert tab.evaluate(
            "[...document.querySelectorAll('[id^=plot-]')].every(p => p.getBoundingClientRect().height > 100)"
        )
        assert tab.evaluate(RANGES) == [0.0, STEPS * DT * 1e3, 1]
        x, y, wide, high = tab.evaluate(BOX)
        tab.drag((x + 0.25 * wide, y + 0.3 * high), (x + 0.5 * wide, y + 0.7 * high))
        tab.until(f"{PLOT}.model.x_range.end < 40")
        begin, end, ranges = tab.evaluate(RANGES)
        assert (begin, end) == pytest.approx((15.0, 30.0), abs=1.5) and ranges == 1
        assert tab.complaints == []
        assert [url for url in tab.asked if not url.startswith(("file:", "data:", "about:"))] == []
        assert [url for url in tab.asked if url.startswith("file:")] == [path.with_suffix(".html").as_uri()]

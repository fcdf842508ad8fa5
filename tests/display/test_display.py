"""What notebooks show: everything is there, and no name or text is taken for HTML."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import neuro
from neuro import Input, Network, Population, Projection, Recording, Synapse, library, lower
from neuro.analysis.comparison import compare
from neuro.compiler.parameters import parameters, values
from neuro.display import svg
from neuro.display.graph import graph
from neuro.display.html import escape, table
from neuro.display.labels import in_usual
from neuro.io.results import Run, open_run
from neuro.io.serialisation import to_json

HOSTILE = "<script>alert(1)</script>\"' onload=x &amp; \x01\x1b"
DT, STEPS = 1e-3, 50


def network(name: str = "net", populations: int = 2) -> Network:
    pulse = Synapse("pulse", "w : amp", on_pre="I_post += w")
    cells = [Population(f"p{i}", library.get("lif"), 10 + i) for i in range(populations)]
    forward = [
        Projection(f"f{i}", a.name, b.name, pulse, weights="1 nA", sign="+") for i, (a, b) in enumerate(pairwise(cells))
    ]
    back = [
        Projection("back", cells[-1].name, cells[0].name, pulse, weights="-1 nA", sign="-"),
        Projection("self", "p0", "p0", pulse, weights="1 nA"),
    ]
    drive = [Projection("feed", "x", "p0", pulse, weights=neuro.Normal("1 nA", "0.2 nA"))]
    return Network(
        cells, [*drive, *forward, *back], [Input("x", 6), Input("i", 1, "current", "p0.I")], dt="1 ms", name=name
    )


def recording(names: tuple[str, str] = ("E", "I"), units: str = "volt") -> Recording:
    rng = np.random.default_rng(4)
    spikes = {name: rng.random((2, STEPS, 5)) < 0.2 for name in names}
    return Recording(
        DT, spikes, {f"{names[0]}.v": rng.normal(-0.06, 0.01, (2, STEPS, 5))}, units={f"{names[0]}.v": units}
    )


def run(path: Path, text: str = "") -> Any:
    made = Run.create(
        path,
        model=to_json(network()),
        semantics={},
        config={"command": text, "a": {text: [text]}},
        seed=1,
        metrics=("loss", f"m{text.replace('/', '|')}"),
    )
    for step in range(20):
        made.log(step, dict.fromkeys(made.history, 0.5**step))
    made.finish(values(network()), parameters(network()), 20)
    return open_run(path)


class Shape(HTMLParser):
    """Opening tags in their order, attributes that act, and texts. Tags that aren't closed in turn are a flaw."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.acting: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.acting += [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def shown(path: Path, text: str) -> dict[str, str]:
    first, second = recording((f"E{text}", f"I{text}"), f"volt{text}"), recording((f"E{text}", f"I{text}"))
    second.spikes[f"E{text}"][1, 7, 2] ^= True
    things = {
        "network": network(f"net{text}"), "step": lower(network()), "recording": first, "run": run(path, text),
        "comparison": compare(first, second, names=(f"a{text}", f"b{text}")),
    }  # fmt: skip
    return {name: thing._repr_html_() for name, thing in things.items()}  # type: ignore[attr-defined]


def test_everything_has_a_picture(tmp_path: Path) -> None:
    found = {name: Shape(text) for name, text in shown(tmp_path / "run.h5", "").items()}
    assert all("table" in shape.tags for shape in found.values())
    assert {name for name, shape in found.items() if "svg" in shape.tags} == {"network", "recording", "run"}
    wanted = {
        "network": ("p0", "p1", "Normal(mean=1 nA, std=0.2 nA)", "p0.I"), "step": ("p0", "exact", "operations"), "recording": ("2 trials of 50 steps", "E.v (mV)", "time (ms)", "mean rate (Hz)"),
        "run": ("complete", "loss", "update"), "comparison": ("first disagreement", "neuron 2, trial 1"),
    }  # fmt: skip
    for name, texts in wanted.items():
        for text in texts:
            assert text in found[name].text, name


def test_hostile_names_stay_texts(tmp_path: Path) -> None:
    plain, hostile = (shown(tmp_path / f"{i}.h5", text) for i, text in enumerate(("", HOSTILE)))
    for name in plain:
        a, b = Shape(plain[name]), Shape(hostile[name])
        assert a.tags == b.tags and a.acting == b.acting == []
        assert name == "step" or "<script>alert(1)</script>" in b.text
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", hostile[name])


@pytest.mark.parametrize("populations", [1, 2, 5])
def test_the_graph_has_each_part_once(populations: int) -> None:
    net = network(populations=populations)
    root = ElementTree.fromstring(graph(net))
    space = "{http://www.w3.org/2000/svg}"
    boxes = root.findall(f"{space}g/{space}rect")
    assert len(boxes) == populations + 2
    titles = [title.text or "" for title in root.iter(f"{space}title")]
    for p in net.projections:
        assert sum(f"{p.name}: " in title for title in titles) == 1
    width, height = (float(root.attrib[n]) for n in ("width", "height"))
    corners = [(float(b.attrib["x"]), float(b.attrib["y"])) for b in boxes]
    assert len(set(corners)) == len(corners)
    assert all(0 <= x <= width - 130 and 0 <= y <= height - 44 for x, y in corners)
    strokes = [p.attrib["stroke"] for p in root.findall(f"{space}g/{space}path") if p.attrib["fill"] == "none"]
    assert ("#d55e00" in strokes) == (populations > 1)  # of one population, both projections onto itself are one curve


def test_curves_are_broken_where_nothing_is() -> None:
    x, y = np.arange(6.0), np.array([0.0, 1.0, np.nan, 3.0, np.inf, 2.0])
    root = ElementTree.fromstring(svg.lines({"a": (x, y)}, "time (ms)", "v (mV)"))
    lines = [p.attrib["points"].split() for p in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(line) for line in lines] == [2, 1, 1]
    assert svg.lines({"a": (x, np.full(6, np.nan))}, "x", "y") == ""


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-70.3, -49.9), (1e-12, 3e-12), (5.0, 1e6)])
def test_ticks_are_round_and_within(low: float, high: float) -> None:
    found = svg.ticks(low, high)
    assert 2 <= len(found) <= 6 and all(low - 1e-9 * abs(low) <= t <= high * (1 + 1e-9) for t in found)


def test_thinned_curves_keep_their_extremes() -> None:
    y = np.random.default_rng(0).normal(size=10_007)
    x, kept = svg.thinned(np.arange(len(y), dtype=float), y, 500)
    assert len(kept) <= 520 and (np.diff(x) > 0).all()
    assert (kept.min(), kept.max()) == (y.min(), y.max())
    np.testing.assert_array_equal(kept, y[x.astype(int)])


def test_long_tables_say_what_they_leave_out() -> None:
    assert "and 5 more" in table(("n",), [(i,) for i in range(35)]) and table(("n",), []) == ""
    assert "more" not in table(("n",), [(i,) for i in range(35)], most=None)


def test_usual_units() -> None:
    assert in_usual([0.07], "volt") == (pytest.approx([70.0]), "mV")
    assert (
        in_usual([2.0], "<b>") == ([2.0], "<b>")
        and in_usual([2.0], None) == ([2.0], "SI")
        and in_usual([2.0], "1") == ([2.0], "1")
    )


def test_a_recording_of_sets_says_how_to_choose_one() -> None:
    found = recording()
    sets = replace(
        found,
        spikes={n: np.stack([s, s]) for n, s in found.spikes.items()},
        traces={n: np.stack([t, t]) for n, t in found.traces.items()},
    )
    assert "recording.of_set(0)" in sets._repr_html_()
    assert "0 trials" in Recording(DT)._repr_html_()


def test_public_names_are_completed_before_they_load() -> None:
    program = "import neuro, sys, json; names = dir(neuro); assert 'neuro.model' not in sys.modules; print(json.dumps(names)); neuro.plot.raster; neuro.library.get"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(neuro.__file__).parents[1]
    )
    assert {*neuro.__all__, "library", "plot"} <= set(json.loads(done.stdout))


def test_escape() -> None:
    assert (
        escape('<a href="x">\'&') == "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;"
        and escape("\x00\udc80") == "\N{REPLACEMENT CHARACTER}" * 2
    )

"""The picture of a sweep: what is drawn for numbers, words and tables, and what can't be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro.analysis import response
from neuro.analysis.plots import PlotError
from neuro.analysis.response import plot_response

SETTINGS: dict[str, list[Any]] = {
    "rate": [0.001, 0.01, 0.1, 0.001, 0.01, 0.1],
    "hidden": [4, 5, 6, 4, 5, 6],
    "rule": ["bptt", "$x", "bptt", "$x", "bptt", "$x"],
    "layers": [[1], [2], [1], [2], [1], [2]],
}
VALUES = [0.1, 0.3, 0.2, 0.5, np.nan, 0.4]


def test_a_panel_for_each_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(response, "save_figure", lambda figure, path: kept.append(figure) or path)
    plot_response(tmp_path / "x.png", SETTINGS, VALUES, metric="accuracy", best=3)
    rate, hidden, rule, layers, *rest = kept[0].get_axes()
    assert [axis.get_visible() for axis in rest] == [False, False]
    assert [axis.get_xlabel() for axis in (rate, hidden, rule, layers)] == list(SETTINGS)
    assert rate.get_xscale() == "log" and hidden.get_xscale() == "linear"
    assert [t.get_text() for t in rule.get_xticklabels()] == ["bptt", "$x"]
    assert [t.get_text() for t in layers.get_xticklabels()] == ["[1]", "[2]"]
    points, medians, best = hidden.get_lines()
    np.testing.assert_array_equal(points.get_ydata(), VALUES)
    np.testing.assert_allclose(medians.get_ydata(), [0.3, 0.3, 0.3])  # of 0.1 and 0.5, of 0.3 alone, of 0.2 and 0.4
    assert best.get_xydata().tolist() == [[4, 0.5]]


def test_it_is_written_as_a_picture(tmp_path: Path) -> None:
    assert plot_response(tmp_path / "x.png", SETTINGS, VALUES, metric="a_b$").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("settings", "values", "wrong"),
    [
        ({}, [1.0], "no response to draw"),
        ({"a": [1]}, [np.nan], "no response"),
        ({"a": [1, 2]}, [1.0], "'a' has 2 values"),
    ],
)
def test_nothing_to_draw(settings: Any, values: Any, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(PlotError, match=wrong):
        plot_response(tmp_path / "x.png", settings, values, metric="m")
    assert not list(tmp_path.iterdir())

"""Plots: what reaches the figure, and that files are whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from neuro.analysis import plots
from neuro.analysis.plots import PlotError, error_over_time, plot_comparison, plot_metrics, plot_traces
from neuro.protocols import Recording

DT = 1e-3


def recording(seed: int = 0, steps: int = 50) -> Recording:
    rng = np.random.default_rng(seed)
    spikes = {"hidden": rng.random((3, steps, 12)) < 0.1, "output": rng.random((3, steps, 4)) < 0.1}
    return Recording(
        DT, spikes, {"hidden.v": rng.normal(size=(3, steps, 12)), "output.v": rng.normal(size=(3, steps, 4))}
    )


def flipped(trial: int) -> Recording:
    changed = recording()
    changed.spikes["hidden"][trial, 20:25, 3] ^= True
    changed.traces["hidden.v"][trial, 20:] += 1e-6
    return changed


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    saved: list[Figure] = []
    save = plots.save_figure

    def keep(figure: Figure, path: Any) -> Path:
        saved.append(figure)
        return save(figure, path)

    monkeypatch.setattr(plots, "save_figure", keep)
    return saved


def texts(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    return [item.get_text() for item in figure.findobj(Text) if isinstance(item, Text) and item.get_text()]


def axes(figure: Figure) -> list[Any]:
    return [axis for part in figure.subfigs for axis in part.axes if axis.get_visible()]


def pixels(path: Path) -> Any:
    image = imread(path)
    assert image.ndim == 3 and float(np.std(image[..., :3])) > 0.02  # something is drawn
    return image


def test_comparison_names_the_worst_trial_and_counts_misses(tmp_path: Path, figures: list[Figure]) -> None:
    reference, other = recording(), flipped(2)
    path = plot_comparison(
        tmp_path / "c.png",
        reference,
        {"torch": recording(), "float32": other},
        accuracies={"brian2": 0.9667, "torch": 0.9667, "float32": 0.9639},
        title="digits",
        reference_name="brian2",
    )
    assert path == tmp_path / "c.png" and list(tmp_path.iterdir()) == [path]
    pixels(path)
    shown = texts(figures[0])
    assert "spikes of trial 2 (most differing spikes) against brian2" in shown
    expected, found = reference.spikes["hidden"][2], other.spikes["hidden"][2]
    missed, extra, total = (int(np.sum(r)) for r in (expected & ~found, found & ~expected, expected))
    assert missed + extra == 5
    assert f"float32: {missed} missed, {extra} extra ({total} spikes)" in shown
    assert f"torch: identical ({total} spikes)" in shown
    assert {"96.67 %", "96.39 %", "torch (exactly equal)", "digits"} <= set(shown)


def test_comparison_draws_every_spike_once(tmp_path: Path, figures: list[Figure]) -> None:
    reference, other = recording(), flipped(1)
    plot_comparison(tmp_path / "c.png", reference, {"torch": other}, trial=1)
    panel = axes(figures[0])[0]
    both, missed, extra = (
        {(round(x / (DT * 1e3)), int(y)) for x, y in zip(*line.get_data(), strict=True)} for line in panel.lines
    )
    expected, found = ({(int(k), int(n)) for k, n in np.argwhere(r.spikes["hidden"][1])} for r in (reference, other))
    assert (both, missed, extra) == (expected & found, expected - found, found - expected)
    assert missed | extra == {(k, 3) for k in range(20, 25)}


def test_comparison_draws_the_error_curve(tmp_path: Path, figures: list[Figure]) -> None:
    reference, other = recording(), flipped(0)
    plot_comparison(tmp_path / "c.png", reference, {"torch": other})
    panel = next(axis for axis in axes(figures[0]) if axis.get_title(loc="left") == "hidden.v")
    assert panel.get_yscale() == "log"
    curve = panel.lines[0].get_ydata()
    scale = np.abs(reference.traces["hidden.v"]).max()
    np.testing.assert_allclose(curve[20:], 1e-6 / scale, rtol=1e-6)
    np.testing.assert_array_equal(curve[:20], plots.FLOOR)


def test_error_over_time_marks_nan_and_zero() -> None:
    a, b = np.full((2, 4, 3), -2.0), np.full((2, 4, 3), -2.0)
    b[1, 1, 2], b[0, 2, 0] = -3.0, np.nan
    a[0, 3, 0] = b[0, 3, 0] = np.nan
    np.testing.assert_array_equal(error_over_time(a, b), [0.0, 0.5, np.inf, 0.0])
    np.testing.assert_array_equal(error_over_time(np.zeros((1, 2, 1)), np.array([[[0.0], [1.0]]])), [0.0, np.inf])


def test_nan_is_shaded(tmp_path: Path, figures: list[Figure]) -> None:
    other = recording()
    other.traces["output.v"][1, 30:, 2] = np.nan
    plot_comparison(tmp_path / "c.png", recording(), {"torch": other})
    shaded = {axis.get_title(loc="left"): len(axis.patches) for axis in axes(figures[0])}
    assert shaded["output.v"] == 1 and shaded["hidden.v"] == 0


def test_partial_recordings_can_be_drawn(tmp_path: Path, figures: list[Figure]) -> None:
    only_spikes = Recording(DT, {"hidden": recording().spikes["hidden"]})
    plot_comparison(tmp_path / "a.png", recording(), {"snntorch": only_spikes, "torch": recording()})
    assert "not recorded" in texts(figures[0])
    plot_comparison(tmp_path / "b.png", recording(), {}, accuracies={"torch": 0.5})
    assert "50.00 %" in texts(figures[1])
    pixels(tmp_path / "a.png")
    pixels(tmp_path / "b.png")


def test_metrics(tmp_path: Path, figures: list[Figure]) -> None:
    steps = np.arange(50)
    metrics: dict[str, Any] = {"loss": (steps, np.exp(-steps / 10)), "accuracy": ([0, 10, 20], [0.1, 0.875, np.nan])}
    pixels(plot_metrics(tmp_path / "m.png", metrics, title="run"))
    panels = {axis.get_title(loc="left"): axis for axis in axes(figures[0])}
    assert set(panels) == {"loss", "accuracy"}
    np.testing.assert_array_equal(panels["loss"].lines[0].get_ydata(), np.exp(-steps / 10))
    assert [t.get_text() for t in panels["accuracy"].texts] == ["0.875"]  # the last finite value


def test_traces_show_the_most_active_neurons_at_their_times(tmp_path: Path, figures: list[Figure]) -> None:
    found = recording()
    sampled = Recording(DT, found.spikes, {"hidden.v": found.traces["hidden.v"][:, 4::5]}, every=5)
    pixels(plot_traces(tmp_path / "t.png", sampled, trial=1, units={"hidden.v": "V"}))
    (panel,) = axes(figures[0])
    count = found.spikes["hidden"][1].sum(axis=0)
    shown = [int(line.get_label().split()[1]) for line in panel.lines if line.get_label().startswith("neuron")]
    assert sorted(count[shown]) == sorted(count)[-5:]
    np.testing.assert_allclose(panel.lines[0].get_xdata(), np.arange(4, 50, 5))
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), found.traces["hidden.v"][1, 4::5, shown[0]])
    ticks = [line for line in panel.lines if line.get_marker() == "|"]
    assert [len(line.get_xdata()) for line in ticks] == list(count[shown])
    assert panel.get_ylabel() == "v (V)"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "m.png"
    target.write_bytes(b"old")

    def half(self: Figure, stream: Any, **options: Any) -> None:
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="disk full"):
        plot_metrics(target, {"loss": ([0], [1.0])})
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: plot_comparison(p, recording(), {}), "nothing to compare"),
        (lambda p: plot_comparison(p, recording(), {"torch": recording(steps=49)}), r"\(3, 50, 12\).*\(3, 49, 12\)"),
        (lambda p: plot_comparison(p, recording(), {"torch": Recording(2e-3)}), "'torch' has other time steps"),
        (lambda p: plot_comparison(p, recording(), {"torch": recording()}, trial=3), "trial 3 .* 0 to 2"),
        (lambda p: plot_metrics(p, {}), "no metrics"),
        (lambda p: plot_metrics(p, {"loss": ([1, 2], [1.0])}), r"'loss' has steps of the shape \(2,\)"),
        (lambda p: plot_traces(p, recording(), names=["hidden.w"]), r"no traces \['hidden.w'\].*'hidden.v'"),
        (lambda p: plot_traces(p, recording(), trial=-1), "trial -1 doesn't exist"),
        (lambda p: plot_traces(p, recording(), neurons=[4]), "'output.v' has 4 neurons; there is no neuron 4"),
    ],
)
def test_errors(call: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(PlotError, match=message):
        call(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_heavy_packages_load_late_and_pyplot_never() -> None:
    program = (
        "import sys, neuro.analysis.plots as p, neuro.analysis.comparison\n"
        "heavy = {'matplotlib', 'elephant', 'neo', 'quantities', 'pint', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "import tempfile, pathlib\n"
        "p.plot_metrics(pathlib.Path(tempfile.mkdtemp()) / 'm.png', {'loss': ([0], [1.0])})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    root = Path(plots.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr

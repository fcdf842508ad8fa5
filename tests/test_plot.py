"""neuro.plot: what reaches the axes, its units, and the axes themselves."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuro import Input, Network, Pairs, Population, Projection, Recording, Synapse, library, plot
from neuro.compiler.parameters import values
from neuro.plot import PlotError
from neuro.registry import MissingPackageError

DT, STEPS, EVERY = 1e-3, 60, 2
RNG = np.random.default_rng(5)


def recording() -> Recording:
    spikes = {"E": RNG.random((3, STEPS, 12)) < 0.1, "I": RNG.random((3, STEPS, 4)) < 0.3}
    traces = {
        "E.v": RNG.normal(-0.06, 0.01, (3, STEPS // EVERY, 12)),
        "s.w": RNG.normal(size=(3, STEPS // EVERY, 2, 2)),
    }
    return Recording(DT, spikes, traces, EVERY, units={"E.v": "volt", "s.w": "amp"})


def network() -> Network:
    pulse = Synapse("pulse", "w : amp", on_pre="I_post += w")
    silent = Synapse("silent", on_pre="I_post += 1*nA")
    weights = np.array([0.5, -1.0, 2.0])
    pairs = Projection(
        "pairs",
        "x",
        "E",
        pulse,
        weights=[f"{w} nA" for w in weights] and plot.quantity(weights * 1e-9, "amp"),
        connectivity=Pairs([0, 1, 2], [1, 0, 3]),
    )
    dense = Projection("dense", "x", "E", pulse, weights="1 nA")
    return Network(
        [Population("E", library.get("lif"), 5)], [pairs, dense, Projection("none", "x", "E", silent)], [Input("x", 3)]
    )


@pytest.fixture
def axes() -> Axes:
    found: Axes = Figure().subplots()
    return found


def drawn(axis: Axes) -> list[set[tuple[float, int]]]:
    return [{(round(float(x), 6), int(y)) for x, y in zip(*line.get_data(), strict=True)} for line in axis.lines]


def test_raster_of_one_population(axes: Axes) -> None:
    found = recording()
    assert plot.raster(found, "E", trial=1, axes=axes) is axes
    assert drawn(axes) == [{(round(k * DT * 1e3, 6), int(n)) for k, n in np.argwhere(found.spikes["E"][1])}]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("time (ms)", "cell", "E")
    assert axes.get_xlim() == (0.0, 60.0)


def test_raster_of_chosen_cells_has_their_numbers(axes: Axes) -> None:
    found = recording()
    some = Recording(DT, {"E": found.spikes["E"][:, :, [7, 2]]}, chosen={"E": np.array([7, 2])})
    plot.raster(some, axes=axes)
    assert {n for _, n in drawn(axes)[0]} == {2, 7}


def test_populations_stand_above_each_other(axes: Axes) -> None:
    found = recording()
    plot.raster(found, axes=axes)
    rows = [{n for _, n in points} for points in drawn(axes)]
    assert rows[0] <= set(range(12)) and rows[1] <= set(range(12, 16))
    assert [len(points) for points in drawn(axes)] == [int(found.spikes[n][0].sum()) for n in ("E", "I")]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["E (cells)", "I (cells)"]


@pytest.mark.parametrize(("unit", "scale", "label"), [("", 1e3, "v (mV)"), ("V", 1.0, "v (V)"), ("uV", 1e6, "v (uV)")])
def test_traces_have_units(unit: str, scale: float, label: str, axes: Axes) -> None:
    found = recording()
    assert plot.traces(found, "E.v", cells=[4, 1], trial=2, unit_text=unit, spikes=False, axes=axes) is axes
    assert [line.get_label() for line in axes.lines] == ["neuron 4", "neuron 1"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), found.traces["E.v"][2, :, 4] * scale)
    np.testing.assert_allclose(axes.lines[0].get_xdata(), np.arange(1, STEPS, EVERY) * DT * 1e3)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (ms)", label)


def test_traces_of_synapses_name_both_ends(axes: Axes) -> None:
    plot.traces(recording(), "s.w", cells=[2], axes=axes)
    assert axes.lines[0].get_label() == "synapse 1, 0" and axes.get_ylabel() == "w (nA)"


def test_weights_of_all_to_all_are_a_matrix(axes: Axes) -> None:
    net = network()
    trained = {**values(net), "dense.w": RNG.normal(size=(3, 5)) * 1e-9}
    assert plot.weights(net, "dense", trained, axes=axes) is axes
    (picture,) = axes.images
    np.testing.assert_allclose(picture.get_array(), trained["dense.w"] * 1e9)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("target (cell)", "source (cell)")
    figure = axes.figure
    assert [a.get_ylabel() for a in figure.axes if a is not axes] == ["weight (nA)"]


def test_weights_of_pairs_are_counted(axes: Axes) -> None:
    plot.weights(network(), "pairs", axes=axes)
    assert sum(p.get_height() for p in axes.patches) == 3  # type: ignore[attr-defined]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("weight (nA)", "synapses")


def test_rates_are_those_of_the_raster(axes: Axes) -> None:
    found = recording()
    assert plot.rates(found, width="7 ms", axes=axes) is axes
    for line, (name, cells) in zip(axes.lines, (("E", 12), ("I", 4)), strict=True):
        whole = found.spikes[name][:, : STEPS // 7 * 7].reshape(3, -1, 7, cells)
        np.testing.assert_allclose(line.get_ydata(), whole.sum(axis=(0, 2, 3)) / (3 * cells * 7 * DT))
        np.testing.assert_allclose(line.get_xdata(), np.arange(STEPS // 7) * 7.0)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (ms)", "firing rate (Hz)")


def test_without_axes_the_current_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots()
    try:
        assert plot.rates(recording()) is axis
    finally:
        pyplot.close(figure)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: plot.raster(Recording(DT), axes=a), "no spikes to draw"),
        (lambda a: plot.raster(recording(), "E", trial=3, axes=a), "trial 3 doesn't exist; 'E' has the trials 0 to 2"),
        (lambda a: plot.traces(recording(), "E.v", cells=[12], axes=a), "'E.v' has 12 neurons; there is no neuron 12"),
        (
            lambda a: plot.rates(recording(), width="0.1 ms", axes=a),
            r"width='0.1 ms' is no time from one step \(1 ms\) to the 60",
        ),
        (lambda a: plot.rates(recording(), width="7 mV", axes=a), "width='7 mV': .*write a time"),
        (lambda a: plot.rates(recording(), width=7, axes=a), "write a time"),
        (lambda a: plot.weights(network(), "none", axes=a), "projection 'none' has no weights"),
    ],
)
def test_errors(call: Any, message: str, axes: Axes) -> None:
    with pytest.raises(PlotError, match=message):
        call(axes)
    assert not axes.lines


def test_a_missing_matplotlib_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'twinspike[plots]'")):
        plot.rates(recording())

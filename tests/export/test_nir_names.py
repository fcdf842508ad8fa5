"""Names and clocks of other tools' files: every node gets a legal name that is reported; dt and decays are the caller's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backends
from neuro import quantity
from neuro.checks.common import ModelWarning, check_name
from neuro.export import ForeignFileError
from neuro.export.names import fitted, unused
from neuro.export.nir.importer import import_nir
from neuro.export.nir.lint import undetermined
from tests.export import hostile

POOL = (
    "0",
    "in",
    "if",
    "lif1.lif",
    "class",
    "a b",
    "lambda",
    "x.y",
    "x_y",
    "x__y",
    "_x_y",
    "x-y",
    "é",
    "",
    "x_y_2",
    "None",
    "it's",
)


def written(path: Path, first: str = "input", second: str = "cells", tau: float = 0.02) -> Path:
    one = np.array([1.0])
    lif = nir.LIF(tau=one * tau, r=one, v_leak=0 * one, v_threshold=one * 0.1, v_reset=0 * one)
    nodes = {
        first: nir.Input(np.array([1])),
        "lin": nir.Linear(np.array([[1.0]])),
        second: lif,
        "out": nir.Output(np.array([1])),
    }
    nir.write(str(path), nir.NIRGraph(nodes, [(first, "lin"), ("lin", second), (second, "out")]))
    return path


@given(st.lists(st.sampled_from(POOL) | st.text(max_size=6), unique=True))
def test_all_names_are_legal_distinct_and_depend_on_the_texts_only(texts: list[str]) -> None:
    found = fitted({text: text for text in texts})
    assert len(set(found.values())) == len(texts)
    for text, name in found.items():
        assert not list(check_name(name, ""))
        assert name == text or list(check_name(text, ""))  # what is legal stays


def test_the_nearest_name() -> None:
    near = {
        "if": "if_",
        "0": "n0",
        "lif1.lif": "lif1_lif",
        "a b": "a_b",
        "x__y": "x_y",
        "_x": "x",
        "": "node",
        "é": "node",
    }
    assert {text: unused(text) for text in near} == near
    assert fitted({"x.y": "x.y", "x_y": "x_y", "x-y": "x-y"}) == {"x.y": "x_y_2", "x_y": "x_y", "x-y": "x_y_3"}


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [("in", "if", ("in_", "if_")), ("0", "1", ("n0", "n1")), ("a b", "lambda", ("a_b", "lambda_")), ("x.y", "x_y", ("x_y_2", "x_y")),
     ("it's", "class", ("it_s", "class_"))],
)  # fmt: skip
def test_foreign_names_come_in_and_are_reported(first: str, second: str, names: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "class.nir", first, second)
    with pytest.warns(ModelWarning) as caught:
        network = import_nir(path)
    assert (network.inputs[0].name, network.populations[0].name) == names
    renamed = {a: b for a, b in zip((first, second), names, strict=True) if a != b}
    assert all(f"'{a}' is '{b}'" in str(caught[0].message) for a, b in renamed.items())
    listed = {p.where: p.fix for p in undetermined(path) if p.field == "name"}
    assert listed == {f"node '{a}'": f"the import calls it '{b}'" for a, b in renamed.items()}
    spikes = np.ones((1, 20, 1), bool)
    run = backends.get("reference").compile(network).run(inputs={network.inputs[0].name: spikes})
    assert run.spike_count() >= 0


def test_names_of_projections_meet_no_others(tmp_path: Path) -> None:
    """a -> b_to_c and a_to_b -> c would both be 'a_to_b_to_c', and a node may be called so."""
    one = np.array([1.0])
    cell = {n: nir.LIF(one * 0.02, one, 0 * one, one * 0.1, 0 * one) for n in ("b_to_c", "c", "a_to_b_to_c")}
    ends = {"a": nir.Input(np.array([1])), "a_to_b": nir.Input(np.array([1])), "out": nir.Output(np.array([1]))}
    edges = [("a", "b_to_c"), ("a_to_b", "c"), ("a", "a_to_b_to_c"), ("b_to_c", "out")]
    nir.write(str(tmp_path / "net.nir"), nir.NIRGraph({**ends, **cell}, edges))
    network = import_nir(tmp_path / "net.nir")
    assert len({p.name for p in network.projections}) == 3


def decay(path: Path, **options: Any) -> tuple[float, float]:
    """dt, and what is left of v after a step without input."""
    network = import_nir(path, **options)
    cells = network.populations[0]
    dt, tau = float(network.dt.value), float(cells.neuron.parameters["tau_m"].value)  # type: ignore[union-attr, arg-type]
    return dt, float(np.exp(-dt / tau))


def test_dt_and_time_constants_are_options(tmp_path: Path) -> None:
    path = written(tmp_path / "net.nir")
    tau = 0.02
    for dt in (1e-4, 1e-3, 5e-3):
        for given_dt in (f"{dt * 1e3:g} ms", quantity(dt, "second")):
            np.testing.assert_allclose(decay(path, dt=given_dt), (dt, 1 - dt / tau), rtol=1e-9)
            np.testing.assert_allclose(decay(path, dt=given_dt, time_constants="euler"), (dt, 1 - dt / tau), rtol=1e-9)
            np.testing.assert_allclose(
                decay(path, dt=given_dt, time_constants="exact"), (dt, np.exp(-dt / tau)), rtol=1e-9
            )
    assert decay(path) == decay(path, dt="0.1 ms")
    # sinabs counts in steps: dt is the network's alone
    np.testing.assert_allclose(
        decay(written(tmp_path / "s.nir", tau=5.0), convention="sinabs", dt="2 ms"), (2e-3, np.exp(-1 / 5)), rtol=1e-9
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": "1 mV"}, "dt: '1 mV' is no step of time; give one like '0.1 ms'"),
        ({"dt": "-1 ms"}, "is no step of time"),
        ({"dt": 1e-3}, "dt: 0.001 is no step of time"),
        ({"dt": "fast"}, "is no step of time"),
        ({"time_constants": "rk4"}, "time_constants: 'rk4' is neither 'exact' nor 'euler'"),
        (
            {"dt": "50 ms"},
            r"NIR keeps no dt; give the file's own, import_nir\(path, dt='1 us'\), or time_constants='exact'",
        ),
    ],
)
def test_wrong_clocks_are_named(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ForeignFileError, match=message):
        import_nir(written(tmp_path / "net.nir"), **options)


def test_our_own_files_have_a_clock(tmp_path: Path) -> None:
    path = hostile.whole(tmp_path / "net.nir")
    for options in ({"dt": "1 ms"}, {"time_constants": "exact"}):
        with pytest.raises(ForeignFileError, match=r"it says dt = 0.001 s .* leave `dt` and `time_constants` out"):
            import_nir(path, **options)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import_nir(path)

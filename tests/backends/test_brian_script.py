"""Networks as Brian2 scripts: they run by themselves, give the reference's spikes, and look as somebody would write them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import backends
from backends.brian.export.expressions import array_text, plain, quantity_text
from backends.brian.export.script import _FUNCTIONS, BrianScript, to_brian2_script
from backends.brian.functions import FUNCTIONS
from neuro import Input, Network, Neuron, Population, Projection, RunError, Synapse, UnsupportedError, quantity
from neuro.checks.common import reserved_problem
from neuro.language import counts
from neuro.language.units import unit
from neuro.protocols import Recording
from twinspike.fuzzing.oracles.script import ran, recording_of

from .networks import LIF, NOISY, drive, networks

pytest.importorskip("brian2")

STEPS = 150
NETWORKS = networks()


def both(
    network: Network, folder: Path, record: tuple[str, ...] = (), **options: object
) -> tuple[Recording, Recording, BrianScript]:
    """The reference's run, the script's, and the script."""
    given = {"inputs": drive(network, batch=1, steps=STEPS), "record": record, "steps": STEPS, **options}
    wanted = backends.get("reference").compile(network).run(**given)
    script = to_brian2_script(network, **given)  # type: ignore[arg-type]
    return wanted, recording_of(script, ran(script, folder), wanted), script


@pytest.mark.parametrize("name", NETWORKS)
def test_scripts_give_the_references_spikes_and_traces(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    cells = network.populations[0]
    record = tuple(f"{cells.name}.{n}" for n in (*cells.neuron.scope.states, *cells.neuron.scope.inputs))
    wanted, found, _ = both(network, tmp_path, record)
    for population, raster in wanted.spikes.items():
        assert raster.sum() > 30
        np.testing.assert_array_equal(found.spikes[population], raster)
    assert {*found.traces} == {*record}
    for variable, trace in found.traces.items():
        np.testing.assert_allclose(
            trace, wanted.traces[variable], rtol=1e-9, atol=1e-9 * np.abs(wanted.traces[variable]).max()
        )


@pytest.mark.parametrize("place", ["refractory", "threshold", "reset", "regularly"])
def test_a_script_brings_the_functions_of_every_text(place: str, tmp_path: Path) -> None:
    """A period counts whole steps, and Brian2's int() is not ours."""
    texts = {
        "refractory": {"refractory": "int(1.7 + i)*ms"},
        "threshold": {"threshold": "v > 0.5*int(1.7 + i)"},
        "reset": {"reset": "v = 0.1*int(1.7 + i)"},
        "regularly": {"regularly": {"1 ms": "v += 0.1*int(1.7 + i)"}},
    }
    known = {"threshold": "v > 1", "reset": "v = 0", "method": "euler"}
    neuron = Neuron("n", "dv/dt = (3 - v)/(5*ms) : 1", **{**known, **texts[place]})  # type: ignore[arg-type]
    wanted, found, _ = both(Network([Population("cells", neuron, 3)], dt="0.1 ms"), tmp_path)
    assert wanted.spikes["cells"].sum() > 5
    np.testing.assert_array_equal(found.spikes["cells"], wanted.spikes["cells"])


def test_a_script_runs_by_itself(tmp_path: Path) -> None:
    network = NETWORKS["conductance"]
    wanted, _, script = both(network, tmp_path)
    path, data = script.write(tmp_path / "conductance.py")
    assert data.name == "conductance.npz"
    found = subprocess.run(
        [sys.executable, path], check=True, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}
    )  # fmt: skip
    assert f"cells: {int(wanted.spikes['cells'].sum())} spikes" in found.stdout


def test_a_small_network_needs_no_file_and_reads_as_it_was_written(tmp_path: Path) -> None:
    cells = Population("cells", replace(LIF, refractory=quantity("2 ms")), 3, {"tau_m": quantity([5, 8, 10], "ms")})
    network = Network(
        (cells,), (), (Input("drive", 3, "drive", "cells.v", "5 kHz", "1 mV"),), dt="0.1 ms", name="small"
    )
    _, _, script = both(network, tmp_path)
    for line in (
        'cells = NeuronGroup(3, """',
        "    dv/dt = (E_L - v + R*I)/tau_m : volt (unless refractory)",
        'threshold="v > v_th", reset="v = E_L", refractory=2*ms, method="exact"',
        "cells.tau_m = [5, 8, 10]*ms",
        "cells.v = -70*mV",
        "defaultclock.dt = 0.1*ms",
        "network.run(150*defaultclock.dt)",
    ):
        assert line in script.text
    assert [*script.arrays] == ["values_of_drive"]  # the drive's counts
    plainly = Network((cells,), (), (), dt="0.1 ms")
    assert not to_brian2_script(plainly, steps=10).arrays
    assert to_brian2_script(plainly, steps=10).write(tmp_path / "plain.py") == (tmp_path / "plain.py",)


def test_trained_numbers_and_trials(tmp_path: Path) -> None:
    network = replace(NETWORKS["noise"], inputs=(Input("x", 7, "poisson", rate="200 Hz"),))
    parameters = {"feed.w": np.random.default_rng(1).normal(1.5e-9, 3e-10, (7, 5)), "cells.sigma": 0.006}
    for trial in (0, 3):
        wanted, found, _ = both(network, tmp_path, parameters=parameters, trial=trial)
        assert wanted.spikes["cells"].sum() > 100
        np.testing.assert_array_equal(found.spikes["cells"], wanted.spikes["cells"])


def test_names_that_brian2_python_or_the_script_keep(tmp_path: Path) -> None:
    neuron = Neuron(
        "n", "dself/dt = (source - self)/next_a : 1\ndlastupdate/dt = -lastupdate/(5*ms) : 1\nsource : 1", "self > 0.5", "self = 0",
        parameters={"next_a": "10 ms"},
    )  # fmt: skip
    synapse = Synapse(
        "s", "w : 1\ndz/dt = -z/self_ : 1", on_pre="source_post += w*(1 + z)\nz += 0.1", parameters={"self_": "9 ms"}
    )
    cells = (Population("second", neuron, 3), Population("np", neuron, 2))
    links = (Projection("print", "x", "second", synapse, 6.0), Projection("data", "second", "np", synapse, 9.0))
    network = Network(cells, links, (Input("x", 4),), dt="1 ms")
    wanted, found, script = both(network, tmp_path)
    assert all(raster.sum() > 30 for raster in wanted.spikes.values())
    for name, raster in wanted.spikes.items():
        np.testing.assert_array_equal(found.spikes[name], raster)
    assert "`second` is called `second2`." in script.text
    assert "`second.self` is called `self_2`." in script.text


def test_states_that_sympy_takes_for_something_else(tmp_path: Path) -> None:
    """Brian2's exact method hands sympy the names of states as text, which makes of `I` a complex number and of `E` Euler's."""
    neuron = Neuron(
        "n", "dE/dt = (I - E)/tau : 1\ndI/dt = -I/(4*ms) : 1", "E > 0.5", "E = 0", parameters={"tau": "10 ms"}, method="exact"
    )  # fmt: skip
    synapse = Synapse("s", "w : 1", on_pre="I_post += w")
    network = Network(
        (Population("cells", neuron, 3),), (Projection("p", "x", "cells", synapse, 0.7),), (Input("x", 4),), dt="1 ms"
    )  # fmt: skip
    wanted, found, _ = both(network, tmp_path)
    assert wanted.spikes["cells"].sum() > 30
    np.testing.assert_array_equal(found.spikes["cells"], wanted.spikes["cells"])


def test_heun_gets_the_noise_that_is_given(tmp_path: Path) -> None:
    """Brian2's would draw it, and takes a given number for a constant of the step; the steps are written out."""
    text = "dv/dt = (E_L - v + R*I)/tau_m + (2*mV + 0.3*abs(v - E_L))*sqrt(2/tau_m)*xi : volt\nI : amp"
    neuron = replace(NOISY, equations=text, method="heun")
    network = replace(NETWORKS["noise"], populations=(Population("cells", neuron, 5),))
    wanted, found, script = both(network, tmp_path, ("cells.v",))
    assert "def steps_of_cells(equations" in script.text
    assert wanted.spikes["cells"].sum() > 100
    np.testing.assert_array_equal(found.spikes["cells"], wanted.spikes["cells"])
    np.testing.assert_allclose(found.traces["cells.v"], wanted.traces["cells.v"], rtol=1e-9)


def test_counts_that_follow_a_mean(tmp_path: Path) -> None:
    neuron = replace(LIF, every_step="v += poisson(2 + v/(-35*mV))*mV", method="euler")
    network = replace(NETWORKS["feed-forward"], populations=(Population("cells", neuron, 5),))
    wanted, found, script = both(network, tmp_path)
    assert "def poisson(mean" in script.text
    assert wanted.spikes["cells"].sum() > 100
    np.testing.assert_array_equal(found.spikes["cells"], wanted.spikes["cells"])


def test_a_networks_name_is_no_code(tmp_path: Path) -> None:
    network = replace(NETWORKS["delay"], name='a"""\nraise SystemExit\n"""')
    _, found, script = both(network, tmp_path)
    assert "raise SystemExit" in script.text.splitlines()[0]
    assert found.spikes["cells"].any()


def test_what_a_script_cannot_say_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="method 'rosenbrock'"):
        stiff = replace(LIF, method="rosenbrock")
        to_brian2_script(Network((Population("cells", stiff, 2),), dt="1 ms"), steps=5)
    given = drive(NETWORKS["delay"], batch=2, steps=10)
    with pytest.raises(RunError, match="a script has one trial, and the inputs are of 2"):
        to_brian2_script(NETWORKS["delay"], inputs=given)
    with pytest.raises(RunError, match="input 'x' is missing"):
        to_brian2_script(NETWORKS["delay"], steps=10)


def test_functions_of_ours_are_the_same_in_a_script() -> None:
    x, y = np.array([-2.5, -0.0, 0.3, 7.0]), np.array([2.0, -1.5, 0.7, 3.0])
    for name, text in _FUNCTIONS.items():
        function, arguments, *_ = eval(f"({text.replace('plain=True', 'True')})", {"np": np, "poisson": counts.poisson})
        given = (x > 0,) if name == "truth_of" else (x, y)[:arguments]
        np.testing.assert_array_equal(function(*given), FUNCTIONS[name].pyfunc(*given))


@pytest.mark.parametrize(
    ("value", "of", "text"),
    [
        (0.02, "second", "20*ms"), (-0.07, "volt", "-70*mV"), (1e8, "ohm", "100*Mohm"), (0.0, "volt", "0*volt"),
        (0.1 + 0.2, "1", "0.30000000000000004"), (1 / 3, "second", "0.3333333333333333*second"), (np.inf, "volt", "inf*volt"),
        (3 * 1e-9, "siemens", "3*nS"), (50.0, "hertz", "50*hertz"), (0.01, "siemens/meter**2", "0.01*siemens/meter**2"),
    ],
)  # fmt: skip
def test_numbers_are_short_and_exact(value: float, of: str, text: str) -> None:
    assert quantity_text(value, unit(of).dimension) == text


def test_arrays_are_short_and_exact() -> None:
    assert array_text(np.array([0.005, 0.008]), unit("second").dimension) == "[5, 8]*ms"
    assert array_text(np.array([1 / 3, 2.0]), unit("1").dimension) == "[0.3333333333333333, 2]"


def test_forms_become_brian2s_own_functions_where_numpy_computes_the_same() -> None:
    assert plain("w = minimum_of(maximum_of(w, 0), 1)") == "w = clip(w, 0, 1)"
    assert plain("exponential_of(magnitude_of(x))", "euler") == "exp(magnitude_of(x))"
    assert plain("x += exponential_of(magnitude_of(x))*sign_of(y)") == "x += exp(abs(x))*sign(y)"
    assert (
        plain("exponential_of(a + b)", "exponential_euler") == "exponential_of(a + b)"
    )  # which sympy would multiply out


def names_of_the_code(method: str, folder: Path) -> set[str]:
    """What Brian2's code for a script calls things, without the `_` before it, as far as a user may."""
    found: set[str] = set()
    names = ran(to_brian2_script(hostile(method, ["a", "b"]), steps=2), folder)
    for item in {o for n in names["network"].objects for o in (n, *n.contained_objects)}:
        for made in item._code_objects:
            compiled = made.compiled_code["run"]
            found |= {*made.namespace, *(compiled.co_names if compiled else ())}
    return {n for n in {n.strip("_") for n in found} if n.isidentifier() and reserved_problem(n) is None and n != "w"}


METHODS = ("euler", "exponential_euler", "exact")


def hostile(method: str, names: list[str]) -> Network:
    """A network whose states have these names, in cells and in synapses."""
    cell = Neuron(
        "n", "\n".join(f"d{n}/dt = (1.5 - {n})/(5*ms) : 1" for n in names), f"{names[0]} > 1",
        "\n".join(f"{n} = 0" for n in names), method=method,
    )  # fmt: skip
    heard = Neuron("h", "dlevel/dt = -level/(9*ms) : 1", "level > 1", "level = 0", method=method)
    lines = [f"d{n}/dt = -{n}/(9*ms) : 1 (event-driven)" for n in names]
    text = "\n".join(f"{n} += 0.1" for n in names)
    synapse = Synapse(
        "s", "\n".join(("w : 1", *lines)), on_pre=f"level_post += w*(1 + {'+'.join(names)})\n{text}", on_post=text
    )
    return Network(
        (Population("cells", cell, 3), Population("ears", heard, 4)), (Projection("p", "cells", "ears", synapse, 0.3),), dt="1 ms"
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_no_name_meets_one_of_the_code_that_brian2_makes(method: str, tmp_path: Path) -> None:
    found = names_of_the_code(method, tmp_path)
    assert {"numpy", "idx", "queue", "spiking_synapses", "array_cells_a"} <= found
    known = names_of_the_code("euler", tmp_path) if method != "euler" else set()
    names = sorted({*found - known, "owner", "variables", "eventspace_variable"})  # those of no method's own once
    for start in range(0, len(names), 10):
        wanted, recording, _ = both(hostile(method, names[start : start + 10]), tmp_path)
        for name, raster in wanted.spikes.items():
            assert raster.sum() > 10
            np.testing.assert_array_equal(recording.spikes[name], raster)

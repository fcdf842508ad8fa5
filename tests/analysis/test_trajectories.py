"""What a recording, its clock, parameters and inputs must be for exponents: taken from the run itself, or refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import (
    AllToAll,
    Input,
    Network,
    Neuron,
    Normal,
    Population,
    Projection,
    Recording,
    Synapse,
    library,
    quantity,
)
from neuro.analysis import lyapunov
from neuro.analysis.lyapunov import LyapunovError
from tests.analysis.test_lyapunov import SENT, alone, rates, recorded

pytestmark = pytest.mark.filterwarnings("ignore:.*is coarse for tau")
UNIT = Neuron("u", "dx/dt = (-x + z)/tau : 1\nz : 1", parameters={"tau": "10 ms"}, initial={"x": "1"}, method="euler")
TIMED = Synapse("timed", "w : 1", transmits="w*x_pre*sin(t*20*Hz)", target="z")
FIRING = Neuron(
    "f", "dv/dt = (-v + 1.2)/tau : 1", threshold="v > 1 + 0.5*sin(t*20*Hz)", reset="v -= 1", parameters={"tau": "10 ms"}
)
NOISY = Neuron(
    "n", "dx/dt = -x/tau + 0.5*x*xi*tau**-0.5 : 1", parameters={"tau": "10 ms"}, initial={"x": "1"}, method="heun"
)


def clocked() -> dict[str, tuple[Network, dict[str, Any]]]:
    loop = Projection("l", "c", "c", TIMED, quantity(1.0, ""), AllToAll())
    coupled = Network((Population("c", UNIT, 1),), (loop,), dt="1 ms")
    return {
        "coupling": (coupled, {}),
        "threshold": (alone(FIRING, "1 ms"), {"surrogate": "fast_sigmoid", "resets": "attached"}),
        "noise": (alone(NOISY, "1 ms"), {}),
    }


@pytest.mark.parametrize("what", clocked())
def test_a_run_that_goes_on_has_its_own_clock(what: str) -> None:
    network, options = clocked()[what]
    program = backends.get("reference").compile(network)
    record = lyapunov.needed(network)
    whole = program.run(record=record, steps=200)
    part = program.run(record=record, steps=100, state=program.run(steps=100).state)
    a = lyapunov.spectrum(network, whole, 1, transient=101, **options).growth
    b = lyapunov.spectrum(network, part, 1, transient=1, **options).growth
    assert b == pytest.approx(a, abs=1e-9)
    loose = Recording(part.dt, part.spikes, part.traces)  # as a part of a file is: it knows no step
    with pytest.raises(LyapunovError, match="give first=0, trial=0"):
        lyapunov.spectrum(network, loose, 1, **options)
    told = lyapunov.spectrum(network, loose, 1, transient=1, first=100, trial=0, **options).growth
    assert told == pytest.approx(b, abs=1e-12)
    with pytest.raises(LyapunovError, match="first=3, and the recording's own is 100"):
        lyapunov.spectrum(network, part, 1, first=3, **options)


def test_trials_are_those_of_the_recording() -> None:
    network = alone(NOISY, "1 ms")
    found = backends.get("reference").compile(network).run(record=lyapunov.needed(network), steps=100, trial=3)
    x = found.traces["c.x"][0, :, 0]
    assert lyapunov.spectrum(network, found, 1, transient=1).per_step[0] == pytest.approx(np.log(x[-1] / x[0]) / 99)


def test_what_does_not_fit_is_named() -> None:
    network = rates(1.0, 5)
    found = recorded(network, 60)
    for change, message in (
        ({"parameters": {"loop.W": 1}}, "there is no parameter 'loop.W'; did you mean 'loop.w'"),
        ({"parameters": {"loop.w": 1.0}}, r"'loop.w' must be finite numbers of the shape \(5, 5\)"),
        ({"parameters": {"c.tau": "20 mV"}}, "its unit is ms"),
        ({"inputs": {"drive": 1}}, "there is no input 'drive'"),
        ({"transient": -5}, "transient=-5; give a whole number from 0 on"),
        ({"every": 1.5}, "every=1.5"),
        ({"seed": -1}, "seed=-1"),
    ):
        with pytest.raises(LyapunovError, match=message):
            lyapunov.spectrum(network, found, 1, **change)
    with pytest.raises(Exception, match="resets 'bogus'; use one of detached"):
        lyapunov.spectrum(network, found, 1, resets="bogus")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="surrogate 'bogus'"):
        lyapunov.spectrum(network, found, 1, surrogate="bogus")
    with pytest.raises(LyapunovError, match=r"steps of 0.01 s, the network of 0.001 s"):
        lyapunov.spectrum(replace(network, dt=quantity("1 ms")), found, 1)
    with pytest.raises(LyapunovError, match=r"'c.x' has the shape \(1, 60, 5\); give \(1, 60, 6\)"):
        lyapunov.spectrum(rates(1.0, 6), found, 1)
    with pytest.raises(LyapunovError, match="no state that could change"):
        lyapunov.spectrum(alone(Neuron("r", "r = 1.0 : 1"), "1 ms"), found, 1)


def test_trials_of_unequal_length_are_not_joined() -> None:
    with pytest.raises(LyapunovError, match="the inputs have 5, 6 steps a trial"):
        lyapunov.in_sequence({"a": np.zeros((2, 5, 1)), "b": np.zeros((2, 6, 1))}, 2)


def test_quantities_are_taken_as_the_run_takes_them() -> None:
    network = rates(1.0, 5, leak=0.2)
    program = backends.get("native").compile(network, dtype="float64")
    slow: dict[str, Any] = {"c.tau": "20 ms"}
    found = program.run(slow, record=lyapunov.needed(network), steps=60)
    a, b = (lyapunov.spectrum(network, found, 2, parameters=p).per_step for p in (slow, {"c.tau": np.float64(0.02)}))
    assert a == pytest.approx(b)


def test_directions_lost_between_orthonormalisations_are_no_exponents() -> None:
    stiff = Neuron("s", "dx/dt = -x/(10*ms) : 1\ndy/dt = -y/(166*us) : 1", method="exact", initial={"x": "1", "y": "1"})
    network = alone(stiff, "1 ms")
    found = recorded(network, 100)
    assert lyapunov.spectrum(network, found, 2).per_step == pytest.approx([-0.1, -1 / 0.166], rel=1e-3)
    with pytest.raises(LyapunovError, match="every=7: a direction is lost in rounding"):
        lyapunov.spectrum(network, found, 2, every=7)


def test_two_runs_in_any_unit_and_in_double_precision_alone() -> None:
    small = Neuron(
        "small", "dx/dt = (-x + z)/tau : amp\nz : amp\nr = tanh(x/s) : 1", parameters={"tau": "10 ms", "s": "1 pA"},
        method="euler",
    )  # fmt: skip
    sent = replace(SENT, equations="w : amp")
    start = {"x": Normal(quantity("0.5 pA"), quantity("0.3 pA"))}
    loop = Projection("l", "c", "c", sent, Normal(quantity("0 pA"), quantity(3 / np.sqrt(40), "pA")), AllToAll())
    network = Network((Population("c", small, 40, initial=start),), (loop,), dt="10 ms")
    program = backends.get("native").compile(network, dtype="float64")
    found = lyapunov.spectrum(network, recorded(network, 800), 1).per_step[0]
    assert lyapunov.benettin(program, 800).per_step[0] == pytest.approx(found, abs=5e-3)
    with pytest.raises(LyapunovError, match="lost in float32"):
        lyapunov.benettin(backends.get("native").compile(network, dtype="float32"), 800)
    with pytest.raises(LyapunovError, match="size=0"):
        lyapunov.benettin(program, 800, size=0)
    with pytest.raises(LyapunovError, match="no state that could"):
        lyapunov.benettin(backends.get("native").compile(alone(Neuron("r", "r = 1.0 : 1"), "1 ms"), dtype="float64"), 9)


def test_misspelt_spikes_are_not_drawn_instead() -> None:
    feed = Projection("feed", "noise", "c", library.get("pulse"), quantity("1 nA"))
    cells = Population("c", library.get("leaky_integrator"), 1)
    network = Network((cells,), (feed,), (Input("noise", 1, "poisson", rate="5 Hz"),), dt="1 ms")
    with pytest.raises(LyapunovError, match="no input 'niose'; did you mean 'noise'"):
        lyapunov.spectrum(network, recorded(network, 50), 1, inputs={"niose": np.zeros((1, 50, 1), bool)})

"""Couplings at every stage: the order of a network's integration, its gradients, Brian2's own integration of the same equations, and
what can't be integrated so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import backends
from neuro import Input, ModelError, Network, Neuron, Population, Projection, Synapse, UnsupportedError, learning, lower
from neuro.analysis import energy
from neuro.compiler.semantics import semantics
from neuro.composition import compose
from neuro.export import targets
from neuro.export.lint import lint
from neuro.io.serialisation import from_json, to_json
from neuro.protocols import Recording
from twinspike.fuzzing.unrolled import unrolled

Array = np.ndarray
SIZE, TAU = 5, 10e-3
WEIGHTS = np.random.default_rng(3).normal(0, 1.4, (SIZE, SIZE))
GAINS = np.random.default_rng(4).normal(0, 1, (SIZE, 2))
RATE = Neuron(
    "rate", "dx/dt = (-x + tanh(z) + 0.3*sin(40*t/second))/tau : 1\nz : 1", parameters={"tau": "10 ms"}, method="rk4"
)
UNIT = Neuron("unit", "y = sigmoid(z) : 1\nz : 1")
SENDS = Synapse("sends", "w : 1", transmits="w*tanh(x_pre)", target="z")
FEEDS = Synapse("feeds", "w : 1", transmits="w*x_pre", target="z")
RETURNS = Synapse("returns", "w : 1", transmits="w*y_pre*(1 - x_post)", target="z")


def recurrent(method: str = "rk4", dt: str = "1 ms", couplings: str = "stages") -> Network:
    """Rates that act on each other at once and through units without states, and on which a current acts."""
    cells = Population("cells", replace(RATE, method=method), SIZE, initial={"x": np.linspace(-1, 1, SIZE)})
    projections = (
        Projection("loop", "cells", "cells", SENDS, weights=WEIGHTS),
        Projection("out", "cells", "units", FEEDS, weights=GAINS),
        Projection("back", "units", "cells", RETURNS, weights=GAINS.T),
    )
    return Network(
        (cells, Population("units", UNIT, 2)), projections, (Input("drive", 1, "current", "cells.z"),), dt=dt, couplings=couplings
    )  # fmt: skip


def slope(t: float, x: Array) -> Array:
    """The same by hand."""
    y = 1 / (1 + np.exp(-x @ GAINS))
    z = 0.4 + np.tanh(x) @ WEIGHTS + (1 - x) * (y @ GAINS.T)
    return (-x + np.tanh(z) + 0.3 * np.sin(40 * t)) / TAU


def final(network: Network, steps: int, backend: str) -> Array:
    program = backends.get(backend).compile(network)
    found = program.run(inputs={"drive": np.full((1, steps, 1), 0.4)}, record=["cells.x"], every=steps)
    return found.traces["cells.x"][0, -1]


@pytest.mark.parametrize(
    ("method", "couplings", "order"), [("rk2", "stages", 2), ("rk4", "stages", 4), ("rk4", "step", 1)]
)
@pytest.mark.parametrize("backend", ["reference", "native", "torch"])
def test_order_of_convergence(backend: str, method: str, couplings: str, order: int) -> None:
    solved = solve_ivp(slope, (0, 0.02), np.linspace(-1, 1, SIZE), method="DOP853", rtol=1e-13, atol=1e-15)
    true, errors, dts = solved.y[:, -1], [], [1.0 / 2**k for k in range(4)]
    for k, dt in enumerate(dts):
        errors.append(np.abs(final(recurrent(method, f"{dt} ms", couplings), 20 * 2**k, backend) - true).max())
    assert np.polyfit(np.log(dts), np.log(errors), 1)[0] == pytest.approx(order, abs=0.25), errors


def test_brian2_agrees_where_the_network_is_one_cell() -> None:
    network = recurrent()
    whole = unrolled(network)
    assert whole is not None
    given, record = {"drive": np.random.default_rng(0).normal(0, 1, (2, 40, 1))}, ["cells.x"]
    wanted = backends.get("reference").compile(network).run(inputs=given, record=record)
    found = whole.run(backends.get("brian2").compile(whole.network), given, 40, 2)
    assert np.ptp(found.traces["cells.x"]) > 0.5
    assert np.abs(found.traces["cells.x"] - wanted.traces["cells.x"]).max() < 1e-12


def test_gradients_are_those_of_the_whole_step() -> None:
    network, wrt = recurrent("rk4", "2 ms"), ["loop.w", "out.w", "back.w", "cells.tau"]
    given = {"drive": np.full((1, 12, 1), 0.4)}

    def loss(signals: Any) -> Any:
        return (signals.traces["cells.x"] ** 2).sum() + 0.3 * signals.traces["cells.z"].sum()

    found = {}
    for backend in ("native", "torch"):
        program = backends.get(backend).compile(network)
        found[backend] = program.value_and_grad(loss, None, given, wrt, ["cells.x", "cells.z"])[1]
    program, step = backends.get("reference").compile(network), 1e-6
    for name in wrt:
        assert np.allclose(found["native"][name], found["torch"][name], rtol=1e-10, atol=1e-12)
        value = {"loop.w": WEIGHTS, "out.w": GAINS, "back.w": GAINS.T, "cells.tau": np.asarray(TAU)}[name]
        direction = np.random.default_rng(1).normal(0, 1, value.shape) * (TAU if name == "cells.tau" else 1)
        ends = [
            float(loss(program.run({name: value + s * step * direction}, given, ["cells.x", "cells.z"])))
            for s in (1, -1)
        ]
        slope_along = (ends[0] - ends[1]) / (2 * step)
        assert float((found["torch"][name] * direction).sum()) == pytest.approx(slope_along, rel=1e-6)


def test_one_way_couplings_and_spiking_cells_go_through_stages_too() -> None:
    spiking = Neuron(
        "spiking", "dv/dt = (-v + 1.3 + s)/(8*ms) : 1\ns : 1", threshold="v > 1", reset="v = 0", method="rk4"
    )
    network = Network(
        (Population("a", RATE, 3, initial={"x": [0.5, 1, -1]}), Population("b", spiking, 2)),
        (Projection("p", "a", "b", Synapse("g", "w : 1", transmits="w*x_pre", target="s"), weights=0.4),),
        dt="0.5 ms", couplings="stages",
    )  # fmt: skip
    runs = [
        backends.get(b).compile(network).run(steps=200, record=["b.v", "b.s"]) for b in ("reference", "native", "torch")
    ]
    assert runs[0].spike_count() >= 20
    for other in runs[1:]:
        assert np.array_equal(runs[0].spikes["b"], other.spikes["b"])
        assert all(np.allclose(runs[0].traces[n], other.traces[n], rtol=1e-11, atol=1e-12) for n in runs[0].traces)


def test_a_network_without_graded_synapses_is_the_same_either_way() -> None:
    cells = Population("cells", replace(RATE, method="euler"), 2)
    steps = [str(lower(Network((cells,), couplings=c))) for c in ("step", "stages")]
    assert steps[0] == steps[1] and "stage" not in steps[0]


def test_the_option_is_kept_recorded_and_shown() -> None:
    network = recurrent()
    assert from_json(to_json(network)) == network and "couplings at every stage" in str(network)
    assert semantics(network).differences(semantics(recurrent(couplings="step"))) == ("couplings",)
    assert compose({"a": network, "b": network}).couplings == "stages"


def refusal(action: Any) -> str:
    with pytest.raises((ModelError, UnsupportedError, energy.EnergyError)) as error:
        action()
    return str(error.value)


def test_what_has_no_stages_is_refused() -> None:
    network = recurrent()
    for change, why in (
        ({"method": "euler"}, "'euler' has no stages"),
        ({"method": "rosenbrock"}, "'rosenbrock' has no stages"),
    ):
        cells = replace(network.populations[0], neuron=replace(RATE, **change))  # type: ignore[arg-type]
        text = refusal(lambda c=cells: replace(network, populations=(c, network.populations[1])))
        assert why in text and "population 'cells'" in text
    other = Population("other", replace(RATE, method="rk2"), 2)
    link = Projection("link", "cells", "other", SENDS, weights=1.0)
    populations, projections = (*network.populations, other), (*network.projections, link)
    text = refusal(lambda: replace(network, populations=populations, projections=projections))
    assert "population 'other'" in text and "'cells' is integrated by 'rk4'" in text
    filtered = Synapse("filtered", "w : 1\nds/dt = (x_pre - s)/(5*ms) : 1", transmits="w*s", target="z")
    text = refusal(lambda: replace(network, projections=(Projection("f", "cells", "cells", filtered, weights=1.0),)))
    assert "projection 'f'" in text and "it sends s" in text
    frozen = Neuron(
        "frozen", "dx/dt = (1.2 - x + z)/(9*ms) : 1 (unless refractory)\nz : 1", "x > 1", "x = 0", refractory="2 ms", method="rk4"
    )  # fmt: skip
    loop = (Projection("loop", "cells", "cells", SENDS, weights=0.1),)
    text = refusal(lambda: Network((Population("cells", frozen, 2),), loop, couplings="stages"))
    assert "a refractory cell keeps x between stages" in text
    assert "use 'step' or 'stages'" in refusal(lambda: replace(network, couplings="each stage"))
    assert "different couplings" in refusal(lambda: compose({"a": network, "b": recurrent(couplings="step")}))


def test_what_reads_one_step_as_one_sum_is_refused_by_name() -> None:
    network = recurrent()
    assert "populations units, cells: couplings='stages'" in refusal(lambda: backends.get("brian2").compile(network))
    rule = learning.get("rtrl")
    assert "every stage of a step" in refusal(lambda: rule.check_network(network, "cells"))
    silent = Recording(1e-3, traces={"cells.x": np.zeros((1, 3, SIZE))})
    assert "sums at every stage aren't counted" in refusal(lambda: energy.measure(network, silent, {}))
    assert "couplings='stages'" in refusal(lambda: lower(network).jacobian("cells"))
    for name in ("nir", "loihi2"):
        problems = lint(network, targets.get(name).profile)
        assert any("stages" in str(p) for p in problems), problems

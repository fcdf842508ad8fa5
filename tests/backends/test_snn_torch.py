"""snntorch's modules against the interpreter, and a refusal for everything that they can't honour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import snntorch
import torch

import backends
from backends.reference import ReferenceBackend
from backends.snn_torch import SnnTorchBackend
from neuro import (
    Input,
    Network,
    Neuron,
    Normal,
    Population,
    Probability,
    Projection,
    RunError,
    Synapse,
    UnsupportedError,
    library,
    quantity,
)
from neuro.analysis.comparison import compare, localise
from neuro.compiler.parameters import parameters
from tests.backends.networks import DELTA, GRADED, LIF, PULSE, RATE, STDP, drive, networks

STEPS = 300
SOFT = replace(
    library.get("leaky_integrator"),
    name="soft",
    threshold="v > v_th",
    reset="v -= v_th",
    parameters={"R": "100 Mohm", "tau_m": "20 ms", "v_th": "50 mV"},
)
CURRENT = library.get("exponential_current")
WEAK = Normal(quantity("0.3 nA"), quantity("0.3 nA"))


def one(neuron: Neuron = LIF, synapse: Synapse = PULSE, weights: object = WEAK, **options: object) -> Network:
    """7 channels -> 5 cells."""
    feed = Projection("feed", "x", "cells", synapse, weights, **options)  # type: ignore[arg-type]
    return Network((Population("cells", neuron, 5),), (feed,), (Input("x", 7),), dt="1 ms", seed=3)


def two(neuron: Neuron, synapse: Synapse, loop: bool, readout: bool = True) -> Network:
    """12 channels -> 20 cells (recurrent) -> 6 cells -> 3 leaky readouts."""
    sizes = {"x": 12, "hidden": 20, "second": 6, "leaky": 3}
    cells = [Population("hidden", neuron, 20), Population("second", neuron, 6)]
    pairs = [("x", "hidden"), ("hidden", "second")] + [("hidden", "hidden")] * loop
    if readout:
        cells.append(Population("leaky", library.get("leaky_integrator"), 3))
        pairs.append(("second", "leaky"))
    projections = []
    scale = 1.0 if synapse is PULSE else 0.25  # a current that stays for 5 steps
    for pre, post in pairs:
        mean = -0.1 if pre == post else 0.15
        drawn = np.random.default_rng(len(projections)).normal(mean, 0.3, (sizes[pre], sizes[post]))
        weights = quantity(scale * drawn, "nA")
        projections.append(Projection(f"{pre}_{post}", pre, post, PULSE if post == "leaky" else synapse, weights))
    return Network(tuple(cells), tuple(projections), (Input("x", 12),), dt="1 ms", seed=3)


EULER_CUBA = replace(library.get("cuba_lif"), method="euler")
EXACT = {
    "feed-forward": two(LIF, PULSE, False),
    "recurrent": two(LIF, PULSE, True),
    "library lif, euler": two(replace(library.get("lif"), method="euler"), PULSE, True),
    "cuba, exact": two(library.get("cuba_lif"), library.get("current_jump"), True),
    "cuba, euler": two(EULER_CUBA, library.get("current_jump"), True),
    "current receptor": two(replace(LIF, method="exponential_euler"), CURRENT, True),
    "runge-kutta": two(replace(LIF, method="rk4"), CURRENT, False),
    "one refractory step": two(replace(LIF, refractory=quantity("1 ms")), PULSE, True),
}


@pytest.mark.parametrize("name", EXACT)
def test_spikes_identical_and_all_variables_agree(name: str) -> None:
    network = EXACT[name]
    given = drive(network, batch=3, steps=STEPS)
    ours, reference = SnnTorchBackend().compile(network), ReferenceBackend().compile(network)
    cells = {c.name: c for c in reference.step.cells}
    record = [f"{n}.{v}" for n, c in cells.items() for v in (*c.states, *c.inputs, *dict(c.subexpressions))]
    a, b = reference.run(inputs=given, record=record, every=7), ours.run(inputs=given, record=record, every=7)
    report = compare(a, b, names=("reference", "snntorch"), max_pairs=0).require_spikes(500)
    rates = a.spikes["hidden"].mean(axis=(0, 1))
    assert 0.02 < rates.mean() < 0.5, "rates say nothing"
    assert report.identical_spikes and report.agrees(1e-9), localise(report)


def test_modules_are_snntorchs_own_and_leave_nothing_behind() -> None:
    before, state = len(snntorch.SpikingNeuron.instances), torch.get_rng_state()
    modules = SnnTorchBackend().compile(EXACT["cuba, exact"]).modules()
    assert isinstance(modules.neurons["hidden"], snntorch.Synaptic)
    assert type(modules.neurons["leaky"]) is snntorch.Leaky
    assert modules.neurons["hidden"].reset_delay is False
    assert {type(m) for m in modules.linear.values()} == {torch.nn.Linear}
    assert modules.neurons["hidden"].beta.dtype == torch.float64
    assert len(snntorch.SpikingNeuron.instances) == before
    assert torch.equal(torch.get_rng_state(), state)


def test_float32_is_computed_in_float32() -> None:
    network = EXACT["recurrent"]
    given = drive(network, steps=20)
    runs = [
        SnnTorchBackend().compile(network, dtype=d).run(inputs=given, record=["hidden.v"])
        for d in ("float32", "float64")
    ]
    single, double = (r.traces["hidden.v"] for r in runs)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(runs[0].spikes["hidden"], runs[1].spikes["hidden"])
    assert 0 < np.abs(single - double).max() < 1e-7


def test_soft_reset_subtracts_in_the_same_step() -> None:
    """v -= v_th at rest 0: exact as long as the remainder stays below the threshold."""
    network = one(SOFT, weights="0.5 nA")
    given = drive(network, steps=STEPS)
    record = ["cells.v", "cells.I"]
    a, b = (k().compile(network).run(inputs=given, record=record) for k in (ReferenceBackend, SnnTorchBackend))
    report = compare(a, b, names=("reference", "snntorch"), max_pairs=0).require_spikes(100)
    assert report.agrees(1e-9), localise(report)


def test_soft_reset_that_leaves_the_cell_above_threshold_stops_the_run() -> None:
    network = one(SOFT, weights="40 nA")
    with pytest.raises(UnsupportedError, match=r"population 'cells', reset.*step \d+ 'v' stays above the threshold"):
        SnnTorchBackend().compile(network).run(inputs=drive(network, steps=50))


def test_current_input_acts_in_its_own_step() -> None:
    network = Network((Population("cells", LIF, 2),), (), (Input("i", 2, "current", "cells.I"),), dt="1 ms")
    current = np.zeros((1, 4, 2))
    current[0, 1, 0] = 1e-10
    v = SnnTorchBackend().compile(network).run(inputs={"i": current}, record=["cells.v"]).traces["cells.v"]
    jump = 0.01 * (1 - np.exp(-0.1))
    np.testing.assert_allclose(v[0, :, 0], -0.07 + jump * np.array([0, 1, np.exp(-0.1), np.exp(-0.2)]), rtol=1e-12)


def test_initial_values_are_those_of_the_network() -> None:
    cuba = library.get("cuba_lif")
    start = {"v": quantity([-70.0, -60.0, -51.0], "mV"), "I_syn": quantity([0.0, 0.1, 0.2], "nA")}
    network = Network((Population("cells", cuba, 3, initial=start),), dt="1 ms")
    record = ["cells.v", "cells.I_syn"]
    a, b = (k().compile(network).run(steps=40, record=record) for k in (ReferenceBackend, SnnTorchBackend))
    assert compare(a, b, names=("reference", "snntorch"), max_pairs=0).agrees(1e-9)
    assert np.ptp(a.traces["cells.I_syn"][0, 0]) > 1e-10


def test_parameters_of_a_run_are_checked_like_those_of_the_network() -> None:
    program = SnnTorchBackend().compile(one())
    with pytest.raises(UnsupportedError, match=r"population 'cells', threshold: it lies below the resting value"):
        program.run({"cells.v_th": np.array(-0.075)}, steps=1, inputs=drive(one(), steps=1))
    with pytest.raises(RunError, match=r"there is no parameter 'cells\.tau'"):
        program.modules({"cells.tau": np.array(1.0)})


def rewritten(old: str, new: str) -> Neuron:
    return replace(LIF, equations=LIF.equations.replace(old, new), method="euler")


def drift() -> Network:
    neuron = Neuron("drift", "dv/dt = s + I : volt\nI : volt/second", parameters={"s": "1 volt/second"})
    return one(neuron, Synapse("kick", "w : volt/second", on_pre="I_post += w"), "1 volt/second")


def mixed() -> Network:
    """A pulse and a decaying current into one cell."""
    base = one()
    return replace(base, projections=(*base.projections, Projection("slow", "x", "cells", CURRENT, "1 nA")))


def adapting() -> Neuron:
    return replace(LIF, equations=LIF.equations + "\ndb/dt = -b/tau_m : amp", reset="v = E_L\nb += 1*pA")


def coupled() -> Neuron:
    """A second variable that follows the first."""
    return rewritten("\nI : amp", "\ndu/dt = (v - u)/tau_m : volt\nI : amp")


def starting(value: str) -> Neuron:
    return replace(LIF, initial={"v": value})


def graded() -> Network:
    return Network((Population("r", RATE, 2),), (Projection("g", "r", "r", GRADED, "1"),), dt="1 ms")


REFUSALS: dict[str, tuple[Callable[[], Network], str]] = {
    "refractory": (lambda: one(replace(LIF, refractory=quantity("2 ms"))), "population 'cells', refractory.*2 steps"),
    "delay": (lambda: one(delay="1 ms"), "projection 'feed', delay"),
    "inclusive threshold": (lambda: one(replace(LIF, threshold="v >= v_th")), "population 'cells', threshold.*'>='"),
    "moving threshold": (lambda: one(replace(LIF, threshold="v > v_th + R*I")), "population 'cells', threshold"),
    "reset off rest": (lambda: one(replace(LIF, reset="v = E_L + 5*mV")), "population 'cells', reset.*another value"),
    "reset by another step": (lambda: one(replace(LIF, reset="v -= 5*mV")), "reset.*distance from rest to threshold"),
    "reset of two variables": (lambda: one(adapting()), "population 'cells', reset"),
    "reset that scales": (lambda: one(replace(LIF, reset="v *= 0.5")), "population 'cells', reset"),
    "nonlinear": (lambda: one(rewritten("E_L - v", "v*v/volt - v")), "population 'cells', equations.*linear"),
    "hidden step": (lambda: one(rewritten("E_L - v", "E_L - v + mV*int(v > E_L)")), "equations.*linear"),
    "time": (lambda: one(rewritten("R*I", "R*I*sin(t*Hz)")), "equations.*linear"),
    "coupled": (lambda: one(coupled()), "'u' is not a current"),
    "noise": (lambda: one(rewritten("R*I)/tau_m", "R*I)/tau_m + mV*tau_m**-0.5*xi")), "noise"),
    "every step": (lambda: one(replace(LIF, every_step="v = v*0.9")), "population 'cells', every_step"),
    "drift without leak": (drift, "population 'cells', equations.*no leak"),
    "growth": (lambda: one(rewritten("E_L - v", "v - E_L")), "population 'cells', equations.*within 0 and 1"),
    "negative gain": (lambda: one(rewritten("+ R*I", "- R*I")), "population 'cells', equations.*positive current"),
    "threshold below rest": (lambda: one(LIF.with_parameters(v_th="-80 mV")), "population 'cells', threshold.*below"),
    "start above threshold": (lambda: one(starting("-40 mV")), "population 'cells', initial"),
    "delta synapse": (lambda: one(synapse=DELTA, weights="9 mV"), "population 'cells', on_pre.*reset of that step"),
    "plastic": (lambda: one(synapse=STDP, weights="9 mV"), "projection 'feed'.*plastic weights"),
    "scaled by the target": (
        lambda: one(synapse=Synapse("s", "w : amp", on_pre="I_post += w*v_post/mV")), "projection 'feed', on_pre"
    ),
    "on_post": (lambda: one(synapse=Synapse("s", "w : amp", on_post="I_post += w")), "projection 'feed', on_post"),
    "graded": (graded, "projection 'g', transmits"),
    "sparse": (lambda: one(connectivity=Probability(0.5)), "projection 'feed', connectivity"),
    "conductance": (lambda: networks()["conductance"], "population 'cells', equations.*linear"),
    "two currents": (mixed, "population 'cells', inputs.*only one current"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_names_the_culprit_and_who_can(name: str) -> None:
    build, message = REFUSALS[name]
    network = build()
    with pytest.raises(UnsupportedError, match=message) as caught:
        SnnTorchBackend().compile(network)
    assert caught.value.backends == ("reference", "torch", "native", "brian2")
    ReferenceBackend().compile(network)  # the definition itself is fine


def test_weights_of_a_run_replace_the_networks() -> None:
    network = one()
    given = drive(network, steps=50)
    program = SnnTorchBackend().compile(network)
    weights = 2 * parameters(network)["feed.w"].value
    doubled = replace(network, projections=(replace(network.projections[0], weights=quantity(weights, "amp")),))
    a, b = (
        program.run({"feed.w": weights}, given, ["cells.I"]),
        SnnTorchBackend().compile(doubled).run(inputs=given, record=["cells.I"]),
    )
    np.testing.assert_array_equal(a.traces["cells.I"], b.traces["cells.I"])
    assert a.spike_count() > program.run(inputs=given).spike_count()


@pytest.mark.parametrize("feature", ["feed-forward", "recurrent", "readout", "heterogeneous"])
def test_the_reference_goes_on_from_its_state(feature: str) -> None:
    network = networks()[feature]
    program, other = (backends.get(name).compile(network) for name in ("snntorch", "reference"))
    inputs, record = drive(network, steps=100), ["cells.v", "cells.I"]
    first, second = ({n: a[:, part] for n, a in inputs.items()} for part in (slice(40), slice(40, 100)))
    state = program.run(inputs=first).state
    assert all(d < 1e-9 for d in state.differences(other.run(inputs=first).state).values())
    found, whole = other.run(inputs=second, record=record, state=state), other.run(inputs=inputs, record=record)
    assert found.spike_count() > 10
    np.testing.assert_array_equal(found.spikes["cells"], whole.spikes["cells"][:, 40:])
    for name in record:
        np.testing.assert_allclose(found.traces[name], whole.traces[name][:, 40:], rtol=1e-9)


def test_a_period_of_one_step_and_a_current_with_memory_are_in_its_state() -> None:
    decaying = Synapse("decaying", "w : amp", on_pre="g_post += w")
    cells = replace(
        LIF, name="cuba", refractory=quantity("1 ms"), initial={"v": "-70 mV"},
        equations="dv/dt = (E_L - v + R*g)/tau_m : volt (unless refractory)\ndg/dt = -g/tau_g : amp",
        parameters={**LIF.parameters, "tau_g": "5 ms"},
    )  # fmt: skip
    feed = Projection("feed", "x", "cells", decaying, "1 nA")
    network = Network((Population("cells", cells, 5),), (feed,), (Input("x", 7),), dt="1 ms")
    programs = [backends.get(name).compile(network) for name in ("snntorch", "reference")]
    inputs = drive(network, steps=100)
    fired = programs[1].run(inputs=inputs).spikes["cells"].any((0, 2))
    cut = int(np.flatnonzero(fired)[3]) + 1  # a cell has just fired
    states = [p.run(inputs={"x": inputs["x"][:, :cut]}).state for p in programs]
    assert states[1].refractory["cells"].any()
    assert all(d < 1e-9 for d in states[0].differences(states[1]).values())


def test_it_begins_at_the_beginning() -> None:
    network = networks()["feed-forward"]
    program, inputs = backends.get("snntorch").compile(network), drive(network, steps=20)
    state = program.run(inputs=inputs).state
    with pytest.raises(UnsupportedError, match=r"option .state.: .*only up to rounding"):
        program.run(inputs=inputs, state=state)

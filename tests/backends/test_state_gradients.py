"""Gradients go back through a cut as through a whole run, and stop at a state that is detached."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import backends
from backends.common.autograd import Signals
from backends.pytorch.program import TorchProgram
from neuro import Input, Network, Normal, Population, Projection, RunError, quantity
from neuro.compiler.parameters import values
from neuro.compiler.resolve import steps_of
from neuro.state import State
from tests.backends.networks import AMPA, LEAKY, LIF, PULSE, drive, networks

NETWORKS = networks()
STEPS = 60
each_network = pytest.mark.parametrize("feature", NETWORKS)


def compiled(feature: str, **options: Any) -> TorchProgram:
    program = backends.get("torch").compile(NETWORKS[feature], **options)
    assert isinstance(program, TorchProgram)
    return program


def leaves(program: TorchProgram, sets: int | None = None) -> dict[str, torch.Tensor]:
    """Every parameter that gets gradients."""
    found = {}
    for name, parameter in program.declared.items():
        value = np.asarray(parameter.value, np.float64)
        value = value if sets is None else np.stack([value * (1 + 0.01 * i) for i in range(sets)])
        found[name] = torch.tensor(value, requires_grad=True)
    return found


def signals(
    program: TorchProgram, tensors: dict[str, torch.Tensor], first: int, last: int, state: State | None = None,
    sets: int | None = None,
) -> Signals:  # fmt: skip
    network = program.network
    record = [f"{p.name}.{v}" for p in network.populations for v in p.neuron.scope.states]
    inputs = {n: a[:, first:last] for n, a in drive(network, steps=STEPS).items()}
    held = state.variables if state is not None else {}
    given = {n: t for n, t in tensors.items() if n not in held}
    return program.forward(given, inputs, record, steps=last - first, batch=2, state=state, population=sets)


def loss(found: Signals, first: int) -> torch.Tensor:
    """A sum with other factors in each step and cell."""
    terms = []
    for name, value in {**found.spikes, **found.traces}.items():
        random = np.random.default_rng(sum(map(ord, name)))
        factors = torch.tensor(random.normal(size=(STEPS, value.shape[-1])))
        terms.append((value * factors[first : first + value.shape[-2]]).sum())
    return torch.stack(terms).sum()


def gradients(total: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    found = torch.autograd.grad(total, list(tensors.values()), allow_unused=True)
    return {n: np.zeros(()) if g is None else g.numpy() for n, g in zip(tensors, found, strict=True)}


def whole_and_parts(program: TorchProgram, cuts: tuple[int, ...], sets: int | None = None) -> None:
    tensors = leaves(program, sets)
    wanted = gradients(loss(signals(program, tensors, 0, STEPS, sets=sets), 0), tensors)
    assert any(np.abs(g).max() > 0 for g in wanted.values())
    state, parts = None, []
    for first, last in zip((0, *cuts), (*cuts, STEPS), strict=True):
        part = signals(program, tensors, first, last, state, sets)
        parts.append(loss(part, first))
        state = part.state
    found = gradients(torch.stack(parts).sum(), tensors)
    for name, gradient in wanted.items():
        scale = max(1e-300, float(np.abs(gradient).max()))
        np.testing.assert_allclose(found[name], gradient, rtol=1e-10, atol=1e-10 * scale, err_msg=name)


@each_network
@pytest.mark.parametrize("cuts", [(1,), (30,), (10, 11, 12, 40)])
def test_gradients_through_a_cut_are_those_of_the_whole(feature: str, cuts: tuple[int, ...]) -> None:
    whole_and_parts(compiled(feature, detach_reset=False), cuts)


def test_an_input_that_everything_reaches() -> None:
    """Conductances make it a sum; spikes from outside, from cells and with states of synapses, and a current come there."""
    fading = replace(PULSE, name="fading", equations="w : amp\ndx/dt = -x/tau : 1", on_pre="x += 1\nI_post += w*x",
                     parameters={"tau": "20 ms"}, method="exact")  # fmt: skip
    cells = Population("cells", replace(LIF, method="exponential_euler"), 5)
    projections = (
        Projection("feed", "x", "cells", PULSE, "0.8 nA", delay="2 ms"),
        Projection("open", "x", "cells", AMPA, "10 nS"),
        Projection("fade", "x", "cells", fading, "0.2 nA", delay="1 ms"),
        Projection("loop", "cells", "cells", PULSE, Normal(quantity("0 nA"), quantity("1 nA")), delay="3 ms"),
    )
    inputs = (Input("x", 7), Input("y", 5, "current", "cells.I"))
    network = Network((cells,), projections, inputs, dt="1 ms", seed=3)
    program = backends.get("torch").compile(network, detach_reset=False)
    assert isinstance(program, TorchProgram)
    given = drive(network, steps=STEPS)
    given["y"] *= 1e-10
    whole, state, parts = program.run(inputs=given), None, []
    for first, last in ((0, 1), (1, 2), (2, 30), (30, STEPS)):
        part = program.run(inputs={n: a[:, first:last] for n, a in given.items()}, state=state)
        parts.append(part.spikes["cells"])
        state = part.state
    assert whole.spike_count() > 20
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole.spikes["cells"])
    assert state is not None
    assert state.differences(whole.state) == {}
    expected = backends.get("reference").compile(network).run(inputs=given).state
    assert all(d < 1e-9 for d in whole.state.differences(expected).values())
    whole_and_parts(program, (1, 2, 30))


@pytest.mark.parametrize("options", [{"feedback": ["loop"]}, {"detached": ["loop"]}, {"detach_reset": True}], ids=str)
def test_other_ways_back(options: dict[str, Any]) -> None:
    whole_and_parts(compiled("recurrent", **options), (20,))


@pytest.mark.parametrize("feature", ["recurrent", "heterogeneous delays", "plastic", "pairs"])
def test_gradients_of_parameter_sets(feature: str) -> None:
    whole_and_parts(compiled(feature), (20,), sets=3)


@each_network
def test_a_detached_state_passes_no_gradient(feature: str) -> None:
    """The second part alone gives the same, from arrays that know of no graph."""
    program = compiled(feature)
    tensors = leaves(program)
    first = signals(program, tensors, 0, 30)
    cut = gradients(loss(signals(program, tensors, 30, STEPS, first.state.detach()), 30), tensors)
    alone = gradients(loss(signals(program, tensors, 30, STEPS, first.state.numpy()), 30), tensors)
    for name, gradient in alone.items():
        np.testing.assert_array_equal(cut[name], gradient, err_msg=name)
    assert not any(a.requires_grad for a in first.state.detach().variables.values())


@pytest.mark.parametrize("feature", ["graded", "graded reversal"])
def test_a_detached_states_gradient_is_the_slope_with_that_state_fixed(feature: str) -> None:
    program = compiled(feature)
    tensors = leaves(program)
    state = signals(program, tensors, 0, 30).state.detach()
    found = gradients(loss(signals(program, tensors, 30, STEPS, state), 30), tensors)["loop.w"]
    with torch.no_grad():
        for at in ((0, 1), (2, 3)):
            ends = []
            for step in (-1e-5, 1e-5):
                moved = tensors["loop.w"].clone()
                moved[at] += step
                ends.append(float(loss(signals(program, {**tensors, "loop.w": moved}, 30, STEPS, state), 30)))
            assert found[at] == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-6)


def test_sums_and_spikes_on_their_way_carry_gradients() -> None:
    """Linear cells: what a weight did just before the cut, and what is under way, count in closed form."""
    delay, dt = 3, 1e-3
    feed = Projection("feed", "x", "cells", PULSE, "1 nA", delay="3 ms")
    network = Network((Population("cells", LEAKY, 1),), (feed,), (Input("x", 1),), dt="1 ms")
    assert int(steps_of(feed.delay, network.dt)) == delay
    program: Any = backends.get("torch").compile(network)
    weights = torch.tensor([[1e-9]], dtype=torch.float64, requires_grad=True)
    spikes = np.zeros((1, 4, 1), bool)
    spikes[0, 0] = spikes[0, 3] = True  # the first has arrived in step 3, and is read in step 4; the other is under way
    first = program.forward({"feed.w": weights}, {"x": spikes})
    assert float(first.state.sums["cells.I"].detach()) == 1e-9
    assert first.state.spikes["x"].detach().numpy().tolist() == [[[0.0], [0.0], [1.0]]]
    second = program.forward(None, {"x": np.zeros((1, 4, 1), bool)}, ["cells.v"], state=first.state)
    given = values(network)
    decay = np.exp(-dt / float(given["cells.tau_m"]))
    gain = float(given["cells.R"]) * (1 - decay)
    found = [torch.autograd.grad(v, weights, retain_graph=True)[0].item() for v in second.traces["cells.v"][0, :, 0]]
    np.testing.assert_allclose(found, [gain, gain * decay, gain * decay**2, gain * decay**3], rtol=1e-10)


def test_a_state_that_is_a_leaf_gets_gradients() -> None:
    program = compiled("graded")
    state = signals(program, {}, 0, 30).state.detach()
    start = state.variables["rate.x"].clone().requires_grad_()
    found = loss(signals(program, {}, 30, STEPS, state.with_variables({"rate.x": start})), 30)
    (gradient,) = torch.autograd.grad(found, start)
    moved = start.detach().clone()
    moved[1, 2] += 1e-6
    other = loss(signals(program, {}, 30, STEPS, state.with_variables({"rate.x": moved})), 30)
    assert float((other - found).detach()) / 1e-6 == pytest.approx(float(gradient[1, 2]), rel=1e-4)


def test_value_and_grad_goes_on_from_a_state() -> None:
    program, inputs = compiled("graded"), drive(NETWORKS["graded"], steps=STEPS)
    first, second = {"x": inputs["x"][:, :30]}, {"x": inputs["x"][:, 30:]}
    state = program.run(inputs=first).state

    def total(found: Signals) -> torch.Tensor:
        return found.traces["rate.x"].square().sum()

    value, slopes = program.value_and_grad(total, {}, second, ["loop.w"], ["rate.x"], state=state)
    assert value == pytest.approx(
        float(np.square(program.run(None, inputs, ["rate.x"]).traces["rate.x"][:, 30:]).sum())
    )
    assert np.abs(slopes["loop.w"]).max() > 0


def test_plastic_weights_are_the_states() -> None:
    program, inputs = compiled("plastic"), drive(NETWORKS["plastic"], steps=STEPS)
    state = program.run(inputs=inputs).state
    with pytest.raises(RunError, match=r"parameters give 'feed\.w', which is part of the state"):
        program.value_and_grad(lambda s: s.spikes["cells"].sum(), {}, inputs, ["feed.w"], state=state)
    found = program.module()(inputs, state=state)
    expected = program.run(inputs=inputs, state=state)
    np.testing.assert_array_equal(found.final["feed.w"].detach().numpy(), expected.final["feed.w"])
    assert not np.array_equal(expected.final["feed.w"], state.variables["feed.w"])


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_truncated_backpropagation_with_a_module(backend: str) -> None:
    """The usual loop: an update after each part, which changes nothing of the state that is carried over."""
    program: Any = backends.get(backend).compile(NETWORKS["recurrent"])
    module = program.module()
    inputs = drive(NETWORKS["recurrent"], steps=STEPS)
    optimiser, state, losses = torch.optim.SGD(module.parameters(), lr=1e-3), None, []
    for first in range(0, STEPS, 20):
        found = module({"x": inputs["x"][:, first : first + 20]}, state=state)
        assert found.end is not None
        early = found.end().each(lambda a: a.detach().numpy().copy())
        total = found.spikes["cells"].sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        state = found.state.detach()
        assert early.differences(state.numpy()) == {}
        losses.append(float(total.detach()))
    assert state is not None
    assert state.step == STEPS
    assert min(losses) > 0


def test_a_state_is_its_own() -> None:
    """Whoever edits the arrays of a state changes neither the program nor another run."""
    program, inputs = compiled("plastic"), drive(NETWORKS["plastic"], steps=STEPS)
    expected = program.run(inputs=inputs)
    for part in (expected.state.variables, expected.state.sums, expected.state.spikes):
        for array in part.values():
            array[...] = 1
    again = program.run(inputs=inputs)
    np.testing.assert_array_equal(again.spikes["cells"], expected.spikes["cells"])
    assert again.state.spikes.keys() == expected.state.spikes.keys()


@pytest.mark.parametrize("feature", ["recurrent", "heterogeneous delays", "pairs", "one-to-one", "graded"])
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_bits_of_any_parts(feature: str, batch: int) -> None:
    """Products over many steps round what they sum; how, must not depend on how many steps there are."""
    random = np.random.default_rng(batch)
    base = NETWORKS[feature]
    inputs: dict[str, Any] = {
        i.name: random.random((batch, 97, i.size)) < 0.2 for i in base.inputs if i.kind == "spikes"
    }
    inputs |= {i.name: random.normal(size=(batch, 97, i.size)) for i in base.inputs if i.kind == "current"}
    program = compiled(feature)
    whole = program.run(inputs=inputs)
    state = None
    for first, last in ((0, 1), (1, 2), (2, 5), (5, 38), (38, 97)):
        state = program.run(inputs={n: a[:, first:last] for n, a in inputs.items()}, state=state).state
    assert state is not None
    assert state.differences(whole.state) == {}


@pytest.mark.parametrize(("pre", "post"), [(300, 50), (128, 1), (17, 9)])
def test_bits_of_wide_projections(pre: int, post: int) -> None:
    feed = Projection("feed", "x", "cells", PULSE, quantity(np.random.default_rng(1).normal(size=(pre, post)), "nA"))
    program = backends.get("torch").compile(
        Network((Population("cells", LEAKY, post),), (feed,), (Input("x", pre),), dt="1 ms")
    )
    spikes = np.random.default_rng(2).random((3, 40, pre)) < 0.1
    whole, state = program.run(inputs={"x": spikes}), None
    for first, last in ((0, 1), (1, 8), (8, 40)):
        state = program.run(inputs={"x": spikes[:, first:last]}, state=state).state
    assert state is not None
    assert state.differences(whole.state) == {}

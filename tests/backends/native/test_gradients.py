"""The adjoint against torch's autograd, in float64: every network of the conformance suite and every library model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import backends
from backends.native import executable
from neuro import AllToAll, Input, Network, Neuron, Normal, Population, Projection, UnsupportedError, library, quantity
from neuro.compiler import surrogates
from neuro.compiler.parameters import parameters
from tests.backends.networks import LIF, PULSE, drive, networks
from tests.library.networks import two_populations
from twinspike.studies.agreement import driven

NETWORKS = networks()
CELLS, SYNAPSES = library.neurons(), sorted(set(library.names()) - set(library.neurons()))


def observed(network: Network) -> tuple[str, ...]:
    """Everything that can be recorded."""
    kinds = [(p.name, p.neuron.scope) for p in network.populations]
    return tuple(f"{name}.{v}" for name, s in kinds for v in (*s.states, *s.inputs, *s.subexpressions))


def loss(found: Any) -> torch.Tensor:
    """Spikes, traces and changed weights with fixed random weights, and their squares, each in units of its largest value."""
    random, total = torch.Generator().manual_seed(0), torch.zeros((), dtype=torch.float64)
    for part in (found.spikes, found.traces, found.final):
        for name in part:
            x = part[name] / part[name].detach().abs().max().clamp_min(1e-30)
            total = total + (torch.randn(x.shape, generator=random, dtype=x.dtype) * x + x**2).sum()
    return total


def agree(network: Network, inputs: Any, *, wrt: tuple[str, ...] = (), given: Any = None, **options: Any) -> None:
    """Native gives torch's loss and gradients to 1e-10 of each gradient's largest entry."""
    names, size = wrt or tuple(parameters(network)), {} if inputs else {"steps": 60, "batch": 3}
    (a, torchs), (b, ours) = (
        backends.get(n)
        .compile(network, **options)  # type: ignore[attr-defined]
        .value_and_grad(loss, given or {}, inputs, names, observed(network), **size)
        for n in ("torch", "native")
    )
    assert b == pytest.approx(a, rel=1e-12)
    moved = 0
    for name, slope in torchs.items():
        largest = np.abs(slope).max(initial=0)
        assert np.abs(ours[name] - slope).max(initial=0) <= 1e-10 * largest, name
        moved += int(largest > 0)
    assert moved, "no parameter moves the loss"


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("feature", NETWORKS)
def test_every_network(feature: str, detach: bool) -> None:
    agree(NETWORKS[feature], drive(NETWORKS[feature], steps=60, batch=3), detach_reset=detach)


@pytest.mark.parametrize("name", CELLS)
def test_every_library_neuron(name: str) -> None:
    network, inputs = driven(name)
    agree(network, {n: v[:1, :300] for n, v in inputs.items()})


@pytest.mark.parametrize("name", SYNAPSES)
def test_every_library_synapse(name: str) -> None:
    current = 0.4e-9 * (1 + np.random.default_rng(0).random((2, 200, 1)))
    agree(two_populations(name), {"current": current}, detach_reset=False)


@pytest.mark.parametrize("surrogate", surrogates.names())
def test_every_surrogate(surrogate: str) -> None:
    agree(NETWORKS["recurrent"], drive(NETWORKS["recurrent"], steps=60, batch=3), surrogate=surrogate)


def test_an_unknown_surrogate_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="did you mean 'fast_sigmoid'"):
        backends.get("native").compile(NETWORKS["recurrent"], surrogate="fast_sigmiod")


@pytest.mark.parametrize("batch", [1, 7, 8, 17, 40])
def test_any_batch(batch: int) -> None:
    agree(NETWORKS["recurrent"], drive(NETWORKS["recurrent"], steps=40, batch=batch))


@cache
def wide() -> Network:
    """More cells than fit in registers, and a remainder."""
    cells = Population("cells", LIF, 150)
    weights = Normal(quantity("0.1 nA"), quantity("0.5 nA"))
    loop = Projection("loop", "cells", "cells", PULSE, weights, AllToAll(self_connections=False))
    readout = Projection("out", "cells", "more", PULSE, weights)
    feed = Projection("feed", "x", "cells", PULSE, Normal(quantity("1 nA"), quantity("1 nA")))
    return Network(
        (cells, Population("more", LIF, 21)), (feed, loop, readout), (Input("x", 30),), dt="1 ms", name="wide"
    )


@pytest.mark.parametrize("feature", ["recurrent", "heterogeneous delays", "refractory delta", "plastic", "conductance"])
def test_long_trials_are_run_again_part_by_part(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans of 7 steps, shorter than none of the delays: the tape of one span at a time gives the same gradients."""
    monkeypatch.setattr(executable, "TAPE", 7)
    agree(NETWORKS[feature], drive(NETWORKS[feature], steps=60, batch=11), detach_reset=False)


def test_blocks_and_remainders() -> None:
    agree(wide(), drive(wide(), steps=30, batch=9))


@pytest.mark.parametrize("options", [{"detached": ("loop",)}, {"feedback": ("out",)}, {"detached": ("loop",), "feedback": ("out",)}])  # fmt: skip
def test_detached_projections_and_feedback_weights(options: dict[str, Any]) -> None:
    back = {"out.feedback": np.random.default_rng(0).normal(size=(150, 21)) * 1e-9}
    given = back if "feedback" in options else {}
    names = ("feed.w", "loop.w", "out.w", *given)
    agree(wide(), drive(wide(), steps=30, batch=3), wrt=names, given=given, **options)


def test_currents_get_gradients_and_spikes_are_refused() -> None:
    network, inputs = driven("lif")
    current = inputs["current"][:1, :200]
    found = []
    for name in ("torch", "native"):
        x = torch.tensor(current, requires_grad=True)
        value = loss(backends.get(name).compile(network).forward({}, {"current": x}, ("cells.v",)))  # type: ignore[attr-defined]
        found.append(torch.autograd.grad(value, x)[0].numpy())
    assert np.abs(found[0]).max() > 0
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10, atol=1e-10 * np.abs(found[0]).max())
    spikes = torch.zeros((1, 5, 7), dtype=torch.float64, requires_grad=True)
    with pytest.raises(UnsupportedError, match="input 'x'"):
        backends.get("native").compile(NETWORKS["feed-forward"]).forward({}, {"x": spikes})  # type: ignore[attr-defined]


def test_float32_and_threads_give_the_same_numbers_again() -> None:
    inputs = drive(wide(), steps=40, batch=40)
    results = []
    for threads in (1, 2, 5):
        program: Any = backends.get("native").compile(wide(), dtype="float32", threads=threads)
        results.append(program.value_and_grad(_spikes, {}, inputs, ("feed.w", "loop.w"))[1])
    for other in results[1:]:
        for name, slope in results[0].items():
            assert np.abs(slope).max() > 0
            np.testing.assert_array_equal(other[name], slope)


def _spikes(found: Any) -> torch.Tensor:
    return sum((found.spikes[n].sum() for n in found.spikes), torch.zeros(()))


def test_a_module_fits_a_users_own_loop() -> None:
    module = backends.get("native").compile(wide(), dtype="float32").module()  # type: ignore[attr-defined]
    optimiser, inputs = torch.optim.Adam(module.parameters(), lr=0.1), drive(wide(), steps=40, batch=4)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        value = (module(inputs).spikes["more"].mean() - 0.05) ** 2
        value.backward()
        optimiser.step()
        losses.append(float(value.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_a_second_backward_reads_the_same_run() -> None:
    """Arrays that kernels lend each other go back only when nobody needs the run any more."""
    program: Any = backends.get("native").compile(wide())
    w = torch.tensor(parameters(wide())["feed.w"].value, requires_grad=True)
    first = _spikes(program.forward({"feed.w": w}, drive(wide(), steps=20, batch=3)))
    second = _spikes(program.forward({"feed.w": w * 0.5}, drive(wide(), steps=20, batch=3, seed=9)))
    again: Callable[[], Any] = lambda: torch.autograd.grad(first, w, retain_graph=True)[0].numpy().copy()
    before = again()
    torch.autograd.grad(second, w)
    np.testing.assert_array_equal(again(), before)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("gate", ["1/(1 + exp(-(v - vh)/k))", "1/(1 + exp(-(v - vh)/k))**2", "1/(2 + exp(-(v - vh)/k) + exp((vh - v)/k))", "sqrt(relu(v - vh)/volt)", "1/exprel((vh - v)/k)", "relu((v - vh)/k)**p"])  # fmt: skip
def test_a_saturated_gate_has_gradient_zero(gate: str, dtype: str) -> None:
    """exp is beyond its range 50 mV below a slope of 0.05 mV; the leak's derivative remains, as if there were no gate."""
    parameters = {"E": "-70 mV", "tau": "10 ms", "gm": 0.5, "vh": "-20 mV", "k": "0.05 mV", "p": 2.0}
    text = "dv/dt = (E - v)/tau + gm*m*(0*mV - v)/tau : volt\nm = {} : 1"
    slopes = []
    for m in (gate, "0"):
        cells = Neuron("h", text.format(m), parameters=parameters, initial={"v": "-70 mV"}, method="euler")
        network = Network((Population("a", cells, 1),), dt="0.1 ms")
        program: Any = backends.get("native").compile(network, dtype=dtype)
        slopes.append(
            program.value_and_grad(
                lambda f: f.traces["a.v"].sum(), {}, {}, ("a.E", "a.vh", "a.k", "a.gm"), ("a.v",), steps=40, batch=1
            )[1]
        )
    assert abs(slopes[1]["a.E"]) > 1
    for name, slope in slopes[0].items():
        np.testing.assert_allclose(slope, slopes[1][name], rtol=1e-6, atol=1e-12, err_msg=name)


def test_random_expressions_have_torchs_gradients_and_finite_differences() -> None:
    """Sums, products, quotients, powers and functions put into each other; every state and parameter matters."""
    rng, leaves = np.random.default_rng(3), ("x", "y", "a", "b", "0.7")
    forms = ("({0} + {1})", "({0} - {1})", "{0}*{1}", "{0}/(1 + ({1})**2)", "tanh({0})", "exp(-abs({0}))", "sin({0}*{1})", "clip({0}, -0.6, {1})", "sqrt(1 + ({0})**2)", "exprel({0}/(1 + abs({1})))", "(1 + abs({0}))**({1}/(2 + abs({1})))", "sigmoid({0} - {1})", "log(2 + cos({0}))", "arctan({0})*int({1} > 0.1)")  # fmt: skip

    def text(depth: int) -> str:
        if depth == 0:
            return str(rng.choice(leaves))
        return str(rng.choice(forms)).format(text(depth - 1), text(depth - 1))

    for _ in range(6):
        equations = f"dx/dt = ({text(3)} - x)/(5*ms) : 1\ndy/dt = ({text(3)} - y)/(5*ms) : 1"
        cells = Neuron("n", equations, parameters={"a": 0.3, "b": -0.4}, initial={"x": 0.5, "y": -0.2}, method="rk2")
        network = Network((Population("p", cells, 1),), dt="1 ms")
        record, names, found = ("p.x", "p.y"), ("p.a", "p.b"), []

        def total(f: Any) -> Any:
            return f.traces["p.x"].sum() - (f.traces["p.y"] ** 2).sum()

        for backend in ("native", "torch"):
            program: Any = backends.get(backend).compile(network)
            found.append(program.value_and_grad(total, {}, {}, names, record, steps=6, batch=1))
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
        for name in names:
            ours, torchs = (float(f[1][name]) for f in found)
            assert ours == pytest.approx(torchs, rel=1e-9, abs=1e-12), (equations, name)
            ends = [
                total(
                    backends.get("native")
                    .compile(network)
                    .run({name: np.float64(value)}, steps=6, batch=1, record=record)
                )
                for value in (float(parameters(network)[name].value) + h for h in (-1e-6, 1e-6))
            ]
            assert ours == pytest.approx(float(ends[1] - ends[0]) / 2e-6, rel=1e-5, abs=1e-7), (equations, name)


@pytest.mark.parametrize("every", [3, 7])
def test_records_of_every_nth_step(every: int) -> None:
    """Also where the number of steps is no multiple of n, and over several spans of the tape."""
    network = NETWORKS["recurrent"]
    inputs, found = drive(network, steps=50, batch=9), []
    for name in ("torch", "native"):
        program: Any = backends.get(name).compile(network)
        found.append(program.value_and_grad(loss, {}, inputs, ("feed.w", "loop.w"), observed(network), every=every))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-12)
    for name, slope in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], slope, rtol=1e-9, atol=1e-10 * np.abs(slope).max())


@pytest.mark.parametrize("feature", ["recurrent", "plastic", "graded", "pairs", "subtracting reset"])
def test_threads_sum_gradients_apart(feature: str) -> None:
    """Every sum has a row for each lane: two threads never add to one place. A race would show by chance only."""
    program: Any = backends.get("native").compile(NETWORKS[feature])
    kernel = program.compiled.executable((), 8, program.compiled.training(frozenset(program.declared), frozenset()))
    added = [x for x in kernel.source.splitlines() if "G__" in x and "restrict" not in x]
    assert added and all("lane*" in x for x in added)
    assert all(slot.shape[0] == "lanes" for n, slot in kernel.kernel.layout.slots.items() if n.startswith("G__"))


@pytest.mark.parametrize("device", ["cpu", "cuda-emulated"])
@pytest.mark.parametrize("feature", ["recurrent", "plastic", "refractory", "delay"])
def test_the_way_back_leaves_what_a_run_gave(feature: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs parts of the trial again, which end with other values; the user may have changed traces besides."""
    monkeypatch.setattr(executable, "TAPE", 7)
    network = NETWORKS[feature]
    program: Any = backends.get("native").compile(network, device=device)  # type: ignore[call-arg]
    w = program.storage.of(program.declared["feed.w"].value).requires_grad_()
    inputs = drive(network, batch=2, steps=40)
    kept = program.forward({"feed.w": w}, inputs, ["cells.v"])
    found, early = program.forward({"feed.w": w}, inputs, ["cells.v"]), kept.state.numpy()
    found.traces["cells.v"].detach().zero_()
    (found.traces["cells.v"].sum() + sum(f.sum() for f in found.final.values())).backward()
    assert not found.traces["cells.v"].any()
    for name, final in found.final.items():
        assert torch.equal(final, kept.final[name])
    late = found.state.numpy()
    for part in ("variables", "sums", "refractory", "spikes"):
        for name, values in getattr(early, part).items():
            assert np.array_equal(values, getattr(late, part)[name]), name

"""Shared and frozen weights in the forms of rules that look at projections one by one; what they give is compared with the same network whose weights are apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import AllToAll, Network, Normal, Probability, Projection, UnsupportedError, learning, quantity
from neuro.analysis import lyapunov
from neuro.analysis.energy import measure
from neuro.compiler.parameters import parameters, values
from neuro.learning.phases.energy import symmetric_part
from neuro.learning.search.perturbation import Perturbation
from neuro.protocols import Batch
from tasks.quantised_networks import perceptron
from tests.backends.networks import PULSE, networks
from tests.learning.test_contrastive import PRECISE, TASK, compiled
from tests.learning.test_eligibility import error
from tests.learning.test_local_rules import poisson
from tests.learning.test_reward_eprop import Bandit, setting
from tests.learning.test_rules import TinyPerceptron, TinyRecurrent
from tests.learning.test_shared_weights import Window


def again(network: Network, name: str, tied: bool = True, **other: Any) -> Network:
    """The network with one more projection like that one, which shares its weights, or has the same numbers."""
    first = network.projection(name)
    more = replace(first, name="again", weights=None, sign=None, bounds=(None, None), shares=name, **other)
    if not tied:
        parameter = parameters(network)[f"{name}.w"]
        more = replace(more, weights=quantity(parameter.value, str(parameter.dimension)), shares="")
    return replace(network, projections=(*network.projections, more))


# -- what is given by one name --------------------------------------------------------------------------------------


def test_exponents_of_a_run_that_got_them_by_one_name() -> None:
    network = again(networks()["graded"], "loop")
    other, inputs = 0.5 * values(network)["loop.w"], {"x": np.random.default_rng(0).normal(size=(1, 40, 4))}
    program = backends.get("native").compile(network, dtype="float64")
    run = program.run({"loop.w": other}, inputs, lyapunov.needed(network))
    both, one, own = (
        lyapunov.spectrum(network, run, 3, parameters=given, inputs=inputs).per_step
        for given in ({"loop.w": other, "again.w": other}, {"again.w": other}, {})
    )
    np.testing.assert_array_equal(one, both)
    assert np.abs(own - both).max() > 1e-3
    with pytest.raises(lyapunov.LyapunovError, match=r"'again.w' and 'loop.w' are the same weights"):
        lyapunov.spectrum(network, run, 3, parameters={"loop.w": other, "again.w": 2 * other}, inputs=inputs)


def test_numbers_that_are_shared_count_once() -> None:
    spikes = {"x": np.zeros((1, 5, 6), bool)}
    tied, apart = (
        measure(n, backends.get("native").compile(n).run({}, spikes), spikes)
        for n in (Window(True).network(0), Window(False).network(0))
    )
    assert apart.parameters - tied.parameters == 6 * 8


# -- rules with a form of their own ---------------------------------------------------------------------------------


def test_feedback_decays_with_the_readout_by_whichever_name() -> None:
    """The readout's projection has the weights of another one, into cells that nobody asks."""
    task = TinyRecurrent()
    network, found = task.network(0), {}
    out = network.projection("out")
    for shares in ("", "other"):
        cells = (*network.populations, replace(network.population("cells"), name="elsewhere"))
        own = {"weights": quantity(values(network)["out.w"], "amp")}
        other = replace(out, name="other", post="elsewhere", **own)
        read = replace(out, weights=None, shares="other") if shares else replace(out, **own)
        links = (*(p for p in network.projections if p.name != "out"), other, read)
        program = backends.get("torch").compile(replace(network, populations=cells, projections=links), dtype="float64")
        options = {"feedback": "adaptive", "feedback_decay": 0.1, "optimiser": "sgd", "learning_rate": 0.0}
        rule = learning.get("eprop", **options)
        state = rule.init(program)
        now, state, _ = rule.step(program, dict(values(program.network)), state, task.batch(), task)
        found[shares] = rule.step(program, now, state, task.batch(), task)[0]["out.w"]
    np.testing.assert_allclose(found[""], 0.9**2 * values(network)["out.w"], rtol=1e-12)
    np.testing.assert_array_equal(found["other"], found[""])


def test_feedback_stays_where_the_readout_is_frozen() -> None:
    task = Window()
    program = backends.get("torch").compile(task.network(0), dtype="float64")
    rule = learning.get("eprop", feedback="adaptive", feedback_decay=0.1)
    state = rule.init(program)
    first = {n: v.copy() for n, v in state.memory.items()}
    rule.step(program, dict(values(program.network)), state, task.batch(), task)
    assert set(first) == {"out"}
    np.testing.assert_allclose(state.memory["out"], first["out"], rtol=1e-12)


@pytest.mark.parametrize("tied", [True, False])
def test_reward_eprop_with_a_readout_over_a_window(tied: bool) -> None:
    """The output reads cells at once and three steps later: all forms see both."""
    network, _, batch = setting()
    wide = again(network, "readout", tied, delay=quantity("3 ms"))
    program = backends.get("torch").compile(wide, surrogate="triangle")
    found = {
        form: learning.get("reward-eprop", form=form).gradient(program, values(wide), batch, Bandit())
        for form in ("adjoint", "traces", "online")
    }
    assert error(found["traces"], found["adjoint"]) < 1e-10
    assert error(found["online"], found["adjoint"]) < 1e-10


class Siamese(TinyPerceptron):
    """Both halves of the picture go through one set of weights, each to sums of its own. tied: whether they share them."""

    def __init__(self, tied: bool = True, connectivity: Any = None, frozen: bool = False) -> None:
        self.tied, self.connectivity, self.frozen = tied, connectivity or AllToAll(), frozen

    def network(self, seed: int) -> Network:
        network = perceptron("siamese", (6, 8, 3), 0, 1.0, seed)
        feed, out = network.projections
        hidden = network.population("hidden_1")
        feed = replace(feed, connectivity=self.connectivity)
        twin = replace(feed, name="twin", pre="second", post="hidden_2", weights=None, shares=feed.name)
        outer = replace(out, name="outer", pre="hidden_2")
        if not self.tied:
            tied = Siamese(True, self.connectivity).network(seed)
            twin = settled_apart(tied, twin)
            feed = settled_apart(tied, feed)
        cells = (
            *(replace(p, frozen=self.frozen and p.name == "output") for p in network.populations),
            replace(network.population("given"), name="second"),
            replace(hidden, name="hidden_2"),
        )
        inputs = (*network.inputs, replace(network.inputs[0], name="others", target="second.x"))
        return replace(network, populations=cells, projections=(feed, out, twin, outer), inputs=inputs)

    def batch(self) -> Batch:
        random = np.random.default_rng(3)
        inputs = {n: random.normal(size=(4, 1, 6)) for n in ("pixels", "others")}
        return Batch(inputs, random.normal(size=(4, 3)))


def settled_apart(network: Network, p: Projection) -> Projection:
    """With the numbers and synapses that the network has there, and weights of its own."""
    from neuro.compiler.settled import settled

    found = settled(network, {}).projection(p.name)
    holder = settled(network, {}).holder(found)
    return replace(found, shares="", weights=holder.weights)


@pytest.mark.parametrize("connectivity", [AllToAll(), Probability(0.6)], ids=lambda c: type(c).__name__)
def test_layer_by_layer_with_weights_of_another_layer(connectivity: Any) -> None:
    task, found = Siamese(connectivity=connectivity), {}
    program = backends.get("torch").compile(task.network(0), dtype="float64")
    for name, options in {"layerwise": {"normalised": "none"}, "bptt": {}}.items():
        rule = learning.get(name, trainable=("*.w",), **options)
        found[name] = rule.gradient(program, values(program.network), task.batch(), task)
    assert set(found["layerwise"]) == {"feed_1.w", "feed_2.w", "outer.w"}
    assert error(found["layerwise"], found["bptt"]) < 1e-12
    apart = Siamese(False, connectivity)
    program = backends.get("torch").compile(apart.network(0), dtype="float64")
    parts = learning.get("bptt").gradient(program, values(program.network), apart.batch(), apart)
    np.testing.assert_allclose(found["bptt"]["feed_1.w"], parts["feed_1.w"] + parts["twin.w"], rtol=1e-11, atol=1e-15)


def test_mean_and_scale_of_frozen_cells_stay() -> None:
    task = Siamese(frozen=True)
    program = backends.get("native").compile(task.network(0), dtype="float64")
    rule = learning.get("layerwise", trainable=("*.w",), learning_rate=0.05)
    first, state = values(program.network), rule.init(program)
    now: Any = dict(first)
    for _ in range(2):
        now, state, _ = rule.step(program, now, state, task.batch(), task)
    for name in ("mean", "scale"):
        np.testing.assert_array_equal(now[f"output.{name}"], first[f"output.{name}"])
        assert np.abs(now[f"hidden_1.{name}"] - first[f"hidden_1.{name}"]).max() > 1e-3
    assert np.abs(now["feed_2.w"] - first["feed_2.w"]).max() > 1e-3


def relaxing(**flags: bool) -> Network:
    """Two hidden populations that share their weights to the output and, as `down` says, those back. frozen: the loop is."""
    network = TASK.drawn()
    more = replace(network.population("hidden"), name="more")
    up, down = (network.projection(n) for n in ("up", "down"))
    links = [replace(p, frozen=flags.get("frozen", False)) if p.name == "loop" else p for p in network.projections]
    links += [replace(up, name="up_2", pre="more", weights=None, shares="up")]
    back = {"weights": None, "shares": "down"} if flags.get("down", True) else {}
    links += [
        replace(down, name="down_2", post="more", **back),
        replace(network.projection("feed"), name="feed_2", post="more"),
    ]
    return replace(network, populations=(*network.populations, more), projections=tuple(links))


def test_both_directions_of_shared_weights() -> None:
    network = symmetric_part(relaxing())
    found = values(network)
    np.testing.assert_array_equal(found["up.w"], found["down.w"].T)
    np.testing.assert_array_equal(found["up_2.w"], found["down_2.w"].T)
    rule, program = learning.get("contrastive", beta=1e-3, **PRECISE), compiled(network)
    parts = rule.estimate(program, found, TASK.batch(), TASK, rule.memory(program), 0)[1]
    whole = rule.gradient(program, found, TASK.batch(), TASK)
    np.testing.assert_allclose(whole["up.w"], parts["up.w"] + parts["up_2.w"], rtol=1e-12)
    now, _, metrics = rule.step(program, dict(found), rule.init(program), TASK.batch(), TASK)
    assert metrics["asymmetry"] == 0 and np.abs(now["up.w"] - found["up.w"]).max() > 1e-3
    with pytest.raises(UnsupportedError, match=r"'up_2'.*those of 'up', and their means with those back differ"):
        symmetric_part(relaxing(down=False))


def test_a_frozen_projection_has_no_symmetric_part_but_itself() -> None:
    with pytest.raises(UnsupportedError, match=r"'loop'.*it is frozen, and its weights aren't those back"):
        symmetric_part(relaxing(frozen=True))
    even = symmetric_part(relaxing())
    kept = replace(even, projections=tuple(replace(p, frozen=p.name == "loop") for p in even.projections))
    np.testing.assert_array_equal(values(symmetric_part(kept))["loop.w"], values(even)["loop.w"])


def test_a_frozen_projection_that_is_plastic_learns_in_no_update() -> None:
    """A part that was trained by a local rule still has its text; another projection learns by one."""
    from neuro.learning.local.stdp import stdp

    network = poisson(stdp)
    feed = replace(network.projection("feed"), frozen=True)
    side = Projection("side", "x", "cells", PULSE, Normal(quantity("1.5 nA"), quantity("0.3 nA")))
    network = replace(network, projections=(feed, side))
    rule, task = learning.get("stdp", projection="side", w_max="3 nA"), Spiking()
    program = backends.get("native").compile(rule.attach(network), dtype="float64")
    first, state = values(program.network), rule.init(program)
    now, _, _ = rule.step(program, dict(first), state, task.batch(), task)
    np.testing.assert_array_equal(now["feed.w"], first["feed.w"])
    assert np.abs(now["side.w"] - first["side.w"]).max() > 1e-13


class Spiking:
    """Whatever fires."""

    def record(self) -> tuple[str, ...]:
        return ()

    def batch(self) -> Batch:
        return Batch({"x": np.random.default_rng(0).random((2, 300, 7)) < 0.06}, np.zeros(2))

    def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
        return spikes["cells"].mean()


def test_node_perturbation_with_weights_in_two_units() -> None:
    """The unit that a weight is written in is no part of what the noise on its sum says of it."""
    task, found = TinyRecurrent(), {}
    network = task.network(0)
    for unit, factor in {"nA": 1.0, "pA": 1e3}.items():
        weights = quantity(factor * 1e9 * values(network)["loop.w"], unit)
        links = tuple(replace(p, weights=weights) if p.name == "loop" else p for p in network.projections)
        rule = Perturbation("np", sigma=2.0, trainable=("feed.w", "loop.w"))
        wide = rule.attach(replace(network, projections=links))
        program = backends.get("native").compile(wide, dtype="float64")
        found[unit] = rule.gradient(program, values(wide), task.batch(), task)
    for name in ("feed.w", "loop.w"):
        assert np.abs(found["nA"][name]).max() > 0
        np.testing.assert_allclose(found["pA"][name], found["nA"][name], rtol=1e-6)

"""Rule 'layerwise': bptt's gradient where nothing is normalised, torch's own batch normalisation where something is; what it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import Network, Neuron, Population, Projection, UnsupportedError, learning, quantity
from neuro.compiler.parameters import values
from neuro.export.quantisation.quantisers import ap2
from neuro.options import OptionError
from neuro.protocols import Batch, RunError
from tasks.quantised_networks import given, perceptron, sends
from tests.learning.test_rules import Tiny, TinyPerceptron

TRAINED = ("*.w", "*.gamma", "*.beta")
SIZES, EPSILON = (6, 8, 7, 3), 1e-4


class Deep(TinyPerceptron):
    """Two hidden layers, and weights from the inputs past both of them."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def network(self, seed: int) -> Network:
        network = perceptron("deep", SIZES, self.bits, 1.0, seed)
        past = Projection("past", "given", "output", sends, network.projections[0].weights, summed="end")
        every = {"gamma": 1.5, "mean": 0.3, "scale": 0.7, "beta": -0.2}
        random = np.random.default_rng(1)
        populations = [
            replace(
                p, parameters={n: quantity(v + 0.3 * random.normal(size=p.size), "") for n, v in every.items()}
            ) if p.neuron is not given else p
            for p in network.populations
        ]  # fmt: skip
        return replace(network, populations=tuple(populations), projections=(*network.projections, past))


def estimated(name: str, task: Any, backend: str, **options: Any) -> tuple[float, dict[str, Any]]:
    program = backends.get(backend).compile(task.network(0))
    rule = learning.get(name, trainable=TRAINED, **options)
    memory = rule.memory(program)
    found: tuple[float, dict[str, Any]] = rule.estimate(program, values(program.network), task.batch(), task, memory, 0)
    return found


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("bits", [0, 1, 3])
def test_without_normalisation_it_is_bptt(backend: str, bits: int) -> None:
    """Sums that several parts add to, too."""
    loss, slopes = estimated("layerwise", Deep(bits), backend, normalised="none")
    expected, truth = estimated("bptt", Deep(bits), backend)
    assert loss == pytest.approx(expected, rel=1e-14)
    for name, slope in truth.items():
        np.testing.assert_allclose(slopes[name], slope, rtol=1e-12, atol=1e-14 * np.abs(slope).max(), err_msg=name)
        assert np.any(slope), name


def by_hand(start: Mapping[str, Any], batch: Batch, normalise: Any, act: Any) -> tuple[float, dict[str, Any]]:
    """The same network in torch's words."""
    p = {n: torch.tensor(v, requires_grad=n.endswith((".w", ".gamma", ".beta"))) for n, v in start.items()}
    x = first = torch.as_tensor(batch.inputs["pixels"][:, 0])
    for k, name in enumerate(("hidden_1", "hidden_2", "output"), start=1):
        z = x @ p[f"feed_{k}.w"] + (first @ p["past.w"] if name == "output" else 0)
        u = normalise(z, p[f"{name}.gamma"], p[f"{name}.beta"])
        x = act(u)
    loss = ((u - torch.as_tensor(batch.targets)) ** 2).mean()
    loss.backward()
    return float(loss.detach()), {n: t.grad.numpy() for n, t in p.items() if t.grad is not None}


def hardtanh_sign(u: torch.Tensor) -> torch.Tensor:
    soft = torch.nn.functional.hardtanh(u)
    return soft + (torch.where(u >= 0, 1.0, -1.0) - soft).detach()


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_batch_normalisation_is_torchs(backend: str) -> None:
    def normalise(z: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.batch_norm(z, None, None, gamma, beta, training=True, eps=EPSILON)

    task = Deep(1)
    expected, truth = by_hand(values(task.network(0)), task.batch(), normalise, hardtanh_sign)
    loss, slopes = estimated("layerwise", task, backend, epsilon=EPSILON)
    assert loss == pytest.approx(expected, rel=1e-12)
    for name, slope in truth.items():
        np.testing.assert_allclose(slopes[name], slope, rtol=1e-10, atol=1e-12, err_msg=name)


def test_shift_normalisation_is_the_published_one() -> None:
    """c = z - mean; var = mean(c AP2(c)); y = AP2(gamma) c AP2(1/sqrt(var + eps)) + beta; AP2 has the slope of what stands in it."""

    def power(x: torch.Tensor) -> torch.Tensor:
        return x + (torch.as_tensor(ap2(x.detach().numpy())) - x).detach()

    def normalise(z: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        c = z - z.mean(0)
        variance = (c * power(c)).mean(0)
        return power(gamma) * (c * power(1 / torch.sqrt(variance + EPSILON))) + beta

    task = Deep(1)
    expected, truth = by_hand(values(task.network(0)), task.batch(), normalise, hardtanh_sign)
    loss, slopes = estimated("layerwise", task, "torch", normalisation="shift", epsilon=EPSILON)
    assert loss == pytest.approx(expected, rel=1e-12)
    for name, slope in truth.items():
        np.testing.assert_allclose(slopes[name], slope, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", ["batch", "shift"])
def test_what_comes_back_has_the_running_averages_and_runs_on_every_backend(kind: str) -> None:
    task = Deep(1)
    program = backends.get("torch").compile(task.network(0))
    rule = learning.get("layerwise", trainable=TRAINED, normalisation=kind, momentum=0.25)
    parameters, state = values(program.network), rule.init(program)
    kept = []
    for _ in range(3):
        before = np.asarray(state.real(parameters)["feed_1.w"])
        kept.append((task.batch().inputs["pixels"][:, 0] @ before).mean(0))
        parameters, state, _ = rule.step(program, parameters, state, task.batch(), task)
    expected = 0.75 * (0.75 * kept[0] + 0.25 * kept[1]) + 0.25 * kept[2]
    np.testing.assert_allclose(parameters["hidden_1.mean"], expected, rtol=1e-12)
    if kind == "shift":
        for name in ("scale", "gamma"):
            np.testing.assert_array_equal(parameters[f"hidden_2.{name}"], ap2(parameters[f"hidden_2.{name}"]))
    record = ("hidden_1.x", "hidden_2.x", "output.u")
    runs = {
        name: backends.get(name).compile(task.network(0)).run(parameters, task.batch().inputs, record).traces
        for name in ("reference", "native", "torch", "brian2")
    }
    assert {-1.0, 1.0} == set(np.unique(runs["reference"]["hidden_2.x"]))
    for name, traces in runs.items():
        for trace in record:
            np.testing.assert_allclose(traces[trace], runs["reference"][trace], rtol=1e-12, atol=1e-13, err_msg=name)


def test_stochastic_signs_have_their_probability_and_no_part_in_a_run() -> None:
    """+1 with probability clip((u + 1)/2, 0, 1), new ones in each update, the same in each repetition."""

    class Shown(Deep):
        seen: Any = None

        def batch(self) -> Batch:
            return Batch(
                {"pixels": np.repeat(0.2 * super().batch().inputs["pixels"][:1], 4000, axis=0)}, np.zeros((4000, 3))
            )

        def record(self) -> Sequence[str]:
            return ("hidden_1.x", "hidden_1.u", "output.u")

        def loss(self, spikes: Any, traces: Mapping[str, Any], batch: Batch) -> Any:
            self.seen = {n: t.detach().numpy() for n, t in traces.items()}
            return super().loss(spikes, traces, batch)

    task = Shown(1)
    program = backends.get("torch").compile(task.network(0))
    rule = learning.get("layerwise", trainable=TRAINED, normalised="none", stochastic="noise")

    def seen(draw: int) -> Any:
        rule.estimate(program, values(program.network), task.batch(), task, {}, draw)
        return task.seen

    first, again, other = seen(0), seen(0), seen(1)
    np.testing.assert_array_equal(first["hidden_1.x"], again["hidden_1.x"])
    assert not np.array_equal(first["hidden_1.x"], other["hidden_1.x"])
    wanted = np.clip((first["hidden_1.u"][0, 0] + 1) / 2, 0, 1)
    assert ((wanted > 0) & (wanted < 1)).sum() >= 3
    np.testing.assert_allclose((first["hidden_1.x"][:, 0] > 0).mean(0), wanted, atol=4 * 0.5 / np.sqrt(4000))
    still = program.run(inputs=task.batch().inputs, record=("hidden_1.x",)).traces["hidden_1.x"]
    assert (still == still[0]).all()


def test_learning_rates_by_fan() -> None:
    program = backends.get("torch").compile(Deep(1).network(0))
    state = learning.get("layerwise", trainable=TRAINED, by_fan=True, learning_rate=0.1).init(program)
    rates = dict(zip(state.theta, (g["lr"] for g in state.optimiser.param_groups), strict=True))
    assert rates["feed_1.w"] == pytest.approx(0.1 / np.sqrt(1.5 / (6 + 8))) and rates["hidden_1.beta"] == 0.1


def refused(network: Network, **options: Any) -> str:
    with pytest.raises((UnsupportedError, OptionError)) as error:
        learning.get("layerwise", **options).init(backends.get("torch").compile(network))
    return str(error.value)


def test_what_it_refuses_is_named() -> None:
    assert "population 'cells': its cells have a memory" in refused(Tiny().network(0)).replace("compile ", "")
    shallow = perceptron("p", (2, 3), 1, 1.0, 0)
    early = replace(shallow, projections=tuple(replace(p, summed="start") for p in shallow.projections))
    assert "projection 'feed_1'" in refused(early) and "summed='end'" in refused(early)
    assert "'output.mean' is the batch's" in refused(shallow, trainable=("*.mean", "*.w"))
    assert "no cell has an input 'nois'; did you mean 'noise'" in refused(shallow, stochastic="nois")
    one = replace(shallow.populations[1], parameters={"mean": quantity(0.0, "")})
    assert "give the population 3" in refused(replace(shallow, populations=(shallow.populations[0], one)))
    with pytest.raises(learning.UnknownRuleError, match="rate_strength"):
        learning.get("layerwise", rate_strength=1.0)
    with pytest.raises(learning.UnknownRuleError, match="momentum"):
        learning.get("layerwise", momentum=0.0)


def test_two_sums_have_no_one_normalisation() -> None:
    two = Neuron(
        "two", "z : 1\ny : 1\nu = gamma*((z + y - mean)*scale) + beta : 1",
        parameters={"gamma": "1", "mean": "0", "scale": "1", "beta": "0"},
    )  # fmt: skip
    other = replace(sends, name="other", target="y")
    parts = {n: quantity(np.ones(2), "") for n in ("gamma", "mean", "scale", "beta")}
    network = Network(
        (Population("given", given, 2), Population("out", two, 2, parts)),
        tuple(
            Projection(n, "given", "out", s, quantity(1.0, ""), summed="end")
            for n, s in (("a", sends), ("b", other))
        ),
        perceptron("p", (2, 2), 1, 1.0, 0).inputs,
        dt="1 ms",
    )  # fmt: skip
    assert "2 sums" in refused(network)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "number of steps is unknown"),
        ({"pixel": np.zeros((4, 1, 6))}, "no input 'pixel'; did you mean 'pixels'"),
        ({"pixels": np.zeros((4, 1, 5))}, r"input 'pixels' has shape \(4, 1, 5\)"),
        ({"pixels": np.full((4, 1, 6), np.nan)}, "input 'pixels' is not finite"),
    ],
    ids=["none", "unknown", "width", "nan"],
)
def test_a_batch_that_does_not_fit_is_refused_in_the_names_of_the_network(inputs: Any, said: str) -> None:
    task = TinyPerceptron()
    task.batch = lambda: Batch(inputs, np.zeros((4, 3)))  # type: ignore[method-assign]
    with pytest.raises(RunError, match=said):
        estimated("layerwise", task, "torch")


def test_what_is_recorded_is_refused_by_name() -> None:
    task = TinyPerceptron()
    task.record = lambda: ("outptu.u",)  # type: ignore[method-assign]
    with pytest.raises(RunError, match=r"record: 'outptu\.u' is no variable .* did you mean 'output\.u'"):
        estimated("layerwise", task, "torch")


def test_inputs_that_share_cells_add_up_and_names_may_be_any() -> None:
    """Populations are called what a part might call its currents; an input may have a unit."""
    whole = perceptron("whole", (6, 8, 3), 1, 1.0, 0)
    renamed = {"given": "given", "hidden_1": "into_x", "output": "into_z"}
    second = replace(whole.inputs[0], name="second")
    twice = replace(
        whole,
        populations=tuple(replace(p, name=renamed[p.name]) for p in whole.populations),
        projections=tuple(replace(p, pre=renamed[p.pre], post=renamed[p.post]) for p in whole.projections),
        inputs=(*whole.inputs, second),
    )
    task, other = TinyPerceptron(), TinyPerceptron()
    pixels, targets = task.batch().inputs["pixels"], task.batch().targets
    other.output = "into_z"
    other.network = lambda seed: twice  # type: ignore[method-assign]
    other.record = lambda: ("into_z.u",)  # type: ignore[method-assign]
    other.batch = lambda: Batch({"pixels": pixels / 4, "second": quantity(0.75 * pixels, "")}, targets)  # type: ignore[method-assign]
    other.loss = lambda spikes, traces, batch: task.loss(spikes, {"output.u": traces["into_z.u"]}, batch)  # type: ignore[method-assign]
    program = backends.get("torch").compile(twice)
    start = values(task.network(0))
    moved = {n.replace("hidden_1", "into_x").replace("output", "into_z"): v for n, v in start.items()}
    rule = learning.get("layerwise", trainable=("*.w",))
    loss, _ = rule.estimate(program, moved, other.batch(), other, rule.memory(program), 0)
    assert loss == pytest.approx(estimated("layerwise", task, "torch")[0], rel=1e-12)


def in_units(unit: str) -> tuple[Network, Network]:
    """A network whose hidden sums are numbers, and the same with sums in a unit of current."""
    plain = perceptron("plain", (6, 8, 3), 1, 1.0, 0)
    weights = np.random.default_rng(0).uniform(-1, 1, (6, 8))
    first = replace(plain.projections[0], weights=quantity(weights, ""))
    plain = replace(plain, projections=(first, plain.projections[1]))
    hidden = plain.populations[1]
    given_in = {"mean": unit, "scale": f"{unit}**-1"}
    cell = replace(
        hidden.neuron, equations=hidden.neuron.equations.replace("z : 1", "z : amp"),
        parameters={n: quantity(v.value, given_in.get(n, "")) for n, v in hidden.neuron.parameters.items()},
    )  # fmt: skip
    start = {"gamma": 1.0, "mean": 0.0, "scale": 1.0, "beta": 0.0}
    every = {n: quantity(np.full(8, v), given_in.get(n, "")) for n, v in start.items()}
    feed = replace(
        plain.projections[0], weights=quantity(weights, unit),
        synapse=replace(sends, name="sends_currents", equations="w : amp"),
    )  # fmt: skip
    populations = (plain.populations[0], replace(hidden, neuron=cell, parameters=every), plain.populations[2])
    return plain, replace(plain, populations=populations, projections=(feed, plain.projections[1]))


@pytest.mark.parametrize("normalisation", ["batch", "shift"])
def test_a_unit_of_sums_changes_nothing(normalisation: str) -> None:
    """epsilon and powers of two are numbers in the parameters' own units, as learning rates are."""
    losses = []
    for network in in_units("nA"):
        task = TinyPerceptron()
        program: Any = backends.get("torch").compile(network)
        rule: Any = learning.get("layerwise", trainable=TRAINED, normalisation=normalisation, learning_rate=0.05)
        parameters, state = values(network), rule.init(program)
        for _ in range(4):
            parameters, state, metrics = rule.step(program, parameters, state, task.batch(), task)
        losses.append(metrics["loss"])
        found = program.run(parameters, task.batch().inputs, ("output.u",)).traces["output.u"]
        losses.append(float(np.abs(found).mean()))
    assert losses[:2] == pytest.approx(losses[2:], rel=1e-9)


@pytest.mark.parametrize(
    ("normal", "accepted"),
    [
        ("gamma*((z - mean)*scale) + beta", True),
        ("gamma*scale*z - gamma*scale*mean + beta + z", True),
        ("gamma*(z - mean)/scale + beta", False),
        ("gamma*(z*scale - mean) + beta", False),
    ],
)
def test_cells_that_mean_other_numbers_by_these_names_are_refused(normal: str, accepted: bool) -> None:
    """A deviation in the place of its inverse would be learnt with in silence."""
    network = perceptron("p", (2, 3), 1, 1.0, 0)
    cell = Neuron("cell", f"z : 1\nu = {normal} : 1", parameters=network.populations[1].neuron.parameters)
    network = replace(network, populations=(network.populations[0], replace(network.populations[1], neuron=cell)))
    if accepted:
        learning.get("layerwise").init(backends.get("torch").compile(network))
    else:
        assert "population 'output': 'u' reads mean or scale" in refused(network).replace("compile ", "")


@pytest.mark.parametrize("normalisation", ["batch", "shift"])
@pytest.mark.parametrize(
    ("pixels", "options", "said"),
    [
        (np.ones((1, 1, 6)), {}, "one trial of one step"),
        (np.zeros((4, 1, 6)), {"epsilon": 0.0}, "'hidden_1': the variance of what cell 0 sums is 0"),
        (1e200 * np.eye(4, 6)[:, None], {}, "'hidden_1': the variance .* is inf"),
    ],
    ids=["alone", "constant", "huge"],
)
def test_a_batch_without_a_variance_is_refused(normalisation: str, pixels: Any, options: Any, said: str) -> None:
    task = TinyPerceptron()
    task.batch = lambda: Batch({"pixels": pixels}, np.zeros((len(pixels), 3)))  # type: ignore[method-assign]
    with pytest.raises((RunError, FloatingPointError), match=said):
        estimated("layerwise", task, "torch", normalisation=normalisation, **options)


def test_random_numbers_have_no_unit() -> None:
    _, network = in_units("nA")
    assert "'hidden_1.z' is in amp" in refused(network, stochastic="z")

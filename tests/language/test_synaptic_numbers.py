"""rand(), randn(), poisson(x) in synapses: the same numbers on every backend, for every cut, part and order; by (trial, step, place)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from neuro import (
    AllToAll,
    Input,
    ModelError,
    Network,
    Neuron,
    OneToOne,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
    quantity,
    surgery,
)
from neuro.analysis import lyapunov
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.compiler.resolve import resolve
from neuro.export import ExportError, targets
from neuro.protocols import UnsupportedError
from tests.backends.networks import LIF

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])
SOURCE = Neuron("source", "v : 1\nx : 1", threshold="v > 1", reset="v -= 1", every_step="v += x")
SUM = Neuron("sum", "s : 1\nv : 1", threshold="v > 2", reset="v = 0", every_step="v += 0.05 + 0.05*s; s *= 0.9")
RELEASE = Synapse(
    "release", "w : 1\nu : 1\nh = 0.1*randn() : 1 (constant over dt)\np : 1",
    on_pre="s_post += w*int(rand() < p); u += p*randn(); late: s_post += 0.1*poisson(2*p)*rand()",
    on_post="u *= 0.5 + 0.5*rand()", every_step="u = 0.9*u + 0.01*rand() + h", regularly={"5 ms": "u += 0.1*rand()"},
    parameters={"p": 0.6},
)  # fmt: skip
PLACES = np.random.default_rng(5)
FORMS: dict[str, Any] = {
    "dense": AllToAll(), "drawn": Probability(0.4), "own": OneToOne(),
    "pairs": Pairs(PLACES.integers(0, 8, 30), PLACES.integers(0, 8, 30)),
}  # fmt: skip


def network(form: str = "pairs", synapse: Synapse = RELEASE, **options: Any) -> Network:
    options = {"delay": "1 ms", "delays": {"late": "3 ms", "post": "2 ms"}, **options}
    joined = Projection("p", "a", "b", synapse, weights=0.5, connectivity=FORMS[form], **options)
    cells = Population("a", SOURCE, 8), Population("b", SUM, 8)
    return Network(cells, (joined,), (Input("i", 8, "current", "a.x"),), "1 ms", 11)


def drive(steps: int = 60) -> dict[str, np.ndarray]:
    return {"i": np.random.default_rng(0).uniform(0, 0.8, (2, steps, 8))}


@every_backend
def test_the_same_numbers_as_by_hand(backend: str) -> None:
    """Release by chance from a listed projection: place n of the stream is the n-th pair's, whatever else fires."""
    synapse = Synapse("release", "w : 1", on_pre="s_post += w*(rand() < 0.3) + 0.01*randn()")
    net = network(synapse=synapse, delays={})
    found = backends.get(backend).compile(net).run(inputs=drive(), record=["b.s"])
    one, other = (streams.synaptic(11, "p", f"{f}__on_pre_1_1", 0, 2, 30, 0, 60) for f in ("rand", "randn"))
    pairs, s = FORMS["pairs"], np.zeros((2, 8))
    for k in range(60):
        arrived = found.spikes["a"][:, k - 1][:, pairs.pre] if k else np.zeros((2, 30), bool)
        amount = np.where(arrived, 0.5 * (one[:, k] < 0.3) + 0.01 * other[:, k], 0.0)
        s = 0.9 * s
        for trial in range(2):
            np.add.at(s[trial], pairs.post, amount[trial])
        np.testing.assert_allclose(found.traces["b.s"][:, k], s, rtol=1e-12, atol=1e-13)
    assert found.spikes["a"].sum() > 200


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("backend", ["native", "torch", "brian2"])
def test_backends_agree(backend: str, form: str) -> None:
    net = network(form)
    asked = {"inputs": drive(), "record": ["p.u", "b.s"]}
    truth, found = (backends.get(b).compile(net).run(**asked) for b in ("reference", backend))
    assert truth.spikes["b"].sum() > 20
    np.testing.assert_array_equal(found.spikes["b"], truth.spikes["b"])
    for name in asked["record"]:
        np.testing.assert_allclose(found.traces[name], truth.traces[name], rtol=1e-12, atol=1e-13)


@every_backend
def test_a_run_in_parts_trials_and_sessions(backend: str) -> None:
    program: Any = backends.get(backend).compile(network())
    x = drive()["i"]
    whole = program.run(inputs={"i": x}, record=["p.u"]).traces["p.u"]
    half = program.run(inputs={"i": x[:, :25]}, record=["p.u"])
    rest = program.run(inputs={"i": x[:, 25:]}, record=["p.u"], state=half.state)
    np.testing.assert_array_equal(np.concatenate([half.traces["p.u"], rest.traces["p.u"]], axis=1), whole)
    np.testing.assert_array_equal(program.run(inputs={"i": x[1:]}, trial=1, record=["p.u"]).traces["p.u"][0], whole[1])
    with program.session(2, record=["p.u"]) as session:
        steps = [session.step({"i": x[:, k : k + 1]}).traces["p.u"] for k in range(20)]
    np.testing.assert_array_equal(np.concatenate(steps, axis=1), whole[:, :20])


def test_threads_parts_and_orders_change_nothing() -> None:
    """Delays of their own put a kernel's synapses into another order; each keeps its number. CUDA's text draws the same ones."""
    own = quantity(np.arange(30.0) % 4, "ms")
    net = network(delay=own)
    truth = backends.get("reference").compile(net).run(inputs=drive(), record=["p.u"])
    for options in ({}, {"threads": 2}, {"device": "cuda-emulated"}, {"device": "cuda-checked"}):
        found = backends.get("native").compile(net, **options).run(inputs=drive(), record=["p.u"])
        np.testing.assert_allclose(
            found.traces["p.u"], truth.traces["p.u"], rtol=1e-12, atol=1e-13, err_msg=str(options)
        )


def test_what_else_fires_changes_no_number() -> None:
    """A synapse whose source never fired before draws what it would have drawn among silent neighbours."""
    loud, quiet = drive(), drive()
    quiet["i"][..., 1:] = 0
    net = network("own", Synapse("release", "w : 1", on_pre="s_post += w*rand()"), delays={})
    program = backends.get("native").compile(net)
    first = [program.run(inputs=x, record=["b.s"]).traces["b.s"][..., 0] for x in (loud, quiet)]
    np.testing.assert_array_equal(*first)
    assert len(np.unique(first[0])) > 20


def test_numbers_are_independent_and_distributed_as_they_should() -> None:
    u = streams.synaptic(3, "p", "rand__on_pre_1_1", 0, 2, 1000, 0, 50)
    n = streams.synaptic(3, "p", "randn__on_pre_1_1", 0, 2, 1000, 0, 50)
    assert u.min() >= 0 and u.max() < 1 and len(np.unique(u)) == u.size
    for values_, mean, sd in ((u, 0.5, 12**-0.5), (n, 0.0, 1.0)):
        assert abs(values_.mean() - mean) < 4 * sd / u.size**0.5
        assert abs(values_.std() - sd) < 4 * sd / u.size**0.5
        for axis in range(3):  # trials, steps, places
            a, b = (np.moveaxis(values_, axis, 0)[s].ravel() for s in (slice(1), slice(1, 2)))
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / a.size**0.5
    np.testing.assert_array_equal(streams.synaptic(3, "p", "rand__on_pre_1_1", 1, 1, 400, 7, 9), u[1:, 7:9, :400])


def test_gradients_take_the_numbers_as_constants() -> None:
    net, found = network("dense"), []
    for backend in ("native", "torch"):
        program: Any = backends.get(backend).compile(net)
        loss = lambda r: r.traces["p.u"].square().mean() + r.traces["b.s"].sum()
        found.append(program.value_and_grad(loss, values(net), drive(), ["p.w", "p.p"], ["p.u", "b.s"]))
    for name in ("p.w", "p.p"):
        assert np.any(found[0][1][name])
        np.testing.assert_allclose(found[0][1][name], found[1][1][name], rtol=1e-9, atol=1e-12)
    released = Synapse("release", "w : 1", on_pre="s_post += w*(rand() < 0.3)")
    net = network("own", released, delays={})
    program = backends.get("native").compile(net)
    last = lambda r: r.traces["b.s"][:, -1].sum()
    slope = program.value_and_grad(last, values(net), drive(), ["p.w"], ["b.s"])[1]["p.w"]
    drawn, fired = (
        streams.synaptic(11, "p", "rand__on_pre_1_1", 0, 2, 8, 0, 60),
        program.run(inputs=drive()).spikes["a"],
    )
    left = 0.9 ** np.arange(58, -1, -1)[:, None]
    np.testing.assert_allclose(slope, (((drawn[:, 1:] < 0.3) & fired[:, :-1]) * left).sum(axis=(0, 1)))


def test_tangents_follow_the_same_numbers() -> None:
    """A Lyapunov spectrum reads what the run drew: of u = 0.5*(1 + 0.2*rand())*u it is the mean of its logarithm."""
    shrinking = Synapse(
        "shrinking", "w : 1\nu : 1", on_pre="s_post += 0*w", every_step="u *= 0.5 + 0.1*rand()", initial={"u": 1.0}
    )
    net = replace(
        network("own", shrinking, delays={}),
        projections=(replace(network("own", shrinking, delays={}).projections[0], connectivity=Pairs([0], [0])),),
    )
    inputs = {"i": np.zeros((1, 40, 8))}
    recording = backends.get("reference").compile(net).run(inputs=inputs, record=lyapunov.needed(net))
    drawn = streams.synaptic(11, "p", "rand__every_step_1_1", 0, 1, 1, 0, 40)[0, 1:, 0]
    ratio = recording.traces["p.u"][0, 1:, 0] / recording.traces["p.u"][0, :-1, 0]
    np.testing.assert_allclose(ratio, 0.5 + 0.1 * drawn, rtol=1e-12)


@pytest.mark.parametrize("target", [*targets.names(), "snntorch"])
def test_chips_and_modules_refuse_it_by_name(target: str, tmp_path: Path) -> None:
    released = Synapse("release", "w : amp", on_pre="I_post += w*int(rand() < 0.5)")
    feed = Projection("p", "x", "a", released, weights=quantity(np.full((4, 4), 2.0), "nA"))
    net = Network((Population("a", LIF, 4),), (feed,), (Input("x", 4),), "1 ms")
    with pytest.raises((ExportError, UnsupportedError), match=r"projection 'p', noise: 'rand\(\)' in its text"):
        if target == "snntorch":
            backends.get(target).compile(net)
        else:
            targets.get(target).export(net, values(net), tmp_path / "x")


def test_surgery_refuses_other_numbers() -> None:
    net = network("dense")
    with pytest.raises(ModelError, match=r"projection 'p', whose 'randn\(\)' is drawn for all its cells at once"):
        surgery.removed(net, "b", [0])
    assert surgery.removed(net, "b", [0], noise="anew").after.population("b").size == 7


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"equations": "w : 1\nx = rand() : 1"}, r"rand\(\) stands in .*; and in a synapse's of these"),
        ({"equations": "w : 1\ndu/dt = -u*rand()/ms : 1"}, r"rand\(\) stands in"),
        ({"transmits": "rand()*v_pre", "target": "x"}, r"rand\(\) stands in"),
        ({"on_pre": "g_post += w", "receptor": "g : 1\nx = g*rand() : 1"}, r"rand\(\) stands in"),
        ({"on_pre": "s_post += w*rand(2)"}, r"rand\(\) takes no argument"),
        ({"on_pre": "s_post += w*poisson()"}, r"poisson\(\) takes one argument"),
    ],
)
def test_where_it_does_not_stand(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Synapse("s", **{"equations": "w : 1", "on_pre": "s_post += w", **changed})


def test_units_are_checked() -> None:
    with pytest.raises(ModelError, match=r"volt|unit"):
        network(synapse=Synapse("s", "w : 1", on_pre="s_post += w*rand()*mV"), delays={})


def test_a_projection_that_shares_weights_draws_its_own() -> None:
    """Numbers are keyed by the projection, so two of one neuron pair and one weight release apart."""
    net = network("dense", Synapse("release", "w : 1", on_pre="s_post += w*(rand() < 0.5)"), delays={})
    twin = replace(net.projections[0], name="twin", weights=None, shares="p")
    both = replace(net, projections=(*net.projections, twin))
    assert resolve(both).network.projection("twin").synapse.scope.noise == ("rand__on_pre_1_1",)
    found = [
        backends.get(b).compile(both).run(inputs=drive(), record=["b.s"]).traces["b.s"]
        for b in ("reference", "native", "torch", "brian2")
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-12, atol=1e-13)
    single = backends.get("reference").compile(net).run(inputs=drive(), record=["b.s"]).traces["b.s"]
    assert not np.allclose(found[0], 2 * single)

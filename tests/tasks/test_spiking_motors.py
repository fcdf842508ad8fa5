"""Spiking policies against the recipe of the cue task, with senses that are graded; what they begin with, and what an episode leaves behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
from neuro import Network
from neuro.compiler.parameters import values
from neuro.learning.search.search_space import SearchSpace
from neuro.options import OptionError
from tasks.plastic_networks import FORMS, trained
from tasks.spiking_motors import READOUT, SPIKING, spiking_network
from tests.backends.able import able
from tests.tasks.test_cue_accumulation import by_hand

Array = np.ndarray
PLASTIC = [form for form in FORMS if "-" in form]
SENSES, SIZE, MOTORS = 5, 12, 3
each_form = pytest.mark.parametrize("form", FORMS)


def small(form: str) -> Network:
    return spiking_network("small", SENSES, SIZE, MOTORS, form, seed=3)


def drawn(network: Network) -> dict[str, Array]:
    """Enough spikes, enough plasticity, motors that are no longer silent."""
    random, p = np.random.default_rng(1), dict(values(network))
    for name, scale in (("feed.w", 2.0), ("feed.alpha", 10.0)):
        if name in p:
            p[name] = scale * p[name]
    if "feed.rate" in p:
        p["feed.rate"] = np.array(0.8)
    if "gates.bias" in p:
        p["gates.bias"] = np.linspace(-1.5, 2.0, SIZE)
    return p | {name: random.normal(0, 0.5, np.shape(p[name])) for name in READOUT}


def senses(trials: int = 2, steps: int = 40) -> Array:
    return np.random.default_rng(2).normal(0, 1.5, (trials, steps, SENSES))


@pytest.mark.parametrize("backend", able("plasticity"))
@each_form
def test_a_policy_is_the_recipe_with_the_same_spikes(form: str, backend: str) -> None:
    """A motor answers a spike one step later."""
    network, observed = small(form), senses()
    p = drawn(network)
    record = ["motors.y", *(["feed.rho"] if form in PLASTIC else [])]
    run = backends.get(backend).compile(network).run(p, {"senses": observed}, record)
    for trial in range(2):
        wanted = by_hand(form, p, observed[trial])
        assert 0.05 < wanted["s"].mean() < 0.6
        np.testing.assert_array_equal(run.spikes["cells"][trial], wanted["s"])
        y = 10 * wanted["x"] @ p["readout.w"] + p["motors.bias"]
        np.testing.assert_allclose(run.traces["motors.y"][trial, 1:], y[:-1], rtol=0, atol=1e-9)
        if form in PLASTIC:
            rho = run.traces["feed.rho"][trial].reshape(wanted["rho"].shape)
            assert np.abs(wanted["rho"]).max() > 0.1
            np.testing.assert_allclose(rho[1:], wanted["rho"][:-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("form", "numbers"),
    [("static", 1128), ("recurrent", 1128 + 32 * 32), ("dp-oja", 1993), ("ndp-oja", 2089), ("ndp-bcm", 2089)],
)
def test_weights_and_plasticity_are_searched_from_silent_motors(form: str, numbers: int) -> None:
    """27 numbers seen, 32 cells, 8 motors: 27*32 weights, 32*8, 8 biases; alpha and one rate; or alpha, 32 weights to the modulator and from it, 33 biases."""
    network = spiking_network("ant", 27, 32, 8, form, seed=0)
    program = backends.get("native").compile(network)
    assert SearchSpace.of(program, trained(form)).vector().shape == (numbers,)
    begins = values(network)
    assert not any(begins[name].any() for name in READOUT)
    rest = np.zeros(27)  # of the ant: height, orientation, ankles
    rest[[0, 1, 6, 8, 10, 12]] = 0.5, 1, 1, -1, -1, 1
    found = program.run(begins, {"senses": np.tile(rest, (1, 150, 1))}, ["motors.y"])
    assert not found.traces["motors.y"].any()
    assert 0.1 < found.spikes["cells"].any(axis=1).mean() < 0.6  # what never fires couldn't be searched


@pytest.mark.parametrize("form", PLASTIC)
def test_what_an_episode_left_behind_is_gone_in_the_next_one(form: str) -> None:
    network, observed = small(form), senses(1)
    program, p = backends.get("native").compile(network), drawn(network)
    kept = ["feed.rho", "source.x", "cells.x", "cells.v", *(["feed.theta"] if form.endswith("bcm") else [])]
    first = program.run(p, {"senses": observed}, ["motors.y", *kept])
    assert all(np.abs(first.state.variables[n]).max() > 0.01 for n in kept)
    for _ in range(2):
        with program.session(1, p, ["motors.y"]) as session:
            y = [session.step({"senses": observed[:, k : k + 1]}).traces["motors.y"] for k in range(observed.shape[1])]
        np.testing.assert_array_equal(np.concatenate(y, axis=1), first.traces["motors.y"])
    goes_on = program.run(p, {"senses": observed}, ["motors.y"], state=first.state)
    assert not np.allclose(goes_on.traces["motors.y"], first.traces["motors.y"])


def test_names_are_the_forms_and_others_are_refused() -> None:
    assert tuple(f"spiking-{form}" for form in FORMS) == SPIKING
    wrong: Any = "spiking-static"
    with pytest.raises(OptionError, match="form 'spiking-static'; use one of static, recurrent"):
        small(wrong)

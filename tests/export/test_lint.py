"""Lint: every misfit at once, by name and field, with what to change; a network without misfits is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neuro import AllToAll, Input, Network, Population, Projection, library, quantity
from neuro.export.lint import lint
from neuro.export.profile import Decay, Integers, Profile, State
from neuro.export.targets import get
from neuro.options import OptionError

LIF, PULSE = library.get("lif"), library.get("pulse")
ANY = Profile("any", "everything that leaky integrators are", "", ("lif", "cuba_lif", "leaky_integrator"),
              resets=("none", "zero", "subtract"), chain=False, currents=True)  # fmt: skip


def network(**changes: Any) -> Network:
    """8 channels -> 6 cells, recurrent -> 3 cells."""
    projections = (
        Projection("feed", "x", "hidden", PULSE, "1 nA"),
        Projection("loop", "hidden", "hidden", PULSE, "0.1 nA"),
        Projection("read", "hidden", "out", PULSE, "1 nA"),
    )
    cells = (Population("hidden", LIF, 6), Population("out", LIF, 3))
    return replace(Network(cells, projections, (Input("x", 8),), dt="1 ms"), **changes)


def found(profile: Profile, given: Network | None = None) -> set[tuple[str, str]]:
    return {(p.where, p.field) for p in lint(given or network(), profile)}


def test_the_fixture_fits() -> None:
    assert lint(network(), ANY) == ()
    assert lint(network(), get("nir").profile) == ()


LIMITS: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "neurons": ({"neurons": ("cuba_lif",)}, {("population 'hidden'", "neuron"), ("population 'out'", "neuron")}),
    "resets": ({"resets": ("subtract",)}, {("population 'hidden'", "reset"), ("population 'out'", "reset")}),
    "thresholds": ({"thresholds": (">=",)}, {("population 'hidden'", "threshold"), ("population 'out'", "threshold")}),
    "delays": ({"delays": (1, 5)}, {(f"projection '{n}'", "delay") for n in ("feed", "loop", "read")}),
    "fan-in": ({"fan_in": 13}, {("population 'hidden'", "fan-in")}),
    "fan-out": ({"fan_out": 8}, {("population 'hidden'", "fan-out")}),
    "inputs": ({"inputs": 7}, {("input 'x'", "size")}),
    "hidden": ({"hidden": 5}, {("population 'hidden'", "size")}),
    "outputs": ({"outputs": 2}, {("population 'out'", "size")}),
    "cores": ({"cells_per_core": 4, "cores": 2}, {("the network", "size")}),
    "recurrence": ({"recurrence": False}, {("projection 'loop'", "recurrence")}),
    "self-connections": ({"self_connections": False}, {("projection 'loop'", "self-connections")}),
    "layers": ({"chain": True, "layers": (3, 4)}, {("the network", "layers")}),
    "dash": ({"decay": Decay("dash", 4)}, {("population 'hidden'", "tau_mem"), ("population 'out'", "tau_mem")}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(ANY, neurons=("LIF",)), r"profile 'any': neurons=\('LIF',\); it takes a list of lif, cuba_lif, leaky_i"),
        (lambda: replace(ANY, resets=("nil",)), "profile 'any': resets=.* a list of none, zero, subtract"),
        (lambda: replace(ANY, order="add"), "profile 'any': order='add'; it takes one of decay-add, add-decay"),
        (lambda: replace(ANY, hidden="many"), "profile 'any': hidden='many'; it takes a whole number"),
        (lambda: State(16, "clip"), "a State: overflow='clip'; it takes one of wrap, saturate"),
        (lambda: Decay("log", 4), "a Decay: kind='log'; it takes one of linear, dash"),
    ],
)  # fmt: skip
def test_a_profile_of_names_that_are_none(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_named(name: str) -> None:
    changes, wanted = LIMITS[name]
    assert found(replace(ANY, **changes)) == wanted


def test_just_within_the_limits() -> None:
    limits = {"fan_in": 14, "fan_out": 9, "inputs": 8, "hidden": 6, "outputs": 3, "cells_per_core": 4, "cores": 3}
    assert found(replace(ANY, **limits)) == set()


def test_output_recurrence() -> None:
    given = network()
    loop = replace(given.projections[1], name="last", pre="out", post="out")
    profile = replace(ANY, chain=True, output_recurrence=False)
    assert found(profile) == set()
    recurrent = replace(given, projections=(*given.projections, loop))
    assert found(profile, recurrent) == {("projection 'last'", "recurrence")}


def test_self_connections_left_out() -> None:
    given = network()
    loop = replace(given.projections[1], connectivity=AllToAll(self_connections=False))
    given = replace(given, projections=(given.projections[0], loop, given.projections[2]))
    assert found(replace(ANY, self_connections=False), given) == set()


def test_per_neuron_parameters() -> None:
    taus = quantity(np.array([5.0, 6, 7, 8, 9, 10]), "ms")
    levels = quantity(np.array([-50.0, -49, -48]), "mV")
    hidden, out = network().populations
    given = network(
        populations=(replace(hidden, parameters={"tau_m": taus}), replace(out, parameters={"v_th": levels}))
    )
    assert found(ANY, given) == set()
    wanted = {("population 'hidden'", "tau_mem"), ("population 'out'", "threshold")}
    assert found(replace(ANY, per_neuron=()), given) == wanted


def test_all_misfits_at_once_with_a_fix() -> None:
    """Noise, refractory cells, a skip connection, a delay and a current: five names in one list."""
    noisy = replace(
        LIF, equations="dv/dt = (E_L - v + R*I)/tau_m + 1*mV*xi/sqrt(tau_m) : volt\nI : amp", method="euler"
    )
    hidden, out = network().populations
    cells = (replace(hidden, neuron=noisy), replace(out, neuron=replace(LIF, refractory=quantity("3 ms"))))
    feed, loop, read = network().projections
    projections = (feed, loop, replace(read, delay=quantity("2 ms")), Projection("skip", "x", "out", PULSE, "1 nA"))
    inputs = (Input("x", 8), Input("bias", 3, "current", "out.I"))
    problems = lint(network(populations=cells, projections=projections, inputs=inputs), get("nir").profile)
    wanted = {
        ("population 'hidden'", "noise"), ("population 'out'", "refractory"), ("projection 'read'", "delay"),
        ("projection 'skip'", "layers"), ("input 'bias'", "kind"),
    }  # fmt: skip
    assert {(p.where, p.field) for p in problems} == wanted
    assert all(p.fix and p.why for p in problems)
    assert str(problems[0]).startswith("error: population 'hidden', noise: ")


def test_plastic_weights_and_graded_transmission() -> None:
    plastic = replace(PULSE, equations="w : amp\ndtrace/dt = -trace/(20*ms) : 1", on_pre="I_post += w\ntrace += 1")
    graded = replace(PULSE, on_pre="", transmits="w*sigmoid(v_pre/(10*mV))", target="I")
    feed, loop, read = network().projections
    given = network(projections=(replace(feed, synapse=plastic), replace(loop, synapse=graded), read))
    assert {("projection 'feed'", "integrate"), ("projection 'loop'", "transmits")} <= found(ANY, given)


def test_integers_and_bits() -> None:
    assert (Integers(-128, 127).bits, Integers(-256, 254, 2).bits, Integers(0, 255).bits) == (8, 8, 8)
    assert State(24, "wrap").bits == 24 and str(Integers(-256, 254, 2)) == "-256..254 in steps of 2"

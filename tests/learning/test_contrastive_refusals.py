"""Networks, options and batches that rule 'contrastive' doesn't serve are refused by name, with the fix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neuro import Input, Network, Neuron, Normal, Projection, Synapse, UnsupportedError, learning, library, quantity
from neuro.compiler.parameters import values
from neuro.learning.common.parametrisation import ParameterError
from neuro.learning.phases.energy import read
from neuro.options import OptionError
from neuro.protocols import Capabilities
from tasks.rate_networks import rate_network
from tests.learning.test_contrastive import TASK, compiled


def changed(population: str = "", projection: str = "", **fields: Any) -> Network:
    """The small network with other fields in one population or projection."""
    network = TASK.network()
    populations = tuple(replace(p, **fields) if p.name == population else p for p in network.populations)
    projections = tuple(replace(p, **fields) if p.name == projection else p for p in network.projections)
    return replace(network, populations=populations, projections=projections)


def cell(equations: str, **fields: Any) -> Neuron:
    given = {n: v for n, v in library.get("additive").parameters.items() if n in equations}
    return Neuron("other", equations, parameters=given, **fields)


ADDITIVE = "du/dt = (-u + b + z{more})/tau : 1\nV = sigmoid(u) : 1\nz : 1\nd : 1"
REFUSED = {
    "fires": (lambda: changed("hidden", neuron=cell(ADDITIVE.format(more=""), threshold="u > 5")), r"'hidden': its cells fire"),
    "noise": (lambda: changed("hidden", neuron=cell(ADDITIVE.format(more=" + xi*tau**0.5"))), r"'hidden': its cells have noise"),
    "every step": (lambda: changed("hidden", neuron=cell(ADDITIVE.format(more=""), every_step="u = u*1")), "'every_step' changes"),
    "two states": (
        lambda: changed("hidden", neuron=cell(ADDITIVE.format(more=" - a") + "\nda/dt = (u - a)/tau : 1")),
        r"several states \(u, a\)|several states \(a, u\)",
    ),
    "other cells": (
        lambda: rate_network("other", 2, 4, 1, seed=0, tau=quantity("10 ms"), dt=quantity("2 ms")),
        "'inputs': its cells have no activity 'V'; write one",
    ),
    "no teacher": (lambda: changed("output", neuron=cell(ADDITIVE.format(more=""))), r"'output': there is no teacher beta\*\(d - V\)"),
    "wrong teacher": (
        lambda: changed("output", neuron=cell(ADDITIVE.format(more=" + beta*(d - 2*V)"))),
        r"'output': there is no teacher beta\*\(d - V\) beside the sum",
    ),
    "teacher acts": (lambda: changed("output", parameters={"beta": "1", "b": quantity(np.zeros(1), "")}), "'beta' isn't 0, so that no phase is free"),
    "gated sum": (lambda: changed("hidden", neuron=cell("du/dt = (-u + b + u*z)/tau : 1\nV = sigmoid(u) : 1\nz : 1")), "doesn't enter with a constant factor"),
    "sends the state": (
        lambda: changed(projection="loop", synapse=Synapse("s", "w : 1", transmits="w*u_pre", target="z")),
        r"'loop': what it sends is not weight times the activity 'V'",
    ),
    "nonlinear weight": (
        lambda: changed(projection="loop", synapse=Synapse("s", "w : 1", transmits="w**2*V_pre", target="z")),
        r"'loop': .*transmit w\*V_pre",
    ),
    "no way back": (
        lambda: replace(TASK.network(), projections=tuple(p for p in TASK.network().projections if p.name != "down")),
        r"'up': there is no projection back from 'output' to 'hidden' with the same weights",
    ),
    "another gain": (
        lambda: changed(projection="down", synapse=Synapse("s", "w : 1", transmits="2*w*V_pre", target="z")),
        r"'(up|down)': .* multiplies its weights by another number|what it sends is not weight times",
    ),
    "a drive": (
        lambda: replace(TASK.network(), inputs=(*TASK.network().inputs, Input(
            "events", TASK.network().population("hidden").size, "drive", "hidden.u", "100 Hz", quantity(0.1, ""),
        ))),
        r"'hidden': the drive 'events' never lets its cells settle",
    ),
    "no target": (
        lambda: replace(TASK.network(), inputs=TASK.network().inputs[:1]),
        r"one population has to be taught, here none: .*Input\('target'",
    ),
    "stages": (
        lambda: replace(
            TASK.network(), couplings="stages",
            populations=tuple(replace(p, neuron=replace(p.neuron, method="rk4")) if p.name != "inputs" else p for p in TASK.network().populations),
        ),
        r"couplings='stages'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_have_no_energy_are_refused_by_name(name: str) -> None:
    network, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        read(network())  # type: ignore[no-untyped-call]


def test_spikes_into_the_network_are_refused() -> None:
    pulse = Synapse("pulse", "w : 1", on_pre="u_post += w")
    spikes = Projection("spikes", "s", "hidden", pulse, Normal(quantity(0.0, ""), quantity(1.0, "")))
    network = TASK.network()
    network = replace(network, projections=(*network.projections, spikes), inputs=(*network.inputs, Input("s", 3)))
    with pytest.raises(UnsupportedError, match="'spikes': it brings spikes; give the rule graded values"):
        read(network)


def test_what_a_rule_is_asked_to_train_and_given_is_checked() -> None:
    program, start = compiled(), values(TASK.network())
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (
            {"trainable": ("up.w",)},
            UnsupportedError,
            r"'up.w': 'down.w' is the same in the other direction; train both",
        ),
        ({"trainable": ("hidden.tau",)}, UnsupportedError, "'hidden.tau': it trains weights, and biases 'b'"),
        ({"trainable": ("nothing.w",)}, ParameterError, "there is no parameter 'nothing.w'"),
        ({"beta": -1.0}, OptionError, "give a strength above 0"),
    ]
    for options, kind, message in cases:
        with pytest.raises(kind, match=message):
            learning.get("contrastive", **options).init(program)
    moving = replace(TASK.batch(3), inputs={"x": np.arange(24.0).reshape(4, 3, 2)})
    short = replace(TASK.batch(3), targets=np.array([0, 1, 1, 0]))
    for batch, message in (
        (moving, "input 'x': it changes within the trial"),
        (short, r"targets: they have the shape \(4,\)"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            learning.get("contrastive").gradient(program, start, batch, TASK)
    for options, message in (
        ({"teacher": "hard", "phases": "symmetric"}, "needs a teacher of both signs"),
        ({"rate_strength": 1.0}, "cells that don't fire have no rates"),
        ({"chunk": 1}, "chunk=1; give at least 2"),
        ({"teacher": "strong"}, "teacher 'strong'; use one of weak, hard"),
    ):
        with pytest.raises(learning.UnknownRuleError, match=message):
            learning.get("contrastive", **options)
    program.capabilities = Capabilities(state=False)
    with pytest.raises(UnsupportedError, match="rule 'contrastive': it goes on from no state"):
        learning.get("contrastive").init(program)

"""Policies whose output layer changes its own weights within an episode, by rules of which every number is searched for.

Observation -> tanh units -> motors, all in one step of 1 ms. A motor's value is y = x(w + alpha*hebb) + b + x' w_r + b_r, where x is the layer of tanh units, and
x' is tanh(y) of the step before; then hebb changes by a modulator times the outer product of x and tanh(y). Sums are formed at the start of a step, one
layer after the other, and the modulator's at its end, when it hears the motors' new state. hebb, its trace and x' begin each episode
at 0, and so does every parameter: a search breaks the symmetry. Source: Schmidgall (2020), arXiv 2006.05832; sizes, and tanh(y) where the layer sends y
to itself, to its synapses and to its modulator, are those of a reduced prototype. Baselines: static, gated and pruned policies, and one that is no fair
competitor, because the environment tells it by a mask (XdG: Masse et al. 2018, PNAS 115:E10467) which condition it is in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neuro.learning.common.naming import renamed
from neuro.model import Input, Network, Neuron, Population, Projection, Synapse
from neuro.options import OptionError, one_of
from tasks.self_modifying import enters, given, modulator

SOURCE = "Schmidgall (2020), arXiv 2006.05832"
FORMS = ("static", "modulated", "eligibility", "es-single")
MODULATORS = ("pooled", "own")
BOUND = 1.0  # of hebb
sends = Synapse("sends", "w : 1", transmits="w*x_pre", target="z", source="a weighted sum")
opens = Synapse("opens", "w : 1", transmits="w*y_pre", target="g", source="a weighted sum")
spreads = Synapse("spreads", "w : 1", transmits="w*y_pre", target="m", source="one signal, weighted for each cell")
returns = Synapse("returns", "w : 1", transmits="w*x_pre", target="r", source="a weighted sum of what the layer was")


def tanh_unit(gate: bool, oracle: bool) -> Neuron:
    """What lies between senses and motors. gate: silent where a weighted sum of the senses is negative. oracle: silent where `on` is 0; else that is 1."""
    lines, x, parameters = ["z : 1"], "tanh(z + b)", {"b": "0"}
    if gate:
        lines.append("g : 1")
        x, parameters["b_g"] = f"{x}*int(g + b_g >= 0)", "0"
    if oracle:
        lines.append("on : 1")
        x = f"{x}*on"
    name = "gated_unit" if gate else "hidden_unit"
    return Neuron(name, "\n".join([*lines, f"x = {x} : 1"]), parameters=parameters, source=SOURCE)


def motor(form: str, by: str, size: int) -> Neuron:
    """The motors' cell. by: "pooled", one modulator of all cells; "own", each is modulated by its own activity, through `size` units whose weights all cells share."""
    squashed = "tanh({})" if form == "es-single" else "{}"
    lines = ["z : 1", "r : 1", f"y = {squashed.format('z + b + r + b_r')} : 1", "x : 1"]
    parameters = {"b": "0", "b_r": "0"}
    if form != "static":
        parameters["b_m"], m = "0", "m + b_m"
        if by == "pooled":
            lines.append("m : 1")
        else:
            m = " + ".join(["b_m", *(f"own_out{i}*tanh(own_in{i}*x + own_b)" for i in range(size))])
            parameters |= {"own_b": "0"} | {f"own_{end}{i}": "0" for end in ("in", "out") for i in range(size)}
        lines.append(f"M = {squashed.format(m)} : 1")
    sent = "y" if form == "es-single" else "tanh(y)"
    return Neuron("motor", "\n".join(lines), every_step=f"x = {sent}", parameters=parameters, source=SOURCE)


def onto_motors(form: str) -> Synapse:
    """Synapses from the tanh units. modulated, es-single: hebb changes by the modulator; eligibility: by it and a trace of earlier coincidences, as the trace
    was before this step."""
    if form == "static":
        return sends
    change, trace, parameters = "x_pre*x_post", "", {"alpha": "0"}
    if form == "eligibility":
        change, parameters["eta"] = "trace", "0"
        trace = "\ntrace = (1 - eta)*trace + eta*x_pre*x_post"
    return Synapse(
        f"{'eligibility' if trace else 'modulated'}_hebb", "w : 1\nalpha : 1\nhebb : 1" + ("\ntrace : 1" if trace else ""),
        transmits="(w + alpha*hebb)*x_pre", target="z",
        every_step=f"hebb = clip(hebb + M_post*{change}, -{BOUND}, {BOUND}){trace}", parameters=parameters, source=SOURCE,
    )  # fmt: skip


def pruned(synapse: Synapse) -> Synapse:
    """The synapse, whose weights count as 0 where they are smaller than |tanh(prune)|; one `prune` for the projection. What it learns besides stays."""
    return replace(
        synapse,
        name=f"pruned_{synapse.name}",
        equations=f"{synapse.equations}\nkept = w*int(abs(w) >= abs(tanh(prune))) : 1",
        transmits=renamed(synapse.transmits, {"w": "kept"}),
        parameters={**synapse.parameters, "prune": "0"},
    )


def motor_network(
    name: str, senses: int, size: int, motors: int, form: str, by: str = "pooled", gate: bool = False, structural: bool = False, oracle: bool = False,
    *, seed: int,
) -> Network:  # fmt: skip
    """senses -> `size` tanh units -> motors, every parameter 0.

    form: "static", "modulated", "eligibility"; "es-single", modulated, with tanh of the modulator and of what goes out. by: see `motor`. gate: tanh units are
    silent where a weighted sum of the senses, another one, is negative. structural: see `pruned`; of the weights onto tanh units, motors and gates. oracle:
    tanh units are silent where the input `mask` [tanh unit] is 0. Raises OptionError.
    """
    one_of("form", form, FORMS)
    one_of("modulator", by, MODULATORS)
    if form == "static" and by != "pooled":
        raise OptionError(f"modulator='{by}': form 'static' has none; use form='modulated'")
    plastic = form != "static"
    first = {"b": np.zeros(size)} | ({"b_g": np.zeros(size)} if gate else {})
    own: dict[str, Any] = {n: np.zeros(motors) for n in ("b", "b_r", *(("b_m",) if plastic else ()))}
    if by == "own":
        own["own_b"] = np.zeros(motors)
    populations = [
        Population("given", given, senses),
        Population("hidden", tanh_unit(gate, oracle), size, first),
        Population("motors", motor(form, by, motors), motors, own),
    ]
    weights, parameters = np.zeros((size, motors)), {"alpha": np.zeros((size, motors))} if plastic else {}
    projections = [
        Projection("enter", "given", "hidden", enters, np.zeros((senses, size))),
        Projection("plastic", "hidden", "motors", onto_motors(form), weights, parameters=parameters),
        Projection("back", "motors", "motors", returns, np.zeros((motors, motors))),
    ]
    if gate:
        projections.append(Projection("gate", "given", "hidden", opens, np.zeros((senses, size))))
    if structural:
        projections = [replace(p, synapse=pruned(p.synapse)) for p in projections]
    if plastic and by == "pooled":
        populations.append(Population("modulator", modulator, 1, {"b": np.zeros(1)}))
        projections += [
            Projection("hear", "motors", "modulator", sends, np.zeros((motors, 1)), summed="end"),
            Projection("reach", "modulator", "motors", spreads, np.zeros((1, motors)), summed="end"),
        ]
    inputs = [Input("senses", senses, "current", "given.I")]
    if oracle:
        inputs.append(Input("mask", size, "current", "hidden.on"))
    return Network(tuple(populations), tuple(projections), tuple(inputs), dt="1 ms", seed=seed, name=name)

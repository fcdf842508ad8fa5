"""e-prop and RFLO as part of the model: synapses carry the traces, projections the learning signal, so a simulator learns online.

`attach` writes the eligibility recursion of `neuro.learning.traces.eligibility` as synapse text, from the same symbolic derivatives,
and adds the error (output minus an input `target`) with feedback projections to the cells that learn. In each step,
after the integration and before the thresholds:

    w -= eta * signal * credit      signal: feedback of the error that the cells see in this step
    credit follows e through the readout's own leak; e, then the traces, follow the step that was just integrated

Source: Bellec et al. (2020), Nat Commun 11:3625; Murray (2019), eLife 8:e43299.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp
from sympy.printing.str import StrPrinter

from neuro.compiler.evaluation import evaluate
from neuro.compiler.lowering import lower
from neuro.compiler.margin_scales import margin_scales
from neuro.compiler.parameters import initial_state, values
from neuro.compiler.resolve import resolve
from neuro.compiler.step import Cells, Step, Threshold, Update
from neuro.language.symbolic import symbol
from neuro.language.units import Dimension, quantity, unit
from neuro.learning.common import naming
from neuro.learning.common.summed_inputs import SummedInput, summed_inputs
from neuro.model import Input, Network, Neuron, OneToOne, Population, Projection, Synapse
from neuro.protocols import UnsupportedError

Array = npt.NDArray[np.float64]
GAMMA = 0.3
ERROR = Neuron(  # a state is seen after its step, so its target is kept for one
    "error", "x = z - kept : 1\nkept : 1\nz : 1\ntarget : 1", every_step="kept = target", source="output minus target"
)  # fmt: skip
FEEDBACK = Synapse(
    "feedback", "w : 1", transmits="w*x_pre", target="signal", source="Bellec et al. (2020), Nat Commun 11:3625"
)


class _Text(StrPrinter):  # type: ignore[misc]
    def _print_Float(self, expr: sp.Float) -> str:  # noqa: N802
        return repr(float(expr))


def attach(
    network: Network, projections: Sequence[str], output: str, *, eta: float,
    feedback: Array | None = None, variable: str = "",
) -> Network:  # fmt: skip
    """The network that learns by gradient steps of size eta on half the squared error of `output`, in every step.

    projections: those that learn, all into one hidden population or from it to the output. feedback: [hidden, output]; None
    for the readout's initial weights. variable: what the output shows (default: its only state or subexpression). Give the
    run an input `target` [batch, time, output]. Names that the network has already get a number: an input target_2.
    Needs dimensionless weights and states, and slopes that depend on inputs and parameters only.
    Raises UnsupportedError naming what doesn't fit.
    """
    step = lower(network)
    found = summed_inputs(network, [f"{n}.w" for n in projections])
    hidden = next((s.population for s in found if s.population != output), found[0].synapses.pre)
    cells, reader = step.population(hidden), step.population(output)
    if any(s.population not in (hidden, output) for s in found):
        raise _refusal(", ".join(projections), "they end on different populations; attach one after another")
    into = [s for s in step.synapses if (s.pre, s.post) == (hidden, output)]
    if len(into) != 1 or into[0].kind != "dense":
        raise _refusal(f"population '{hidden}'", f"it needs one dense projection to '{output}'")
    _check(network, cells, step)
    if feedback is None:
        feedback = values(network)[f"{into[0].name}.w"]
    rule = _rule(step, network, cells, reader, summed_inputs(network, [f"{into[0].name}.w"])[0])
    learning = {s.synapses.name: s for s in found}
    shown = variable or (*reader.states, *(n for n, _ in reader.subexpressions))[0]
    taken = {n for p in (hidden, output) for n in naming.in_neuron(network.population(p).neuron)}
    names = naming.fresh(("signal", "target"), taken)
    changed = tuple(
        _learning(p, learning[p.name], {**rule, "signal": names["signal"]}, eta, network) if p.name in learning else p
        for p in network.projections
    )
    back = np.asarray(feedback).T.copy()
    if not reader.states:
        return _prompt(network, changed, hidden, output, shown, back, names)
    listening = {s.population for s in found} | {hidden}
    return _late(network, changed, listening, output, shown, back, names["signal"])


def _prompt(
    network: Network, projections: tuple[Projection, ...], hidden: str, output: str, shown: str, back: Array,
    names: Mapping[str, str],
) -> Network:  # fmt: skip
    """Outputs without a state know their error within the step, and send it themselves."""
    signal, target = names["signal"], names["target"]
    new = naming.fresh(("feedback", "target"), naming.in_network(network))
    lines = {hidden: f"{signal} : 1", output: f"{target} : 1\n{signal} = {shown} - {target} : 1"}
    send = replace(FEEDBACK, transmits=f"w*{signal}_pre", target=signal)
    return replace(
        network,
        populations=tuple(_with(p, lines.get(p.name, "")) for p in network.populations),
        projections=(*projections, Projection(new["feedback"], output, hidden, send, quantity(back, ""))),
        inputs=(
            *network.inputs,
            Input(new["target"], network.population(output).size, "current", f"{output}.{target}"),
        ),
    )


def _late(
    network: Network, projections: tuple[Projection, ...], listening: set[str], output: str, shown: str, back: Array,
    signal: str,
) -> Network:  # fmt: skip
    """Outputs with a state are read one step later by a population of errors, which tells those that listen."""
    size, one = network.population(output).size, quantity(1.0, "")
    show = Synapse("show", "w : 1", transmits=f"w*{shown}_pre", target="z", source="the output as it is")
    new = naming.fresh(("error", "shown", "told", "feedback", "target"), naming.in_network(network))
    tell = replace(FEEDBACK, target=signal)
    told = [
        Projection(new["told"], new["error"], p, tell, one, OneToOne())
        if p == output
        else Projection(new["feedback"], new["error"], p, tell, quantity(back, ""))
        for p in sorted(listening)
    ]
    return replace(
        network,
        populations=(
            *(_with(p, f"{signal} : 1" if p.name in listening else "") for p in network.populations),
            Population(new["error"], ERROR, size),
        ),
        projections=(
            *projections,
            Projection(new["shown"], output, new["error"], show, one, OneToOne()),
            *told,
        ),
        inputs=(*network.inputs, Input(new["target"], size, "current", f"{new['error']}.target")),
    )


def _with(population: Population, lines: str) -> Population:
    equations = f"{population.neuron.equations.rstrip()}\n{lines}"
    return replace(population, neuron=replace(population.neuron, equations=equations)) if lines else population


def _check(network: Network, cells: Cells, step: Step) -> None:
    neuron = resolve(network).network.population(cells.name).neuron
    if step.staged:
        raise _refusal(f"population '{step.staged[0]}'", "couplings='stages'; use couplings='step'")
    if cells.refractory or "not_refractory" in cells.states:
        raise _refusal(f"population '{cells.name}'", "a refractory period; the rule 'eprop' handles it")
    if step.update(cells.name, "every_step") is not None:
        raise _refusal(f"population '{cells.name}'", "statements in every_step")
    if step.update(cells.name, "event") is not None:
        raise _refusal(f"population '{cells.name}'", "events of their own; the rule 'bptt' handles them")
    if step.starting(cells.name):
        raise _refusal(f"population '{cells.name}'", "statements at the start of a step (regularly, constant over dt)")
    for name in (*cells.states, *cells.inputs):
        if neuron.scope.dimensions[name] != quantity(1.0, "").dimension:
            raise _refusal(f"population '{cells.name}'", f"'{name}' has a dimension; write the network without units")


def _refusal(what: str, why: str) -> UnsupportedError:
    return UnsupportedError("any", f"online learning of {what}", why)


def _text(expr: sp.Expr, dimensions: Mapping[str, Dimension], suffix: str) -> str:
    """A cell's expression, whose numbers are SI, in a synapse at that cell: every name is divided by its SI unit."""

    def plain(name: str) -> sp.Expr:
        dimension = unit("second").dimension if name in ("t", "dt") else dimensions[name]
        own = symbol(name if name in ("t", "dt") else f"{name}{suffix}")
        return own if dimension.dimensionless else own / sp.Symbol(f"({dimension})", real=True)

    return f"({_Text().doprint(expr.xreplace({s: plain(s.name) for s in expr.free_symbols}))})"


def _rule(step: Step, network: Network, cells: Cells, reader: Cells, read: SummedInput) -> dict[str, Any]:
    """Pieces of text: the slopes that all learning synapses of these cells share."""
    slopes = step.jacobian(cells.name)
    post = partial(_text, dimensions=_dimensions(network, cells.name), suffix="_post")
    for (new, old), slope in slopes.items():
        if any(symbol(n) in slope.free_symbols for n in cells.states):
            raise _refusal(
                f"population '{cells.name}'", f"d{new}/d{old} depends on the cell's state; use the rule 'eprop'"
            )
    threshold = next((o for o in step.operations if isinstance(o, Threshold) and o.population == cells.name), None)
    reset = step.update(cells.name, "reset")
    sent: dict[str, sp.Expr] = {}
    jumps: dict[str, str] = {}
    if threshold is not None:
        _check_spikes(cells, threshold, reset, read)
        scale = margin_scales(step, resolve(network).network)[cells.name]
        psi = f"{GAMMA / scale!r}*clip(1 - abs{post(threshold.margin)}/{scale!r}, 0, 1)"
        sent = {n: sp.diff(threshold.margin, symbol(n)) for n in cells.states}
        for assign in reset.assigns if reset is not None else ():
            change = sp.expand(assign.expr - symbol(assign.target))
            if assign.target not in cells.membranes:
                jumps[assign.target] = post(change)
    else:
        psi = "1"
        sent = {n: sp.diff(read.pre, symbol(n)) for n in cells.states if read.pre is not None}
    reader_slopes = step.jacobian(reader.name)
    leaks = list(reader.states)
    if len(leaks) > 1:
        raise _refusal(f"population '{reader.name}'", "it has more than one state")
    constants = _numbers(network, reader.name, reader_slopes) if leaks else {}
    return {
        "slopes": slopes, "psi": psi, "sent": {n: e for n, e in sent.items() if e != 0}, "jumps": jumps, "reset": reset,
        "leak": constants.get((leaks[0], leaks[0]), 0.0) if leaks else None,
        "gain": read.gain * (constants.get((leaks[0], read.variable), 0.0) if leaks else 1.0),
        "states": cells.states, "cells": cells.name, "post": post,
    }  # fmt: skip


def _check_spikes(cells: Cells, threshold: Threshold, reset: Update | None, read: SummedInput) -> None:
    """Raises UnsupportedError where the synapse text would leave out a path that spikes take."""
    what = f"population '{cells.name}'"
    if read.pre is not None:
        raise _refusal(what, f"it spikes, but '{read.name}' sends graded values; send spikes, or use the rule 'eprop'")
    driven = [n for n in cells.inputs if symbol(n) in threshold.margin.free_symbols]
    if driven:
        raise _refusal(what, f"its threshold reads the input '{driven[0]}'; use the rule 'eprop'")
    seen: set[str] = set()
    for assign in reset.assigns if reset is not None else ():
        others = {s.name for s in assign.expr.free_symbols} & {*cells.states, *cells.inputs} - {assign.target}
        if others or assign.target in seen:
            why = f"reads '{min(others)}'" if others else "is the second for it"
            raise _refusal(what, f"the statement that resets '{assign.target}' {why}; use the rule 'eprop'")
        seen.add(assign.target)


def _numbers(
    network: Network, population: str, slopes: Mapping[tuple[str, str], sp.Expr]
) -> dict[tuple[str, str], float]:
    """Slopes of a readout, which must be constants."""
    known = {
        n.partition(".")[2]: float(v)
        for n, v in values(network).items()
        if n.startswith(f"{population}.") and not v.ndim
    }
    known["dt"] = lower(network).dt
    try:
        return {key: float(evaluate(e, known.__getitem__)) for key, e in slopes.items()}
    except KeyError as error:
        raise _refusal(
            f"population '{population}'", f"its slopes depend on {error}; a linear readout is needed"
        ) from None


def _learning(
    projection: Projection, summed: SummedInput, rule: Mapping[str, Any], eta: float, network: Network
) -> Projection:
    """The projection with traces, credit and the weight's update."""
    synapse, sent = projection.synapse, _sent(network, summed)
    event, kept = summed.pre is None, not isinstance(sent, str)
    wishes = ["arrived", "credit", "e", *(f"{kind}_{n}" for n in rule["states"] for kind in ("eps", "next"))]
    names = naming.fresh(wishes, naming.in_synapse(projection))
    arrived, credit = names["arrived"], names["credit"]
    drive = arrived if kept else sent
    if summed.population == rule["cells"]:
        declared, earned, traces, on_post = _traces(summed, rule, str(drive), names)
    else:
        declared, earned, traces, on_post = [], str(drive), [], []
    gained = f"{rule['gain']!r}*{earned}"
    lines = [f"w -= {eta!r}*{rule['signal']}_post*{gained if rule['leak'] is None else credit}"]
    if rule["leak"] is not None:
        declared.append(f"{credit} : 1")
        lines.append(f"{credit} = {rule['leak']!r}*{credit} + {gained}")
    lines += traces
    if kept:
        declared.append(f"{arrived} : 1")
        lines.append(f"{arrived} = 0*{arrived}" if event else f"{arrived} = {_pre(network, summed)}")
    learning = replace(
        synapse,
        name=f"{synapse.name}_online",
        equations="\n".join([synapse.equations.strip(), *declared]),
        on_pre="\n".join([synapse.on_pre.strip(), f"{arrived} += 1"]) if event else synapse.on_pre,
        on_post="\n".join([synapse.on_post.strip(), *on_post]).strip(),
        every_step="\n".join([synapse.every_step.strip(), *lines]).strip(),
        initial={**synapse.initial, **({arrived: quantity(sent, "")} if kept and not event else {})},
    )
    return replace(projection, synapse=learning)


def _traces(
    summed: SummedInput, rule: Mapping[str, Any], drive: str, names: Mapping[str, str]
) -> tuple[list[str], str, list[str], list[str]]:
    """Of a projection onto hidden cells: declarations, what earns credit, statements of each step and of a target's spike."""
    states, reset, e, post = rule["states"], rule["reset"], names["e"], rule["post"]
    eps, later = ({n: names[f"{kind}_{n}"] for n in states} for kind in ("eps", "next"))
    declared = [f"{n} : 1" for n in (e, *eps.values(), *later.values())]
    lines = []
    for new in states:
        terms = [f"{post(s)}*{eps[old]}" for (n, old), s in rule["slopes"].items() if n == new and old in states]
        terms += [
            f"{post(s)}*{summed.gain!r}*{drive}"
            for (n, old), s in rule["slopes"].items()
            if n == new and old == summed.variable
        ]
        lines.append(f"{later[new]} = {' + '.join(terms) or f'0*{e}'}")
    lines += [f"{eps[n]} = {later[n]}" for n in states]
    total = " + ".join(f"{post(s)}*{eps[n]}" for n, s in rule["sent"].items())
    lines.append(f"{e} = {rule['psi']}*({total})")
    lines += [f"{eps[n]} += {jump}*{e}" for n, jump in rule["jumps"].items()]
    on_post = []
    for a in reset.assigns if reset is not None else ():
        slope, jump = sp.diff(a.expr, symbol(a.target)), rule["jumps"].get(a.target)
        if slope != 1:  # what the spike itself changes isn't multiplied
            own = f" - {jump}*{e}" if jump else ""
            added = f" + {jump}*{e}" if jump else ""
            on_post.append(f"{eps[a.target]} = {post(slope)}*({eps[a.target]}{own}){added}")
    return declared, e, lines, on_post


def _sent(network: Network, summed: SummedInput) -> str | float:
    """What drives the traces: text, where it is there in the step itself; else its value before the first step."""
    if summed.pre is None:
        return 0.0
    states = {s.name for s in summed.pre.free_symbols} & set(lower(network).population(summed.synapses.pre).states)
    if not states:
        return _pre(network, summed)
    first = {n: initial_state(network)[f"{summed.synapses.pre}.{n}"] for n in states}
    first |= {n.partition(".")[2]: v for n, v in values(network).items() if n.startswith(f"{summed.synapses.pre}.")}
    found = np.unique(evaluate(summed.pre, first.__getitem__))
    if len(found) > 1:
        raise _refusal(f"'{summed.name}'", "its cells start from different values")
    return float(found[0])


def _pre(network: Network, summed: SummedInput) -> str:
    """Presynaptic activity as text of the synapse."""
    assert summed.pre is not None
    own = {s: symbol(s.name.partition(".")[2]) for s in summed.pre.free_symbols if "." in s.name}
    if own:
        raise _refusal(f"'{summed.name}'", f"what it sends depends on its parameter '{min(map(str, own.values()))}'")
    return _text(summed.pre, _dimensions(network, summed.synapses.pre), "_pre")


def _dimensions(network: Network, population: str) -> Mapping[str, Dimension]:
    return resolve(network).network.population(population).neuron.scope.dimensions

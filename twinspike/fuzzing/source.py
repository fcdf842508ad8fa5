"""A case as a script that stands alone: the network in readable code, what each backend gives, and where they differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro import AllToAll, Input, Network, Neuron, Pairs, Synapse
from neuro.fields import Distribution
from neuro.language import units as unit_data
from neuro.language.units import Quantity
from neuro.model import Connectivity
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.sizes import LARGE

_HEAD = '''"""{title}"""

import numpy as np

import backends
from neuro import {names}

'''

_TAIL = """
found = {{}}
for name in {backends}:
    try:
        found[name] = backends.get(name).compile(network{options}).run(inputs=inputs, record=record, steps={steps}, batch={batch})
    except Exception as error:
        print(name, type(error).__name__, str(error).strip().splitlines()[0])
for name, run in found.items():
    spikes = {{n: int(np.asarray(s).sum()) for n, s in run.spikes.items()}}
    print(name, "spikes", spikes, {{n: float(t.ravel()[-1]) for n, t in run.traces.items()}})
first = next(iter(found.values()))
for name, run in found.items():
    worst = {{n: float(np.abs(t - first.traces[n]).max()) for n, t in run.traces.items()}}
    same = all(np.array_equal(first.spikes[n], s) for n, s in run.spikes.items())
    print(name, "same spikes" if same else "OTHER SPIKES", "largest differences", worst)
"""


def script(
    case: Case,
    title: str = "",
    backends: tuple[str, ...] = ("reference", "native", "torch", "brian2"),
    options: str = "",
) -> str:
    """Python text that shows the case."""
    network = case.network
    used = ["Network", "Population", "Neuron"]
    body = []
    neurons: dict[int, Neuron | Synapse] = {id(p.neuron): p.neuron for p in network.populations}
    synapses: dict[int, Neuron | Synapse] = {id(p.synapse): p.synapse for p in network.projections}
    variables = {key: f"cell_{n}" for n, key in enumerate(neurons)} | {
        key: f"synapse_{n}" for n, key in enumerate(synapses)
    }
    if case.large:
        imports = {f"import {m.__name__}": None for m, _, _ in LARGE}
        body += ["# native takes it for a large one", *imports, *(f"{m.__name__}.{n} = {v}" for m, n, v in LARGE)]
    body += [f"{variables[k]} = {_model(m)}" for k, m in (*neurons.items(), *synapses.items())]
    body.append(_network(network, variables))
    body += [_inputs(case), f"record = {case.record()!r}"]
    text = "\n".join(body)
    for name in (
        "Synapse",
        "Projection",
        "Input",
        "Normal",
        "Uniform",
        "LogNormal",
        "Gamma",
        "Distance",
        "FixedTotal",
        "FixedInDegree",
        "FixedOutDegree",
        "Pairs",
        "OneToOne",
        "Probability",
        "AllToAll",
        "quantity",
    ):
        if f"{name}(" in text:
            used.append(name)
    head = _HEAD.format(title=title.replace("\\", "/").replace('"""', "'"), names=", ".join(sorted(used)))
    return head + text + _TAIL.format(backends=tuple(backends), steps=case.steps, batch=case.batch, options=options)


def _model(model: Neuron | Synapse) -> str:
    fields = (
        ["threshold", "reset", "every_step"]
        if isinstance(model, Neuron)
        else ["on_pre", "on_post", "every_step", "transmits", "target", "receptor"]
    )
    parts = [repr(model.name), _text(model.equations)]
    parts += [f"{f}={_text(getattr(model, f))}" for f in fields if getattr(model, f)]
    parts += [f"{f}={_mapping(getattr(model, f))}" for f in ("parameters", "initial") if getattr(model, f)]
    if isinstance(model, Neuron) and (model.scope.refractory or model.period):
        parts.append(f"refractory={_value(model.refractory)}")
    parts.append(f"method={model.method!r}")
    if model.regularly:
        parts.append(f"regularly={dict(model.regularly)!r}")
    for field in ("events", "on_event") if isinstance(model, Neuron) else ():
        parts += [f"{field}={dict(getattr(model, field))!r}"] if getattr(model, field) else []
    return f"{type(model).__name__}(\n    " + ",\n    ".join(parts) + ",\n)"


def _text(text: str) -> str:
    lines = [x.strip() for x in text.strip().splitlines()]
    return repr(lines[0] if lines else "") if len(lines) < 2 else '"""\n    ' + "\n    ".join(lines) + '\n    """'


def _mapping(items: Any) -> str:
    return "{" + ", ".join(f"{n!r}: {_value(v)}" for n, v in items.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, Quantity):
        data = unit_data.to_data(value)
        return (
            repr(data)
            if isinstance(data, str)
            else f"quantity({str(np.asarray(value.value).tolist()).replace('inf', 'np.inf')}, {str(value.dimension)!r})"
        )
    if isinstance(value, Distribution | Connectivity):
        return (
            f"{type(value).__name__}({', '.join(f'{n}={_value(v)}' for n, v in vars(value).items() if v is not None)})"
        )
    return repr(value)


def _network(network: Network, variables: dict[int, str]) -> str:
    populations = [
        f"Population({p.name!r}, {variables[id(p.neuron)]}, {p.size}{_extra(p)})" for p in network.populations
    ]
    projections = [
        f"Projection({p.name!r}, {p.pre!r}, {p.post!r}, {variables[id(p.synapse)]}{_links(p)}{_extra(p)})"
        for p in network.projections
    ]
    inputs = [_input(i) for i in network.inputs]
    lists = ", ".join("[\n    " + ",\n    ".join(x) + ",\n]" if x else "[]" for x in (populations, projections, inputs))
    couplings = "" if network.couplings == "step" else f", couplings={network.couplings!r}"
    return f"network = Network({lists}, dt={_value(network.dt)}, seed={network.seed}{couplings})"


def _extra(item: Any) -> str:
    text = "".join(f", {f}={_mapping(getattr(item, f))}" for f in ("parameters", "initial") if getattr(item, f))
    text += ", frozen=True" if item.frozen else ""
    positions = getattr(item, "positions", None)
    return text if positions is None else f"{text}, positions={_value(positions)}"


def _links(p: Any) -> str:
    text = f", weights={_value(p.weights)}" if p.weights is not None else ""
    c = p.connectivity
    if isinstance(c, Pairs):
        text += f", connectivity=Pairs({c.pre.tolist()}, {c.post.tolist()})"
    elif c != AllToAll():
        text += f", connectivity={_value(c)}"
    if not isinstance(p.delay, Quantity) or np.any(p.delay.value):
        text += f", delay={_value(p.delay)}"
    if p.delays:
        text += f", delays={_mapping(p.delays)}"
    if p.shares:
        text += f", shares={p.shares!r}"
    if p.sign:
        text += f", sign={p.sign!r}"
    if p.bounds != (None, None):
        text += f", bounds=({', '.join(_value(b) if b is not None else 'None' for b in p.bounds)})"
    return text


def _input(item: Input) -> str:
    rate = f", rate={_value(item.rate)}" if item.rate is not None else ""
    rate += f", weight={_value(item.weight)}" if item.weight is not None else ""
    rate += f", sources={item.sources}" if item.sources != 1 else ""
    rate += f", law={item.law!r}" if item.law != "poisson" else ""
    kind = f", {item.kind!r}" if item.kind != "spikes" else ""
    return f"Input({item.name!r}, {item.size}{kind}{f', target={item.target!r}' if item.target else ''}{rate})"


def _inputs(case: Case) -> str:
    lines = []
    for name, array in case.inputs().items():
        if array.dtype == bool:
            places = [x.tolist() for x in np.nonzero(array)]
            lines.append(f"inputs[{name!r}] = np.zeros({array.shape}, bool)\ninputs[{name!r}][tuple({places})] = True")
        else:
            lines.append(f"inputs[{name!r}] = np.array({array.tolist()})")
    return "\n".join(["inputs = {}", *lines])

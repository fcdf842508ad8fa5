"""Names for what a rule adds to a model's text: the ones it would like, unless the model has them already."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import count

from neuro.compiler.rewriting import rename
from neuro.model import Network, Neuron, Projection

_NAME = re.compile(r"[A-Za-z_]\w*")


def in_texts(*texts: str) -> set[str]:
    """All names in texts, `x` of `dx/dt` as well."""
    found = {name for text in texts for name in _NAME.findall(text)}
    return found | {name[1:] for name in found if name.startswith("d") and name != "d"}


def in_neuron(neuron: Neuron) -> set[str]:
    """Names that a neuron's text knows."""
    texts = (neuron.equations, neuron.threshold, neuron.reset, neuron.every_step, *neuron.regularly.values())
    texts += (*neuron.events, *neuron.events.values(), *neuron.on_event.values())
    return in_texts(*texts) | {*neuron.parameters, *neuron.initial}


def in_synapse(projection: Projection) -> set[str]:
    """Names that a projection's synapse knows."""
    s = projection.synapse
    texts = (s.equations, s.on_pre, s.on_post, s.every_step, s.transmits, s.receptor, *s.regularly.values())
    return in_texts(*texts) | {*s.parameters, *s.initial, *projection.parameters, *projection.initial}


def in_network(network: Network) -> set[str]:
    """Names of populations, projections and inputs."""
    named = (
        [p.name for p in network.populations],
        [p.name for p in network.projections],
        [i.name for i in network.inputs],
    )
    return {name for names in named for name in names}


def fresh(wishes: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Wish -> the name itself, or with the first number from 2 on that nothing has: trace_2."""
    found: dict[str, str] = {}
    for wish in wishes:
        tries = (wish if n == 1 else f"{wish}_{n}" for n in count(1))
        found[wish] = next(n for n in tries if n not in taken and n not in found.values())
    return found


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Text with the names put in: of variables and, in dx/dt, of their derivatives."""
    return rename(text, {**{f"d{old}": f"d{new}" for old, new in names.items()}, **names})

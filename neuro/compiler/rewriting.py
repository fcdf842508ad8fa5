"""Text with other names in it, and the neurons and synapses that are made of such text: what a network is resolved into is a network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from neuro.language.equations import Equation, Statement
from neuro.model import MergedNeuron, MergedSynapse, Neuron, Synapse

Names = Mapping[str, str]


def rename(text: str, names: Names) -> str:
    """Replace whole identifiers."""
    return re.sub(r"\b[A-Za-z_]\w*\b", lambda m: names.get(m[0], m[0]), text)


def line(equation: Equation, names: Names, own: Names | None = None) -> str:
    """An equation. names: of what is read. own: of what is defined, the same where it is left out."""
    name = (names if own is None else own).get(equation.name, equation.name)
    flags = f" ({', '.join(sorted(equation.flags))})" if equation.flags else ""
    left = f"d{name}/dt" if equation.kind == "differential" else name
    right = "" if equation.expression is None else f" = {rename(equation.expression.text, names)}"
    return f"{left}{right} : {equation.unit}{flags}"


def statements(block: Iterable[Statement], targets: Names, read: Names) -> str:
    """targets, read: names where they are assigned, and where they are read (an input is read as the whole sum)."""
    return "\n".join(
        f"{s.label}{targets.get(s.target, s.target)} {s.op} {rename(s.expression.text, read)}" for s in block
    )


def merged(neuron: Neuron, **changed: Any) -> MergedNeuron:
    """The neuron with these fields, which may hold generated names."""
    kept = {name: value for name, value in vars(neuron).items() if name in Neuron.__dataclass_fields__}
    return MergedNeuron(**kept | changed)


def merged_synapse(synapse: Synapse, **changed: Any) -> MergedSynapse:
    """The synapse with these fields, which may hold generated names."""
    kept = {name: value for name, value in vars(synapse).items() if name in Synapse.__dataclass_fields__}
    return MergedSynapse(**kept | changed)

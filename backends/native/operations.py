"""What is asked about one operation or layout of a step."""

from __future__ import annotations

from neuro.compiler.step import Couple, Gather, Operation, Synapses, Threshold, Update


def count(synapses: Synapses) -> int:
    """Entries of a projection's layout."""
    found = 1
    for n in synapses.shape:
        found *= n
    return found


def title(op: Operation) -> str:
    """What an operation does to the model, for comments and errors."""
    match op:
        case Gather():
            return f"inputs of {op.population}"
        case Threshold():
            return f"spikes of {op.population}"
        case Couple():
            return f"{op.projection} delivers to {op.population}.{op.target}"
        case Update():
            return f"{op.phase} of {op.owner}"


def when_due(op: Update, lines: list[str]) -> list[str]:
    """C that does this in those steps alone in which an update runs."""
    return [f"if ((u->run->start + k)%{op.every} == 0) {{", *lines, "}"] if op.every > 1 and lines else lines

"""Step as text that a person can read; golden files hold it for every library model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sympy as sp
from sympy.printing.str import StrPrinter

if TYPE_CHECKING:
    from neuro.compiler.step import Couple, Gather, Step, Threshold, Update


class _Printer(StrPrinter):  # type: ignore[misc]
    def _print_Float(self, expr: sp.Float) -> str:  # noqa: N802
        return f"{float(expr):.12g}"


def expression_text(expr: sp.Expr) -> str:
    return str(_Printer({"order": "none"}).doprint(expr))


def _couple(op: Couple) -> str:
    f = op.factors
    value = expression_text(op.value)
    if f is not None:
        parts = {"pre": f.pre, "synapse": f.synapse, "post": f.post}
        value = " ".join(f"{name}[{expression_text(e)}]" for name, e in parts.items() if e != 1) or "1"
    return f"{op.target} += sum({value})  via {op.projection}"


def _gather(op: Gather) -> list[str]:
    lines = [f"gather {op.population}: {', '.join(op.variables)}"]
    lines += [f"    {_couple(c)}" for c in op.couplings]
    lines += [f"    {variable} += {name}[k]" for variable, name in op.currents]
    return lines


def _update(op: Update) -> list[str]:
    when = {"always": "", "spikes": " where spiked", "pre": " where a spike arrives", "post": " where the target fired"}
    frozen = f", {', '.join(op.frozen)} kept while refractory" if op.frozen else ""
    lines = [f"{op.phase} {op.owner}{when[op.when]}{frozen}"]
    return lines + [f"    {a.target} {'=' if a.temporary else ':='} {expression_text(a.expr)}" for a in op.assigns]


def _threshold(op: Threshold, refractory: int) -> list[str]:
    tail = f", refractory for {refractory} steps" if refractory else ""
    text = f"{expression_text(op.margin)} {'>' if op.strict else '>='} 0" if op.plain else expression_text(op.condition)
    return [f"threshold {op.population}: {text}{tail}"]


def step_text(step: Step) -> str:
    """One line an assignment, in the order of execution."""
    from neuro.compiler.step import Couple, Gather, Threshold, Update

    lines = [f"dt = {step.dt:.12g} s"]
    for cells in step.cells:
        lines.append(f"population {cells.name}[{cells.size}]: states {', '.join(cells.states) or '-'}")
        lines += [f"    {name} = {expression_text(expr)}" for name, expr in cells.subexpressions]
    for synapses in step.synapses:
        delay = f"{synapses.delay}" if isinstance(synapses.delay, int) else f"0..{synapses.max_delay}"
        route = f"{synapses.pre} -> {synapses.post}"
        lines.append(f"projection {synapses.name}: {route}, {synapses.kind}, delay {delay} steps")
    for op in step.operations:
        match op:
            case Gather():
                lines += _gather(op)
            case Update():
                lines += _update(op)
            case Threshold():
                lines += _threshold(op, step.population(op.population).refractory)
            case Couple():
                lines.append(f"deliver {op.when}: {op.population}.{_couple(op)}")
    return "\n".join(lines) + "\n"

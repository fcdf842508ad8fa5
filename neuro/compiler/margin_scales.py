"""In which unit a surrogate reads the distance to a threshold."""

from __future__ import annotations

import numpy as np

from neuro.compiler.evaluation import evaluate
from neuro.compiler.parameters import initial_state, parameters
from neuro.compiler.step import Step, Threshold
from neuro.language.scope import is_uniform
from neuro.model import Network


def margin_scales(step: Step, network: Network) -> dict[str, float]:
    """Distance from the initial state to the threshold, the median over cells: the surrogate's unit, SI. What is drawn is at its mean."""
    names = {p.name for p in network.populations}
    own = {n: p.value for n, p in parameters(network).items() if n.partition(".")[0] in names}
    known = {**own, **initial_state(network)}
    found = {}
    for op in step.operations:
        if isinstance(op, Threshold):
            cells = step.population(op.population)
            given = dict.fromkeys(cells.inputs, 0.0) | {n: 0.5 * is_uniform(n) for n in cells.noise}
            table = {
                **known,
                **{f"{cells.name}.{n}": v for n, v in given.items()},
                f"{op.population}.t": 0.0,
                f"{op.population}.dt": step.dt,
            }
            margin = evaluate(op.margin, lambda n, t=table, p=op.population: t[f"{p}.{n}"])  # type: ignore[misc]
            scale = float(np.median(np.abs(margin)))
            found[op.population] = scale if np.isfinite(scale) and scale > 0 else 1.0
    return found

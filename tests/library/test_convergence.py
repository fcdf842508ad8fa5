"""Every library neuron, left to itself below its threshold, converges to its continuous equations with its method's order."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from neuro import Network, Neuron, Population, library, quantity
from neuro.compiler.evaluation import evaluate
from neuro.compiler.parameters import initial_state, values
from neuro.compiler.resolve import resolve
from neuro.library.morris_lecar import PRESETS
from tests.compiler.test_integrators import ORDERS, Array, final, silent
from twinspike.models.drives import DRIVES

STEPS = 20  # of the coarsest dt
WEAK = 0.2  # of the current that makes it fire


def continuous(name: str) -> Neuron:
    """The library neuron as equations; where its step is written out in statements, the neuron whose equations that step approximates."""
    if name != "morris_lecar_trapezoid":
        return silent(name)
    return silent("morris_lecar", initial=library.get(name).initial).with_parameters(**PRESETS["a2"])


def trajectory(name: str, current: float, time: float) -> Array:
    """States [state, moment] of one cell from its initial state on, by scipy, from the equations as they are written."""
    neuron = continuous(name)
    network = Network((Population("cells", neuron, 1),), (), (), dt=DRIVES[name].dt)
    system = resolve(network).cells["cells"].system
    known = {n.removeprefix("cells."): float(np.ravel(v)[0]) for n, v in values(network).items()}
    known |= dict.fromkeys(neuron.scope.inputs, 0.0) | {DRIVES[name].input: current}
    start = [float(initial_state(network)[f"cells.{n}"][0]) for n in system.states]

    def slopes(t: float, y: Array) -> list[float]:
        now = {**known, "t": t, **dict(zip(system.states, y, strict=True))}
        for sub, expression in system.subexpressions:
            now[sub] = evaluate(expression, now.__getitem__)
        return [float(evaluate(rate, now.__getitem__)) for _, rate in system.rates]

    return solve_ivp(slopes, (0, time), start, method="DOP853", rtol=1e-12, atol=1e-16).y  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", library.neurons())
def test_order_of_convergence(name: str) -> None:
    neuron, drive = silent(name), DRIVES[name]
    current, coarse = WEAK * quantity(drive.amplitude).value, drive.dt.value
    path = trajectory(name, current, STEPS * coarse)
    scale = np.ptp(path, axis=1)
    moves = scale > 0
    assert moves.any()
    dts = [coarse / 2**halvings for halvings in range(4)]
    ends = [final(neuron, dt, STEPS * 2**i, current) for i, dt in enumerate(dts)]
    errors = [(np.abs(end - path[:, -1])[moves] / scale[moves]).max() for end in ends]
    if neuron.method == "exact" or max(errors) < 1e-9:  # exponential_euler is exact for one linear equation
        assert neuron.method in ("exact", "exponential_euler") and max(errors) < 1e-9
    else:
        order = np.polyfit(np.log(dts), np.log(errors), 1)[0]
        assert order == pytest.approx(ORDERS[neuron.method], abs=0.15), errors

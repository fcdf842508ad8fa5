"""Single Morris-Lecar neurons under constant currents: bifurcation currents of their equations, rates of their spikes on any backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

import backends
from neuro import Input, Network, Neuron, Population, library, quantity
from neuro.compiler.evaluation import evaluate
from neuro.compiler.parameters import values
from neuro.compiler.resolve import resolve
from neuro.learning.search.search_space import losses
from neuro.library.morris_lecar import PRESETS
from tasks.single_neuron import DENSITY, DT, crossings

Array = npt.NDArray[np.float64]

TRANSIENT, WINDOW = 1.0, 3.0  # s, without and with counting
START = {"v": "-20 mV", "n": "0.014173"}
CURRENTS = (0.0, 20.0, 39.0, 39.9, 43.575, 50.0, 90.0, 100.0, 120.0, 150.0, 200.0)  # uA/cm**2
# Hz at those currents, from START, by the trapezoid at DT (prototype's table)
RATES = {
    "a2": (0.0, 0.0, 0.0, 3.0, 9.0, 13.3, 23.0, 24.0, 0.0, 0.0, 0.0),
    "hopf": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.7, 11.7, 13.3, 15.0, 15.0),
}
SPAN = np.linspace(-60e-3, 40e-3, 20_001)  # V, in which rest and threshold lie


def continuous(preset: str, **changes: Any) -> Neuron:
    """The preset's equations, without a threshold: spikes are counted from v. changes: of the neuron's fields."""
    plain: Neuron = replace(library.get("morris_lecar"), threshold="", refractory=quantity("0 ms"), **changes)
    return plain.with_parameters(**PRESETS[preset])


def stepped(preset: str) -> Neuron:
    """The preset by the semi-implicit trapezoid."""
    found: Neuron = library.get("morris_lecar_trapezoid").with_parameters(**PRESETS[preset])
    return found


@dataclass(frozen=True)
class Flow:
    """The preset's equations as numbers: dv/dt [V/s] and dn/dt [1/s] of v [V] and n without current, from the neuron's own text."""

    preset: str

    @cached_property
    def _known(self) -> tuple[Any, dict[str, Any]]:
        network = Network((Population("cells", continuous(self.preset), 1),), (), (), dt=quantity(DT, "second"))
        known = {n.removeprefix("cells."): float(np.ravel(x)[0]) for n, x in values(network).items()}
        return resolve(network).cells["cells"].system, {**known, "I": 0.0}

    def __call__(self, v: Any, n: Any = None) -> tuple[Array, Array]:
        """n: None for its steady state at v."""
        system, known = self._known
        now = {**known, "v": v, "n": n}
        for name, expression in system.subexpressions:
            now[name] = evaluate(expression, now.__getitem__)
        if n is None:
            now["n"] = now["n_inf"]
        rates = dict(system.rates)
        return evaluate(rates["v"], now.__getitem__), evaluate(rates["n"], now.__getitem__)

    def held(self, v: Any) -> Array:
        """Current that holds a cell at v, uA/cm**2: the steady-state I-V curve."""
        return np.asarray(-self(v)[0] * self._known[1]["C"] / DENSITY)

    def trace(self, v: Any, h: float = 1e-6) -> Array:
        """Trace of the Jacobian at the steady state, 1/s, by central differences."""
        n = 0.5 * (1 + np.tanh((v - self._known[1]["v3"]) / self._known[1]["v4"]))
        along_v, along_n = self(v + h, n)[0] - self(v - h, n)[0], self(v, n + h)[1] - self(v, n - h)[1]
        return np.asarray((along_v + along_n) / (2 * h))

    def saddle_node(self) -> float | None:
        """Local maximum of the I-V curve, uA/cm**2, where rest ends; None where the curve only rises."""
        current = self.held(SPAN)
        (tops,) = np.nonzero((current[1:-1] > current[:-2]) & (current[1:-1] > current[2:]))
        return float(current[1 + tops[0]]) if len(tops) else None

    def hopf(self) -> list[float]:
        """Currents at which the trace changes its sign on a rising part of the I-V curve, uA/cm**2."""
        trace, current = self.trace(SPAN), self.held(SPAN)
        (at,) = np.nonzero((trace[:-1] * trace[1:] < 0) & (np.diff(current) > 0))
        return [
            float(np.interp(0, np.sort(trace[[i, i + 1]]), current[[i, i + 1]][np.argsort(trace[[i, i + 1]])]))
            for i in at
        ]


def run(
    neuron: Neuron, currents: Sequence[float], seconds: float, backend: str, dt: float = DT, **options: Any
) -> Array:
    """v [step, cell] in V from START on, one cell a constant current in uA/cm**2. options: of the backend."""
    n, steps = len(currents), round(seconds / dt)
    cells = Population("cells", neuron, n, initial=START)
    network = Network((cells,), (), (Input("current", n, "current", "cells.I"),), dt=quantity(dt, "second"))
    given = np.tile(np.array(currents) * DENSITY, (1, steps, 1))
    found = backends.get(backend).compile(network, **options).run(inputs={"current": given}, record=["cells.v"])
    return np.asarray(found.traces["cells.v"][0])


def rates(v: Array, dt: float = DT) -> Array:
    """Hz after the transient, [cell]."""
    after = v[round(TRANSIENT / dt) :]
    return np.asarray(crossings(after) / (len(after) * dt))


def descend(task: Any, rule: Any, seed: int, updates: int) -> tuple[list[float], list[float]]:
    """Losses at the current after each update, and those currents in uA/cm**2."""
    program: Any = backends.get("auto").compile(task.network(seed))
    parameters, state, batch = dict(values(program.network)), rule.init(program), task.test_batch()
    met, currents = [], []
    for _ in range(updates):
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
        met.append(float(losses(program, {"drive.w": parameters["drive.w"][None]}, batch, task)[0]))
        currents.append(float(parameters["drive.w"].item()) / DENSITY)
    return met, currents

"""A conductance-based Brian2 network comes in, learns one number by BPTT and by ES, and Brian2 confirms the loss with that number in its own objects.

Excitatory and inhibitory Hodgkin-Huxley cells (Traub & Miles' rates), joined at random by exponential conductances, under currents of a
TimedArray: objects such as anybody has in a Brian2 script. What is looked for is the excitatory weight, a constant of the script's text, by
the mean excitatory conductance over time, which the same network had with another weight. The control keeps the weight it began with.
Source of the cells: Traub & Miles (1991), Neuronal networks of the hippocampus; of the network: Brette et al. (2007), J Comput Neurosci 23:349,
benchmark 3, of which this is a smaller one under other currents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuro.protocols import Batch
from twinspike.study import Study

MINUTES = 4
DT = 0.05  # ms
WINDOW = 25.0  # ms that the loss looks at
WEIGHT, TRUE = "exc.w_exc", 6.0  # nS
QUICK, STARTS = 3.0, (2.0, 3.0, 4.0, 8.0)
Array = np.ndarray[Any, Any]

CELLS = """
dv/dt = (leak + spiking + synaptic + current(t, i))/capacity : volt
leak = g_leak*(e_leak - v) : amp
spiking = g_na*m**3*h*(e_na - v) + g_k*n**4*(e_k - v) : amp
synaptic = g_exc*(e_exc - v) + g_inh*(e_inh - v) : amp
dg_exc/dt = -g_exc/tau_exc : siemens
dg_inh/dt = -g_inh/tau_inh : siemens
dm/dt = opening_m*(1 - m) - closing_m*m : 1
dh/dt = opening_h*(1 - h) - closing_h*h : 1
dn/dt = opening_n*(1 - n) - closing_n*n : 1
u = (v - v_t)/mV : 1
opening_m = 1.28/exprel((13 - u)/4)/ms : Hz
closing_m = 1.4/exprel((u - 40)/5)/ms : Hz
opening_h = 0.128*exp((17 - u)/18)/ms : Hz
closing_h = 4/(1 + exp((40 - u)/5))/ms : Hz
opening_n = 0.16/exprel((15 - u)/5)/ms : Hz
closing_n = 0.5*exp((10 - u)/40)/ms : Hz
"""


@dataclass(frozen=True)
class Objects:
    """What a user's script holds. network: of all of them."""

    cells: Any
    exc: Any
    inh: Any
    spikes: Any
    conductance: Any
    network: Any

    def ran(self, milliseconds: float) -> tuple[Array, Array]:
        """Brian2's own raster [step, cell], and mean excitatory conductance in nS [step]."""
        from brian2 import ms

        self.network.run(milliseconds * ms, namespace={})
        steps = round(milliseconds / DT)
        raster = np.zeros((steps, len(self.cells)), bool)
        raster[np.round(np.asarray(self.spikes.t) * 1e3 / DT).astype(int), np.asarray(self.spikes.i)] = True
        return raster, np.asarray(self.conductance.g_exc_).mean(0) * 1e9


def script(size: int, weight: float, seed: int) -> Objects:
    """As a script would make them. weight: nS. size: four of five cells are excitatory."""
    from brian2 import (
        Clock,
        Network,
        NeuronGroup,
        SpikeMonitor,
        StateMonitor,
        Synapses,
        TimedArray,
        ms,
        mV,
        nA,
        nS,
        pF,
        uS,
    )  # fmt: skip

    random, excitatory = np.random.default_rng(seed), 4 * size // 5
    clock = Clock(dt=DT * ms)
    constants = {
        "capacity": 200 * pF, "g_leak": 10 * nS, "g_na": 20 * uS, "g_k": 6 * uS, "v_t": -63 * mV, "tau_exc": 5 * ms, "tau_inh": 10 * ms,
        "e_leak": -60 * mV, "e_na": 50 * mV, "e_k": -90 * mV, "e_exc": 0 * mV, "e_inh": -80 * mV,
        "current": TimedArray(random.normal(0.35, 0.25, (100, size)) * nA, dt=5 * ms),
    }  # fmt: skip
    cells = NeuronGroup(
        size, CELLS, threshold="v > -20*mV", refractory=3 * ms, reset="", method="exponential_euler", namespace=constants, clock=clock,
        name="cells",
    )  # fmt: skip
    cells.v, cells.m, cells.h, cells.n = random.normal(-65, 4, size) * mV, 0.02, 0.95, 0.1
    exc = Synapses(
        cells[:excitatory],
        cells,
        on_pre="g_exc_post += w_exc",
        namespace={"w_exc": weight * nS},
        clock=clock,
        name="exc",
    )
    inh = Synapses(
        cells[excitatory:], cells, on_pre="g_inh_post += w_inh", namespace={"w_inh": 67 * nS}, clock=clock, name="inh"
    )
    for synapses, sources in ((exc, excitatory), (inh, size - excitatory)):
        pre, post = np.nonzero(random.random((sources, size)) < 10 / size)
        synapses.connect(i=pre, j=post)
    spikes, conductance = SpikeMonitor(cells), StateMonitor(cells, "g_exc", record=True, when="end", clock=clock)
    network = Network(cells, exc, inh, spikes, conductance)
    network.store()
    return Objects(cells, exc, inh, spikes, conductance, network)


class Matching:
    """The task: the mean excitatory conductance that a network of the true weight has. Loss: mean squared difference, nS**2."""

    name = "matching"
    trace = "cells.g_exc"

    def __init__(self, inputs: Mapping[str, Array], target: Array) -> None:
        self.inputs, self.target = inputs, target

    def batch(self) -> Batch:
        return Batch(dict(self.inputs), self.target)

    def record(self) -> tuple[str, ...]:
        return (self.trace,)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        found = traces[self.trace].mean(-1) * 1e9
        return ((found - torch.as_tensor(batch.targets, dtype=found.dtype)) ** 2).mean()

    def of(self, conductance: Array) -> float:
        """Brian2's own loss."""
        return float(((conductance - self.target[0]) ** 2).mean())


def rules(study: Study) -> dict[str, tuple[Any, int]]:
    """Rule, and its updates. The optimisers' numbers are in nS."""
    from neuro import learning

    one = {"trainable": (WEIGHT,)}
    return {
        "BPTT": (learning.get("bptt", **one, learning_rate=0.15, truncate=100), 60),
        "ES": (learning.get("es", **one, samples=8, sigma=0.3, learning_rate=0.15), 60),
    }


def learned(study: Study, program: Any, task: Matching, rule: Any, updates: int, label: str) -> tuple[float, Array]:
    """The weight of the lowest loss, SI, and the losses before each update."""
    from neuro.compiler.parameters import values

    parameters, state, batch = dict(values(program.network)), rule.init(program), task.batch()
    met: list[tuple[float, float]] = []
    with study.progress(label) as update:
        for k in range(updates + 1):
            weight = float(parameters[WEIGHT])
            run = program.run({WEIGHT: weight}, batch.inputs, task.record())
            met.append((float(task.loss(run.spikes, _tensors(run.traces), batch)), weight))
            update(k, updates, f"loss {met[-1][0]:.3g}")
            if k < updates:
                parameters, state, _ = rule.step(program, parameters, state, batch, task)
    return min(met)[1], np.array(met)


def _tensors(traces: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    return {name: torch.as_tensor(trace) for name, trace in traces.items()}


def same(study: Study, size: int) -> None:
    """Brian2's run and the import's."""
    import backends
    from backends.brian import from_brian2

    milliseconds = 50.0 if study.quick else 200.0
    objects = script(size, TRUE, study.seed)
    imported = from_brian2(objects.network)
    raster, conductance = objects.ran(milliseconds)
    found = backends.get("native").compile(imported.network).run(
        {}, imported.inputs(len(raster)), ["cells.g_exc"], steps=len(raster)
    )  # fmt: skip
    differing = int((np.asarray(found.spikes["cells"])[0] != raster).sum())
    error = float(np.abs(found.traces["cells.g_exc"][0].mean(-1) * 1e9 - conductance).max() / conductance.max())
    count = int(raster.sum())
    study.table(
        "imported, against Brian2's own run",
        ("cells", "ms", "spikes", "differing", "trace error"),
        [(size, milliseconds, count, differing, error)],
    )
    study.criterion("spikes that differ from Brian2's", differing, "0, of 100 or more", differing == 0 and count >= 100)
    study.criterion("mean conductance: largest relative error", error, "<= 1e-9", error <= 1e-9)


def fitted(study: Study, size: int, start: float, seed: int) -> Iterator[tuple[Any, ...]]:
    """One row for the control and each rule: weight and loss here, and Brian2's loss with that weight in its objects."""
    import backends
    from backends.brian import from_brian2, to_brian2

    steps = round(WINDOW / DT)
    _, target = script(size, TRUE, seed).ran(WINDOW)
    objects = script(size, start, seed)
    imported = from_brian2(objects.network)
    task = Matching(imported.inputs(steps), target[None])
    program: Any = backends.get("native").compile(imported.network)

    def row(label: str, weight: float, loss: float) -> tuple[Any, ...]:
        objects.network.restore()
        to_brian2(imported, {WEIGHT: np.asarray(weight)})
        return label, start, weight * 1e9, loss, task.of(objects.ran(WINDOW)[1])

    for label, (rule, updates) in rules(study).items():
        weight, met = learned(study, program, task, rule, updates, f"{label} from {start:g} nS")
        study.array(f"losses/{label}/{start:g}", met)
        if label == "BPTT":
            yield row("none (control)", start * 1e-9, met[0, 0])
        yield row(label, weight, met[:, 0].min())


def run(study: Study) -> None:
    from backends.brian.devices import settings

    size = 50 if study.quick else 100
    starts = (QUICK,) if study.quick else STARTS
    with settings("numpy"):
        same(study, size)
        rows = [row for start in starts for row in fitted(study, size, start, study.seed)]
    header = ("rule", "from, nS", "to, nS", "loss here", "loss in Brian2")
    study.table(f"{size} cells, {WINDOW:g} ms; the true weight is {TRUE:g} nS", header, rows)
    control = {row[1]: row[4] for row in rows if row[0].startswith("none")}
    for label in rules(study):
        shares = {row[1]: row[4] / control[row[1]] for row in rows if row[0] == label}
        first, worst = shares[QUICK], max(shares.values())
        name = f"{label}: loss in Brian2 over the control's"
        study.criterion(f"{name}, from {QUICK:g} nS", first, "<= 0.05", first <= 0.05)
        study.criterion(f"{name}, worst of {len(STARTS)} starts", worst, "<= 0.05", worst <= 0.05, full=True)
    apart = max(abs(row[3] - row[4]) / row[4] for row in rows if row[4])
    study.criterion("loss here and in Brian2: largest relative difference", apart, "<= 1e-6", apart <= 1e-6)

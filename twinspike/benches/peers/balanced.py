"""The CUBA and COBA benchmark networks in plain Brian2 as its own examples write them, for cpp_standalone.

Source: Vogels & Abbott (2005), J Neurosci 25:10786; Brette et al. (2007), J Comput Neurosci 23:349, benchmarks 1 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

CELLS, EXCITATORY, CONNECTED, DT = 4000, 3200, 0.02, 1e-4


@contextmanager
def active(device: Any) -> Iterator[Any]:
    """Brian2 with this device; the old one comes back."""
    from brian2.devices.device import reset_device, set_device

    set_device(device, build_on_run=False)
    try:
        yield device
    finally:
        reset_device()


@contextmanager
def ieee() -> Iterator[None]:
    """Brian2 without its default -ffast-math, for rasters that can be compared."""
    import brian2

    before = brian2.prefs.codegen.cpp.extra_compile_args
    brian2.prefs.codegen.cpp.extra_compile_args = ["-w", "-O2", "-std=c++11", "-ffp-contract=off"]
    try:
        yield
    finally:
        brian2.prefs.codegen.cpp.extra_compile_args = before


def connections(rng: np.random.Generator) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Pairs (pre, post) of excitatory and of inhibitory synapses, each pair with probability CONNECTED."""
    pre, post = np.nonzero(rng.random((CELLS, CELLS)) < CONNECTED)
    excites = pre < EXCITATORY
    return (pre[excites], post[excites]), (pre[~excites], post[~excites])


def cuba(pairs: Any, start: Mapping[str, Any]) -> tuple[Any, ...]:
    """Exponential synaptic currents, as Brian2's example CUBA. pairs: (pre, post), excitatory then inhibitory."""
    from brian2 import NeuronGroup, ms, mV, volt

    names = {"taum": 20 * ms, "taue": 5 * ms, "taui": 10 * ms, "Vt": -50 * mV, "Vr": -60 * mV, "El": -49 * mV}
    equations = """
    dv/dt = (ge + gi - (v - El))/taum : volt (unless refractory)
    dge/dt = -ge/taue : volt
    dgi/dt = -gi/taui : volt
    """
    cells = NeuronGroup(
        CELLS, equations, threshold="v > Vt", reset="v = Vr", refractory=5 * ms, method="exact", namespace=names
    )
    cells.v = start["v"] * volt
    return cells, *_connected(cells, pairs, {"we": 60 * 0.27 / 10 * mV, "wi": -20 * 4.5 / 10 * mV})


def coba(pairs: Any, start: Mapping[str, Any]) -> tuple[Any, ...]:
    """Exponential synaptic conductances. Excitatory and inhibitory ones start as `start` says, so that activity goes on."""
    from brian2 import NeuronGroup, ms, mV, nS, pF, siemens, volt

    names = {
        "C": 200 * pF, "gl": 10 * nS, "taue": 5 * ms, "taui": 10 * ms, "Vt": -50 * mV, "Vr": -60 * mV, "El": -60 * mV,
        "Ee": 0 * mV, "Ei": -80 * mV,
    }  # fmt: skip
    equations = """
    dv/dt = (gl*(El - v) + ge*(Ee - v) + gi*(Ei - v))/C : volt (unless refractory)
    dge/dt = -ge/taue : siemens
    dgi/dt = -gi/taui : siemens
    """
    cells = NeuronGroup(
        CELLS,
        equations,
        threshold="v > Vt",
        reset="v = Vr",
        refractory=5 * ms,
        method="exponential_euler",
        namespace=names,
    )
    cells.v, cells.ge, cells.gi = start["v"] * volt, start["ge"] * siemens, start["gi"] * siemens
    return cells, *_connected(cells, pairs, {"we": 6 * nS, "wi": 67 * nS})


def _connected(cells: Any, pairs: Any, weights: Mapping[str, Any]) -> tuple[Any, ...]:
    from brian2 import SpikeMonitor, Synapses

    excitatory = Synapses(cells, cells, on_pre="ge += we", namespace=weights)
    inhibitory = Synapses(cells, cells, on_pre="gi += wi", namespace=weights)
    for synapses, (pre, post) in zip((excitatory, inhibitory), pairs, strict=True):
        synapses.connect(i=pre, j=post)
    return excitatory, inhibitory, SpikeMonitor(cells)


def built(
    model: Callable[..., Any], folder: Path, steps: int, pairs: Any, start: Mapping[str, Any]
) -> Callable[[], tuple[Any, Any]]:
    """Generate and compile the project; the result runs it and gives cells and steps of the spikes."""
    import brian2
    from brian2.devices.cpp_standalone.device import CPPStandaloneDevice

    with active(CPPStandaloneDevice()) as device:
        brian2.defaultclock.dt = DT * brian2.second
        objects = model(pairs, start)
        brian2.Network(objects).run(steps * DT * brian2.second)
        device.build(directory=str(folder), compile=True, run=False, with_output=False)

    def run() -> tuple[Any, Any]:
        with active(device):
            device.run(with_output=False)
            monitor = objects[-1]
            return np.array(monitor.i), np.rint(np.array(monitor.t_) / DT).astype(np.int64)

    return run

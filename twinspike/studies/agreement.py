"""Do all backends compute the same numbers? Every library neuron, and a mixed recurrent network over 1 s.

Library neurons: 30 cells each, driven into spiking for 1,000 steps, float64, every pair of backends. The mixed network: 100
cells of four kinds, conductance synapses, heterogeneous delays, refractoriness, noise. It is chaotic, so rounding differences
grow; what is asked for is identical spikes until then, and the time of the first divergence.
"""

from __future__ import annotations

import itertools
from typing import Any

import backends
from neuro import Input, Network, Population, UnsupportedError, library, quantity
from twinspike.models.drives import DRIVES
from twinspike.models.mixed_network import mixed_network
from twinspike.study import Study

MINUTES = 1  # a full run took 50 processor seconds
STEPS, CELLS = 1000, 30
SILENT = frozenset(
    n for n in library.neurons() if not library.get(n).threshold
)  # no threshold: only traces are compared
TOLERANCE = 1e-9


def driven(name: str) -> tuple[Network, dict[str, Any]]:
    """Cells of one library neuron, each with its own constant current and a shared sine on top."""
    import numpy as np

    drive = DRIVES[name]
    current = Input("current", CELLS, "current", f"cells.{drive.input}")
    network = Network((Population("cells", library.get(name), CELLS),), (), (current,), dt=drive.dt)
    amplitude = quantity(drive.amplitude).value * np.linspace(1.0, 1.5, CELLS)
    wave = 1 + 0.1 * np.sin(2 * np.pi * np.arange(STEPS) / 50)
    return network, {"current": (wave[:, None] * amplitude)[None]}


def library_neurons(study: Study) -> None:
    from neuro.analysis.comparison import compare

    rows, worst, spikes_differ, fewest = [], 0.0, 0, None
    for name in library.neurons():
        network, inputs = driven(name)
        record = [f"cells.{v}" for v in network.populations[0].neuron.scope.states]
        found = {}
        for backend in backends.names():
            try:
                found[backend] = (
                    backends.get(backend).compile(network, dtype="float64").run(inputs=inputs, record=record)
                )
            except UnsupportedError:
                continue
        errors = {}
        for a, b in itertools.combinations(found, 2):
            report = compare(found[a], found[b], names=(a, b), max_pairs=0)
            errors[a, b] = max(v.max_rel for v in report.variables)
            spikes_differ += sum(p.differing for p in report.populations)
        spikes = found["reference"].spike_count()
        if name not in SILENT:
            fewest = spikes if fewest is None else min(fewest, spikes)
        worst = max(worst, *errors.values())
        rows.append((name, ", ".join(found), spikes, max(errors.values())))
    study.table("library neurons", ("neuron", "backends", "spikes", "largest relative error of any pair"), rows)
    study.criterion("library: spikes that differ in any pair", spikes_differ, "0", spikes_differ == 0)
    study.criterion("library: largest relative error of a trace", worst, f"<= {TOLERANCE}", worst <= TOLERANCE)
    study.criterion("library: fewest spikes of a spiking neuron", fewest, ">= 100", (fewest or 0) >= 100)


def mixed(study: Study) -> None:
    import numpy as np

    steps = 1_100 if study.quick else 10_000
    network = mixed_network()
    found = {}
    for name in backends.names():
        try:
            found[name] = backends.get(name).compile(network).run(steps=steps, record=["excitatory.v", "inhibitory.v"])
        except UnsupportedError:
            continue
    rows = []
    for name, other in found.items():
        first = steps
        for population, raster in found["reference"].spikes.items():
            apart = np.flatnonzero((raster != other.spikes[population]).any(axis=(0, 2)))
            first = min(first, int(apart[0]) if apart.size else steps)
        error = max(
            float(np.max(abs(found["reference"].traces[v][:, :first] - other.traces[v][:, :first])))
            for v in other.traces
        )
        when = f"none in {steps * other.dt * 1e3:g} ms" if first == steps else f"{first * other.dt * 1e3:.1f} ms"
        rows.append((name, other.spike_count(), when, error))
        study.criterion(
            f"mixed network, {name}: same spikes for at least 100 ms", when, "> 100 ms", first * other.dt > 0.1
        )
    title = f"mixed network of 100 cells, {steps * network.dt.value:g} s, against the reference"
    study.table(title, ("backend", "spikes", "first divergence of a spike", "largest |dv| before it, V"), rows)
    first_spikes = {n: r.spikes["excitatory"][0] for n, r in found.items()}
    for name, raster in first_spikes.items():
        study.array(f"mixed/{name}/excitatory", raster)


def run(study: Study) -> None:
    library_neurons(study)
    mixed(study)

"""The cortical microcircuit in plain Brian2 (cpp_standalone, OpenMP) and in plain NEST, as their users write it.

Brian2 is given our network synapse by synapse, so that it has nothing to draw. NEST draws pairs, weights, delays and first potentials itself, from the same laws.
Source: Potjans & Diesmann (2014), Cereb Cortex 24:785; numbers from tasks.microcircuit.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks import microcircuit as model

if TYPE_CHECKING:
    from collections.abc import Iterator

# ms. NEST keeps a cell for all of t_ref after the step in which it fired; Brian2 and we count that step in.
NEST_REFRACTORY = 2.0 - model.DT

PUSH = 250e-12  # amperes, with which cells fire where no Poisson trains do it

Spikes = dict[str, tuple[Any, Any]]  # population -> steps, cells

# C++ around the second run: how long the first one took, processor time of all threads, what Linux says of the program's memory.
_BEFORE = "const double _settled = Network::_last_run_time; const std::clock_t _begun = std::clock();"
_AFTER = """{
    std::ofstream _file(brian::results_dir + "spent.txt");
    _file << _settled << std::endl << double(std::clock() - _begun)/CLOCKS_PER_SEC << std::endl << std::ifstream("/proc/self/status").rdbuf();
}"""


def pushed(network: Any) -> dict[str, float]:
    """Drives of a network of constant currents with PUSH more, as parameters of a run."""
    return {f"{p.name}.drive": float(p.parameters["drive"].value) + PUSH for p in network.populations}


def drawn(scale: float, seed: int, *, constant: bool = False) -> dict[str, Any]:
    """Our network's numbers, SI. pre, post: cells counted through all populations. By source; steps of delay, amperes, volts.

    constant: without Poisson trains; with PUSH more of current.
    """
    from neuro.compiler.parameters import initial_state, values
    from neuro.compiler.resolve import resolve

    network = model.network(scale, constant=constant, seed=seed)
    resolved, numbers = resolve(network), values(network)
    sizes = [p.size for p in network.populations]
    first = dict(zip(model.POPULATIONS, np.cumsum([0, *sizes[:-1]]), strict=True))
    parts: dict[str, list[Any]] = {"pre": [], "post": [], "w": [], "delay": []}
    for p in network.projections:
        listed = resolved.wires[p.name].listed
        if listed is not None:
            pre, post = listed.index
            parts["pre"].append(pre + first[p.pre])
            parts["post"].append(post + first[p.post])
            parts["w"].append(numbers[f"{p.name}.w"])
            parts["delay"].append(np.broadcast_to(resolved.delays[p.name], pre.shape))
    order = np.argsort(np.concatenate(parts["pre"]), kind="stable")  # a source's synapses lie side by side
    start = initial_state(network)
    return {name: np.concatenate(part)[order] for name, part in parts.items()} | {
        "sizes": sizes,
        "v": np.concatenate([start[f"{n}.v"] for n in model.POPULATIONS]),
        "drive": np.repeat([float(numbers[f"{n}.drive"]) + PUSH * constant for n in model.POPULATIONS], sizes),
        "background": [
            (float(numbers[f"{i.target.partition('.')[0]}.weight__{i.name}"]), i.sources) for i in network.inputs
        ],
    }


def brian2_objects(given: dict[str, Any]) -> tuple[Any, ...]:
    """One group of all cells, one Synapses, a PoissonInput for each population, a monitor of spikes. given: see `drawn`."""
    from brian2 import Hz, NeuronGroup, PoissonInput, SpikeMonitor, Synapses, amp, ms, mV, pF, second, volt

    cells = NeuronGroup(
        len(given["v"]),
        """
        dv/dt = (E_L - v)/tau_m + (I + drive)/C : volt (unless refractory)
        dI/dt = -I/tau_syn : amp
        drive : amp (constant)
        """,
        threshold="v > v_th",
        reset="v = v_reset",
        refractory=2 * ms,
        method="exact",
        namespace={
            "E_L": -65 * mV, "tau_m": 10 * ms, "C": 250 * pF, "tau_syn": 0.5 * ms, "v_th": -50 * mV, "v_reset": -65 * mV,
        },
    )  # fmt: skip
    cells.v, cells.drive = given["v"] * volt, given["drive"] * amp
    synapses = Synapses(cells, cells, "w : amp (constant)", on_pre="I += w")
    synapses.connect(i=given["pre"], j=given["post"])
    synapses.w, synapses.delay = given["w"] * amp, given["delay"] * model.DT * 1e-3 * second
    ends = np.cumsum([0, *given["sizes"]])
    background = [
        PoissonInput(cells[a:b], "I", sources, model.RATE * Hz, weight * amp)
        for a, b, (weight, sources) in zip(ends[:-1], ends[1:], given["background"], strict=False)
    ]
    return cells, synapses, *background, SpikeMonitor(cells)


def brian2(scale: float, threads: int, settling: float, seconds: float, seed: int) -> dict[str, Any]:
    """One build and run in float32 with Brian2's own flags (-O3 -ffast-math -march=native): s, bytes and spikes, see benches.microcircuit.Run.

    The build is generating, compiling, and what its program does before the first step; drawing, which we do for it, isn't counted.
    """
    import tempfile
    import warnings

    import brian2 as b
    from brian2.devices.cpp_standalone.device import CPPStandaloneDevice

    from twinspike.benches.peers.balanced import active

    warnings.simplefilter("ignore")  # Brian2 compares numbers of float32 with 1e50
    given = drawn(scale, seed)
    with tempfile.TemporaryDirectory() as folder, active(CPPStandaloneDevice()) as device, _precise(b, threads):
        clock = time.perf_counter()
        b.seed(seed)
        b.defaultclock.dt = model.DT * b.ms
        objects = brian2_objects(given)
        network = b.Network(objects)
        network.run(settling * b.second)
        device.insert_code("main", _BEFORE)
        network.run(seconds * b.second)
        device.insert_code("main", _AFTER)
        device.build(directory=folder, compile=True, run=False, with_output=False)
        built = time.perf_counter() - clock
        clock = time.perf_counter()
        device.run(with_output=False)
        whole, run = time.perf_counter() - clock, device._last_run_time
        settled, spent, *status = (Path(folder) / "results" / "spent.txt").read_text().splitlines()
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
        steps, cells = np.rint(np.array(objects[-1].t_) / (model.DT * 1e-3)).astype(int), np.array(objects[-1].i)
    return {
        "build": built + whole - float(settled) - run, "run": run / seconds, "processor": float(spent) / seconds, "peak": peak,
        "spikes": by_population(steps, cells, given["sizes"], round(settling * 1e3 / model.DT)),
    }  # fmt: skip


@contextmanager
def _precise(b: Any, threads: int) -> Iterator[None]:
    """Brian2 in float32 and with so many threads."""
    kept = b.prefs.core.default_float_dtype, b.prefs.devices.cpp_standalone.openmp_threads
    b.prefs.core.default_float_dtype, b.prefs.devices.cpp_standalone.openmp_threads = np.float32, threads
    try:
        yield
    finally:
        b.prefs.core.default_float_dtype, b.prefs.devices.cpp_standalone.openmp_threads = kept


def by_population(steps: Any, cells: Any, sizes: list[int], first: int) -> Spikes:
    """Spikes from step `first` on, of cells that are counted through all populations."""
    ends, found = np.cumsum([0, *sizes]), {}
    for name, a, b in zip(model.POPULATIONS, ends[:-1], ends[1:], strict=True):
        own = (cells >= a) & (cells < b) & (steps >= first)
        found[name] = steps[own] - first, cells[own] - a
    return found


def nest(scale: float, threads: int, settling: float, seconds: float, seed: int) -> dict[str, Any]:
    """One build and run of NEST's iaf_psc_exp, which has float64: s, bytes and spikes, see benches.microcircuit.Run."""
    from twinspike.timing import forget_peak, peak_memory

    n = _kernel(threads, seed)
    forget_peak()
    before, clock = peak_memory(), time.perf_counter()
    recorders = _nest_network(n, scale, settling)
    n.Prepare()
    build = time.perf_counter() - clock
    n.Run(settling * 1e3)
    clock, spent = time.perf_counter(), time.process_time()
    n.Run(seconds * 1e3)
    run, spent = time.perf_counter() - clock, time.process_time() - spent
    n.Cleanup()
    peak, first, spikes = peak_memory() - before, round(settling * 1e3 / model.DT), {}
    for name, (recorder, lowest) in recorders.items():
        events = recorder.get("events")
        spikes[name] = _steps(events) - first, events["senders"].astype(int) - lowest
    return {"build": build, "run": run / seconds, "processor": spent / seconds, "peak": peak, "spikes": spikes}


def _kernel(threads: int, seed: int) -> Any:
    """NEST without its banner, empty."""
    import os

    os.environ.setdefault("PYNEST_QUIET", "1")
    import nest as n

    n.verbosity = n.VerbosityLevel.ERROR
    n.ResetKernel()
    n.set(resolution=model.DT, local_num_threads=threads, rng_seed=seed + 1)
    return n


def nest_given(given: dict[str, Any], steps: int) -> Spikes:
    """Spikes of a network that NEST was given synapse by synapse, without Poisson trains. given: see `drawn`."""
    n = _kernel(1, 0)
    cells = _nest_cells(n, len(given["v"]))
    cells.set({"V_m": 1e3 * given["v"], "I_e": 1e12 * given["drive"]})
    ids, recorder = np.array(cells.tolist()), n.Create("spike_recorder")
    weights, delays = 1e12 * given["w"], model.DT * given["delay"]
    n.Connect(ids[given["pre"]], ids[given["post"]], "one_to_one", {"weight": weights, "delay": delays})
    n.Connect(cells, recorder)
    n.Simulate(steps * model.DT)
    events = recorder.get("events")
    return by_population(_steps(events), events["senders"] - ids[0], given["sizes"], 0)


def _steps(events: Any) -> Any:
    """Ours of NEST's, which says when a step ends."""
    return np.rint(events["times"] / model.DT).astype(int) - 1


def _nest_cells(n: Any, size: int) -> Any:
    return n.Create(
        "iaf_psc_exp", size,
        {"C_m": model.CAPACITY, "tau_m": model.TAU_M, "tau_syn_ex": model.TAU_SYN, "tau_syn_in": model.TAU_SYN, "t_ref": NEST_REFRACTORY, "E_L": -65.0,
         "V_reset": -65.0, "V_th": -50.0},
    )  # fmt: skip


def _nest_network(n: Any, scale: float, settling: float) -> dict[str, tuple[Any, int]]:
    """Population -> its recorder, which begins after `settling`, and the number of its first cell."""
    strength, populations, recorders = 1 / math.sqrt(scale), [], {}
    for k, name in enumerate(model.POPULATIONS):
        cells = _nest_cells(n, round(scale * model.SIZES[k]))
        cells.I_e = model.missing(k, scale, False)
        cells.V_m = n.random.normal(*model.FIRST[k])
        sources = max(1, round(scale * model.EXTERNAL[k]))
        noise = n.Create("poisson_generator", params={"rate": model.RATE * sources})
        n.Connect(noise, cells, syn_spec={"weight": strength * model.weight(), "delay": model.DT})
        recorder = n.Create("spike_recorder", params={"start": settling * 1e3})
        n.Connect(cells, recorder)
        populations.append(cells)
        recorders[name] = recorder, cells[0].global_id
    for target, post in enumerate(populations):
        for source, pre in enumerate(populations):
            number = round(model.synapses(target, source) * scale**2)
            if number:
                mean = strength * model.sent(target, source)
                late, jitter = model.DELAYS[model.POPULATIONS[source][-1]]
                n.Connect(
                    pre, post, {"rule": "fixed_total_number", "N": number},
                    {"weight": n.random.normal(mean, model.DEVIATION * abs(mean)),
                     "delay": n.math.redraw(n.random.normal(late, jitter), min=model.DT, max=100.0)},
                )  # fmt: skip
    return recorders

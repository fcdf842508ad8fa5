"""The ES benchmark's network as somebody would write it in plain Brian2, in plain torch and in JAX.

100 Morris-Lecar cells (Hopf parameters), all-to-all graded coupling, euler or rk4 at 0.1 ms, spikes above 10 mV counted once in 40 ms.
All compute in float32 and return spike counts [candidate, cell].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CELLS, DT = 100, 1e-4
CURRENT = np.linspace(0.9, 1.3, CELLS)  # amp/m2; 1 amp/m2 = 100 uA/cm2

EQUATIONS = """
dv/dt = (g_L*(E_L - v) + g_Ca*m_inf*(E_Ca - v) + g_K*n*(E_K - v) + I + I_syn)/C : volt
dn/dt = phi*(n_inf - n)*cosh((v - v3)/(2*v4)) : 1
m_inf = 0.5*(1 + tanh((v - v1)/v2)) : 1
n_inf = 0.5*(1 + tanh((v - v3)/v4)) : 1
I : amp/meter**2 (constant)
I_syn : amp/meter**2
"""


def brian2_rebuilt(method: str, candidates: Any, steps: int, target: str) -> Any:
    """A network built and run for each candidate; compiled code comes from Brian2's cache after the first."""
    import brian2
    from brian2 import cm, meter, msiemens, mV, second, ufarad

    before = brian2.prefs.codegen.target, brian2.prefs.core.default_float_dtype
    brian2.prefs.codegen.target, brian2.prefs.core.default_float_dtype = target, np.float32
    constants = {
        "C": 20 * ufarad / cm**2, "g_L": 2 * msiemens / cm**2, "g_Ca": 4.4 * msiemens / cm**2,
        "g_K": 8 * msiemens / cm**2, "E_L": -60 * mV, "E_Ca": 120 * mV, "E_K": -84 * mV, "v1": -1.2 * mV, "v2": 18 * mV,
        "v3": 2 * mV, "v4": 30 * mV, "phi": 40 / second, "v_half": -50 * mV, "v_slope": 5 * mV,
    }  # fmt: skip
    found = []
    try:
        for w in candidates:
            clock = brian2.Clock(dt=DT * second)
            cells = brian2.NeuronGroup(
                CELLS, EQUATIONS, threshold="v > 10*mV", refractory=40e-3 * second, method=method, clock=clock
            )
            cells.v, cells.n, cells.I = -60.9 * mV, 0.0149, CURRENT * brian2.amp / meter**2
            loop = brian2.Synapses(
                cells,
                cells,
                "w : amp/meter**2 (constant)\nI_syn_post = w/(1 + exp(-(v_pre - v_half)/v_slope)) : amp/meter**2 (summed)",
                clock=clock,
            )
            loop.connect()
            loop.w = w.ravel() * brian2.amp / meter**2
            monitor = brian2.SpikeMonitor(cells, record=False)
            net = brian2.Network(cells, loop, monitor)
            net.run(steps * DT * second, namespace=constants)
            found.append(np.array(monitor.count))
    finally:
        brian2.prefs.codegen.target, brian2.prefs.core.default_float_dtype = before
    return np.stack(found)


G_LEAK, G_CA, G_K, E_LEAK, E_CA, E_K, CAPACITY, PHI = 20.0, 44.0, 80.0, -60e-3, 120e-3, -84e-3, 0.2, 40.0  # SI, an area
V1, V2, V3, V4, V_HALF, V_SLOPE = -1.2e-3, 18e-3, 2e-3, 30e-3, -50e-3, 5e-3
START, THRESHOLD, DEAD = (-60.9e-3, 0.0149), 10e-3, 400  # dead: steps after a spike in which none is counted


def slopes(xp: Any, v: Any, n: Any, current: Any) -> tuple[Any, Any]:
    """dv/dt and dn/dt; xp: torch or jax.numpy."""
    m_inf = 0.5 * (1 + xp.tanh((v - V1) / V2))
    n_inf = 0.5 * (1 + xp.tanh((v - V3) / V4))
    dv = (G_LEAK * (E_LEAK - v) + G_CA * m_inf * (E_CA - v) + G_K * n * (E_K - v) + current) / CAPACITY
    return dv, PHI * (n_inf - n) * xp.cosh((v - V3) / (2 * V4))


def advanced(xp: Any, method: str, v: Any, n: Any, current: Any) -> tuple[Any, Any]:
    """v and n one step later, the current held."""
    k1, l1 = slopes(xp, v, n, current)
    if method == "euler":
        return v + DT * k1, n + DT * l1
    k2, l2 = slopes(xp, v + DT / 2 * k1, n + DT / 2 * l1, current)
    k3, l3 = slopes(xp, v + DT / 2 * k2, n + DT / 2 * l2, current)
    k4, l4 = slopes(xp, v + DT * k3, n + DT * l3, current)
    return v + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4), n + DT / 6 * (l1 + 2 * l2 + 2 * l3 + l4)


def torch_loop(method: str, candidates: Any, steps: int, device: str = "cpu") -> Callable[[], Any]:
    """All candidates at once: states [candidate, cell], the coupling as one batched product a step."""
    import torch

    w, drive = (torch.as_tensor(a, dtype=torch.float32, device=device) for a in (candidates, CURRENT))

    def run() -> Any:
        with torch.no_grad():
            state = torch_start(len(w), device)
            for _ in range(steps):
                state = torch_advanced(method, w, drive, state)
            return state[3]

    return run


def torch_start(count: int, device: str) -> tuple[Any, ...]:
    """v, n, steps in which no spike is counted, and spikes, of each cell."""
    import torch

    v, n = (torch.full((count, CELLS), value, device=device) for value in START)
    left, spikes = (torch.zeros(count, CELLS, dtype=torch.int32, device=device) for _ in range(2))
    return v, n, left, spikes


def torch_advanced(method: str, w: Any, drive: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """One step."""
    import torch

    v, n, left, spikes = state
    current = drive + torch.bmm(torch.sigmoid((v - V_HALF) / V_SLOPE)[:, None], w)[:, 0]
    v, n = advanced(torch, method, v, n, current)
    fired = (v > THRESHOLD) & (left <= 1)
    return v, n, torch.where(fired, DEAD, left - 1), spikes + fired


def torch_graph(method: str, candidates: Any, steps: int, device: str, captured: int = 100) -> Callable[[], Any]:
    """The same, so many steps captured in a CUDA graph, which is replayed. steps: a multiple of them. Raises RuntimeError elsewhere."""
    import torch

    if not device.startswith("cuda"):
        raise RuntimeError("a CUDA graph needs a CUDA device")
    w, drive = (torch.as_tensor(a, dtype=torch.float32, device=device) for a in (candidates, CURRENT))
    start, held = torch_start(len(w), device), torch_start(len(w), device)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad():
        torch_advanced(method, w, drive, held)
        torch.cuda.synchronize(device)
        with torch.cuda.graph(graph):
            state = held
            for _ in range(captured):
                state = torch_advanced(method, w, drive, state)
            for mine, found in zip(held, state, strict=True):
                mine.copy_(found)

    def run() -> Any:
        for mine, value in zip(held, start, strict=True):
            mine.copy_(value)
        for _ in range(steps // captured):
            graph.replay()
        return held[3]

    return run


def jax_scan(method: str, candidates: Any, steps: int) -> Callable[[], Any]:
    """One candidate as a scan over time, all of them by vmap, compiled once; the result is called again and again."""
    import jax
    import jax.numpy as jnp

    drive = jnp.asarray(CURRENT, jnp.float32)

    def one(w: Any) -> Any:
        def step(state: Any, _: None) -> Any:
            v, n, left, spikes = state
            current = drive + jax.nn.sigmoid((v - V_HALF) / V_SLOPE) @ w
            v, n = advanced(jnp, method, v, n, current)
            fired = (v > THRESHOLD) & (left <= 1)
            return (v, n, jnp.where(fired, DEAD, left - 1), spikes + fired), None

        nothing = jnp.zeros(CELLS, jnp.int32)
        start = (*(jnp.full(CELLS, value, jnp.float32) for value in START), nothing, nothing)
        return jax.lax.scan(step, start, length=steps)[0][3]

    run, weights = jax.jit(jax.vmap(one)), jnp.asarray(candidates, jnp.float32)
    return lambda: jax.block_until_ready(run(weights))

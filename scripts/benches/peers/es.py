"""The ES benchmark's network as somebody would write it in plain Brian2 and in plain torch.

100 Morris-Lecar cells (Hopf parameters), all-to-all graded coupling, euler or rk4 at 0.1 ms, spikes above 10 mV counted once in 40 ms.
Both return spike counts [candidate, cell].
"""

from __future__ import annotations

from typing import Any

import numpy as np

CELLS, STEPS, DT = 100, 2000, 1e-4
CURRENT = np.linspace(0.9, 1.3, CELLS)  # amp/m2; 1 amp/m2 = 100 uA/cm2

EQUATIONS = """
dv/dt = (g_L*(E_L - v) + g_Ca*m_inf*(E_Ca - v) + g_K*n*(E_K - v) + I + I_syn)/C : volt
dn/dt = phi*(n_inf - n)*cosh((v - v3)/(2*v4)) : 1
m_inf = 0.5*(1 + tanh((v - v1)/v2)) : 1
n_inf = 0.5*(1 + tanh((v - v3)/v4)) : 1
I : amp/meter**2 (constant)
I_syn : amp/meter**2
"""


def brian2_rebuilt(method: str, candidates: Any, target: str) -> Any:
    """A network built and run for each candidate; compiled code comes from Brian2's cache after the first."""
    import brian2
    from brian2 import cm, meter, msiemens, mV, second, ufarad

    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = target
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
            net.run(STEPS * DT * second, namespace=constants)
            found.append(np.array(monitor.count))
    finally:
        brian2.prefs.codegen.target = before
    return np.stack(found)


def torch_loop(method: str, candidates: Any, dtype: Any) -> Any:
    """All candidates at once: states [candidate, cell], the coupling as one batched product a step."""
    import torch

    v1, v2, v3, v4, v_half, v_slope = -1.2e-3, 18e-3, 2e-3, 30e-3, -50e-3, 5e-3
    g_leak, g_ca, g_k, e_leak, e_ca, e_k = 20.0, 44.0, 80.0, -60e-3, 120e-3, -84e-3
    capacity, phi, count = 0.2, 40.0, len(candidates)

    def slopes(v: Any, n: Any, current: Any) -> tuple[Any, Any]:
        m_inf = 0.5 * (1 + torch.tanh((v - v1) / v2))
        n_inf = 0.5 * (1 + torch.tanh((v - v3) / v4))
        dv = (g_leak * (e_leak - v) + g_ca * m_inf * (e_ca - v) + g_k * n * (e_k - v) + current) / capacity
        return dv, phi * (n_inf - n) * torch.cosh((v - v3) / (2 * v4))

    def advanced(v: Any, n: Any, current: Any) -> tuple[Any, Any]:
        k1, l1 = slopes(v, n, current)
        if method == "euler":
            return v + DT * k1, n + DT * l1
        k2, l2 = slopes(v + DT / 2 * k1, n + DT / 2 * l1, current)
        k3, l3 = slopes(v + DT / 2 * k2, n + DT / 2 * l2, current)
        k4, l4 = slopes(v + DT * k3, n + DT * l3, current)
        return v + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4), n + DT / 6 * (l1 + 2 * l2 + 2 * l3 + l4)

    with torch.no_grad():
        w = torch.as_tensor(candidates, dtype=dtype)
        drive = torch.as_tensor(CURRENT, dtype=dtype)
        v = torch.full((count, CELLS), -60.9e-3, dtype=dtype)
        n = torch.full((count, CELLS), 0.0149, dtype=dtype)
        left = torch.zeros(count, CELLS, dtype=torch.int32)
        spikes = torch.zeros(count, CELLS, dtype=torch.int32)
        for _ in range(STEPS):
            current = drive + torch.bmm(torch.sigmoid((v - v_half) / v_slope)[:, None], w)[:, 0]
            v, n = advanced(v, n, current)
            left -= 1
            fired = (v > 10e-3) & (left <= 0)
            left[fired] = 400
            spikes += fired
        return spikes.numpy()

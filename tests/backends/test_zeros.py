"""0 needs no unit: it fits every dimension, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, ModelError, Network, Neuron, Population, Projection, Synapse

EVERYWHERE = ("reference", "native", "torch", "brian2")


def network(cell: dict[str, str], synapse: dict[str, str]) -> Network:
    cells = Neuron(
        "n",
        cell["equations"],
        threshold=cell["threshold"],
        reset=cell["reset"],
        every_step=cell["every_step"],
        parameters={"tau": "10 ms", "v_th": "5 mV"},
        refractory="2 ms",
        method="euler",
    )
    feed = Projection("feed", "x", "cells", Synapse("s", parameters={"w_max": "4 nA"}, **synapse), weights="3 nA")
    graded = Synapse("g", transmits=cell["graded"], target="I", parameters={"G": "1 nS"})
    loop = Projection("loop", "cells", "cells", graded)
    return Network((Population("cells", cells, 3),), (feed, loop), (Input("x", 4),), dt="1 ms")


def bare(zero: dict[str, str]) -> Network:
    """zero: what stands for 0 in each dimension."""
    v, a, r, i = zero["v"], zero["a"], zero["r"], zero["i"]
    cell = {
        "equations": f"dv/dt = (clip(R*I, {v}, 20*mV) - v + {v})/tau : volt (unless refractory)\nI : amp\nR = 10*Mohm : ohm\n"
        f"du/dt = {r} : volt\nk = int(v > {v})*mV + int({v} <= u)*mV : volt",
        "threshold": f"v - v_th > {v} and not (v < {v})",
        "reset": f"v = {v}; u += {v} - 1*mV",
        "every_step": f"u = clip(u + k, {v}, 30*mV)",
        "graded": f"clip(v_pre - 2*mV, {v}, 10*mV)*G + {i}",
    }
    synapse = {
        "equations": f"w : amp\ndA/dt = -A/(20*ms) + {a} : amp",
        "on_pre": f"A += 0.1*nA\nI_post += clip(w, {i}, w_max)",
        "on_post": f"w = clip(w - A, {i}, w_max)",
    }
    return network(cell, synapse)


def run(net: Network, backend: str) -> Any:
    spikes = np.random.default_rng(0).random((2, 80, 4)) < 0.3
    return backends.get(backend).compile(net).run(inputs={"x": spikes}, record=["cells.v", "cells.u", "cells.k"])


def test_a_zero_without_a_unit_is_one_with_it_on_every_backend() -> None:
    plain = bare({"v": "0", "a": "0", "r": "0", "i": "0.0"})
    right = run(bare({"v": "0*mV", "a": "0*nA/ms", "r": "0*volt/second", "i": "0*amp"}), "reference")
    assert right.spike_count() > 20 and all(np.ptp(trace) > 0 for trace in right.traces.values())
    for backend in EVERYWHERE:
        found = run(plain, backend)
        assert np.array_equal(found.spikes["cells"], right.spikes["cells"])
        for name, trace in right.traces.items():
            np.testing.assert_allclose(found.traces[name], trace, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(found.final["feed.w"], right.final["feed.w"], rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("text", ["1", "0 + 1", "0*1", "1e-300", "0*ms"])
def test_other_numbers_need_a_unit(text: str) -> None:
    with pytest.raises(ModelError, match=r"can't compare|is needed"):
        Neuron("n", "dv/dt = -v/ms : volt", threshold=f"v > {text}")
    with pytest.raises(ModelError, match="is needed"):
        Neuron("n", "dv/dt = -v/ms : volt", threshold="v > 0", reset=f"v = {text}")

"""What a synapse adds to a variable that its own value, or another synapse's, reads: every sum is of what was there before it."""

from __future__ import annotations

import numpy as np
import pytest

import backends
from neuro import AllToAll, Network, Neuron, Population, Projection, Synapse

_FORMS = {
    "events": {"on_pre": "v_post += w*v_pre"},
    "postsynaptic events": {"on_post": "v_post += w*v_pre"},
    "every step": {"on_pre": "v_post += 0*w", "every_step": "v_post += w*(v_post - 0.5*v_pre)"},
    "every step, not a product": {"on_pre": "v_post += 0*w", "every_step": "v_post += w*sin(v_post + v_pre)"},
}


@pytest.mark.parametrize("refractory", ["0 ms", "2 ms"])
@pytest.mark.parametrize("form", _FORMS)
def test_a_sum_reads_what_was_there_before_it(form: str, refractory: str) -> None:
    cell = Neuron(
        "cell",
        "dv/dt = (1.3 - v)/(5*ms) : 1",
        threshold="v > 1",
        reset="v -= 0.8",
        refractory=refractory,
        initial={"v": "0.2"},
    )
    network = Network(
        [Population("p", cell, 3, initial={"v": np.array([0.2, 0.5, 0.9])})],
        [
            Projection("first", "p", "p", Synapse("plain", "w : 1", on_pre="v_post += w"), 0.05, AllToAll()),
            Projection("reads", "p", "p", Synapse("reads", "w : 1", **_FORMS[form]), 0.03, AllToAll()),
            Projection("last", "p", "p", Synapse("plain", "w : 1", on_pre="v_post += w"), 0.02, AllToAll()),
        ],
        dt="1 ms",
    )
    reference, native = (
        backends.get(name).compile(network).run(record=["p.v"], steps=60, batch=2) for name in ("reference", "native")
    )
    assert reference.spike_count() > 20
    assert np.array_equal(np.asarray(reference.spikes["p"]), np.asarray(native.spikes["p"]))
    np.testing.assert_allclose(native.traces["p.v"], reference.traces["p.v"], rtol=1e-11)

"""The surrogate's unit of the margin: a network's own, or one that is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backends
from neuro import UnsupportedError
from neuro.analysis import lyapunov
from neuro.compiler import surrogates
from neuro.compiler.evaluation import evaluate
from tests.tasks.own_data import STEPS, examples, spiking

BACKENDS = ("torch", "native")


@pytest.mark.parametrize("backend", BACKENDS)
def test_slopes_in_the_given_unit(backend: str) -> None:
    """f(margin/scale)/scale by hand, and the record says the scale."""
    network, margin = spiking(), np.linspace(-0.03, 0.03, 7)
    for scale in (5e-3, 1.0):
        program: Any = backends.get(backend).compile(network, surrogate="multi_gaussian", surrogate_scale=scale)
        wanted = evaluate(surrogates.derivative("multi_gaussian"), lambda name, s=scale: margin / s) / scale
        np.testing.assert_allclose(program.slope("out", margin), wanted, rtol=1e-12)
        assert program.semantics.surrogate_scale == {"out": scale}
        other = program.variant(detach_reset=False).in_dtype("float64")
        np.testing.assert_array_equal(other.slope("out", margin), program.slope("out", margin))
    own: Any = backends.get(backend).compile(network, surrogate="multi_gaussian")
    assert own.semantics.surrogate_scale["out"] == pytest.approx(20e-3)  # from rest to threshold


def test_gradients_in_the_given_unit() -> None:
    network, x = spiking(), examples(5)[0]
    found = {}
    for scale in (0.0, 20e-3, 5e-3):
        for backend in BACKENDS:
            program: Any = backends.get(backend).compile(network, surrogate="triangle", surrogate_scale=scale)
            slopes = program.value_and_grad(
                lambda s: s.spikes["out"][:, : STEPS // 2].sum(), None, {"x": x}, ["link.w"]
            )[1]
            found[scale, backend] = slopes["link.w"]
        np.testing.assert_allclose(found[scale, "native"], found[scale, "torch"], rtol=1e-10)
    np.testing.assert_allclose(found[20e-3, "torch"], found[0.0, "torch"], rtol=1e-10)
    assert np.abs(found[5e-3, "torch"] / found[0.0, "torch"] - 1).max() > 0.1


def test_exponents_in_the_given_unit() -> None:
    network, x = spiking(), examples(2)[0]
    recording = backends.get("native").compile(network).run(inputs={"x": x}, record=lyapunov.needed(network))
    found = [
        lyapunov.spectrum(
            network, recording, 1, inputs={"x": x}, surrogate="fast_sigmoid", resets="attached", scales=scales
        ).per_step
        for scales in (None, {"out": 20e-3}, {"out": 1e-3})
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)
    assert not np.allclose(found[0], found[2])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf"), "1", True, None])
def test_what_is_no_unit_is_refused(backend: str, scale: Any) -> None:
    with pytest.raises(UnsupportedError, match="surrogate_scale"):
        backends.get(backend).compile(spiking(), surrogate_scale=scale)

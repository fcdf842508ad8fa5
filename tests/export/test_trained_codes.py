"""Weights that were trained as few integers: a target of integers holds whole multiples of them, and where it rounds no state its spikes are the trained network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.reference import ReferenceBackend
from neuro import AllToAll, Input, Network, Neuron, Normal, Population, Projection, library, quantity
from neuro.compiler.parameters import values
from neuro.export import targets
from neuro.export.quantisation.calibration import Calibrated, NetworkQuantiser, Scheme
from neuro.export.quantisation.quantisers import Quantiser
from twinspike.models.row_digits import leak_free

TERNARY = {"kind": "ternary"}
THREE = {"kind": "linear", "bits": 3, "fit": "error"}
LEAKY = library.get("cuba_lif"), library.get("current_jump")


def quantised(cell: Neuron, synapse: Any, quantiser: dict[str, Any]) -> tuple[Network, Calibrated, dict[str, Any]]:
    """A small recurrent network of two layers, its weights in few codes, and random spikes."""

    def drawn(std: str) -> Normal:
        return Normal(quantity("0.1 nA"), quantity(std))

    network = Network(
        (Population("hidden", cell, 12), Population("output", cell, 5)),
        (
            Projection("feed", "x", "hidden", synapse, drawn("0.5 nA")),
            Projection("loop", "hidden", "hidden", synapse, drawn("0.3 nA"), AllToAll(False)),
            Projection("readout", "hidden", "output", synapse, drawn("0.4 nA")),
        ),
        (Input("x", 6),),
        dt="1 ms",
        seed=4,
        name="small",
    )
    found = NetworkQuantiser(network, Scheme.of({"weights": {"*": quantiser}})).calibrate(values(network))
    return network, found, {"x": np.random.default_rng(5).random((8, 60, 6)) < 0.4}


def exported(target: str, folder: Path, network: Network, found: Calibrated) -> tuple[Any, dict[str, Any]]:
    """The export, and the whole number by which the integers of each population are multiples of the trained codes."""
    export = targets.get(target).export(network, found.parameters, folder / "net")
    held: Any = export.integers
    factors = {}
    for population, pairs in {
        "hidden": {"feed": "x_to_hidden", "loop": "hidden_to_hidden"},
        "output": {"readout": "hidden_to_output"},
    }.items():
        ratios = []
        for ours, theirs in pairs.items():
            codes, integers = found.codes[f"{ours}.w"].codes, np.asarray(held.projection(theirs).weights.value)
            assert codes.any() and not integers[codes == 0].any()
            ratios.append(integers[codes != 0] / codes[codes != 0])
        factors[population] = np.unique(np.concatenate(ratios))
    return export, factors


@pytest.mark.parametrize("quantiser", [TERNARY, THREE], ids=["ternary", "3 bits"])
@pytest.mark.parametrize("target", ["loihi2", "c-header"])
def test_a_target_holds_whole_multiples_of_the_trained_codes(target: str, quantiser: Any, tmp_path: Path) -> None:
    """One for all weights into a population, and so large that 8 bits could hold no larger one."""
    network, found, _ = quantised(*LEAKY, quantiser)
    _, factors = exported(target, tmp_path, network, found)
    for (factor,) in factors.values():
        largest, step = (1 if quantiser is TERNARY else 3), (2 if target == "loihi2" else 1)
        assert factor == step * (127 // largest)


def test_spikes_are_the_trained_ones_where_no_state_is_rounded(tmp_path: Path) -> None:
    network, found, inputs = quantised(leak_free, library.get("pulse"), TERNARY)
    export, _ = exported("loihi2", tmp_path, network, found)
    integers: Any = export.integers
    ours = ReferenceBackend().compile(network).run(found.parameters, inputs).spikes
    theirs = ReferenceBackend().compile(integers).run(None, inputs).spikes
    for name, raster in ours.items():
        assert raster.sum() > 100
        np.testing.assert_array_equal(theirs[name], raster)
    without = {**found.parameters, "loop.w": 0 * found.parameters["loop.w"]}
    silent = ReferenceBackend().compile(network).run(without, inputs).spikes
    assert np.count_nonzero(silent["hidden"] != ours["hidden"]) > 100  # the recurrent weights have a part in it


@given(st.integers(2, 7), st.integers(0, 2**31), st.floats(1e-12, 1e3))
def test_more_bits_than_were_trained_lose_nothing(bits: int, seed: int, scale: float) -> None:
    high = 2 ** (bits - 1) - 1
    codes = np.random.default_rng(seed).integers(-high, high + 1, 200)
    found = Quantiser(bits=8, fit="error").quantise(codes * scale)
    np.testing.assert_array_equal(found.codes, 127 // np.abs(codes).max() * codes)
    np.testing.assert_allclose(found.values, codes * scale, rtol=1e-9)


def test_other_weights_have_the_scale_that_they_had() -> None:
    """One that saturates at least nothing, of those with the least squared error."""
    x = np.random.default_rng(0).normal(size=300)
    found = Quantiser(bits=8, fit="error").quantise(x)
    widest = np.abs(x).max() / 127
    tried = [Quantiser(bits=8).quantise(x, part * widest) for part in np.linspace(1.0, 0.3, 71)]
    assert found.scale == min(tried, key=lambda q: float(np.sum((q.values - x) ** 2))).scale

"""A network's parameters as integers: they stand for the same numbers, share what must be shared, and say what was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from neuro import (
    AllToAll,
    Input,
    Network,
    Normal,
    Population,
    Probability,
    Projection,
    library,
    quantity,
)
from neuro.compiler.parameters import values
from neuro.export.profile import Decay, Integers, Profile
from neuro.export.quantisation.calibration import NetworkQuantiser, Scheme, of_profile, options_of, stored_codes
from neuro.export.quantisation.cell_codes import decay_codes
from neuro.export.quantisation.quantisers import QuantiseError, Quantiser

PULSE = library.get("pulse")


def recurrent(neuron: str = "lif", loop: float = 1.0, delay: str = "0 ms") -> Network:
    """5 channels -> 4 cells with sparse input and recurrence without self-connections."""
    weights = [Normal(quantity("2 nA"), quantity("3 nA")), Normal(quantity("0 nA"), quantity(loop, "nA"))]
    return Network(
        (Population("cells", library.get(neuron), 4),),
        (
            Projection("feed", "x", "cells", PULSE, weights[0], Probability(0.7), delay=delay),
            Projection("loop", "cells", "cells", PULSE, weights[1], AllToAll(self_connections=False)),
        ),
        (Input("x", 5),),
        dt="1 ms",
        seed=1,
    )


def calibrated(network: Network, **scheme: Any) -> Any:
    return NetworkQuantiser(network, Scheme.of(scheme)).calibrate(values(network))


@pytest.mark.parametrize("kind", ["binary", "ternary", "linear", "log"])
@pytest.mark.parametrize("per", ["tensor", "neuron"])
def test_parameters_are_codes_times_scale_and_nothing_grows_a_synapse(kind: str, per: str) -> None:
    network = recurrent()
    found = calibrated(network, weights={"*": {"kind": kind, "per": per}})
    assert set(found.codes) == {"feed.w", "loop.w"}
    for name, quantised in found.codes.items():
        np.testing.assert_array_equal(found.parameters[name], quantised.codes * quantised.scale)
    assert not found.codes["loop.w"].codes.diagonal().any()
    for name in set(values(network)) - set(found.codes):
        np.testing.assert_array_equal(found.parameters[name], values(network)[name])
    spikes = np.random.default_rng(0).random((2, 30, 5)) < 0.4
    assert backends.get("reference").compile(network).run(found.parameters, {"x": spikes}).spike_count() > 0


def test_projections_that_add_to_the_same_cells_share_a_scale() -> None:
    together, apart = (calibrated(recurrent(loop=0.1), weights={"*": {"bits": 8}}, shared=s) for s in (True, False))
    assert together.scales["feed.w"] == together.scales["loop.w"] == apart.scales["feed.w"] > 5 * apart.scales["loop.w"]
    assert together.accumulators and not apart.accumulators


def test_one_scale_a_postsynaptic_cell_of_sparse_and_dense_projections() -> None:
    network = recurrent()
    found = calibrated(network, weights={"*": {"bits": 6, "per": "neuron"}})
    given, post = values(network), NetworkQuantiser(network, Scheme()).wires["feed"].post_index
    for cell in range(4):
        largest = max(np.abs(given["feed.w"][post == cell]).max(), np.abs(given["loop.w"][:, cell]).max())
        assert found.scales["feed.w"][cell] == pytest.approx(largest / 31)


def test_binary_weights_are_kept_as_bits() -> None:
    """32 times smaller than float32, here with 9 columns in 2 bytes; masked matrices keep a zero, so a byte a code."""
    network = recurrent()
    feed = replace(network.projection("feed"), connectivity=AllToAll())
    wide = replace(network, populations=(Population("cells", library.get("lif"), 9),), projections=(feed,))
    found = calibrated(wide, weights={"*": {"kind": "binary"}})
    data = found.to_data()["codes"]["feed.w"]
    assert data["packed"].shape == (5, 2) and "codes" not in data
    np.testing.assert_array_equal(stored_codes(data), found.codes["feed.w"].codes)
    masked = calibrated(network, weights={"loop": {"kind": "binary"}}).to_data()["codes"]["loop.w"]
    assert masked["codes"].dtype == np.int8 and not np.diagonal(stored_codes(masked)).any()


def test_the_last_pattern_that_fits_counts() -> None:
    found = calibrated(recurrent(), weights={"*": {"kind": "binary"}, "l*": {"kind": "linear", "bits": 5}})
    assert (found.report["feed.w"].bits, found.report["loop.w"].bits) == (1, 5)
    assert set(calibrated(recurrent(), weights={"loop": {}}).codes) == {"loop.w"}


def test_accumulator_holds_every_sum_of_weights() -> None:
    network = recurrent()
    found = calibrated(network, weights={"*": {"bits": 5}})
    post = NetworkQuantiser(network, Scheme()).wires["feed"].post_index
    feed, loop = (found.codes[n].codes for n in ("feed.w", "loop.w"))
    sums = [
        sum(np.clip(side * c, 0, None).sum() for c in (feed[post == k], loop[:, k]))
        for k in range(4)
        for side in (1, -1)
    ]
    bits = found.accumulators["cells"]
    assert 2 ** (bits - 2) <= max(sums) <= 2 ** (bits - 1) - 1


def test_report_counts_saturation_zeros_and_error() -> None:
    network = recurrent()
    weights = np.array([-10.0, -1.0, 0.2, 1.0, 3.0, 10.0])
    x = np.resize(weights, values(network)["feed.w"].size)
    given = {**values(network), "feed.w": x * 1e-9}
    quantiser = NetworkQuantiser(network, Scheme({"feed": Quantiser("linear", 3)}))
    report = quantiser.calibrate(given, {"feed.w": np.asarray(1e-9)}).report["feed.w"]
    assert report.saturated == pytest.approx(np.mean(np.abs(x) > 3.5))
    assert report.zeros == pytest.approx(np.mean(x == 0.2))
    error = np.clip(np.rint(x), -3, 3) - x
    assert report.error == pytest.approx(np.sqrt(np.mean(error**2) / np.mean(x**2)))


@pytest.mark.parametrize("euler", [True, False])
def test_decays_of_codes(euler: bool) -> None:
    tau, dt = np.array([2e-3, 5e-3, 20e-3, 1e3]), 1e-3
    kept = 1 - dt / tau if euler else np.exp(-dt / tau)
    found, codes = decay_codes(tau, dt, Decay("linear", 12), euler=euler)
    np.testing.assert_array_equal(codes.codes, np.maximum(1, np.round(4096 * (1 - kept))))
    back = 1 - dt / found if euler else np.exp(-dt / found)
    np.testing.assert_allclose(back, 1 - codes.codes / 4096, rtol=1e-12)
    found, codes = decay_codes(tau, dt, Decay("dash", 4), euler=euler)
    back = 1 - dt / found if euler else np.exp(-dt / found)
    np.testing.assert_allclose(back, 1 - 2.0**-codes.codes, rtol=1e-12)
    assert codes.codes[-1] == 15 and codes.codes.min() >= 1


def test_time_constants_and_thresholds_of_a_network() -> None:
    network = recurrent("cuba_lif")
    found = calibrated(
        network, weights={"*": {"bits": 8}}, decays={"kind": "linear", "bits": 8}, thresholds={"low": 0, "high": 131071}
    )
    assert {n for n in found.codes if n.startswith("cells.")} == {"cells.tau_m", "cells.tau_syn", "cells.v_th"}
    again = NetworkQuantiser(network, Scheme.of({"decays": {"kind": "linear", "bits": 8}})).calibrate(found.parameters)
    for name in ("cells.tau_m", "cells.tau_syn"):
        np.testing.assert_array_equal(again.codes[name].codes, found.codes[name].codes)
    height = found.codes["cells.v_th"]
    exact = values(network)["cells.v_th"] - values(network)["cells.E_L"]
    assert height.codes * height.scale == pytest.approx(exact, abs=height.scale / 2)
    assert found.parameters["cells.v_th"] != values(network)["cells.v_th"]


def test_a_threshold_of_one_number_needs_one_scale() -> None:
    scheme = {"weights": {"*": {"per": "neuron"}}, "thresholds": {"low": 0, "high": 1000}}
    with pytest.raises(QuantiseError, match=r"'cells\.v_th' is one number"):
        calibrated(recurrent(), **scheme)
    with pytest.raises(QuantiseError, match=r"feed\.w and loop\.w have scales of their own"):
        calibrated(recurrent(), weights={"*": {}}, thresholds={"low": 0, "high": 9}, shared=False)
    network = recurrent()
    each = Population("cells", library.get("lif"), 4, {"v_th": quantity(np.full(4, -50.0), "mV")})
    found = calibrated(replace(network, populations=(each,)), **scheme)
    assert found.codes["cells.v_th"].codes.shape == (4,) and len(np.unique(found.codes["cells.v_th"].codes)) > 1


def test_delays_are_clipped_in_the_network() -> None:
    found = calibrated(recurrent(delay="9 ms"), delays=[0, 5])
    assert found.delays["feed.delay"] == 5
    assert found.network.projection("feed").delay == quantity("5 ms")


def test_a_profile_says_it_all() -> None:
    profile = Profile("chip", "A chip", ".h5", ("lif",), weight=Integers(-127, 127), threshold=Integers(0, 500),
                      decay=Decay("dash", 4), delays=(0, 3))  # fmt: skip
    scheme = of_profile(profile, per="neuron")
    assert scheme.weights["*"] == Quantiser("linear", 8, "neuron")
    assert (scheme.decays, scheme.thresholds, scheme.delays) == (Decay("dash", 4), Integers(0, 500), (0, 3))
    with pytest.raises(QuantiseError, match="floating point"):
        of_profile(replace(profile, weight=None))


def test_one_word_on_a_command_line() -> None:
    assert Scheme.of(options_of("linear4")).weights == {"*": Quantiser("linear", 4)}
    assert Scheme.of(options_of("binary")).weights == {"*": Quantiser("binary")}
    assert options_of("loihi2") == {"target": "loihi2"}


def test_refusals() -> None:
    neuron = replace(library.get("lif"), method="rk4")
    network = replace(recurrent(), populations=(Population("cells", neuron, 4),))
    with pytest.raises(QuantiseError, match="method 'rk4' has no code"):
        calibrated(network, decays={"kind": "linear", "bits": 8})
    with pytest.raises(QuantiseError, match=r"population 'cells'.*its threshold has no integer"):
        calibrated(recurrent("adex"), weights={"*": {}}, thresholds={"low": 0, "high": 9})

"""Quantisers against their equations, and what must hold for any numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuro.export.quantisation.packing import binary_product, pack, unpack
from neuro.export.quantisation.quantisers import FITS, PER, QuantiseError, Quantiser, ap2, names, sign

QUANTISERS = [
    Quantiser(kind, per=per, power_of_two=power, fit=fit)
    for kind in names()
    for per in PER
    for power in (False, True)
    for fit in (FITS if kind == "linear" else FITS[:1])
]
matrices = arrays(np.float64, (6, 3), elements=st.floats(-8, 8, allow_subnormal=False))
each_quantiser = pytest.mark.parametrize(
    "quantiser", QUANTISERS, ids=lambda q: f"{q.kind}-{q.per}-{q.power_of_two}-{q.fit}"
)


def test_zero_is_positive_for_one_bit_and_zero_for_a_power_of_two() -> None:
    np.testing.assert_array_equal(sign([-0.5, -0.0, 0.0, 2.0]), [-1, 1, 1, 1])
    np.testing.assert_array_equal(ap2([0.0, -0.0]), [0.0, 0.0])


def test_ap2_rounds_the_exponent() -> None:
    x = np.array([1.0, 1.414, 1.415, -3.0, 0.3, -1e-300, 2.0**-1070])
    np.testing.assert_array_equal(ap2(x), np.sign(x) * 2.0 ** np.round(np.log2(np.abs(x))))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_linear_is_not_symmetric_unless_asked(bits: int) -> None:
    """LinearQuant(x, k) = clip(round(x 2^(k-1))/2^(k-1), -1, 1 - 2^-(k-1))."""
    x, step = np.linspace(-1.5, 1.5, 301), 2.0 ** -(bits - 1)
    found = Quantiser("linear", bits, symmetric=False).quantise(x, scale=step)
    np.testing.assert_array_equal(found.values, np.clip(np.round(x / step) * step, -1, 1 - step))
    assert found.values.min() == -1 and found.values.max() == 1 - step
    assert Quantiser("linear", bits).quantise(x, scale=step).values.min() == -1 + step


def test_log_clips_to_its_shifts() -> None:
    found = Quantiser("log", 3).quantise([0.0, 0.1, -0.24, 0.3, 0.8, -1.9])
    assert found.scale == 2.0 / 4
    np.testing.assert_array_equal(found.codes, [0, 0, 0, 1, 2, -4])


def test_ternary_scale_has_the_least_squared_error() -> None:
    x = np.random.default_rng(0).normal(size=50)
    found = Quantiser("ternary").quantise(x)
    errors = [np.sum((np.clip(np.rint(x / s), -1, 1) * s - x) ** 2) for s in np.linspace(0.01, 3, 2000)]
    assert np.sum((found.values - x) ** 2) <= min(errors)
    assert 10 < np.count_nonzero(found.codes) < 50


def test_least_squared_error_saturates_and_is_better() -> None:
    x = np.random.default_rng(0).normal(size=2000)
    wide, tight = (Quantiser("linear", 3, fit=fit).quantise(x) for fit in ("range", "error"))
    assert np.mean((tight.values - x) ** 2) < 0.5 * np.mean((wide.values - x) ** 2)
    assert np.abs(x).max() > 1.5 * np.abs(tight.values).max()


@each_quantiser
@given(x=matrices)
def test_integers_survive_a_round_trip(quantiser: Quantiser, x: np.ndarray) -> None:
    first = quantiser.quantise(x)
    again = quantiser.quantise(first.values)
    low, high = quantiser.levels
    assert first.codes.dtype == np.int64 and first.codes.min() >= low and first.codes.max() <= high
    np.testing.assert_array_equal(again.codes, first.codes)
    np.testing.assert_allclose(again.values, first.values, rtol=1e-12)
    np.testing.assert_array_equal(quantiser.quantise(first.values, first.scale).codes, first.codes)
    if quantiser.power_of_two:
        np.testing.assert_array_equal(first.scale, ap2(first.scale))


@each_quantiser
@given(x=matrices)
def test_only_quantisers_that_clip_leave_numbers_beyond_their_range(quantiser: Quantiser, x: np.ndarray) -> None:
    beyond = quantiser.beyond(x, quantiser.quantise(x).scale * (1 + 1e-12))
    assert quantiser.clips or not beyond.any()


def test_numbers_beyond_the_range() -> None:
    x = np.array([-4.6, -4.4, 3.4, 3.6])
    np.testing.assert_array_equal(Quantiser("linear", 3, symmetric=False).beyond(x, 1.0), [True, False, False, True])
    np.testing.assert_array_equal(Quantiser("log", 3).beyond([5.6, -5.7, 0.01], 1.0), [False, True, False])


@given(x=matrices, bits=st.integers(2, 12))
def test_error_is_at_most_half_a_step_where_nothing_saturates(x: np.ndarray, bits: int) -> None:
    for power in (False, True):
        found = Quantiser("linear", bits, "neuron", power).quantise(x)
        assert (np.abs(found.values - x) <= 0.5000001 * found.scale).all()


def test_one_scale_a_group() -> None:
    """A sparse projection's synapses, grouped by the cell that they reach."""
    x, post = np.array([1.0, -4.0, 2.0, 8.0]), np.array([0, 1, 0, 2])
    np.testing.assert_allclose(Quantiser("linear", 4).scale(x, post), np.array([2, 4, 8]) / 7)


@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_popcount_product_is_the_integer_product(length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, w = (sign(rng.normal(size=(n, length))) for n in (5, 4))
    np.testing.assert_array_equal(binary_product(pack(a), pack(w), length), a @ w.T)
    np.testing.assert_array_equal(unpack(pack(a), length), a)


def test_packed_weights_are_32_times_smaller() -> None:
    codes = sign(np.random.default_rng(0).normal(size=(64, 128)))
    assert pack(codes).nbytes * 32 == codes.astype(np.float32).nbytes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "lineal"}, "there is no quantiser 'lineal'; did you mean 'linear'"),
        ({"kind": "linear", "bits": 1}, "1 bits; it takes 2 to 32"),
        ({"kind": "binary", "bits": 2}, "2 bits; it takes 1"),
        ({"per": "layer"}, "per 'layer'"),
        ({"bit": 4}, "there is no option 'bit'; did you mean 'bits'"),
    ],
)
def test_refusals(options: dict[str, object], message: str) -> None:
    with pytest.raises(QuantiseError, match=message):
        Quantiser.of(options)


def test_what_is_not_finite_or_not_binary_is_refused() -> None:
    with pytest.raises(QuantiseError, match="1 of 2 numbers"):
        Quantiser().quantise([np.nan, 1.0])
    with pytest.raises(QuantiseError, match="-1 and 1"):
        pack([0, 1])

"""Quantities: arithmetic with numbers, arrays and each other keeps dimensions, or raises UnitError."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import brian2
import numpy as np
import pint
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro import Projection, Quantity, Synapse, quantity
from neuro.language.units import UnitError, unit

NA, MV = quantity("1 nA"), quantity("1 mV")
PINT = pint.UnitRegistry()


@pytest.mark.parametrize(
    ("made", "right"),
    [
        (lambda: np.ones(3) * NA, quantity(np.ones(3), "nA")),
        (lambda: NA * np.ones(3), quantity(np.ones(3), "nA")),
        (lambda: torch.ones(3) * NA, quantity(np.ones(3), "nA")),
        (lambda: (np.arange(3) * NA)[1:], quantity([1, 2], "nA")),
        (lambda: 2 * NA + quantity("500 pA"), quantity("2.5 nA")),
        (lambda: NA - 3 * NA, quantity("-2 nA")),
        (lambda: -NA, quantity("-1 nA")),
        (lambda: abs(-NA), NA),
        (lambda: MV / NA, quantity("1 Mohm")),
        (lambda: MV * NA, quantity("1 pW")),
        (lambda: MV**2, quantity("1e-6 volt**2")),
        (lambda: (MV**2) ** 0.5, MV),
        (lambda: np.sqrt(MV * MV), MV),
        (lambda: 1 / quantity("10 ms"), quantity("100 Hz")),
        (lambda: quantity("7 mV") % quantity("2 mV"), MV),
        (lambda: np.maximum(MV, 2 * MV), quantity("2 mV")),
        (lambda: sum([NA, NA]), quantity("2 nA")),
        (lambda: np.exp(NA / NA), quantity(np.e)),
        (lambda: quantity([NA, "3 pA", 2 * PINT.nA]), quantity([1000, 3, 2000], "pA")),
        (lambda: quantity([1 * brian2.mV, 2 * brian2.mV]), quantity([1, 2], "mV")),
        (lambda: quantity(torch.ones(2, requires_grad=True), "mV"), quantity([1, 1], "mV")),
    ],
)
def test_arithmetic(made: Callable[[], Quantity], right: Quantity) -> None:
    found = made()
    assert found.dimension == right.dimension and found.shape == right.shape
    np.testing.assert_allclose(found.value, right.value, rtol=1e-14)
    assert unit(found.unit).dimension == right.dimension


def test_units_that_the_user_wrote_are_kept() -> None:
    assert [(2 * NA).unit, (np.ones(2) * NA)[0].unit, (NA + NA).unit, (NA / 2).unit] == ["nA"] * 4


def test_comparisons_and_lengths() -> None:
    assert NA > 0 and quantity("900 pA") < NA and not quantity("2 nA") <= NA
    assert (np.array([1, 2]) * NA > quantity("1.5 nA")).tolist() == [False, True]
    assert len(np.ones(3) * NA) == 3 and [str(q) for q in np.arange(2) * NA] == ["0 nA", "1 nA"]
    assert quantity("1000 pA") == NA and hash(quantity("0 mV")) == hash(quantity("-0.0 mV")) and NA != 1e-9


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: NA + MV, r"can't add 1 nA \(amp\) and 1 mV \(volt\)"),
        (lambda: NA + 1, r"can't add 1 nA \(amp\) and 1 \(1\)"),
        (lambda: NA < MV, "can't compare"),
        (lambda: np.exp(NA), "exp takes numbers without a unit"),
        (lambda: 2**NA, "power takes numbers without a unit"),
        (lambda: NA ** np.ones(2), "power takes"),
        (lambda: np.asarray(NA), r"say which: .to\('nA'\)"),
        (lambda: np.array([NA, NA], dtype=float), r"say which: .to\('nA'\)"),
        (lambda: np.sum(np.ones(2) * NA), "add.reduce does not take quantities"),
        (lambda: NA[0], "is one number"),
        (lambda: quantity(NA, "mV"), "has a unit already"),
        (lambda: quantity([NA, MV]), "stand in one list"),
        (lambda: quantity([[1, 2], [3]]), "different shapes"),
        (lambda: quantity(None), "can't read None|None holds no"),
        (lambda: quantity(np.timedelta64(10, "ms")), "no real numbers"),
    ],
)
def test_what_does_not_fit_raises_a_unit_error(made: Callable[[], Any], said: str) -> None:
    with pytest.raises(UnitError, match=said):
        made()


NUMBERS = st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3)
UNITS = st.sampled_from(["mV", "nA", "Mohm", "ms", "uF", "nS", "Hz", "1", "mV/ms", "msiemens/cm**2"])


@given(NUMBERS, UNITS, NUMBERS, UNITS)
def test_products_and_quotients_follow_their_si_numbers(a: float, first: str, b: float, second: str) -> None:
    p, q = quantity(a, first), quantity(b, second)
    for found, value, dimension in (
        (p * q, p.value * q.value, p.dimension * q.dimension),
        (p / q, p.value / q.value, p.dimension / q.dimension),
    ):
        assert found.dimension == dimension and found.value == pytest.approx(value, rel=1e-14)
        assert quantity(float(found.to(found.unit)), found.unit).value == pytest.approx(value, rel=1e-12)
    if p.dimension != q.dimension:
        with pytest.raises(UnitError):
            p + q
    else:
        assert (p + q).value == pytest.approx(p.value + q.value)


def test_a_quantity_made_by_arithmetic_is_a_weight() -> None:
    pulse = Synapse("pulse", "w : amp", on_pre="I_post += w")
    assert Projection("p", "a", "b", pulse, weights=np.ones((3, 4)) * NA).weights == quantity(np.ones((3, 4)), "nA")

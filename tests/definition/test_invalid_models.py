"""Every broken definition is refused, with what is wrong, where (caret), and the fix."""

from __future__ import annotations

import pytest

from neuro import ModelError, Network, Neuron, Population
from neuro.checks import ModelWarning
from tests.definition.invalid_models import (
    ATTACKS,
    METHODS,
    NAMES,
    PORTS,
    UNITS,
    VALUES,
    WIRING,
    Case,
    lif_with,
    simple,
)

GROUPS = {"units": UNITS, "names": NAMES, "methods": METHODS, "values": VALUES, "wiring": WIRING, "ports": PORTS}
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_message_says_what_where_and_how_to_fix_it(case: Case) -> None:
    make, pieces = case
    with pytest.raises(ModelError) as caught:
        make()
    message = str(caught.value)
    assert [p for p in pieces if p not in message + "\n"] == [], message
    assert all(problem.fix and problem.where for problem in caught.value.problems)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(("expression", "said"), ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("place", ["equation", "threshold", "reset"])
def test_expressions_are_data_and_never_run(expression: str, said: str, place: str) -> None:
    with pytest.raises(ModelError) as caught:
        if place == "equation":
            simple(expression, method="exact")
        elif place == "threshold":
            simple("-v/ms", threshold=f"{expression} > 2")
        else:
            simple("-v/ms", threshold="v > 1", reset=f"v = {expression}")
    if place == "equation":
        assert said in str(caught.value)


@pytest.mark.parametrize(
    "unit",
    ["9**9**9", "mV**9**9", "2**99999999", "__import__('os')", "mV.x", "10*mV", "mV+mV", "[meter]", "x" * 999, "nan"],
)
@pytest.mark.timeout(10)
def test_units_are_names_and_small_powers(unit: str) -> None:
    with pytest.raises(ModelError, match=r"is not a unit|unknown flag"):
        Neuron("n", f"x : {unit}")
    with pytest.raises(ModelError, match="is not a unit"):
        lif_with(tau_m=f"3 {unit}")


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ModelError) as caught:
        Neuron("n", "dv/dt = -u/ms : 1\nmV : 1", threshold="v", reset="q = 1", method="exakt")
    assert [p.message.split(" ")[0] for p in caught.value.problems] == ["'mV'", "unknown", "a", "'q'"]


def test_coarse_dt_warns() -> None:
    neuron = Neuron("n", "dv/dt = -v/tau : 1", parameters={"tau": "1 ms"})
    with pytest.warns(ModelWarning, match=r"'a': dt = 0.6 ms is coarse for tau = 1 ms; use dt <= 0.1 ms, or method="):
        Network((Population("a", neuron, 1),), dt="0.6 ms")


def test_comments_may_hold_anything() -> None:
    neuron = Neuron("n", "dv/dt = -v/ms : 1  # \u03c4 = 1 ms: __import__('os')")
    assert neuron.scope.states == ("v",)

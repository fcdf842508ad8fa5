"""What the oracles take for rounding: numbers at a jump, what cancels, sides of a condition that are equal; and what they don't."""

from __future__ import annotations

import pytest

import backends
from neuro import Network, Neuron, Population
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.oracles.tolerance import Difference, Sensitivity, steady, trace_difference


@pytest.mark.parametrize(
    ("text", "rounding"),
    [
        ("0.7*3 % -0.7", True),  # numbers alone, at a jump
        ("0.8*3 % -0.7", False),
        ("sin(pi/6) - 0.5", True),  # nothing but rounding
        ("sin(pi/5) - 0.5", False),
        ("floor(sign(0.1))", False),  # nothing to round
        ("floor(tanh(20.0))", True),
        ("floor(pi/(0.1*pi))", True),
        ("floor(pi/(0.3*pi))", False),
        ("sign(x - clip(x, -2, 2))", True),  # what cancels, in another order, leaves a rest
        ("sign(x - 0.9*clip(x, -2, 2))", False),
        ("int(x + 0.1 > clip(x + 0.1, -2, 2))", True),
        ("int(x + 0.1 > clip(x, -2, 2))", False),
        ("(-1.5)**2 % 0.5 + x", False),  # exponents are whole
    ],
)
def test_what_rounding_explains(text: str, rounding: bool) -> None:
    cell = Neuron("cell", f"dx/dt = (0.3 - x)/(7*ms) : 1\ny = {text} : 1")
    case = Case(Network((Population("c", cell, 3),), dt="1 ms"), steps=4, batch=1, seed=1)
    reference = case.run(backends.get("reference").compile(case.network))
    assert Sensitivity(case, reference).explains(Difference("c.y", 0, 0.3, False)) == rounding


@pytest.mark.parametrize(
    ("text", "size", "rounding"),
    [
        ("2*sigmoid(tanh(0.001)**3) - 1", 1e-8, True),  # what cancels among numbers alone
        ("2*sigmoid(tanh(10*uvolt/(10*mV))**3) - 1", 1e-8, True),
        ("2*sigmoid(tanh(0.001)**3) - 1", 1e-3, False),
        ("2*sigmoid(tanh(0.1)) - 1", 1e-8, False),
    ],
)
def test_numbers_alone_are_as_exact_as_their_operations(text: str, size: float, rounding: bool) -> None:
    cell = Neuron("cell", f"dx/dt = (0.3 - x)/(7*ms) : 1\ny = {text} : 1")
    case = Case(Network((Population("c", cell, 3),), dt="1 ms"), steps=4, batch=1, seed=1)
    reference = case.run(backends.get("reference").compile(case.network))
    assert Sensitivity(case, reference).explains(Difference("c.y", 0, size, False)) == rounding


@pytest.mark.parametrize(("steps", "exact"), [(10, True), (20, False)])
def test_numbers_that_outgrow_their_bits_are_rounded(steps: int, exact: bool) -> None:
    """x has two bits more after each step, and its square twice as many: 53 after 13 steps."""
    cell = Neuron("cell", "x : 1\ny = sign(x - clip(x, -2, 2)) : 1\nz : 1", every_step="x = 0.75*x + 0.25\nz = x*x")
    case = Case(Network((Population("c", cell, 1),), dt="1 ms"), steps, batch=1, seed=1, dyadic=True)
    sensitivity = Sensitivity(case, case.run(backends.get("reference").compile(case.network)))
    assert sensitivity.exact == exact
    assert sensitivity.explains(Difference("c.y", 0, 0.3, False)) != exact


@pytest.mark.parametrize(
    ("method", "size", "rounding"),
    [("exact", 1e-16, True), ("exact", 1e-9, False), ("exact", 0.3, False), ("euler", 1e-16, False)],
)
def test_a_state_that_is_0_is_off_by_the_rounding_of_what_is_solved_with_it(
    method: str, size: float, rounding: bool
) -> None:
    cell = Neuron("cell", "dx/dt = -x/(13.6*ms) : 1\ndy/dt = (1 - 0.04*x - y)/(12.8*ms) : 1", method=method)
    case = Case(Network((Population("c", cell, 3),), dt="1 ms"), steps=4, batch=1, seed=1)
    reference = case.run(backends.get("reference").compile(case.network))
    difference = trace_difference("c.x", reference.traces["c.x"], reference.traces["c.x"] + size)
    assert difference is not None and difference.silent and difference.size == size
    assert Sensitivity(case, reference).explains(difference) == rounding


@pytest.mark.parametrize("backend", ["native", "torch", "brian2"])
@pytest.mark.parametrize(("text", "rounding"), [("(0.7*3 + x - x) % -0.7", True), ("(0.8*3 + x - x) % -0.7", False)])
def test_a_backend_is_asked_for_its_own_rounding(backend: str, text: str, rounding: bool) -> None:
    cell = Neuron("cell", f"dx/dt = (0.3 - x)/(7*ms) : 1\ny = {text} : 1", initial={"x": "0.1"})
    case = Case(Network((Population("c", cell, 3),), dt="1 ms"), steps=4, batch=1, seed=1)
    own = case.run(backends.get(backend).compile(case.network))
    assert Sensitivity(case, own, backend=backend).explains(Difference("c.y", 0, 0.3, False)) == rounding
    assert steady(case, backend, own)
    own.traces["c.y"][0, 2] += 1e-12
    assert not steady(case, backend, own)

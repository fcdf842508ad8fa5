"""Everything that enters a program after its definition: converted to SI, or refused with the call that works."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import Any

import brian2
import numpy as np
import pint
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import backends
from neuro import Input, Network, Neuron, Population, Projection, RunError, Synapse, UnsupportedError, quantity
from neuro.compiler.parameters import values
from neuro.language.units import Quantity

PINT = pint.UnitRegistry()
CELL = Neuron(
    "cell",
    "dv/dt = (E + R*I - v)/tau : volt\nI : amp\ndu/dt = (J - u)/tau : 1\nJ : 1",
    threshold="u > 1",
    reset="u = 0",
    parameters={"R": "100 Mohm", "E": "-70 mV", "tau": "10 ms"},
    initial={"v": "-70 mV"},
    bounds={"tau": ("1 ms", "50 ms")},
    method="euler",
)
PULSE = Synapse("pulse", "w : 1", on_pre="J_post += w")
PLASTIC = Synapse("plastic", "w : 1\ndA/dt = -A/(20*ms) : 1", on_pre="A += 1\nJ_post += w", on_post="w += 0.01*A")
EVERYWHERE = ("reference", "native", "torch", "brian2")
each_backend = pytest.mark.parametrize("backend", EVERYWHERE)
each_differentiable = pytest.mark.parametrize("backend", ["native", "torch"])
STEPS = 20


def network(synapse: Synapse = PULSE, **projection: Any) -> Network:
    feed = Projection(
        "feed", "x", "cells", synapse, **{"weights": 8.0, "sign": "+", "bounds": (0.0, 50.0), **projection}
    )
    inputs = (Input("x", 3), Input("i", 1, "current", "cells.I"))
    return Network((Population("cells", CELL, 2),), (feed,), inputs, dt="1 ms")


@cache
def program(backend: str, plastic: bool = False) -> Any:
    return backends.get(backend).compile(network(PLASTIC, bounds=(None, None)) if plastic else network())


SPIKES = np.random.default_rng(0).random((1, STEPS, 3)) < 0.4
CURRENT = np.full((1, STEPS, 1), 2e-10)


def trace(backend: str, parameters: Any = None, **inputs: Any) -> np.ndarray:
    fed = {"x": SPIKES, "i": CURRENT, **inputs}
    return program(backend).run(parameters, fed, ["cells.v"]).traces["cells.v"]  # type: ignore[no-any-return]


FORMS: dict[str, Any] = {
    "own quantity": quantity,
    "arithmetic": lambda number, unit: number * quantity(f"1 {unit}"),
    "pint": lambda number, unit: number * PINT(unit),
    "another registry": lambda number, unit: number * pint.UnitRegistry()(unit),
    "Brian2": lambda number, unit: number * getattr(brian2, unit),
}


@each_backend
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_quantities_of_any_library_equal_their_si_numbers(backend: str, form: Any) -> None:
    right = trace(backend, {"cells.tau": 0.02})
    assert np.ptp(right) > 1e-3
    for tau, current in (((20.0, "ms"), (0.2, "nA")), ((0.02, "second"), (200.0, "pA"))):
        found = trace(backend, {"cells.tau": form(*tau)}, i=form(np.full((1, STEPS, 1), current[0]), current[1]))
        np.testing.assert_allclose(found, right, rtol=1e-12)
    np.testing.assert_allclose(trace(backend, {"cells.tau": "20 ms"}), right, rtol=1e-12)
    with pytest.raises(
        RunError, match=r"parameter 'cells.tau' is in volt, but second is needed; write parameters=\{'cells"
    ):
        trace(backend, {"cells.tau": form(20.0, "mV")})
    with pytest.raises(
        RunError, match=r"input 'i' is in volt, but amp is needed; write inputs=\{'i': quantity\(array, 'nA'"
    ):
        trace(backend, i=form(CURRENT, "mV"))
    with pytest.raises(RunError, match="spike input 'x' has no unit"):
        trace(backend, x=form(SPIKES, "mV"))


@each_backend
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"feed.w": np.full((3, 2), -5.0)}, r"'feed.w': sign '\+' but a weight is negative"),
        ({"feed.w": np.full((3, 2), 51.0)}, r"'feed.w': 'w' = array\(3, 2\) lies outside its bounds \(0, 50\)"),
        ({"cells.tau": 0.0}, "'cells.tau': 'tau' must be positive"),
        ({"cells.tau": "60 ms"}, r"'tau' = 60 ms lies outside its bounds \(1 ms, 50 ms\)"),
        ({"cells.R": -1.0}, "'R' must be positive"),
        ({"cells.E": np.inf}, "the value inf is not finite"),
        ({"cells.tau": "20"}, "'cells.tau' has no unit, but second is needed"),
        ({"cells.tau": "twenty ms"}, r"can't read 'twenty ms' as a quantity; write .*quantity\(number, 'ms'\)"),
        ({"cells.tau": np.timedelta64(20, "ms")}, "'cells.tau': .* holds no real numbers"),
        ({"cells.tau": 20j}, "'cells.tau': .* holds no real numbers"),
        ({"feed.w": "20 nA"}, "'feed.w' is in amp, but a number without a unit is needed"),
        ({"feed.w": [[1.0, 2.0], [3.0], [4.0, 5.0]]}, "'feed.w': the entries of a list have different shapes"),
        ({1: 2.0}, "there is no parameter 1"),
        ([1.0], r"parameters is a 'list' object; it is a table"),
    ],
)
def test_rules_of_the_definition_hold_for_values_given_to_a_run(backend: str, value: Any, said: str) -> None:
    with pytest.raises(RunError, match=said):
        trace(backend, value)
    if backend in ("native", "torch"):
        with pytest.raises(RunError, match=said):
            program(backend).forward(value, {"x": SPIKES, "i": CURRENT})
        with pytest.raises(RunError, match=said):
            program(backend).value_and_grad(
                lambda s: s.traces["cells.v"].sum(), value, {"x": SPIKES, "i": CURRENT}, ["cells.E"], ["cells.v"]
            )


@each_backend
def test_values_on_their_bounds_are_taken(backend: str) -> None:
    assert np.isfinite(trace(backend, {"feed.w": np.zeros((3, 2)), "cells.tau": np.float32(0.05)})).all()


@each_backend
@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([SPIKES[0], SPIKES[0, :5]], "input 'x': the entries of a list have different shapes"),
        (
            SPIKES[0],
            r"input 'x' has shape \(20, 3\); it needs \[batch, time, 3\] \(of \[time, channel\], array\[None\]",
        ),
        (SPIKES[..., :2], r"input 'x' has shape \(1, 20, 2\); it needs \[batch, time, 3\]"),
        (
            SPIKES.swapaxes(0, 1),
            r"'x' has 20 entries along batch; the run has 1; an array \[time, batch, channel\] needs",
        ),
        ("spikes", "spike input 'x'"),
        (None, "input 'x'"),
        (object(), "input 'x'"),
    ],
)
def test_inputs_of_other_shapes_and_types_are_named(backend: str, inputs: Any, said: str) -> None:
    with pytest.raises(RunError, match=said):
        program(backend).run(inputs={"i": CURRENT, "x": inputs})


@each_backend
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"record": "cells.v"}, r"write record=\['cells.v'\]"),
        ({"record": [3]}, "record holds 3"),
        ({"steps": 20.0}, "steps=20.0 is no count"),
        ({"batch": "1"}, "batch='1' is no count"),
        ({"every": True}, "every=True is no count"),
        ({"trial": -1}, "trial=-1 is no count"),
    ],
)
def test_options_of_other_types_are_named(backend: str, options: Any, said: str) -> None:
    with pytest.raises(RunError, match=said):
        program(backend).run(inputs={"x": SPIKES, "i": CURRENT}, **options)


@each_backend
@pytest.mark.parametrize(
    "form",
    [
        torch.tensor,
        lambda x: torch.tensor(x).to(torch.bfloat16),
        lambda x: torch.tensor(x).float().to_sparse(),
        lambda x: torch.tensor(x, dtype=torch.float64, requires_grad=True),
        lambda x: x.tolist(),
        lambda x: x.astype(">f4"),
        lambda x: x.astype(np.longdouble),
        lambda x: np.asfortranarray(x)[::-1][::-1],
    ],
    ids=["tensor", "bfloat16", "sparse", "autograd", "list", "big-endian", "long double", "reversed"],
)
def test_arrays_of_any_kind_are_taken(backend: str, form: Any) -> None:
    if backend == "native" and torch.is_tensor(form(SPIKES)) and form(SPIKES).requires_grad:
        with pytest.raises(UnsupportedError, match="gradients of input 'x'"):
            program("native").forward({}, {"x": form(SPIKES), "i": CURRENT})
    weights = np.array([[8.0, 16.0], [4.0, 2.0], [32.0, 8.0]])
    right = program(backend).run({"feed.w": weights}, {"x": SPIKES, "i": CURRENT})
    assert right.spike_count() > 5
    found = program(backend).run({"feed.w": form(weights)}, {"x": form(SPIKES), "i": CURRENT.tolist()})
    assert np.array_equal(found.spikes["cells"], right.spikes["cells"])


@each_backend
def test_a_run_takes_the_weights_that_another_left(backend: str) -> None:
    runs, fed = program(backend, plastic=True), {"x": SPIKES, "i": CURRENT}
    left = runs.run(inputs=fed)
    assert np.abs(left.final["feed.w"] - 8.0).max() > 0.01
    again = runs.run(left.final, fed)
    np.testing.assert_allclose(
        again.final["feed.w"], runs.run({"feed.w": left.final["feed.w"][0]}, fed).final["feed.w"]
    )
    two = {"x": np.repeat(SPIKES, 2, 0), "i": np.repeat(CURRENT, 2, 0)}
    several = runs.run(inputs=two).final
    with pytest.raises(
        RunError, match=r"'feed.w' has shape \(2, 3, 2\).*write parameters=\{'feed.w': array\[0\]\}.*population=2"
    ):
        runs.run(several, two)
    assert runs.run(several, fed, population=2).final["feed.w"].shape == (2, 1, 3, 2)


@each_differentiable
def test_a_module_gives_and_takes_what_runs_take(backend: str) -> None:
    module = program(backend).module()
    found = program(backend).run(module.values(), {"x": SPIKES, "i": CURRENT})
    assert found.spike_count() > 5
    with pytest.raises(RunError, match=r"inputs is Tensor\[1, 20, 3\]; it is a table: write inputs=\{'name': array\}"):
        module(torch.tensor(SPIKES))
    current = torch.tensor(CURRENT, requires_grad=True)
    module({"x": SPIKES, "i": current}, ["cells.v"]).traces["cells.v"].sum().backward()
    assert current.grad is not None and bool((current.grad[:, :-1] > 0).all())


@each_differentiable
def test_gradients_of_quantities_are_those_of_their_si_numbers(backend: str) -> None:
    def slope(parameters: Any, current: Any) -> float:
        found = program(backend).value_and_grad(
            lambda s: s.traces["cells.v"].sum(), parameters, {"x": SPIKES, "i": current}, ["cells.tau"], ["cells.v"]
        )
        return float(found[1]["cells.tau"])

    right = slope({"cells.tau": np.array(0.02)}, CURRENT)
    assert abs(right) > 1e-3
    assert slope({"cells.tau": "20 ms"}, quantity(np.full((1, STEPS, 1), 200.0), "pA")) == pytest.approx(
        right, rel=1e-12
    )


UNITS = {
    "cells.tau": ["ms", "us", "second", "minute"],
    "cells.R": ["Mohm", "ohm", "volt/amp", "kV/mA"],
    "cells.E": ["mV", "volt", "uV", "joule/coulomb"],
    "feed.w": ["1", "mV/volt", "percent"],
}
SI = values(network())


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_compatible_unit_equals_its_si_array_and_any_other_is_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(UNITS)))
    other = data.draw(st.sampled_from(sorted(UNITS)))
    unit = data.draw(st.sampled_from(UNITS[other]))
    wanted = SI[name] * data.draw(st.floats(0.5, 2.0))
    one = float(quantity(1.0, unit).value)
    made = data.draw(st.sampled_from([lambda n: quantity(n, unit), lambda n: n * PINT.Quantity(1.0, unit)]))
    if other == name:
        np.testing.assert_allclose(
            trace("native", {name: made(wanted / one)}), trace("native", {name: wanted}), rtol=1e-12
        )
    else:
        with pytest.raises(RunError, match=f"parameter '{name}'"):
            trace("native", {name: made(wanted / one)})


class _Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __array__(self, *given: Any) -> Any:
        raise KeyError("array")


class _Astropy(np.ndarray):
    unit = "mV"


_LOOP: list[Any] = []
_LOOP.append(_LOOP)
HOSTILE: list[Any] = [
    *(None, "", "nan", "1e999 ms", b"5", object(), _Hostile(), print, int, ..., {1: 2}, {"si": 1, "unit": "zz"}, _LOOP),
    *(
        10**400,
        [10**400],
        Decimal("NaN"),
        1j,
        np.datetime64("2020"),
        np.array(["1"]),
        np.array([None]),
        np.zeros((0,)),
        {1, 2},
    ),
    *(
        np.ma.masked_array([1.0], [True]),
        np.ones(2).view(_Astropy),
        PINT.Quantity(3, "degC"),
        [PINT.Quantity(3, "mV"), 2],
    ),
    *(
        torch.ones(2, dtype=torch.complex64),
        torch.empty(2, device="meta"),
        Quantity(np.nan),
        range(3),
        [[]],
        [[1], "2 mV"],
    ),
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda v: type(v).__name__)
def test_hostile_values_are_refused_by_name(value: Any) -> None:
    for name in ("cells.tau", "feed.w"):
        with pytest.raises(RunError, match=f"parameter '{name}'"):
            trace("native", {name: value})
    for name in ("x", "i"):
        with pytest.raises(RunError, match=f"input '{name}'"):
            trace("native", **{name: value})


@each_backend
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("wrong", [np.zeros((1, 3, 2)), [1.0, 2.0], torch.zeros(2)])
@pytest.mark.parametrize("option", ["inputs", "parameters"])
def test_what_is_no_table_is_refused_where_numbers_are_drawn_too(
    backend: str, noisy: bool, wrong: Any, option: str
) -> None:
    """Whoever looks into a table before it is checked must not stumble over what is none."""
    cells = Neuron("n", f"dv/dt = (J - v)/(5*ms){' + xi/sqrt(5*ms)' if noisy else ''} : 1\nJ : 1", method="euler")
    source = Input("x", 2, "poisson", rate="50 Hz") if noisy else Input("x", 2)
    made = Network(
        (Population("cells", cells, 2),), (Projection("feed", "x", "cells", PULSE, 1.0),), (source,), dt="1 ms"
    )
    program = backends.get(backend).compile(made)
    right: dict[str, Any] = {
        "inputs": None if noisy else {"x": np.zeros((1, 3, 2), bool)},
        "parameters": None,
        "steps": 3,
    }
    for state in (None, program.run(**right).state):
        with pytest.raises(RunError, match=f"{option} is .*it is a table"):
            program.run(**right | {option: wrong}, state=state)

"""Every function and operator of the language on every code generation target of Brian2, against numpy."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import backends
from backends.brian.program import TARGETS
from neuro import Input, Network, Neuron, Population, Projection, Recording, Synapse, quantity
from neuro.compiler import streams
from neuro.language.equations import FUNCTIONS

pytest.importorskip("brian2")

# Written so that every value is finite and no point lies at a jump that rounding decides.
EXPRESSIONS = (
    *("exp(x/8e9)", "log(abs(x) + 0.1)", "log10(abs(x) + 0.1)", "log1p(abs(x))", "expm1(x/8e9)"),
    *("exprel(clip(x, -inf, 9))", "exprel(-x/1e8)", "sigmoid(x)", "sin(x)", "cos(y)", "tan(y/9)", "sinh(y)", "cosh(y)"),
    *("tanh(x)", "arcsin(x/(1 + abs(x)))", "arccos(x/(1 + abs(x)))", "arctan(x)", "abs(x)", "abs(x - 2)**0.5"),
    *("floor(x)", "ceil(x)", "floor(x/3)*floor(y)*1e9", "relu(x)", "relu(-x)", "sqrt(abs(x))", "sign(x)", "sign(x)/3"),
    *(
        "1/(2 + sign(x))",
        "clip(x, -1, 2)",
        "clip(x, y, -y)",
        "clip(x, -inf, 1)",
        "clip(1, x, inf)",
        "clip(sign(y), 0.3, 0.7)",
        "straight_through(floor(x), clip(y, -1, 1))/3",
    ),
    *(
        "x % 3",
        "x % y",
        "-x % 0.75",
        "7 % y",
        "-7 % 3 + x",
        "(x % 3)/2",
        "x**2",
        "(1 + abs(y))**-1.5",
        "2**y",
        "-2**2*y",
    ),
    *("int(x > y)/3", "int(x >= 1)", "int(x < y) + int(x <= 1)", "x*int(x > 0 and y > 0)", "int(x > 0 or not y > 0)/7"),
    *("int(not (x > 0 and (y > 0 or x >= 2)))", "2*int(x > 0)/(3*int(y > -99))", "int(int(x > 0) > 0.5)"),
    *(
        "1/2*x",
        "x*3/2",
        "7/2",
        "3000000000*y",
        "1e30*y",
        "10**18*y",
        "5000000000/3",
        "floor(-1.5)*x",
        "ceil(0.5)*abs(x)",
    ),
    *(
        "int(2.0 > 1.0)*x",
        "int(1 > 2 or 3 > 2)*x",
        "exprel(1.0)*x",
        "arctan(0.3)*x",
        "sign(2.0)*x",
        "clip(1, 2, inf)*x",
    ),
    *(
        "pi*x",
        "sin(pi/3)*x",
        "+x - -y",
        "x - (y - x)",
        "x/(y/x + 9)",
        "-(x - y)**2",
        "(x/y)**3/y",
        "0*x",
        "x*0.1 + 1/3",
    ),
    *("int(x)", "int(-1.7*x)/3", "int(x/y)*y", "7 // 2*x", "x // 0.25", "8*x // 3/2", "timestep(x*second, 0.3*second)"),
    *(
        "(x > 0)*y - 1",
        "x == 1",
        "(x != y)*x",
        "x*((x == 1) == (y > 0)) + (x >= y)",
        "1 + (x > y and not x == 3)",
        "(2 > 1)*x",
    ),
    *("(not x != 1)/2", "tanh(int(inf > 1))*x", "(x == 1 or True)*y"),
)
SPECIAL = (0.0, 1.0, -1.0, 0.5, -1.5, 2.0, -2.0, 3.0, 1e-20, -1e-9, 40.0, -40.0, 3e9, -3e9, 6e9, 0.3, 0.6, 0.9)


def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.concatenate([SPECIAL, rng.normal(0, 3, 40), rng.normal(0, 1e9, 6)])
    y = np.concatenate(
        [rng.choice([-2.0, -0.5, 0.1, 0.3, 1.5], len(SPECIAL)), rng.uniform(0.2, 4, 46) * rng.choice([-1, 1], 46)]
    )
    return x, y


def numpy_value(text: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The expression's values by numpy's functions, point by point, and Python's operators and logic."""
    table = {name: getattr(np, name) for name in FUNCTIONS if hasattr(np, name)} | {"pi": math.pi, "inf": math.inf}
    table |= {
        "exprel": lambda v: np.expm1(v) / v if abs(v) > 1e-10 else 1 + v / 2,
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
        "relu": lambda v: np.maximum(0, v),
        "int": lambda v: float(int(v)),
        "timestep": lambda t, dt: float(int((t + 1e-3 * dt) / dt)),
        "second": 1.0,
        "straight_through": lambda v, slope_of: v,
        "clip": lambda v, a, b: np.minimum(np.maximum(v, a), b),
    }
    code = compile(text, text, "eval")
    with np.errstate(all="ignore"):
        return np.array([float(eval(code, {**table, "x": a, "y": b})) for a, b in zip(x, y, strict=True)])


def test_the_expressions_have_every_function() -> None:
    used = set(re.findall(r"([a-z]\w*)\(", " ".join(EXPRESSIONS)))
    assert used >= FUNCTIONS


@pytest.mark.parametrize("target", ["numpy", *(pytest.param(t, marks=pytest.mark.slow) for t in TARGETS[1:])])
def test_functions_and_operators(target: str) -> None:
    """In statements, and in an equation, which sympy rewrites; refractory cells take Brian2's branch for those."""
    x, y = points()
    states = [f"r{n}" for n in range(len(EXPRESSIONS))]
    equations = "\n".join(
        [
            *(f"{s} : 1" for s in states),
            *(f"dq{n}/dt = ({e})/ms : 1 (unless refractory)" for n, e in enumerate(EXPRESSIONS)),
        ]
    )
    neuron = Neuron(
        "n", equations, every_step="\n".join(f"{s} = {e}" for s, e in zip(states, EXPRESSIONS, strict=True)),
        threshold="y > 1e99", reset="r0 = 0", refractory="2 ms", parameters={"x": 0, "y": 0}, method="euler",
    )  # fmt: skip
    cells = Population("p", neuron, len(x), parameters={"x": quantity(x, "1"), "y": quantity(y, "1")})
    record = [f"p.{letter}{n}" for n in range(len(EXPRESSIONS)) for letter in "rq"]
    found = (
        backends.get("brian2").compile(Network((cells,), dt="1 ms"), target=target).run(record=record, steps=1).traces
    )
    for n, text in enumerate(EXPRESSIONS):
        right = numpy_value(text, x, y)
        assert np.isfinite(right).all(), text
        for letter in "rq":
            np.testing.assert_allclose(
                found[f"p.{letter}{n}"][0, 0], right, rtol=1e-12, atol=1e-15, err_msg=f"{letter}: {text}"
            )


SELF_READING = (
    "y = 0.5*y + (2*sigmoid(-(x - x)) - 1)", "y = y*exp(x - x)", "y = y + sin(x - x)", "y = y*2 - y*arctan(x)/(x + 1)", "y = tanh(y)",
)  # fmt: skip


@pytest.mark.parametrize("statement", SELF_READING)
def test_a_statement_that_reads_its_target_is_taken_as_it_stands(statement: str) -> None:
    """Brian2 has sympy collect y, which drops exp(x - x) and then misses the function that it still checks."""
    neuron = Neuron(
        "n", "dx/dt = (1 - x)/(5*ms) : 1\ny : 1", "x > 0.5", f"x = 0.2\n{statement}", f"{statement}\ny += 0.3"
    )
    network = Network((Population("p", neuron, 2, initial={"x": [0.3, 0.1]}),), dt="0.5 ms")
    wanted, found = (backends.get(b).compile(network).run(record=["p.y"], steps=30) for b in ("reference", "brian2"))
    assert wanted.spike_count() > 3 and np.array_equal(wanted.spikes["p"], found.spikes["p"])
    np.testing.assert_allclose(found.traces["p.y"], wanted.traces["p.y"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("target", TARGETS)
def test_joined_conditions_within_an_expression(target: str) -> None:
    """Of a refractory cell Brian2 makes two branches, in which its numpy has no `and`."""
    neuron = Neuron(
        "n", "dv/dt = (1 - v + int(((u - v) >= (v*u)) and (v > 0.3)))/(10*ms) : 1 (unless refractory)", "v > 0.4 + 0.1*u",
        "v *= 0.3", parameters={"u": 1.3}, refractory="2 ms", method="rk2",
    )  # fmt: skip
    network = Network((Population("p", neuron, 3),), dt="0.1 ms")
    wanted = backends.get("reference").compile(network).run(record=["p.v"], steps=200)
    found = backends.get("brian2").compile(network, target=target).run(record=["p.v"], steps=200)
    assert wanted.spike_count() > 5 and np.array_equal(wanted.spikes["p"], found.spikes["p"])
    np.testing.assert_allclose(found.traces["p.v"], wanted.traces["p.v"], rtol=0, atol=1e-12)


# Words of Brian2, sympy, numpy, Cython, C++ and of this backend itself, names with suffixes and ones that sort otherwise.
VARIABLES = (
    *(
        "e",
        "E",
        "I",
        "S",
        "C",
        "O",
        "Q",
        "oo",
        "zoo",
        "beta",
        "gamma",
        "zeta",
        "Symbol",
        "sqrt_",
        "z",
        "A",
        "t_",
        "dt_",
        "i_",
    ),
    *("t_in_timesteps", "not_refractory_", "lastupdate", "delay", "idx_", "idx", "N_pre_", "N_incoming", "v_synapse"),
    *("v0", "v1", "v10", "s0", "s1", "draw0", "next_v1", "finite_v0", "number0_s1", "sent0", "current0_v1", "sum0_v1"),
    *(
        "floor_of",
        "truth_of",
        "double",
        "static",
        "auto",
        "namespace",
        "cdef",
        "int32_t",
        "numpy",
        "np",
        "float",
        "self",
    ),
    *(
        "array",
        "table0",
        "inf_",
        "pi_",
        "xi2",
        "volts",
        "amps",
        "x_pre_",
        "x_post_",
        "w_",
        "rand_",
        "order",
    ),
)
OBJECTS = (
    *(
        "N",
        "i",
        "j",
        "t",
        "dt",
        "xi",
        "xi_",
        "e",
        "inf",
        "spikes",
        "cells",
        "cells0",
        "source0",
        "synapses0",
        "clock",
        "steps",
    ),
    *("a_b", "volt", "mV", "int", "simulation", "write_inputs", "p_", "lastspike", "double", "main"),
)


def renamed(variables: list[str], objects: list[str]) -> tuple[Recording, str]:
    """A network with every kind of name, run; what was recorded, under names that don't change."""
    v, u, drive, tau, gain, sub, amp, trace, rate, level = variables[:10]
    p, q, x, current, events, graded = objects[:6]
    neuron = Neuron(
        f"n{variables[10]}",
        f"d{v}/dt = ({sub} - {v} + {gain}*{drive})/{tau} + 0.1*xi/sqrt({tau}) : 1\nd{u}/dt = ({v} - {u})/(2*{tau}) : 1\n"
        f"{sub} = {gain}*{u} + {v}*({u} - {gain}) : 1\n{drive} : 1",
        f"{v} > 0.6*{gain}", f"{v} -= 0.4\n{u} += {gain}",
        parameters={tau: "10 ms", gain: 0.7}, initial={v: 0.3}, method="euler",
    )  # fmt: skip
    plastic = Synapse(
        "s", f"w : 1\nd{trace}/dt = -{trace}/{rate} : 1", on_pre=f"{drive}_post += w*{amp}\n{trace} += {v}_pre",
        on_post=f"w += 0.1*{trace}*{u}_post", parameters={rate: "5 ms", amp: 9.0},
    )  # fmt: skip
    smooth = Synapse("g", "w : 1", transmits=f"w*{level}*tanh({v}_pre)*{u}_post", target=drive, parameters={level: 0.3})
    network = Network(
        (Population(p, neuron, 3), Population(q, neuron, 2)),
        (Projection(events, p, q, plastic, 1.5, delay="1 ms"), Projection(graded, q, p, smooth, 0.5),
         Projection(objects[6], x, p, Synapse("d", "w : 1", on_pre=f"{drive}_post += w"), 9.0)),
        (Input(x, 2), Input(current, 1, "current", target=f"{p}.{drive}")),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    given = {x: rng.random((1, 60, 2)) < 0.3, current: rng.normal(1, 0.3, (1, 60, 1))}
    record = {f"{o}.{name}": key for o in (p, q) for name, key in ((v, "v"), (u, "u"), (sub, "sub"), (drive, "drive"))}
    return backends.get("brian2").compile(network).run(inputs=given, record=list(record)), p


def test_a_renamed_network_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    named = streams.generator
    monkeypatch.setattr(streams, "generator", lambda seed, name, *place: named(seed, "", *place))
    plain, first = renamed([*"abcdfghklmn"], [*"abcdfgh"])
    assert plain.spikes[first].sum() > 20
    rng = np.random.default_rng(1)
    for _ in range(8):
        other, _first = renamed(list(rng.permutation(VARIABLES)), list(rng.permutation(OBJECTS)))
        for kind in ("spikes", "traces", "final"):
            pairs = zip(getattr(plain, kind).values(), getattr(other, kind).values(), strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs)


def test_functions_of_ours_are_real_to_sympy() -> None:
    """abs(exp(x)) of an x that may be complex is exp(re(x)) to it, for which Brian2 has no word."""
    text = "-v + abs(exp(-clip(v, 0, 2))) + abs((1 + relu(sin(v)))**2) + sqrt(floor(2*v)**2) + abs(exp(v % 2 + int(v > 0.3)))/9 + abs(2**tanh(log10(v**2 + 0.1)))"
    neuron = Neuron("n", f"dv/dt = ({text} - u)/(10*ms) : 1\ndu/dt = (v - u)/(5*ms) : 1", method="rk2")
    network = Network((Population("p", neuron, 2),), dt="0.1 ms")
    found, wanted = (
        backends.get(b).compile(network).run(record=["p.v"], steps=100).traces["p.v"] for b in ("brian2", "reference")
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11)

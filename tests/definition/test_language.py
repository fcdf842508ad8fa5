"""What expressions mean: a closed set of kinds, derivatives that are right and finite, names that meet nothing."""

from __future__ import annotations

import ast
import builtins
import math
import re
import time
from typing import Any

import numpy as np
import pytest
import sympy as sp

import backends
from neuro import Input, ModelError, Network, Neuron, Population, Projection, Synapse, lower
from neuro.compiler.evaluation import evaluate
from neuro.compiler.step import Couple, Gather, Step, Threshold, Update
from neuro.language.elementary import asin, values_alone
from neuro.language.equations import FUNCTIONS, parse_expression
from neuro.language.mangling import mangled
from neuro.language.symbolic import NumberError, closed, margin, substituted, symbol, to_sympy

NAMES = ("e", "E", "S", "N", "pi_", "exp_", "gamma", "zoo", "nan", "oo")
ONE = sorted(FUNCTIONS - {"clip", "int", "timestep", "straight_through"})


def random_text(rng: np.random.Generator, depth: int) -> str:
    """An expression over the whole language; parentheses everywhere."""
    kind = rng.integers(12) if depth else rng.integers(2)

    def inner() -> str:
        return random_text(rng, depth - 1)

    match kind:
        case 0:
            return str(rng.choice(NAMES))
        case 1:
            return str(rng.choice(["0", "1", "2", "0.5", "1.7", "3.25", "pi"]))
        case 2 | 3 | 4:
            return f"({inner()} {rng.choice(['+', '-', '*'])} {inner()})"
        case 5:
            return f"({inner()} / (1.5 + abs({inner()})))"
        case 6:
            return f"(abs({inner()}) + 0.1)**{rng.choice(['2', '0.5', '(1/3)', '1.5', '3', 'e', '(-1)'])}"
        case 7:
            return f"({inner()}**2)**0.5"
        case 8:
            return f"clip({inner()}, -inf, {inner()})" if rng.integers(2) else f"({inner()} % (0.5 + abs({inner()})))"
        case 9:
            return f"int({inner()} {rng.choice(['>', '<', '>=', '<='])} {inner()} {rng.choice(['and', 'or'])} not {inner()} < {inner()})"
        case 10 if rng.integers(4):
            return f"1/(1 + exp({inner()}))"
        case 10:
            return f"straight_through({inner()}, {inner()})"
    name = str(rng.choice(ONE))
    argument = {"log": "0.2 + abs({})", "log10": "0.2 + abs({})", "log1p": "abs({})", "sqrt": "0.1 + abs({})"}
    bounded = {"arcsin": "0.9*tanh({})", "arccos": "0.9*tanh({})", "tan": "tanh({})"}
    grown = dict.fromkeys(("exp", "expm1", "exprel", "sinh", "cosh"), "clip({}, -3, 3)")
    return f"{name}({(argument | bounded | grown).get(name, '{}').format(inner())})"


PLAIN = {
    "exprel": lambda x: np.expm1(x) / x if x else 1.0, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "relu": lambda x: max(0.0, x),
    "clip": lambda x, a, b: min(max(x, a), b), "int": float, "straight_through": lambda x, slope_of: x, "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan,
    "inf": math.inf, "pi": math.pi,
} | {n: getattr(np, n) for n in ("exp", "log", "log10", "log1p", "expm1", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "abs", "sign", "floor", "ceil")}  # fmt: skip


OPAQUE = sorted(FUNCTIONS - {"exp", "log", "log10", "sqrt", "int", "relu", "clip", "timestep", "straight_through"})


def value(expr: sp.Expr, point: dict[str, float]) -> float:
    return float(evaluate(expr, lambda n: np.float64(point[n])))


@pytest.mark.parametrize("seed", range(60))
def test_random_expressions_mean_what_python_computes_and_their_derivatives_what_differences_say(seed: int) -> None:
    """Values against Python's own arithmetic; first and second derivatives are of the closed set, the first right."""
    rng = np.random.default_rng(seed)
    read = 0
    while read < 5:
        text = random_text(rng, 4)
        try:
            expr = to_sympy(parse_expression(text, "test"))
        except ModelError:  # numbers alone that overflow, powers of powers of numbers
            continue
        read += 1
        point = {n: float(x) for n, x in zip(NAMES, rng.uniform(-1.5, 1.5, len(NAMES)), strict=True)}
        with np.errstate(all="ignore"):
            right = eval(text, {"__builtins__": {}}, PLAIN | {n: np.float64(x) for n, x in point.items()})
            assert value(expr, point) == pytest.approx(float(right), rel=1e-9, abs=1e-9), text
            for name in sorted(s.name for s in values_alone(expr).free_symbols):
                slope = closed(sp.diff(values_alone(expr), symbol(name)))
                h = 1e-6
                found = [value(expr, point | {name: point[name] + k * h}) for k in (-2, -1, 0, 1, 2)]
                if np.ptp(np.diff(found)) < 1e-3 * np.abs(np.diff(found)).max() + 1e-13:  # no kink or jump here
                    expected = (found[3] - found[1]) / (2 * h)
                    assert value(slope, point) == pytest.approx(expected, rel=1e-3, abs=1e-4 * (1 + abs(right))), (
                        text,
                        name,
                    )
                for other in slope.free_symbols if slope.count_ops() < 400 else ():
                    closed(sp.diff(slope, other))


@pytest.mark.parametrize("outer", OPAQUE)
def test_functions_stand_as_they_are_written(outer: str) -> None:
    """sympy rewrites its own, such as sin(arctan(x)), and reasons about what stands in them for as long as it takes."""
    for inner in OPAQUE:
        kinds = [to_sympy(parse_expression(f"{name}(x)", "test")).func for name in (outer, inner)]
        found = to_sympy(parse_expression(f"{outer}({inner}(x - y))", "test"))
        assert [found.func, found.args[0].func] == kinds
        assert closed(substituted(found, {symbol("y"): -sp.log(symbol("z"))})).func == kinds[0]


def test_what_sympy_invents_is_made_of_our_own_functions() -> None:
    x, y = symbol("x"), symbol("y")
    assert (
        closed(sp.Abs(x)) == to_sympy(parse_expression("abs(x)", "")) == to_sympy(parse_expression("(x**2)**0.5", ""))
    )
    assert substituted(sp.sqrt(y), {y: x**2}) == closed(sp.Abs(x))
    for foreign in (
        sp.Heaviside(x),
        sp.DiracDelta(x),
        sp.Piecewise((x, x > 0), (y, True)),
        sp.Max(x, y),
        sp.re(sp.Symbol("z")),
    ):
        with pytest.raises(TypeError, match="no form"):
            closed(foreign)
    for number in (sp.I, sp.zoo, sp.nan, sp.sqrt(-2), asin(sp.Integer(2)), sp.log(-1), sp.exp(1000)):
        with pytest.raises(NumberError):
            closed(number)


def expressions(step: Step) -> list[sp.Expr]:
    found = [e for c in step.cells for _, e in c.subexpressions]
    for op in step.operations:
        match op:
            case Update():
                found += [a.expr for a in op.assigns]
            case Threshold():
                found += [op.margin, op.condition]
            case Gather():
                found += [c.value for c in op.couplings]
            case Couple():
                found.append(op.value)
    return found


def test_every_expression_of_a_step_is_closed() -> None:
    text = "dv/dt = (1 - a**0.5 + floor(b)*v + q/(1 + exp(-v)))/(10*ms) : 1\na = v**2 : 1\nb = -1.0 : 1\nq = exp(-v) : 1\nI : 1"
    for method in ("euler", "rk2", "rk4"):
        cells = Neuron("n", text, "v > 1 and not v >= 2", "v = (v**2)**0.5", method=method)
        synapse = Synapse("s", transmits="(a_pre)**0.5", target="I")
        step = lower(Network((Population("p", cells, 2),), (Projection("j", "p", "p", synapse),)))
        for expr in expressions(step):
            assert closed(expr) == expr
        assert "sigmoid_of" in str(step) and "floor" not in str(step)


@pytest.mark.parametrize(
    "name", [*NAMES, "step", "sign_of", "exprel_", "numpy", "Abs", "re", "beta", "lambda_", "array"]
)
def test_a_name_is_only_a_name(name: str) -> None:
    for text in (f"{name}*exp(1) + exp(1.0)", f"tanh({name}) + {name}**{name}", f"int({name} > 0.2)"):
        expr = to_sympy(parse_expression(text, ""))
        plain = to_sympy(parse_expression(re.sub(rf"\b{name}\b", "q", text), ""))
        assert value(expr, {name: 0.3}) == value(plain, {"q": 0.3})


def test_temporaries_hold_a_double_underscore() -> None:
    text = "dv/dt = (a - v)/(9*ms) : 1\na = 2*v : 1\ndu/dt = -u/(3*ms) : 1"
    for method in ("euler", "exponential_euler", "exact", "rk2", "rk4"):
        update = lower(Network((Population("p", Neuron("n", text, method=method), 1),))).update("p", "integrate")
        assert update is not None
        for assign in update.assigns:
            assert not assign.temporary or "__" in assign.target or assign.target == "a"
    assert mangled("new", "v") == "new__v" and not hasattr(builtins, "new__v")


# -- conditions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("v", [0.0, 0.25, 0.5, 1.0, math.nan])
@pytest.mark.parametrize("u", [-1.0, 0.25, math.nan])
@pytest.mark.parametrize(
    "text",
    ["v >= 0.25 and u > 0", "not (v < u)", "not (v <= u or u >= 1)", "v < inf", "v > -inf and not v > inf", "v <= u"],
)
def test_conditions_are_pythons(text: str, v: float, u: float) -> None:
    """A nan fulfils no comparison, and so every `not` of one; only comparisons of the infinite are decided when read."""
    if "inf" in text and not math.isfinite(v):
        pytest.skip("states are finite")
    expression = parse_expression(text, "")
    assert value(to_sympy(expression), {"v": v, "u": u}) == float(eval(text, {"v": v, "u": u, "inf": math.inf}))
    wrapped = parse_expression(f"2*int({text})", "")
    assert value(to_sympy(wrapped), {"v": v, "u": u}) == 2 * float(eval(text, {"v": v, "u": u, "inf": math.inf}))


def test_the_margin_is_positive_where_the_condition_holds() -> None:
    rng = np.random.default_rng(0)
    expression = parse_expression("(v > u and not v > 1) or u >= 0.3", "")
    holds, distance = to_sympy(expression), margin(expression)
    for v, u in rng.uniform(-2, 2, (50, 2)):
        assert (value(distance, {"v": v, "u": u}) > 0) == bool(value(holds, {"v": v, "u": u}))


# -- derivatives where they used to be 0/0 or inf*0 ----------------------------------------------------------------


@pytest.mark.parametrize("p", [1.0, 2.0, 2.5])
def test_a_power_by_a_parameter_has_slopes_at_zero(p: float) -> None:
    expr = to_sympy(parse_expression("(v - a)**p", ""))
    point = {"v": 1.0, "a": 1.0, "p": p}
    assert value(closed(sp.diff(expr, symbol("v"))), point) == float(p == 1)
    assert value(closed(sp.diff(expr, symbol("p"))), point) == 0
    assert value(closed(sp.diff(expr, symbol("p"))), point | {"v": 3.0}) == pytest.approx(2**p * math.log(2))
    assert value(closed(sp.diff(expr, symbol("p"))), {"v": 0.0, "a": 1.0, "p": 2.0}) == 0


@pytest.mark.parametrize(
    "text", ["1/(1 + exp(-v/s))", "1/(exp(v/s) + 1)**2", "3/(1 + exp(-v/s))**p", "sigmoid(v/s)**3"]
)
@pytest.mark.parametrize("v", [-50.0, -1.0, 0.5, 50.0])
def test_saturated_gates_have_finite_slopes(text: str, v: float) -> None:
    expr, point = to_sympy(parse_expression(text, "")), {"v": v, "s": 0.01, "p": 2.0}
    with np.errstate(over="ignore"):
        for name in {s.name for s in expr.free_symbols}:
            assert math.isfinite(value(closed(sp.diff(expr, symbol(name))), point)), name
        assert 0 <= value(expr, point) <= 3


def test_gradients_of_powers_and_gates_are_alike_and_right() -> None:
    """native and torch against central differences of the interpreter, for the exponent too."""
    text = "dv/dt = (1.5 - v + g*(v - a)**p/(1 + exp(-(v - a)/s))**p)/(10*ms) : 1"
    given = {"g": 0.4, "a": 0.2, "p": 1.7, "s": 0.1}
    network = Network(
        (Population("c", Neuron("n", text, parameters=given, initial={"v": 0.3}, method="rk4"), 1),), dt="1 ms"
    )
    names = [f"c.{n}" for n in given]

    def loss(found: object) -> object:
        return (found.traces["c.v"] ** 2).mean()  # type: ignore[attr-defined]

    def plain(**changed: float) -> float:
        parameters = {f"c.{n}": np.array(x) for n, x in (given | changed).items()}
        program = backends.get("reference").compile(network)
        return float(loss(program.run(parameters, record=["c.v"], steps=30, batch=1)))  # type: ignore[arg-type]

    expected = {f"c.{n}": (plain(**{n: x + 1e-5}) - plain(**{n: x - 1e-5})) / 2e-5 for n, x in given.items()}
    parameters = {f"c.{n}": np.array(x) for n, x in given.items()}
    for backend in ("native", "torch"):
        program = backends.get(backend).compile(network)
        found = program.value_and_grad(loss, parameters, {}, names, ["c.v"], steps=30, batch=1)[1]  # type: ignore[attr-defined]
        for name in names:
            assert float(found[name]) == pytest.approx(expected[name], rel=1e-6), (backend, name)


# -- conditionally linear equations, noise, plastic weights -----------------------------------------------------------


@pytest.mark.parametrize(
    "rate",
    [
        "-g*m*(v - 1) + 0.2", "(m**3 - v)*(1 + m)", "exp(v) - v*m", "-v*(1 + int(v > 0.5)) + 1", "-v*v/(v + m) + (1 - v)*m",
        "v/m - 3*v + abs(v)", "(0.5 - v)*(h + m) - h*v*tanh(v)",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::neuro.checks.ModelWarning")
def test_exponential_euler_freezes_what_brian2_freezes(rate: str) -> None:
    """Coefficients that follow the variable at once, also through subexpressions; both take it or both refuse it."""
    text = f"dv/dt = ({rate})/(10*ms) : 1\nm = 1/(1 + exp(-2*v)) : 1\ndh/dt = (m - h)/(5*ms) : 1"
    found: dict[str, Any] = {}
    for backend in ("reference", "brian2"):
        try:
            cells = Neuron("n", text, parameters={"g": 0.7}, initial={"v": 0.3}, method="exponential_euler")
            network = Network((Population("p", cells, 2),), dt="0.5 ms")
            found[backend] = (
                backends.get(backend).compile(network).run(record=["p.v"], steps=100, batch=1).traces["p.v"]
            )
        except Exception as error:
            found[backend] = type(error).__name__
    if isinstance(found["reference"], str):
        assert isinstance(found["brian2"], str), rate
    else:
        np.testing.assert_allclose(found["brian2"], found["reference"], rtol=1e-10, atol=1e-12)


def test_noise_times_a_function_of_time_is_additive() -> None:
    text = "dx/dt = s*t/(100*ms)*xi_1 + s*xi_2 : 1"
    network = Network((Population("p", Neuron("w", text, parameters={"s": "2 Hz**0.5"}), 20000),), dt="1 ms")
    found = backends.get("reference").compile(network).run(steps=100, batch=1, record=["p.x"], every=100).traces["p.x"]
    assert found.var() == pytest.approx(4 * 0.1 * (1 + 1 / 3), rel=0.05)


@pytest.mark.parametrize("place", ["on_pre", "on_post", "every_step", "equations"])
@pytest.mark.parametrize(("sign", "bounds", "within"), [("+", (None, 1.0), (0, 1)), ("-", (-0.5, None), (-0.5, 0)), (None, (-0.2, 0.3), (-0.2, 0.3))])  # fmt: skip
def test_plastic_weights_stay_within_bounds_and_keep_their_sign(place: str, sign: object, bounds: object, within: tuple[float, float]) -> None:  # fmt: skip
    cells = Neuron("q", "dv/dt = -v/(10*ms) : 1\nr : 1", threshold="v > 0.5", reset="v = 0", method="exact")
    change = "w += 0.4*cos(t/(9*ms))"
    if place == "equations":
        synapse = Synapse("s", "dw/dt = 400*cos(t/(9*ms))*hertz : 1", on_pre="v_post += 1")
    else:
        blocks = {"on_pre": "v_post += 1"} | {place: f"v_post += 1\n{change}" if place == "on_pre" else change}
        synapse = Synapse("s", "w : 1", **blocks)
    link = Projection("j", "x", "c", synapse, 0.1 if sign != "-" else -0.1, sign=sign, bounds=bounds)  # type: ignore[arg-type]
    network = Network((Population("c", cells, 1),), (link,), (Input("x", 1),), dt="1 ms")
    ends = []
    for steps in range(2, 60, 6):
        inputs = {"x": np.ones((1, steps, 1), bool)}
        found = [
            np.ravel(backends.get(b).compile(network).run(inputs=inputs).final["j.w"])[0]
            for b in ("reference", "native", "torch")
        ]
        assert found[0] == pytest.approx(found[1]) == pytest.approx(found[2])
        ends.append(found[0])
    assert min(ends) == within[0] and max(ends) == within[1]


def test_the_tests_generator_uses_the_whole_language() -> None:
    rng = np.random.default_rng(0)
    tree = ast.parse("[" + ",".join(random_text(rng, 4) for _ in range(300)) + "]")
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert called == FUNCTIONS - {"timestep"}  # whose own test is tests/language/test_words.py


def test_bounds_of_nested_functions_are_read_at_once() -> None:
    """Whether cosh(tanh(...)) is infinite, sympy reasons about for half a minute; a bound needn't know."""
    start = time.process_time()
    terms = [f"clip(cosh(tanh(({n} + abs(y/({9 + n}*mV)))**(-{p}))), -2, 2)" for n, p in ((2, 1.5), (3, 2.5), (4, 0.7))]
    Neuron("n", f"x = {' + '.join(terms)} : 1\ny : volt")
    assert time.process_time() - start < 5

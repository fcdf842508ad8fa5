"""Broken definitions: name -> (what makes it, pieces of the whole message: what, where with caret, fix)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neuro import (
    Input,
    Network,
    Neuron,
    Normal,
    OneToOne,
    Pairs,
    Population,
    Probability,
    Projection,
    Synapse,
    Uniform,
    lower,
    quantity,
)
from neuro.compiler.parameters import parameters
from neuro.composition import Part, compose

Case = tuple[Callable[[], Any], list[str]]

LIF = {
    "equations": "dv/dt = (E_L - v + R*I)/tau_m : volt (unless refractory)\nI : amp",
    "threshold": "v > v_th",
    "reset": "v = E_L",
    "parameters": {"E_L": "-70 mV", "R": "100 Mohm", "tau_m": "10 ms", "v_th": "-50 mV"},
}
PULSE = Synapse("pulse", "w : amp", on_pre="I_post += w")
RATE = Neuron("rate", "dx/dt = (-x + tanh(z))/tau : 1\nz : 1", parameters={"tau": "10 ms"})
UNIT = Neuron("unit", "y = tanh(z) : 1\nz : 1")
NAN, INF = float("nan"), float("inf")


def lif(**changes: Any) -> Neuron:
    return Neuron("lif", **{**LIF, **changes})  # type: ignore[arg-type]


def lif_with(**parameters: Any) -> Neuron:
    return lif(parameters={**LIF["parameters"], **parameters})  # type: ignore[dict-item]


def simple(text: str, **more: Any) -> Neuron:
    """A neuron around one right-hand side."""
    return Neuron("n", f"dv/dt = {text} : 1", **more)


def network(
    synapse: Synapse = PULSE, source: Neuron | None = None, target: Neuron | None = None, **projection: Any
) -> Network:
    """Population a (3 cells) -> population b (2 cells)."""
    given = {"weights": "1 nA" if synapse.scope.has_weight else None, **projection}
    populations = (Population("a", source or lif(), 3), Population("b", target or lif(), 2))
    return Network(populations, (Projection("p", synapse=synapse, **{"pre": "a", "post": "b", **given}),))


def fed(item: Input, **more: Any) -> Network:
    return Network((Population("a", lif(), 3),), (), (item,), **more)


def driving(target: str = "a.v", **given: Any) -> Input:
    return Input("d", **{"size": 3, "kind": "drive", "target": target, "rate": "1 kHz", "weight": "1 mV", **given})


def driven(item: Input) -> Network:
    return Network((Population("a", lif(), 3),), (), (item,))


def sub(size: int = 2, dt: str = "0.1 ms") -> Network:
    """A part: spikes x -> cells, current i -> cells."""
    return Network(
        (Population("cells", lif(), size), Population("silent", RATE, size)),
        (Projection("feed", "x", "cells", PULSE, "1 nA"),),
        (Input("x", 2), Input("i", 1, "current", "cells.I")),
        dt=dt,
    )


UNITS: dict[str, Case] = {
    "differential equation": (
        lambda: lif(equations="dv/dt = (E_L - v + I)/tau_m : volt\nI : amp"),
        [
            "neuron 'lif', equations, line 1: can't add 'E_L - v' (volt) and 'I' (amp)",
            "    dv/dt = (E_L - v + I)/tau_m : volt\n             ^~~~~~~~~~~",
            "fix: give both sides the same unit",
        ],
    ),
    "rate of change": (
        lambda: lif(equations="dv/dt = E_L - v + R*I : volt\nI : amp"),
        [
            "line 1: dv/dt is in volt, but volt/second is needed",
            "            ^~~~~~~~~~~~~",
            "fix: make the right-hand side volt/second",
        ],
    ),
    "subexpression": (
        lambda: lif(equations="dv/dt = (u - v)/tau_m : volt\nu = R*2 : volt"),
        [
            "equations, line 2: 'u' is in ohm, but volt is needed",
            "    u = R*2 : volt\n        ^~~",
            "fix: make the right-hand side volt",
        ],
    ),
    "threshold": (
        lambda: lif(threshold="v > R"),
        [
            "neuron 'lif', threshold: can't compare 'v' (volt) and 'R' (ohm)",
            "    v > R\n    ^~~~~",
            "fix: give both sides the same unit",
        ],
    ),
    "threshold is a number": (
        lambda: lif(threshold="v - v_th"),
        ["threshold: a threshold must be a condition", "    v - v_th\n    ^~~~~~~~", "fix: compare, like 'v > v_th'"],
    ),
    "reset": (
        lambda: lif(reset="v = R"),
        [
            "neuron 'lif', reset, line 1: the value for 'v' is in ohm, but volt is needed",
            "    v = R\n        ^",
            "fix: make the right-hand side volt",
        ],
    ),
    "every_step": (
        lambda: lif(every_step="v += tau_m"),
        [
            "neuron 'lif', every_step, line 1: the value for 'v' is in second, but volt",
            "    v += tau_m\n         ^~~~~",
            "fix: ",
        ],
    ),
    "on_pre": (
        lambda: network(Synapse("s", "w : amp", on_pre="v_post += w")),
        [
            "synapse 's', on_pre, line 1: the value for 'v_post' is in amp, but volt is needed",
            "    v_post += w\n              ^",
            "fix: ",
        ],
    ),
    "on_post": (
        lambda: network(Synapse("s", "w : amp", on_pre="I_post += w", on_post="w = 2*mV")),
        [
            "synapse 's', on_post, line 1: the value for 'w' is in volt, but amp is needed",
            "    w = 2*mV\n        ^~~~",
            "fix: ",
        ],
    ),
    "every_step of a synapse": (
        lambda: network(Synapse("s", "w : amp\ne : 1", on_pre="I_post += w", every_step="e = v_post")),
        [
            "synapse 's', every_step, line 1: the value for 'e' is in volt, but 1 is needed",
            "    e = v_post\n        ^~~~~~",
            "fix: ",
        ],
    ),
    "transmits": (
        lambda: network(Synapse("s", "w : volt", transmits="w*x_pre", target="z"), RATE, RATE, weights="1 mV"),
        ["synapse 's', transmits: the value for 'z' is in volt, but 1 is needed", "    w*x_pre\n    ^~~~~~~", "fix: "],
    ),
    "equation of a synapse": (
        lambda: network(Synapse("s", "w : amp\nde/dt = -e : 1", on_pre="I_post += w*e")),
        [
            "synapse 's', equations, line 2: de/dt is in 1, but hertz is needed",
            "    de/dt = -e : 1\n            ^~",
            "fix: ",
        ],
    ),
    "receptor": (
        lambda: network(
            Synapse("s", "w : siemens", on_pre="g_post += w", receptor="g : siemens\nI = g : amp"), weights="1 nS"
        ),
        ["synapse 's', receptor, line 2: 'I' is in siemens, but amp is needed", "    I = g : amp\n        ^", "fix: "],
    ),
    "function": (
        lambda: lif(equations="dv/dt = exp(v)*v/tau_m : volt"),
        ["the argument of exp() must be dimensionless, not volt", "                ^", "fix: divide by a quantity"],
    ),
    "exponent": (
        lambda: lif(equations="dv/dt = v**v/tau_m : volt"),
        ["an exponent must be dimensionless, not volt", "fix: divide by a quantity"],
    ),
    "parameter": (
        lambda: lif(equations="dv/dt = -v/tau_m : volt\nE_L : amp (constant)"),
        [
            "neuron 'lif', parameter 'E_L': 'E_L' is in volt, but amp is needed",
            "    -70 mV\n    ^~~~~~",
            "fix: give it in amp",
        ],
    ),
    "initial value": (
        lambda: lif(initial={"v": "3 nA"}),
        ["neuron 'lif', initial 'v': 'v' is in amp, but volt is needed", "    3 nA\n    ^~~~", "fix: give it in volt"],
    ),
    "weights": (
        lambda: network(weights="1 mV"),
        [
            "projection 'p', weights: 'weights' is in volt, but amp is needed",
            "    1 mV\n    ^~~~",
            "fix: give it in amp",
        ],
    ),
    "bounds": (
        lambda: network(bounds=("0 mV", None)),
        [
            "projection 'p', bounds: 'a bound' is in volt, but amp is needed",
            "    0 mV\n    ^~~~",
            "fix: give it in amp",
        ],
    ),
    "distribution": (
        lambda: Normal("1 mV", "1 ms"),
        [
            "distribution 'Normal': '1 mV' (volt) and '1 ms' (second) have different units",
            "fix: give both the same unit",
        ],
    ),
    "missing": (
        lambda: Neuron("n", "dv/dt = -v/ms"),
        [
            "neuron 'n', equations, line 1: the equation of 'v' has no unit",
            "    dv/dt = -v/ms\n            ^~~~~",
            "fix: end the line with ': volt', or ': 1'",
        ],
    ),
    "empty": (
        lambda: Neuron("n", "dv/dt = -v/ms : (constant)"),
        ["the unit is missing", "fix: write ': volt', or ': 1' for a dimensionless variable"],
    ),
    "unknown": (
        lambda: Neuron("n", "dv/dt = -v/ms : vlot"),
        [
            "'vlot' is not a unit; write for example 'mV'",
            "    dv/dt = -v/ms : vlot\n                   ^~~~~",
            "fix: use a unit such as volt, amp",
        ],
    ),
    "unknown in a quantity": (
        lambda: lif_with(tau_m="10 sm"),
        [
            "neuron 'lif', parameters 'tau_m': 'sm' is not a unit",
            "    10 sm\n    ^~~~~",
            "fix: write a number and a unit, like '20 ms'",
        ],
    ),
    "bare number for a time": (
        lambda: lif_with(tau_m=10),
        ["dv/dt is in volt, but volt/second is needed", "fix: make the right-hand side volt/second"],
    ),
}

NAMES: dict[str, Case] = {
    "unknown identifier": (
        lambda: lif(equations="dv/dt = (E_L - v)/tau_n : volt"),
        ["neuron 'lif', equations, line 1: unknown identifier 'tau_n'", "(E_L - v)/tau_n : volt\n                      ^~~~~", "fix: did you mean 'tau_m'?"],
    ),
    "unknown function": (
        lambda: simple("sigmoit(v)/ms"),
        ["unknown function 'sigmoit'", "    dv/dt = sigmoit(v)/ms : 1\n            ^~~~~~~~~~", "fix: did you mean 'sigmoid'?"],
    ),
    "unknown flag": (
        lambda: Neuron("n", "dv/dt = -v/ms : 1 (unless refractroy)"),
        ["unknown flag 'unless refractroy'", "fix: did you mean 'unless refractory'?"],
    ),
    "unknown method": (
        lambda: lif(method="exakt"),
        ["neuron 'lif', method: there is no integrator 'exakt'", "    exakt\n    ^~~~~", "fix: did you mean 'exact'?"],
    ),
    "unknown assigned variable": (
        lambda: lif(reset="u = E_L"),
        ["reset, line 1: 'u' is not a variable of this neuron", "    u = E_L\n    ^\n", "fix: states: v"],
    ),
    "reserved": (lambda: Neuron("n", "dt = 1*ms : second"), ["line 1: 'dt' is reserved", "    ^~\n", "fix: rename it, for example 'dt_'"]),
    "unit as variable": (lambda: Neuron("n", "mV : 1"), ["'mV' is the name of a unit", "    mV : 1\n    ^~\n", "fix: rename it"]),
    "function as parameter": (lambda: Neuron("n", "v = exp : 1", parameters={"exp": 1}), ["neuron 'n', parameters: 'exp' is reserved", "fix: rename it"]),
    "suffix of a cell": (lambda: Neuron("n", "v_pre : 1"), ["'v_pre' is reserved: _pre and _post mark the cells of a synapse", "    v_pre : 1\n    ^~~~~\n"]),
    "a synapse's post": (lambda: Synapse("s", "post : 1"), ["'post' is reserved: _pre and _post mark the cells of a synapse", "fix: rename it, for example 'post_'"]),
    "no identifier": (lambda: Neuron("n", "9v : 1"), ["'9v' can't be a name", "    9v : 1\n    ^~\n", "fix: rename it"]),
    "not ASCII": (
        lambda: Neuron("n", "dv/dt = -v/\u03c4 : 1"),
        ["the character '\\u03c4' is not allowed", "    dv/dt = -v/\u03c4 : 1\n               ^\n", "fix: use ASCII"],
    ),
    "variable twice": (
        lambda: Neuron("n", "dv/dt = -v/ms : 1\nv = 3 : 1"),
        ["equations, line 2: 'v' is defined twice", "    v = 3 : 1\n    ^~~~~~~~~", "fix: remove or rename one of the two"],
    ),
    "variable and parameter": (
        lambda: Neuron("n", "dv/dt = -v/ms : 1", parameters={"v": 3}),
        ["'v' is both an equation and a parameter", "fix: remove the parameter or the equation"],
    ),
    "population twice": (
        lambda: Network((Population("a", RATE, 1), Population("a", RATE, 2))),
        ["network 'network': the name 'a' is used twice", "    a\n    ^", "fix: rename one of the two"],
    ),
    "population's name": (
        lambda: Population("my cells", RATE, 1),
        ["population 'my cells': 'my cells' can't be a name", "    my cells\n    ^~~~~~~~", "fix: use letters, digits and single underscores"],
    ),
    "name is no text": (lambda: Population(5, RATE, 1), ["5 can't be a name", "fix: give the name as text"]),  # type: ignore[arg-type]
    "assigned parameter": (
        lambda: lif(reset="v_th += 1*mV"),
        ["reset, line 1: 'v_th' is a parameter and can't be assigned", "    v_th += 1*mV\n    ^~~~\n", "fix: declare 'v_th : ...' as a variable"],
    ),
    "assigned parameter of a synapse": (
        lambda: Synapse("s", "w : amp", on_pre="I_post += w\na = 2", parameters={"a": 1}),
        ["synapse 's', on_pre, line 2: 'a' is a parameter and can't be assigned", "    a = 2\n    ^\n", "fix: declare 'a : ...'"],
    ),
    "assigned subexpression": (
        lambda: Neuron("n", "dv/dt = -v/ms : 1\nu = 2*v : 1", threshold="v > 1", reset="u = 0"),
        ["'u' is a subexpression and can't be assigned", "    u = 0\n    ^\n", "fix: assign the states it is made of"],
    ),
    "unknown parameter of a population": (
        lambda: Population("a", lif(), 2, {"tau_n": "1 ms"}),
        ["population 'a': neuron 'lif' has no parameter 'tau_n'", "    tau_n\n    ^~~~~", "fix: did you mean 'tau_m'?"],
    ),
    "unknown initial": (lambda: lif(initial={"u": "1 mV"}), ["neuron 'lif', initial: 'u' is not a state variable", "fix: states: v"]),
    "unknown bounds": (
        lambda: lif(bounds={"tau_n": ("1 ms", "2 ms")}),
        ["bounds of 'tau_n': there is no parameter 'tau_n'", "fix: did you mean 'tau_m'?"],
    ),
    "unknown population": (
        lambda: network(pre="c"),
        ["projection 'p': there is no population or input 'c'", "    c\n    ^", "fix: known: a, b"],
    ),
    "unknown target population": (
        lambda: network(post="bb"),
        ["projection 'p': there is no population 'bb'", "    bb\n    ^~", "fix: did you mean 'b'?"],
    ),
    "population asked for": (lambda: network().population("A"), ["network: there is no population 'A'", "fix: known: a, b"]),
    "unknown population of an input": (
        lambda: fed(Input("i", 1, "current", "b.I")),
        ["input 'i': there is no population 'b'", "    b.I\n    ^~~", "fix: known: a"],
    ),
    "unknown variable of an input": (
        lambda: fed(Input("i", 1, "current", "a.J")),
        ["input 'i': population 'a' (neuron 'lif') has no input 'J'", "    a.J\n    ^~~", "fix: inputs: I"],
    ),
    "unknown target variable": (
        lambda: network(Synapse("s", "w : amp", on_pre="J_post += w")),
        ["population 'b' (neuron 'lif') has no variable 'J' to write to", "    J_post += w\n    ^~~~~~\n", "fix: variables of 'lif': I, v"],
    ),
    "unknown graded target": (
        lambda: network(Synapse("s", transmits="x_pre", target="zz"), RATE, RATE),
        ["projection 'p': population 'b' (neuron 'rate') has no input 'zz'", "fix: did you mean 'z'?"],
    ),
    "unknown variable of a source": (
        lambda: network(Synapse("s", transmits="y_pre", target="z"), RATE, RATE),
        ["synapse 's', transmits: unknown identifier 'y_pre'", "    y_pre\n    ^~~~~", "fix: did you mean"],
    ),
}  # fmt: skip

METHODS: dict[str, Case] = {
    "exact and nonlinear": (
        lambda: Neuron("n", "dv/dt = (a*v**2 - u)/ms : 1\ndu/dt = -u/ms : 1", parameters={"a": 2}, method="exact"),
        ["line 1: 'exact' needs linear equations, but dv/dt has the nonlinear term v**2", "fix: use method='exponential_euler', 'rk2'"],
    ),
    "exact through a subexpression": (
        lambda: Neuron("n", "dv/dt = -r*v : 1\nr = v/ms : hertz", method="exact"),
        ["dv/dt has the nonlinear term -r*v", "    dv/dt = -r*v : 1\n            ^~~~"],
    ),
    "exact and time": (lambda: simple("(sin(t/ms) - v)/ms", method="exact"), ["dv/dt has the nonlinear term sin(t/ms)", "         ^~~~~~~~~"]),
    "exact in a synapse": (
        lambda: Synapse("s", "w : amp\nde/dt = -e**2/ms : 1", on_pre="I_post += w*e", method="exact"),
        ["synapse 's', equations, line 2: 'exact' needs linear equations, but de/dt has the nonlinear term e**2", "    de/dt = -e**2/ms : 1\n             ^~~~"],
    ),
    "exponential_euler": (
        lambda: Neuron("n", "dv/dt = (v*u - v**3)/ms : 1\ndu/dt = -u*v/ms : 1", method="exponential_euler"),
        ["line 1: 'exponential_euler' needs an equation linear in v, but dv/dt has the nonlinear term v**3", "fix: use 'rk2' or 'rk4'"],
    ),
    "a receptor's equation and a parameter": (
        lambda: Synapse("s", "w : amp", on_pre="g_post += w", receptor="dg/dt = -g/ms : amp\nI = I + g : amp", parameters={"I": "1 nA"}),
        ["synapse 's', receptor, line 2: 'I' is both an equation and a parameter", "fix: remove the parameter or the equation"],
    ),
    "a variable of synapse and receptor": (
        lambda: Synapse("s", "dg/dt = -g/ms : 1", on_pre="g += 1; g_post += g", receptor="dg/dt = -g/ms : 1\nI = g : 1"),
        ["synapse 's', receptor, line 1: 'g' is a variable of the synapse too", "fix: rename one of the two"],
    ),
    "a subexpression kept while refractory": (
        lambda: Neuron("n", "dv/dt = -v/ms : 1\ny = 2*v : 1 (unless refractory)"),
        ["line 2: 'y' is a subexpression, so there is nothing that a refractory cell could keep", "fix: flag the variables"],
    ),
    "an input kept while refractory": (
        lambda: Neuron("n", "dv/dt = (I - v)/ms : 1\nI : 1 (unless refractory)"),
        ["line 2: 'I' is an input, which lives for one step, so there is nothing that a refractory cell could keep", "fix: leave out"],
    ),
    "a parameter kept while refractory": (
        lambda: Neuron("n", "dv/dt = (I - v)/ms : 1\nI : 1 (unless refractory)", parameters={"I": "1"}),
        ["line 2: 'I' is a parameter, so there is nothing that a refractory cell could keep", "fix: leave out"],
    ),
    "noise and exact": (
        lambda: Neuron("n", "dv/dt = -v/ms + xi*ms**-0.5 : 1", method="exact"),
        ["noise 'xi' can't be integrated by 'exact'", "fix: use method='euler' (Euler-Maruyama)"],
    ),
    "noise in a subexpression": (
        lambda: Neuron("n", "u = xi*ms**0.5 : 1"),
        ["noise 'xi' stands outside a differential equation", "fix: move it there"],
    ),
    "noise squared": (
        lambda: Neuron("n", "dv/dt = -v/ms + xi**2 : 1"),
        ["'xi**2' has no limit as dt goes to 0", "    dv/dt = -v/ms + xi**2 : 1\n                    ^~~~~"],
    ),
    "noise in a function": (lambda: simple("(exp(xi*ms**0.5) - v)/ms"), ["'exp(xi*ms**0.5)' has no limit as dt goes to 0"]),
    "noise times noise": (lambda: Neuron("n", "dv/dt = -v/ms + xi_a*xi_b : 1"), ["dv/dt is not linear in noise: 'xi_a*xi_b'"]),
    "noise times a state": (
        lambda: Neuron("n", "dv/dt = -v/ms + r*xi : 1\nr = sqrt(abs(v)/ms) : hertz**0.5"),
        ["noise 'xi' is multiplied by v, and dv/dt doesn't say whether that is Ito's reading or Stratonovich's"],
    ),
    "noise times an input": (
        lambda: Neuron("n", "dv/dt = -v/ms + I*xi : 1\nI : hertz**0.5"), ["noise 'xi' is multiplied by I"],
    ),
    "root of a negative number": (
        lambda: simple("(sqrt(-1) - v)/ms"), ["'sqrt(-1)' is no real, finite number", "    dv/dt = (sqrt(-1) - v)/ms : 1\n             ^~~~~~~~"],
    ),
    "logarithm of 0": (lambda: simple("log(0)*v/ms"), ["'log(0)' is no real, finite number"]),
    "arcsine of 2": (lambda: simple("arcsin(2)*v/ms"), ["'arcsin(2)' is no real, finite number"]),
    "number too large": (lambda: simple("exp(1000)*v/ms"), ["'exp(1000)' is no real, finite number"]),
    "infinite sum": (lambda: simple("(v + inf)/ms"), ["'v + inf' is no real, finite number"]),
    "impossible number in a threshold": (
        lambda: Neuron("n", "dv/dt = -v/ms : 1", "v > log(-2.0)", "v = 0"), ["threshold: 'log(-2.0)' is no real, finite number"],
    ),
    "impossible number through a subexpression": (
        lambda: Neuron("n", "dv/dt = sqrt(a)/ms : 1\na = -1.0 : 1"), ["numbers alone give 'v' no real, finite value"],
    ),
    "subexpressions in a loop": (
        lambda: Neuron("n", "dv/dt = -x/ms : 1\nx = y : 1\ny = x : 1", method="exact"),
        ["line 2: 'x' depends on itself", "    x = y : 1\n    ^~~~~~~~~", "fix: break the loop: make one of them a state variable"],
    ),
    "graded loop within a step": (
        lambda: lower(network(Synapse("s", transmits="y_pre", target="z"), UNIT, UNIT, pre="a", post="a")),
        ["populations a: graded units depend on each other within one step", "fix: give one of them a state"],
    ),
    "reset without threshold": (lambda: lif(threshold=""), ["reset, line 1: there is a reset but no threshold", "fix: add a threshold"]),
}  # fmt: skip

VALUES: dict[str, Case] = {
    "negative time constant": (
        lambda: lif_with(tau_m="-10 ms"),
        ["neuron 'lif', parameter 'tau_m': 'tau_m' must be positive", "    -10 ms\n    ^~~~~~", "fix: give a positive value"],
    ),
    "NaN time constant": (lambda: lif_with(tau_m="nan ms"), ["'tau_m': the value nan is not finite", "fix: give finite numbers"]),
    "infinite resistance": (lambda: lif_with(R=quantity(INF, "ohm")), ["'R': the value inf is not finite"]),
    "negative conductance": (
        lambda: Neuron("n", "I = g*mV : amp", parameters={"g": "-1 nS"}),
        ["'g' must not be negative", "    -1 nS\n    ^~~~~", "fix: give a conductance of at least 0"],
    ),
    "negative heterogeneous time constant": (
        lambda: Population("a", lif(), 2, {"tau_m": quantity([1, -1], "ms")}),
        ["population 'a', parameter 'tau_m': 'tau_m' must be positive"],
    ),
    "constant without a value": (
        lambda: Neuron("n", "dv/dt = -v/tau : 1\ntau : second (constant)"),
        ["line 2: the constant 'tau' has no value", "fix: add parameters={'tau': ...}"],
    ),
    "not a quantity": (lambda: lif_with(tau_m="ten"), ["can't read 'ten' as a quantity", "    ten\n    ^~~", "fix: write a number and a unit"]),
    "outside its bounds": (
        lambda: lif(bounds={"tau_m": ("20 ms", None)}),
        ["bounds of 'tau_m': the value 10 ms lies outside its bounds", "    10 ms\n    ^~~~~", "fix: change the value or the bounds"],
    ),
    "bounds the wrong way": (lambda: lif(bounds={"tau_m": ("20 ms", "5 ms")}), ["the lower bound 20 ms is not below the upper bound 5 ms", "fix: swap them"]),
    "bounds are no pair": (lambda: lif(bounds={"tau_m": 5}), ["bounds: 5 is no pair", "fix: give (low, high)"]),
    "population outside its neuron's bounds": (
        lambda: Population("a", lif(bounds={"tau_m": ("5 ms", None)}), 2, {"tau_m": "1 ms"}),
        ["population 'a', parameter 'tau_m': the value 1 ms lies outside its bounds"],
    ),
    "positive weights": (
        lambda: network(weights="-1 nA", sign="+"),
        ["projection 'p': sign '+' but a weight is negative", "    -1 nA\n    ^~~~~", "fix: make the weights positive or drop the sign"],
    ),
    "negative weights": (
        lambda: network(weights=quantity([[-1, -1], [-1, -1], [-1, 1]], "nA"), sign="-"),
        ["projection 'p': sign '-' but a weight is positive", "fix: make the weights negative or drop the sign"],
    ),
    "uniform weights": (lambda: network(weights=Uniform("-1 nA", "1 nA"), sign="+"), ["projection 'p': sign '+' but a weight is negative"]),
    "drawn weights": (
        lambda: parameters(network(weights=Normal("0 nA", "1 nA"), sign="+")),
        ["projection 'p', weights drawn: sign '+' but a weight is negative", "fix: make the weights positive or drop the sign"],
    ),
    "sign": (lambda: network(sign="plus"), ["projection 'p': the sign 'plus' is not known", "fix: use '+', '-' or None"]),
    "weights outside bounds": (
        lambda: network(bounds=(None, "0.5 nA")),
        ["projection 'p', bounds: a weight of 1 nA lies outside its bounds", "fix: change the value or the bounds"],
    ),
    "NaN weight": (lambda: network(weights=quantity([[1, 1], [1, NAN], [1, 1]], "nA")), ["projection 'p', weights: the value nan is not finite"]),
    "no weights": (lambda: network(weights=None), ["synapse 'pulse' has a weight, but no weights are given", "fix: add weights=..."]),
    "weights of a synapse without": (
        lambda: network(Synapse("s", on_pre="I_post += 1*nA"), weights="1 nA"),
        ["synapse 's' has no weight 'w'", "fix: declare 'w : ...' in its equations"],
    ),
    "weight shape": (
        lambda: network(weights=quantity([1, 2, 3], "nA")),
        ["projection 'p', weights: 'weights' has the shape [3]", "fix: give one value or an array [3, 2]"],
    ),
    "delay shape": (
        lambda: network(delay=quantity([1, 2], "ms")),
        ["projection 'p', delay: 'delay' has the shape [2]", "fix: give one value or an array [3, 2]"],
    ),
    "one weight a drawn synapse": (
        lambda: network(connectivity=Probability(0.5), weights=quantity([1, 2], "nA")),
        ["'weights' has the shape [2]", "fix: give one value\n"],
    ),
    "shape of a parameter": (
        lambda: Population("a", lif(), 3, {"R": quantity([1, 2], "Mohm")}),
        ["population 'a', parameter 'R': 'R' has the shape [2]", "fix: give one value or an array [3]"],
    ),
    "shape of the neuron's parameter": (
        lambda: Population("a", lif_with(v_th=["-50 mV", "-51 mV"]), 3),
        ["population 'a', neuron 'lif', parameter 'v_th': 'v_th' has the shape [2]", "fix: give one value or an array [3]"],
    ),
    "shape of the synapse's parameter": (
        lambda: network(Synapse("s", "w : amp\nd : amp", on_pre="I_post += w + d", parameters={"d": ["1 nA", "2 nA"]})),
        ["projection 'p', d: 'd' has the shape [2]", "fix: give one value or an array [3, 2]"],
    ),
    "shape of the neuron's initial value": (
        lambda: Population("a", lif(initial={"v": quantity([1, 2], "mV")}), 3),
        ["population 'a', initial 'v': 'v' has the shape [2]", "fix: give one value or an array [3]"],
    ),
    "delay off the grid": (
        lambda: network(delay="0.25 ms"),
        ["projection 'p', delay: delay 0.25 ms is not a multiple of dt = 0.1 ms", "    0.25 ms\n    ^~~~~~~", "fix: use 0.2 ms or 0.3 ms, or change dt"],
    ),
    "refractory off the grid": (
        lambda: Network((Population("a", lif(refractory="1.55 ms"), 1),)),
        ["population 'a', refractory: refractory 1.55 ms is not a multiple of dt = 0.1 ms", "fix: use 1.5 ms or 1.6 ms, or change dt"],
    ),
    "negative delay": (
        lambda: network(delay="-1 ms"),
        ["projection 'p', delay: a delay is negative or not a number", "    -1 ms\n    ^~~~~", "fix: give delays of at least 0"],
    ),
    "negative refractory": (lambda: lif(refractory="-1 ms"), ["the refractory period must be one time of at least 0", "fix: give one time"]),
    "delay of a graded synapse": (
        lambda: network(Synapse("s", transmits="x_pre", target="z"), RATE, RATE, delay="1 ms"),
        ["graded transmission has no delay", "fix: use events (on_pre), or delay='0 ms'"],
    ),
    "dt": (lambda: Network((Population("a", lif(), 1),), dt="0 ms"), ["the time step 0 ms is not a positive time", "fix: give it like '0.1 ms'"]),
    "size": (lambda: Population("a", lif(), 0), ["population 'a': the size 0 is not a positive whole number", "fix: give a whole number of neurons"]),
    "size is true": (lambda: Population("a", lif(), True), ["the size True is not a positive whole number"]),
    "negative rate": (
        lambda: Input("x", 2, "poisson", rate="-5 Hz"),
        ["input 'x': a rate is negative or not a number", "    -5 Hz\n    ^~~~~", "fix: give rates of at least 0 Hz"],
    ),
    "NaN rate": (lambda: Input("x", 2, "poisson", rate="nan Hz"), ["a rate is negative or not a number"]),
    "rate above one per step": (
        lambda: fed(Input("x", 2, "poisson", rate="20 kHz")),
        ["input 'x': more than one spike a step: 20 kHz at dt = 0.1 ms", "fix: lower the rate or dt"],
    ),
    "rate of spikes": (lambda: Input("x", 2, "spikes", rate="5 Hz"), ["exactly the Poisson inputs and drives have a rate", "fix: add rate='20 Hz'"]),
    "drive without a rate": (lambda: Input("d", 3, "drive", "a.v", weight="1 mV"), ["input 'd': exactly the Poisson inputs and drives have a rate"]),
    "drive without a weight": (
        lambda: Input("d", 3, "drive", "a.v", rate="1 kHz"), ["input 'd': exactly the drives have a weight", "fix: add weight='1 mV'"],
    ),
    "negative rate of a drive": (lambda: driving(rate="-5 Hz"), ["input 'd': a rate is negative or not a number", "    -5 Hz\n    ^~~~~"]),
    "NaN weight of a drive": (lambda: driving(weight="nan mV"), ["input 'd', weight", "fix: give"]),
    "weight of spikes": (lambda: Input("x", 2, weight="1 mV"), ["exactly the drives have a weight"]),
    "sources of spikes": (lambda: Input("x", 2, sources=5), ["input 'x': only a drive has several sources", "fix: change the kind"]),
    "no sources": (lambda: driving(sources=0), ["input 'd': 0 sources", "fix: give a whole number from 1 on"]),
    "countless sources": (lambda: driving(sources=10**400), ["fix: give a whole number from 1 on"]),
    "shape of a weight": (lambda: driving(weight=quantity([1, 2], "mV")), ["'weight' has the shape [2]", "fix: give one value or an array [3]"]),
    "unit of a weight": (
        lambda: driven(driving(weight="1 nA")), ["input 'd', weight: 'weight' is in amp, but volt is needed", "fix: give it in volt"],
    ),
    "plain weight": (lambda: driven(driving(weight=2.0)), ["'weight' is in 1, but volt is needed", "fix: write weight=quantity(2, 'mV')"]),
    "rate of a drive beyond all tables": (
        lambda: driven(driving(rate="1 GHz", sources=10**6)), ["input 'd': more than 1e+08 events a step", "fix: lower the rate, the number of sources or dt"],
    ),
    "kind of input": (lambda: Input("x", 2, "spike"), ["there is no input kind 'spike'", "    spike\n    ^~~~~", "fix: use 'spikes'"]),  # type: ignore[arg-type]
    "probability": (lambda: network(connectivity=Probability(1.5)), ["the probability 1.5 is not between 0 and 1", "fix: give 0 <= p <= 1"]),
    "negative spread": (lambda: Normal("1 mV", "-1 mV"), ["the standard deviation -1 mV is negative", "fix: give one of at least 0"]),
    "ends the wrong way": (lambda: Uniform("2 mV", "1 mV"), ["the lower end 2 mV is above the upper end 1 mV", "fix: swap them"]),
}  # fmt: skip

WIRING: dict[str, Case] = {
    "one-to-one": (lambda: network(connectivity=OneToOne()), ["projection 'p': one-to-one between 3 and 2 cells", "fix: make the sizes equal"]),
    "index": (
        lambda: network(connectivity=Pairs([0, 3], [0, 1])),
        ["projection 'p': a pre index is outside 0..2", "    3\n    ^", "fix: fix the index array"],
    ),
    "negative index": (lambda: network(connectivity=Pairs([0, 1], [0, -1])), ["projection 'p': a post index is outside 0..1", "    -1\n    ^~\n"]),
    "indices of unequal length": (
        lambda: network(connectivity=Pairs([0, 1], [0])),
        ["the index arrays of the pairs differ in length", "fix: give one pre and one post index per synapse"],
    ),
    "channels": (
        lambda: fed(Input("i", 2, "current", "a.I")),
        ["input 'i': 2 channels for 3 neurons", "fix: use size 1 or 3"],
    ),
    "target of spikes": (lambda: Input("x", 2, "spikes", "a.I"), ["exactly the currents and drives have a target", "fix: spikes reach cells through a projection"]),
    "target of a drive": (lambda: driven(driving("b.v")), ["input 'd': there is no population 'b'"]),
    "state of a drive": (
        lambda: driven(driving("a.u")), ["input 'd': population 'a' (neuron 'lif') has no state 'u'", "    a.u\n    ^~~", "fix: states: v"],
    ),
    "drive of an input": (
        lambda: driven(driving("a.I", weight="1 nA")), ["has no state 'I'", "fix: add to a state, or send spikes through a projection"],
    ),
    "channels of a drive": (lambda: driven(driving(size=1)), ["input 'd': 1 channels for 3 neurons", "fix: use size 3"]),
    "projection of a drive": (
        lambda: Network((Population("a", lif(), 3),), (Projection("p", "d", "a", PULSE, "1 nA"),), (driving(),)),
        ["projection 'p': 'd' is a drive and has no spikes", "fix: make it a spike input"],
    ),
    "projection of a current": (
        lambda: Network((Population("a", lif(), 3),), (Projection("p", "i", "a", PULSE, "1 nA"),), (Input("i", 1, "current", "a.I"),)),
        ["projection 'p': 'i' is a current input and has no spikes", "    i\n    ^", "fix: make it a spike input"],
    ),
    "graded value of spikes": (
        lambda: Network((Population("a", RATE, 3),), (Projection("p", "x", "a", Synapse("s", transmits="1", target="z")),), (Input("x", 2),)),
        ["projection 'p': input 'x' sends spikes, it has no graded value", "    x\n    ^", "fix: use on_pre"],
    ),
    "source without threshold": (
        lambda: network(Synapse("s", "w : 1", on_pre="z_post += w"), RATE, RATE, weights=1),
        ["projection 'p': population 'a' has no threshold, so it sends no spikes", "    a\n    ^", "fix: use a graded synapse"],
    ),
    "target without threshold": (
        lambda: network(Synapse("s", "w : 1", on_pre="z_post += w", on_post="w += 1"), lif(), RATE, weights=1),
        ["population 'b' has no threshold, so on_post never runs", "fix: drop on_post"],
    ),
    "writing to the source": (
        lambda: Synapse("s", "w : amp", on_pre="I_pre += w"),
        ["synapse 's', on_pre, line 1: 'I_pre' belongs to the presynaptic cell", "    I_pre += w\n    ^~~~~\n", "fix: synapses write to themselves"],
    ),
    "assigning a cell's variable": (
        lambda: network(Synapse("s", "w : volt", on_pre="v_post = w"), weights="1 mV"),
        ["synapses add to 'v_post'; '=' would depend on their order", "    v_post = w\n    ^~~~~~\n", "fix: use += or -="],
    ),
    "reading what is added to": (
        lambda: network(Synapse("s", "w : 1", on_pre="v_post += w*v_post"), weights=1),
        ["'v_post' is read and added to in the same block", "    v_post += w*v_post\n                ^~~~~~", "fix: put the factor into"],
    ),
    "reading what is added to, through a subexpression of the synapse": (
        lambda: network(Synapse("s", "w : 1\nk = 2*v_post : 1", on_pre="v_post += w*k"), weights=1),
        ["'v_post' is read (through 'k') and added to in the same block", "    v_post += w*k\n                ^"],
    ),
    "input set twice in a receptor": (
        lambda: Synapse("s", "w : amp", on_pre="g_post += w", receptor="g : amp\nI = g : amp\nI = 2*g : amp"),
        ["synapse 's', receptor, line 3: 'I' is defined twice", "    I = 2*g : amp\n    ^~~", "fix: remove or rename one of the two"],
    ),
    "receptor hides a variable": (
        lambda: network(Synapse("s", "w : volt", on_pre="v_post += w", receptor="v : volt"), weights="1 mV"),
        ["neuron 'lif' already has 'v'", "fix: rename it in the receptor"],
    ),
    "receptor nobody writes to": (
        lambda: network(Synapse("s", "w : amp", on_pre="I_post += w", receptor="g : amp")),
        ["receptor, line 1: nothing sets 'g'", "fix: write to it in on_pre, or remove it"],
    ),
    "silent synapse": (lambda: Synapse("s", "w : amp"), ["synapse 's': the synapse transmits nothing", "fix: add on_pre or transmits"]),
    "graded without target": (lambda: Synapse("s", transmits="x_pre"), ["transmits: a graded value needs a target", "fix: add target='I'"]),
    "no population": (lambda: Network(()), ["network 'network': there is no population", "fix: add at least one"]),
}  # fmt: skip

PORTS: dict[str, Case] = {
    "size": (
        lambda: compose({"a": sub(3), "b": sub()}, bind={"b.x": "a.cells"}),
        ["composition 'network', bind 'b.x': ports don't fit: 'b.x' has 2 channels, 'a.cells' has 3", "    b.x\n    ^~~", "fix: make the sizes equal"],
    ),
    "no spikes": (
        lambda: compose({"a": sub(), "b": sub()}, bind={"b.x": "a.silent"}),
        ["ports don't fit: 'a.silent' has no threshold, so it sends no spikes", "fix: bind a population with a threshold"],
    ),
    "current": (
        lambda: compose({"a": sub(), "b": sub()}, bind={"b.i": "a.cells"}),
        ["ports don't fit: 'b.i' takes a current, 'a.cells' gives spikes", "fix: connect them with a projection"],
    ),
    "to a current": (lambda: compose({"a": sub(), "b": sub()}, bind={"b.x": "a.i"}), ["ports don't fit: 'a.i' is a current"]),
    "not an input": (
        lambda: compose({"a": sub(), "b": sub()}, bind={"b.cells": "a.cells"}),
        ["ports don't fit: 'b.cells' is a population", "fix: bind an input of kind 'spikes'"],
    ),
    "projection to an input": (
        lambda: compose({"a": sub(), "b": sub()}, [Projection("l", "a.cells", "b.x", PULSE, "1 nA")]),
        ["projection 'l': ports don't fit: 'b.x' is an input", "    b.x\n    ^~~", "fix: use bind={'b.x': 'a.cells'}"],
    ),
    "unit": (
        lambda: compose({"a": sub(), "b": sub()}, [Projection("l", "a.cells", "b.silent", PULSE, "1 nA")]),
        ["population 'b_silent' (neuron 'rate') has no variable 'I' to write to"],
    ),
    "hidden port": (
        lambda: compose({"a": Part(sub(), {"out": "cells"}), "b": sub()}, bind={"b.x": "a.silent"}),
        ["there is no port in part 'a' 'silent'", "fix: known: out"],
    ),
    "port to nothing": (
        lambda: compose({"a": Part(sub(), {"out": "cell"})}),
        ["part 'a', port 'out': there is no population or input 'cell'", "fix: did you mean 'cells'?"],
    ),
    "unknown part": (lambda: compose({"a": sub()}, bind={"c.x": "a.cells"}), ["there is no part 'c'", "    c\n    ^", "fix: known: a"]),
    "no part": (lambda: compose({"a": sub()}, bind={"x": "a.cells"}), ["'x' is not a port", "fix: write 'part.port'"]),
    "nothing to compose": (lambda: compose({}), ["there are no parts", "fix: give at least one network"]),
    "circle": (lambda: compose({"a": sub(), "b": sub()}, bind={"a.x": "b.x", "b.x": "a.x"}), ["'a_x' is bound in a circle", "fix: cut the circle"]),
    "dt": (
        lambda: compose({"a": sub(), "b": sub(dt="1 ms")}),
        ["the parts have different dt: 'a' 0.1 ms, 'b' 1 ms", "fix: give all parts the same dt"],
    ),
    "name of a part": (lambda: compose({"a b": sub()}), ["composition 'network', part: 'a b' can't be a name"]),
    "names that meet": (
        lambda: compose({"a": compose({"b": sub()}), "a_b": sub()}),
        ["the name 'a_b_cells' is used twice", "fix: rename one of the two"],
    ),
}  # fmt: skip

ATTACKS: dict[str, tuple[str, str]] = {  # expression, what is said about it
    "import": ("__import__('os').system('touch /tmp/x')", "only plain function calls are allowed"),
    "import by name": ("__import__(v)", "unknown function '__import__'"),
    "attribute": ("v.__class__", "Attribute is not allowed in a model"),
    "eval": ("eval(v)", "unknown function 'eval'"),
    "lambda": ("(lambda: v)()", "only plain function calls are allowed"),
    "bare lambda": ("lambda: v", "Lambda is not allowed in a model"),
    "comprehension": ("[v for x in (1, 2)]", "ListComp is not allowed in a model"),
    "generator": ("(v for x in v)", "GeneratorExp is not allowed in a model"),
    "walrus": ("(x := v)", "NamedExpr is not allowed in a model"),
    "format string": ("f'{v}'", "JoinedStr is not allowed in a model"),
    "text": ("'v'", "'v' is not a number"),
    "complex": ("v*1j", "1j is not a number"),
    "truth": ("v*None", "None is not a number"),
    "subscript": ("v[0]", "Subscript is not allowed in a model"),
    "star": ("exp(*v)", "Starred is not allowed in a model"),
    "keyword": ("exp(x=v)", "only plain function calls are allowed"),
    "conditional": ("v if v else v", "IfExp is not allowed in a model"),
    "tuple": ("(v, v)", "Tuple is not allowed in a model"),
    "await": ("await v", "Await is not allowed in a model"),
    "statement": ("v; import os", "this is not an expression"),
    "way out of the parenthesis": ("v) + (v", "this parenthesis closes nothing"),
    "nesting": ("(" * 150 + "v" + ")" * 150 + "+" + "-" * 150 + "v", "the expression is nested too deeply"),
    "deep nesting": ("(" * 2000 + "v" + ")" * 2000, "this is not an expression"),
    "many signs": ("-" * 150 + "v", "the expression is nested too deeply"),
    "long sum": ("v" + "+v" * 2000, "the expression is nested too deeply"),
    "length": ("v" + "+v" * 3000, "the expression is too long"),
    "tower": ("v*9**9**9", "this exponent is no plain number"),
    "tower of products": ("v*((9**99)**99)**99", "this is a power of a power of numbers"),
    "large exponent": ("v**100000", "the exponent 100000 is too large"),
    "large number": ("v*1e999", "this number is too large"),
    "long number": ("v*1" + "0" * 400, "this number is too large"),
    "division by zero": ("v/0", "this divides by zero"),
    "null byte": ("v\0", "the character '\\x00' is not allowed"),
    "chained comparison": ("int(0 < v < 1)", "chained comparisons are not allowed"),
    "random number": ("random()", "unknown function 'random'"),
    "int of a number": ("int(v*mV)", "the argument of int() must be dimensionless, not volt"),
    "arguments": ("clip(v, 0)", "clip() takes 3 argument(s), not 2"),
    "condition": ("(v > 0) + (v > 1)", "a sum of two conditions is another number to each of Brian2's targets"),
    "number as condition": ("int(v and v > 0)", "a condition is needed, not a number"),
    "membership": ("int(v in 0)", "In is not allowed in a model"),
}

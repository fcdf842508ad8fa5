"""Conditions as numbers, ==, !=, //, int(), timestep(), truth values and whole numbers, indices: what they mean, on every backend; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backends
from neuro import Input, ModelError, Network, Neuron, Pairs, Population, Projection, Synapse
from neuro.compiler.evaluation import evaluate
from neuro.compiler.parameters import parameters
from neuro.language.equations import parse_expression
from neuro.language.symbolic import derivative, margin, symbol, to_sympy

every_backend = pytest.mark.parametrize("backend", ["reference", "native", "torch", "brian2"])


def number(text: str, **values: float) -> float:
    return float(evaluate(to_sympy(parse_expression(text, "test")), lambda n: np.float64(values[n])))


WORDS: dict[str, Callable[[float, float], float]] = {
    "x == y": lambda x, y: x == y, "x != y": lambda x, y: x != y, "x // y": lambda x, y: np.floor(x / y), "int(x)": lambda x, y: np.trunc(x),
    "int(x == y)": lambda x, y: x == y, "(x > y)*x - (x != y)": lambda x, y: (x > y) * x - (x != y), "not x == y": lambda x, y: x != y,
    "timestep(x, y)": lambda x, y: np.trunc((x + 1e-3 * y) / y), "(x == y) == True": lambda x, y: x == y, "int(-x/3)": lambda x, y: np.trunc(-x / 3),
}  # fmt: skip


@pytest.mark.parametrize("text", WORDS)
def test_words_mean_what_numpy_computes(text: str) -> None:
    points = [(x, y) for x in (-3.0, -0.3, 0.0, 0.3, 0.9, 2.0, 49.0) for y in (-3.0, 0.3, 2.0, 49.0)]
    found = [number(text, x=x, y=y) for x, y in points]
    np.testing.assert_array_equal(found, [float(WORDS[text](x, y)) for x, y in points])
    assert len(set(found)) > 1


def test_a_quotient_is_not_rounded_before_its_floor() -> None:
    for a in range(200):
        for b in (3, 7, 49, 98, 103):  # 1/49 times 49 is less than 1
            assert number("a // b", a=a, b=b) == number(f"a // {b}", a=a) == a // b


def test_a_time_step_is_the_one_that_a_multiple_of_dt_begins() -> None:
    """3*0.1 ms is less than 0.3 ms in binary numbers; Brian2 shifts times by a thousandth of a step."""
    assert [number("timestep(k*dt, dt)", k=k, dt=1e-4) for k in range(1000)] == list(range(1000))


def test_what_jumps_has_no_slope_and_a_margin_that_says_on_which_side_it_is() -> None:
    x = symbol("x")
    for text in ("x // 2", "int(x)", "x == 1", "x != 1", "timestep(x, 3)"):
        slope = derivative(to_sympy(parse_expression(text, "test")), x)
        assert [float(slope.subs(x, v)) for v in (0.3, 1.0, 2.6)] == [0, 0, 0]
    for text, sides in {"x == 1": (-1, 0), "x != 1": (1, 0), "not x == 1": (1, 0)}.items():
        expr = margin(parse_expression(text, "test"))
        assert [float(np.sign(float(expr.subs(x, v)))) for v in (0.3, 1.0)] == list(sides)


# -- on every backend --------------------------------------------------------------------------------------------------

CELL = Neuron(
    "cell",
    """dv/dt = ((i == 2)*2*mV + 3*mV*(i/N) + (v > 1*mV)*1*mV + I - v)/(10*ms) : volt
    I : volt
    row = i // 3 : integer
    late = t > 2*ms : boolean
    k : integer
    odd : boolean
    x = int(-1.7*i) + timestep(t, dt) : 1""",
    threshold="v > 2*mV and (row != 1 or odd)",
    reset="v = 0*mV; k += 1; odd = not odd or late",
    initial={"v": "0.5 mV"},
)
PULSE = Synapse("pulse", "w : volt", on_pre="I_post += w*(i != j)*(1 + (i // 2))/N_pre*N_post + 0.1*mV*(j == 1)")
GRADED = Synapse("graded", transmits="v_pre*(i < j) + 0.01*mV*N_pre", target="I")
NET = Network(
    (Population("a", CELL, 5), Population("b", CELL, 7)),
    (Projection("p", "a", "b", PULSE, "3 mV"), Projection("q", "b", "a", GRADED)), dt="0.5 ms",
)  # fmt: skip
RECORD = ("a.v", "b.v", "a.k", "b.odd", "a.x", "b.row", "a.late")


def by_hand(steps: int) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The network as loops over numbers."""
    size, n = {"a": 5, "b": 7}, {name: np.arange(size) for name, size in (("a", 5), ("b", 7))}
    v, k, odd = ({o: np.full(s, start) for o, s in size.items()} for start in (0.5e-3, 0.0, 0.0))
    came = {o: np.zeros(s) for o, s in size.items()}
    spikes: dict[str, list[Any]] = {"a": [], "b": []}
    traces: dict[str, list[Any]] = {name: [] for name in RECORD}
    for step in range(steps):
        late = step * 5e-4 > 2e-3
        sent = (v["b"][:, None] * (n["b"][:, None] < n["a"]) + 1e-5 * 7).sum(0)
        arrived = {"a": came["a"] + sent, "b": came["b"]}
        came = {o: np.zeros(s) for o, s in size.items()}
        for o in size:
            target = (n[o] == 2) * 2e-3 + 3e-3 * n[o] / size[o] + (v[o] > 1e-3) * 1e-3 + arrived[o]
            v[o] = v[o] + 5e-4 * (target - v[o]) / 1e-2
        fired = {o: (v[o] > 2e-3) & ((n[o] // 3 != 1) | (odd[o] > 0)) for o in size}
        i, j = n["a"][:, None], n["b"]
        value = 3e-3 * (i != j) * (1 + i // 2) / 5 * 7 + 1e-4 * (j == 1)
        came["b"] = came["b"] + (fired["a"][:, None] * value).sum(0)
        for o in size:
            spikes[o].append(fired[o])
            k[o], v[o] = k[o] + fired[o], np.where(fired[o], 0, v[o])
            odd[o] = np.where(fired[o], (odd[o] == 0) | late, odd[o])
        now = {"a.v": v["a"], "b.v": v["b"], "a.k": k["a"], "b.odd": odd["b"], "b.row": n["b"] // 3}
        now |= {"a.x": np.trunc(-1.7 * n["a"]) + step, "a.late": np.full(5, late)}
        for name, value in now.items():
            traces[name].append(np.array(value, float))
    return spikes, traces


@every_backend
def test_the_same_numbers_as_by_hand(backend: str) -> None:
    spikes, traces = by_hand(120)
    found = backends.get(backend).compile(NET).run(steps=120, record=RECORD)
    for name in spikes:
        np.testing.assert_array_equal(found.spikes[name][0], spikes[name])
    for name in RECORD:
        np.testing.assert_allclose(found.traces[name][0], traces[name], atol=1e-14, err_msg=name)
    assert min(np.sum(s) for s in spikes.values()) > 10
    assert len(np.unique(traces["b.odd"])) == 2


def test_indices_are_numbers_that_nobody_trains() -> None:
    declared = {n: p for n, p in parameters(NET).items() if "index" in n}
    assert set(declared) == {
        "a.index__i",
        "a.index__N",
        "b.index__i",
        "b.index__N",
        "p.index__pre_N",
        "p.index__post_N",
        "q.index__pre_N",
    }
    assert all(p.frozen for p in declared.values())
    assert declared["b.index__i"].value.tolist() == list(range(7))


def test_an_index_stands_for_the_cell_of_its_synapse() -> None:
    """Pairs, repeated and out of order; a population that is connected to itself."""
    mark = Synapse("mark", on_pre="seen_post += 10*i + j")
    cell = Neuron("c", "dv/dt = 1/ms : 1\nseen : 1", threshold="v > 0.5", reset="v = -1000", every_step="seen = 0")
    net = Network(
        (Population("c", cell, 3),),
        (Projection("p", "c", "c", mark, connectivity=Pairs([2, 0, 2, 2], [0, 1, 0, 2])),),
        dt="1 ms",
    )
    assert backends.get("native").compile(net).run(steps=1, record=["c.seen"]).traces["c.seen"][0, 0].tolist() == [
        40,
        1,
        22,
    ]


def test_a_users_name_wins() -> None:
    cell = Neuron("c", "di/dt = (N - i)/(1*ms) : 1\nj = 2*i : 1", parameters={"N": "3"})
    send = Synapse("s", "i : 1", transmits="i*N_pre + j_pre + N_post", target="I", parameters={"i": "2"})
    take = Neuron("d", "I : 1\nx = I + i : 1")
    net = Network(
        (Population("c", cell, 2, initial={"i": "1"}), Population("d", take, 2)),
        (Projection("p", "c", "d", send),),
        dt="1 ms",
    )
    found = backends.get("reference").compile(net).run(steps=1, record=["c.i", "d.x"])
    assert found.traces["c.i"][0, 0].tolist() == [3, 3]
    assert found.traces["d.x"][0, 0].tolist() == [2 * (2 * 3 + 2 * 1 + 2) + i for i in range(2)]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a sum of conditions": (lambda: Neuron("n", "x = (t > 1*ms) + (t > 2*ms) : 1"), "wrap both in int(...), or write 'or'"),
    "a condition in a unit": (lambda: Neuron("n", "x = t > 1*ms : volt"), "'x' is a condition, a number is needed"),
    "int of a voltage": (lambda: Neuron("n", "dv/dt = -v/ms : volt\nx = int(v) : 1"), "the argument of int() must be dimensionless, not volt"),
    "a step of no time": (lambda: Neuron("n", "x = timestep(1, dt) : 1"), "timestep() takes two times, not 1"),
    "a fraction": (lambda: Neuron("n", "x = 0.5*t/dt : integer"), "'x' may have digits, which an integer loses"),
    "a fraction assigned": (lambda: Neuron("n", "x : integer", every_step="x += 0.5"), "may have digits"),
    "a fraction divided": (lambda: Neuron("n", "x : integer", every_step="x /= 2"), "'/=' is no operation on an integer"),
    "a fraction given": (lambda: Neuron("n", "x : integer", parameters={"x": 0.5}), "'x' is an integer"),
    "a number as truth": (lambda: Neuron("n", "x = 1 : boolean"), "'x' is a number, a condition is needed"),
    "a truth counted": (lambda: Neuron("n", "x : boolean", every_step="x += t > 1*ms"), "'+=' is no operation on a condition"),
    "a truth given": (lambda: Neuron("n", "x : boolean", parameters={"x": 2}), "'x' is a condition, which is 0 or 1"),
    "a slope of a truth": (lambda: Neuron("n", "dx/dt = 1/ms : boolean"), "'boolean' can't change continuously"),
    "a number as threshold": (lambda: Neuron("n", "k : integer", threshold="k", every_step="k += 1"), "a threshold must be a condition"),
    "an index assigned": (lambda: Neuron("n", "k : 1", every_step="i = 1; k = i"), "'i' is not a variable of this neuron"),
    "an index of a channel": (
        lambda: Network((Population("a", CELL, 2),), (Projection("p", "x", "a", PULSE, "1 mV"),), (Input("x", 3),)),
        "unknown identifier 'i'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_says_why(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        make()
    assert said in str(caught.value)

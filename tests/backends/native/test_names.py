"""Generated C names can't meet a user's, nor each other, whatever the user calls things."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backends
from backends.native.executable import Executable
from backends.native.recording import Recorded
from neuro import Input, Network, Neuron, Pairs, Population, Projection, Synapse, quantity
from neuro.checks.common import reserved_problem

# C's keywords, the prelude's words, roles of generated names, loop indices, and names that once met generated ones
HOSTILE = """
auto case char const double float goto inline int_ long register restrict short signed sizeof static struct switch
typedef union unsigned void volatile real byte pack step_ take hits add gather scatter project outer fetch wrapped
exprel_ minimum_ of tape first total sent left fired frozen coming amounts initial record stream current channels
offsets events raster mask delay a b c d e f g h k l m n o q r s u v x y z A B D G Z E I S Q C_ c0 c1 c10 q_ qs_ g_ h_
l_ A_ B_ G_ Z_ at at_ at1 unit begin end active trial lane every batch steps until kept own room status arrays strides
R TILE LANES VECTOR INFINITY NAN linux unix main memcpy malloc free fabs y0 y1 j0 gamma signgam new let hoisted zeros
spikes_ x_ x_pre_ feed loop
""".split()  # noqa: SIM905
NAMES = st.sampled_from([n for n in HOSTILE if reserved_problem(n) is None])
PLACES = ("cells", "others", "feed", "loop", "link", "source", "v", "I", "tau", "th", "base", "a", "p")


def network(names: dict[str, str]) -> Network:
    """Refractory cells that learn, delays of both kinds, a readout; sums of two terms, so that order changes no rounding."""
    n = names
    cells = Neuron(
        "cell",
        f"d{n['v']}/dt = ({n['I']} - {n['v']})/{n['tau']} : 1 (unless refractory)\n{n['I']} : 1",
        threshold=f"{n['v']} > {n['th']}", reset=f"{n['v']} = {n['base']}", refractory="2 ms", method="exact",
        parameters={n["tau"]: "10 ms", n["th"]: 0.4, n["base"]: 0.0},
    )  # fmt: skip
    plastic = Synapse(
        "plastic", f"w : 1\nd{n['a']}/dt = -{n['a']}/{n['p']} : 1", parameters={n["p"]: "20 ms"}, method="exact",
        on_pre=f"{n['I']}_post += w\n{n['a']} += 0.25", on_post=f"w = clip(w + 0.1*{n['a']}, 0, 90)",
    )  # fmt: skip
    event = Synapse("event", f"w : 1\n{n['p']} : 1", on_pre=f"{n['I']}_post += w*{n['p']}", parameters={n["p"]: 0.5})
    delays = quantity(np.arange(6.0) % 3, "ms")
    pairs = Pairs(np.array([0, 1, 2, 3, 0, 2]), np.array([1, 2, 3, 0, 2, 0]))
    return Network(
        (Population(n["cells"], cells, 4), Population(n["others"], cells, 3)),
        (
            Projection(n["feed"], n["source"], n["cells"], plastic, 2.0),
            Projection(n["loop"], n["cells"], n["cells"], event, 3.0, pairs, delay=delays),
            Projection(n["link"], n["cells"], n["others"], event, 6.0, delay="1 ms"),
        ),
        (Input(n["source"], 5),), dt="1 ms", name="named",
    )  # fmt: skip


def measured(names: dict[str, str]) -> tuple[list[Any], Executable]:
    """Rasters, traces, changed weights and gradients, and the kernel that gave them."""
    from neuro.compiler.parameters import values

    program: Any = backends.get("native").compile(network(names))
    inputs = {names["source"]: np.random.default_rng(0).random((2, 60, 5)) < 0.2}
    record = [f"{names[p]}.{names['v']}" for p in ("cells", "others")]
    wrt = [f"{names['feed']}.w", f"{names['loop']}.w", f"{names['cells']}.{names['tau']}"]
    found = program.run(inputs=inputs, record=record)
    _, slopes = program.value_and_grad(
        lambda f: (f.traces[record[1]] ** 2).sum(), values(program.network), inputs, wrt, record
    )
    arrays = [np.asarray(found.spikes[names[p]]) for p in ("cells", "others")] + [found.traces[r] for r in record]
    training = program.compiled.training(frozenset(wrt), frozenset())
    kept = tuple(Recorded(names[p], names["v"], synaptic=False, chosen=False) for p in ("cells", "others"))
    return [*arrays, found.final[wrt[0]], *(slopes[w] for w in wrt)], program.compiled.executable(kept, 2, training)


PLAIN = dict(zip(PLACES, PLACES, strict=True))


@pytest.fixture(scope="module")
def plain() -> tuple[list[Any], Executable]:
    return measured(PLAIN)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.lists(NAMES, min_size=len(PLACES), max_size=len(PLACES), unique=True))
def test_renaming_changes_no_bit(plain: tuple[list[Any], Executable], names: list[str]) -> None:
    numbers, kernel = plain
    assert min(int(a.sum()) for a in numbers[:2]) > 10 and all(np.abs(a).max() > 0 for a in numbers)
    renamed, other = measured(dict(zip(PLACES, names, strict=True)))
    for a, b in zip(numbers, renamed, strict=True):
        np.testing.assert_array_equal(b, a)
    assert len(set(other.kernel.layout.slots)) == len(kernel.kernel.layout.slots)
    assert len(_declared(other.source)) == len(_declared(kernel.source))


def _declared(text: str) -> list[str]:
    """Names of everything that a text declares and no prelude does."""
    return re.findall(r"(?:real|int|long|byte) \*?(?:restrict )?(\w+__\w*) =", text)


def test_words_of_the_prelude_cannot_be_generated() -> None:
    text = backends.get("native").compile(network(PLAIN)).source  # type: ignore[attr-defined]
    before = text[: text.index("beginning of")]
    assert not [w for w in re.findall(r"\w+", before) if "__" in w and not w.startswith("__")]


@pytest.mark.parametrize("text", ["I_post += w; I_post += w*c", "v_post += w*0.1; v_post += w*c", "I_post += w; v_post += 0.1*w; I_post -= c*w"])  # fmt: skip
def test_every_statement_that_adds_to_a_variable_counts(text: str) -> None:
    """Two matrices of one projection into one variable once had one name."""
    cells = Neuron("n", "dv/dt = (I - v)/(5*ms) : 1\nI : 1", threshold="v > 0.5", reset="v = 0", method="euler")
    synapse = Synapse("s", "w : 1", on_pre=text, parameters={"c": 0.5})
    projections = (Projection("j", "x", "p", synapse, weights=1.4), Projection("k", "p", "p", synapse, weights=0.4))
    both = Network((Population("p", cells, 2),), projections, (Input("x", 2),), dt="1 ms")
    inputs = {"x": np.random.default_rng(0).random((1, 60, 2)) < 0.4}
    a, b = (backends.get(n).compile(both).run(inputs=inputs, record=["p.v"]) for n in ("reference", "native"))
    assert a.spike_count() > 10
    np.testing.assert_array_equal(np.asarray(b.spikes["p"]), a.spikes["p"])
    np.testing.assert_allclose(b.traces["p.v"], a.traces["p.v"], rtol=0, atol=1e-12)

"""Networks of any size: random connections cost what they are, and what can't fit is refused before it is tried."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats

import backends
from neuro import (
    AllToAll,
    Distance,
    FixedInDegree,
    FixedOutDegree,
    FixedTotal,
    Input,
    ModelError,
    Network,
    Neuron,
    Normal,
    OneToOne,
    Population,
    Probability,
    Projection,
    RunError,
    Synapse,
    quantity,
)
from neuro.checks import in_words
from neuro.compiler import streams
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve
from neuro.io.serialisation import from_json, to_json

CELL = Neuron("cell", "dv/dt = -v/ms : 1", threshold="v > 1", reset="v = 0", method="exact")
PULSE = Synapse("pulse", "w : 1", on_pre="v_post += w")
EVERYWHERE = ("reference", "native", "torch", "brian2")


def network(size: int, connectivity: Any = None, **given: Any) -> Network:
    loop = Projection("loop", "cells", "cells", PULSE, weights=0.1, connectivity=connectivity or Probability(0.001))
    return Network((Population("cells", CELL, size),), (loop,) if connectivity else (), dt="0.1 ms", **given)


def pairs(*given: Any) -> Any:
    """Sources and targets of all blocks."""
    nothing = np.zeros((2, 0), np.int64)
    return np.concatenate([nothing, *map(np.array, streams.pairs(*given))], axis=1)


@pytest.mark.parametrize("p", [0.0, 1e-300, 0.003, 0.3, 0.97, 1.0])
def test_a_row_of_connections_is_the_same_however_many_there_are(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    pre, post = pairs(3, "connectivity/loop", p, 60, 1000)
    assert (np.diff(pre * 1000 + post) > 0).all() and (not len(post) or post.max() < 1000)
    fewer = pairs(3, "connectivity/loop", p, 17, 1000)
    assert np.array_equal(fewer[0], pre[pre < 17]) and np.array_equal(fewer[1], post[pre < 17])
    narrow = pairs(3, "connectivity/loop", p, 60, 400)
    assert np.array_equal(narrow[0], pre[post < 400]) and np.array_equal(narrow[1], post[post < 400])
    monkeypatch.setattr(streams, "_SPARE", 0.0)  # about every second row goes on beyond its room
    monkeypatch.setattr(streams, "_CHUNK", 7000)
    again = pairs(3, "connectivity/loop", p, 60, 1000)
    assert np.array_equal(again[0], pre) and np.array_equal(again[1], post)


@pytest.mark.parametrize("p", [0.02, 0.5, 0.9])
def test_each_pair_has_its_probability(p: float) -> None:
    pre, post = pairs(0, "connectivity/x", p, 400, 250)
    assert stats.binomtest(len(pre), 400 * 250, p).pvalue > 1e-3
    for counts, n in ((np.bincount(pre, minlength=400), 250), (np.bincount(post, minlength=250), 400)):
        spread = counts.var() / (n * p * (1 - p))
        assert 0.8 < spread < 1.2
    assert stats.chisquare(np.bincount(post, minlength=250)).pvalue > 1e-3


def test_self_connections_are_left_out_of_the_same_draw() -> None:
    every = next(iter(resolve(network(300, Probability(0.1))).wires.values()))
    others = network(300, Probability(0.1, self_connections=False))
    found = resolve(others).wires[others.projections[0].name]
    kept = every.pre_index != every.post_index
    assert 10 < (~kept).sum() < 60
    assert np.array_equal(found.pre_index, every.pre_index[kept]) and np.array_equal(
        found.post_index, every.post_index[kept]
    )


def test_random_connections_cost_what_they_are() -> None:
    tracemalloc.start()
    wires = next(iter(resolve(network(20_000, Probability(0.0005))).wires.values()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 190_000 < len(wires.pre_index) < 210_000
    assert peak < 40e6  # [pre, post] would be 400 MB of truth values


@pytest.mark.parametrize("backend", EVERYWHERE)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: network(10**12), r"population 'cells': 10+ cells need 14\.\d+ TiB, and this machine has"),
        (lambda: network(10**6, AllToAll()), r"projection 'loop': 1000000 x 1000000 synapses need 7\.\d+ TiB"),
        (lambda: network(10**6, AllToAll(self_connections=False)), "projection 'loop'.* TiB"),
        (
            lambda: network(10**6, Probability(0.5)),
            "projection 'loop': 1000000 x 1000000 synapses at p = 0.5 need .* TiB",
        ),
        (lambda: network(10**30), "population 'cells': the size .* fits no machine"),
        (
            lambda: from_json(to_json(network(10)).replace('"size":10,', '"size":1000000000000,')),
            "population 'cells'.* TiB",
        ),
        (lambda: from_json(to_json(network(10)).replace('"size":10,', f'"size":{10**400},')), "population 'cells'"),
    ],
)
def test_what_cannot_fit_is_refused_by_name_and_size(backend: str, make: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        backends.get(backend).compile(make())


TRILLION, MILLION = '"size":1000000000000,', '"size":1000000,'
HUGE: dict[str, tuple[Any, dict[str, str], str]] = {  # connectivity; what a file says instead of '"size":10,' and others; the answer
    "FixedTotal": (FixedTotal(9), {'"n":9': '"n":1000000000000'}, "1000000000000 synapses need 21.83 TiB"),
    "no multapses": (FixedTotal(9, False), {'"n":9': '"n":900000000000', '"size":10,': MILLION}, "900000000000 synapses need 19.65 TiB"),
    "FixedInDegree": (FixedInDegree(9), {'"k":9': '"k":100000000000'}, "1000000000000 synapses need 21.83 TiB"),
    "FixedOutDegree": (FixedOutDegree(9), {'"k":9': '"k":100000000000'}, "1000000000000 synapses need 21.83 TiB"),
    "AllToAll": (AllToAll(), {'"size":10,': MILLION}, "1000000 x 1000000 synapses need 7.276 TiB"),
    "Probability": (Probability(0.5), {'"size":10,': MILLION}, "1000000 x 1000000 synapses at p = 0.5 need 10.91 TiB"),
    "OneToOne": (OneToOne(), {'"size":10,': TRILLION}, "1000000000000 synapses need 21.83 TiB"),
}  # fmt: skip


@pytest.mark.parametrize("backend", [*EVERYWHERE, "snntorch"])
@pytest.mark.parametrize("kind", HUGE)
def test_a_file_that_asks_for_too_much_is_refused_before_anything_is_made(kind: str, backend: str) -> None:
    compiled, (connectivity, changes, said) = backends.get(backend).compile, HUGE[kind]
    file = to_json(network(10, connectivity))
    for text, huge in changes.items():
        assert text in file
        file = file.replace(text, huge)
    tracemalloc.start()
    with pytest.raises(ModelError, match=f"projection 'loop': {said}, and this machine has"):
        compiled(from_json(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("cutoff", [None, 2.0])
def test_distances_that_join_too_many_are_refused_before_they_are_drawn(cutoff: float | None) -> None:
    """A sample of pairs tells."""
    places = np.random.default_rng(0).random((1_000_000, 1))

    def made(profile: str) -> Network:
        cells = Population("cells", CELL, len(places), positions=places)
        loop = Projection("loop", "cells", "cells", PULSE, weights=0.1, connectivity=Distance(profile, cutoff))
        return Network((cells,), (loop,), dt="0.1 ms")

    tracemalloc.start()
    with pytest.raises(ModelError, match=r"projection 'loop': about 8\.\d+e\+11 synapses need 1\d\.\d+ TiB"):
        resolve(made("1 - 0.5*d")).wires  # noqa: B018  it draws
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**28


@pytest.mark.parametrize("backend", EVERYWHERE)
@pytest.mark.parametrize("options", [{"steps": 10**15}, {"steps": 10**30}, {"steps": 1000, "batch": 10**12}])
def test_runs_that_cannot_fit_are_refused_by_size(backend: str, options: Any) -> None:
    with pytest.raises(RunError, match=r"[PGT]iB|is no count"):
        backends.get(backend).compile(network(3)).run(**options)


def test_bytes_in_words() -> None:
    assert [in_words(n) for n in (0, 1023, 1536, 2**40, 1e16, 1e30)] == [
        "0 bytes",
        "1023 bytes",
        "1.5 KiB",
        "1 TiB",
        "8.882 PiB",
        "8.882e+14 PiB",
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Normal("1 ms", "5 ms"), "population 'cells', parameter 'tau' drawn: 'tau' must be positive"),
        (Normal("10 ms", "5 ms"), "population 'cells', parameter 'tau' drawn.*lies outside its bounds"),
    ],
)
def test_drawn_parameters_obey_the_rules_of_given_ones(value: Normal, said: str) -> None:
    cell = Neuron(
        "cell",
        "dv/dt = -v/tau : 1",
        parameters={"tau": "10 ms"},
        bounds={"tau": ("5 ms", "20 ms")} if value.mean.value > 2e-3 else {},
    )
    with pytest.raises(ModelError, match=said):
        parameters(Network((Population("cells", cell, 200, {"tau": value}),), dt="0.1 ms"))


@pytest.mark.parametrize("name", ["delay", "weights"])
def test_a_variable_of_a_receptor_may_be_called_as_a_part_of_its_projection(name: str) -> None:
    """One value per synapse of the projection's own part is no value of the cell's variable."""
    synapse = Synapse(
        "r", "w : 1", on_pre=f"{name}_post += w", receptor=f"d{name}/dt = -{name}/(5*ms) : 1\nI = {name} : 1"
    )
    cells = Population("cells", Neuron("n", "dv/dt = (I - v)/(10*ms) : 1\nI : 1"), 2)
    each: dict[str, Any] = {
        "delay": quantity([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]], "ms"),
        "weights": quantity(np.ones((3, 2))),
    }

    def made(**given: Any) -> Network:
        return Network(
            (cells,), (Projection("p", "x", "cells", synapse, **{**each, **given}),), (Input("x", 3),), dt="1 ms"
        )

    assert made().projections[0].delay.value.shape == (3, 2)  # type: ignore[union-attr]
    with pytest.raises(ModelError, match=f"projection 'p', {name}: '{name}' has the shape"):
        made(**{name: quantity(np.ones(2), "ms" if name == "delay" else "1")})


def test_a_receptor_takes_the_parameters_of_its_projection() -> None:
    synapse = Synapse(
        "r",
        "w : hertz",
        on_pre="g_post += w",
        receptor="dg/dt = -g/tau : hertz\nI = g : hertz",
        parameters={"tau": "5 ms"},
    )
    cell = Neuron("n", "dv/dt = -v/(10*ms) + I : 1\nI : hertz")
    spikes = np.zeros((1, 30, 1), bool)
    spikes[0, 0] = True

    def trace(**given: Any) -> np.ndarray:
        other = Projection(
            "q", "x", "cells", synapse, weights="10 Hz"
        )  # both meet in one cell, with two time constants
        feed = Projection("p", "x", "cells", synapse, weights="10 Hz", parameters=given)
        made = Network((Population("cells", cell, 1),), (feed, other), (Input("x", 1),), dt="1 ms")
        found = [
            backends.get(b).compile(made).run(inputs={"x": spikes}, record=["cells.v"]).traces["cells.v"]
            for b in EVERYWHERE
        ]
        for each in found[1:]:
            np.testing.assert_allclose(each, found[0], rtol=1e-9)
        return found[0]  # type: ignore[no-any-return]

    plain = trace()
    np.testing.assert_array_equal(trace(tau="5 ms"), plain)
    assert trace(tau="50 ms")[0, -1, 0] > 1.5 * plain[0, -1, 0] > 0

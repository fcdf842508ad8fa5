"""Sparse synapses as kernels have them: grouped by part of the targets and by delay, and as they were to whoever looks from outside."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import backends
from backends.native import arrangement, compiled
from neuro import (
    FixedInDegree,
    FixedOutDegree,
    FixedTotal,
    Input,
    Network,
    Normal,
    Pairs,
    Population,
    Probability,
    Projection,
    RunError,
    Synapse,
    quantity,
)
from neuro.compiler import connecting, streams
from neuro.compiler.parameters import parameters, values
from neuro.compiler.resolve import resolve
from neuro.compiler.sharing import PART
from neuro.compiler.wiring import Rows
from tests.backends.networks import LIF, REFRACTORY_LIF, STDP, drive

PULSE = Synapse("pulse", "w : volt", on_pre="v_post += w")
CURRENT = Synapse("current", "w : amp", on_pre="I_post += w")
FORMS = ("own delays", "one delay", "both", "thin", "plastic", "into an input")


def network(form: str, cells: int = 40, count: int = 6000, **options: Any) -> Network:
    """Pairs in any order, many of them twice; an input, and a loop."""
    rng = np.random.default_rng(4)
    count = 120 if form == "thin" else 600 if form == "plastic" else count
    delays = quantity(rng.integers(0, 9, count) * 1.0, "ms")
    synapse = {"plastic": STDP, "into an input": CURRENT}.get(form, PULSE)
    mean = 0.02 if form == "into an input" else 0.2 if count > 1000 else 2.0
    unit = "nA" if form == "into an input" else "mV"
    weights = quantity(rng.normal(mean, mean, count).clip(0.01 * mean), unit)
    loop = Projection(
        "loop", "cells", "cells", synapse, weights, Pairs(*rng.integers(0, cells, (2, count))),
        delay="2 ms" if form == "one delay" else delays, **options,
    )  # fmt: skip
    feed = Projection("feed", "x", "cells", PULSE, "6 mV", Pairs(np.arange(40), rng.integers(0, cells, 40)))
    few = rng.integers(0, cells, (2, 120))
    more = [Projection("soon", "cells", "cells", PULSE, "0.5 mV", Pairs(*few), delay="3 ms")] if form == "both" else []
    group = Population(
        "cells",
        LIF if form == "one delay" else REFRACTORY_LIF,
        cells,
        initial={"v": Normal(quantity("-60 mV"), quantity("4 mV"))},
    )
    return Network((group,), (feed, loop, *more), (Input("x", 40),), dt="1 ms", seed=2, name="compact")


@pytest.fixture
def small_teams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads share the cells of small networks too."""
    monkeypatch.setattr(compiled, "WORTH", 1)


def native(item: Network, **options: Any) -> Any:
    return backends.get("native").compile(item, **options)


def same(a: Any, b: Any) -> None:
    """Bit for bit."""
    np.testing.assert_array_equal(a.spikes["cells"], b.spikes["cells"])
    np.testing.assert_array_equal(a.traces["cells.v"], b.traces["cells.v"])
    for name in a.final:
        np.testing.assert_array_equal(a.final[name], b.final[name])


@pytest.mark.usefixtures("small_teams")
@pytest.mark.parametrize("form", FORMS)
def test_the_interpreters_spikes_for_any_number_of_threads(form: str) -> None:
    item = network(form)
    inputs = drive(item, batch=9, steps=80)
    asked: dict[str, Any] = {"record": ["cells.v"]}
    reference = backends.get("reference").compile(item).run(inputs=inputs, **asked)
    first = {n: a[:1] for n, a in inputs.items()}
    assert reference.spikes["cells"].sum() > 300
    alone = native(item).run(inputs=first, **asked)
    for threads in (1, 2, 3):
        program = native(item, threads=threads)
        found = program.run(inputs=inputs, **asked)  # tiles of trials
        np.testing.assert_array_equal(found.spikes["cells"], reference.spikes["cells"])
        np.testing.assert_allclose(found.traces["cells.v"], reference.traces["cells.v"], rtol=1e-9)
        for name in reference.final:
            np.testing.assert_allclose(found.final[name], reference.final[name], rtol=1e-9)
        same(program.run(inputs=first, **asked), alone)  # one trial, whose cells the threads share
    grouped = native(item).compiled.arrangements["loop"].grouped
    assert grouped == (form in ("own delays", "both", "plastic", "into an input"))


@pytest.mark.usefixtures("small_teams")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_a_run_cut_anywhere_and_a_session_are_the_whole(form: str, threads: int) -> None:
    item = network(form)
    program, inputs = native(item, threads=threads), drive(item, batch=1, steps=60)
    whole = program.run(inputs=inputs, record=["cells.v"])
    for cut in (1, 5, 30):
        state = program.run(inputs={"x": inputs["x"][:, :cut]}).state
        rest = program.run(inputs={"x": inputs["x"][:, cut:]}, state=state, record=["cells.v"])
        np.testing.assert_array_equal(rest.traces["cells.v"], whole.traces["cells.v"][:, cut:])
    session = program.session(1, record=["cells.v"])
    parts = [session.step({"x": inputs["x"][:, n : n + 4]}) for n in range(0, 60, 4)]
    np.testing.assert_array_equal(np.concatenate([p.traces["cells.v"] for p in parts], 1), whole.traces["cells.v"])


@pytest.mark.usefixtures("small_teams")
@pytest.mark.parametrize("form", ["own delays", "thin"])
def test_weights_that_a_run_brings_are_in_the_definitions_order(form: str) -> None:
    item = network(form)
    inputs, own = drive(item, batch=1, steps=60), values(item)["loop.w"]
    other = np.random.default_rng(0).permutation(own)
    projection = replace(item.projection("loop"), weights=quantity(other, "volt"))
    defined = replace(item, projections=(item.projection("feed"), projection))
    for threads in (1, 2):
        program = native(item, threads=threads)
        wanted = native(defined).run(inputs=inputs, record=["cells.v"])
        same(program.run({"loop.w": other}, inputs, record=["cells.v"]), wanted)
        sets = program.run({"loop.w": np.stack([own, other])}, inputs, record=["cells.v"], population=2)
        np.testing.assert_array_equal(sets.traces["cells.v"][1], wanted.traces["cells.v"])
        assert (sets.traces["cells.v"][0] != sets.traces["cells.v"][1]).any()


@pytest.mark.usefixtures("small_teams")
@pytest.mark.parametrize("form", ["own delays", "plastic"])
def test_gradients_for_any_number_of_threads(form: str) -> None:
    """To rounding: what a source gets is summed over its row, whose parts are the threads'."""
    item, found = network(form), []
    for threads in (1, 2, 3):
        loss = lambda s: (s.traces["cells.v"] ** 2).sum()
        slopes = native(item, threads=threads).value_and_grad(
            loss, {}, drive(item, batch=1, steps=40), ["loop.w", "feed.w"], ["cells.v"]
        )[1]
        found.append(slopes)
    for n, wanted in found[0].items():
        assert np.abs(wanted).max() > 0
        for other in found[1:]:
            np.testing.assert_allclose(other[n], wanted, rtol=1e-9, atol=1e-13 * np.abs(wanted).max())


@pytest.mark.parametrize("form", ["own delays", "one delay", "thin"])
def test_gradients_are_torchs(form: str) -> None:
    item = network(form)
    inputs, found = drive(item, batch=2, steps=40), []
    for backend in ("native", "torch"):
        program: Any = backends.get(backend).compile(item, dtype="float64")
        found.append(
            program.value_and_grad(
                lambda s: (s.traces["cells.v"] ** 2).sum(), {}, inputs, ["loop.w", "feed.w"], ["cells.v"]
            )[1]
        )
    for name in found[0]:
        assert np.abs(found[1][name]).max() > 0
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-7, atol=1e-9 * np.abs(found[1][name]).max())


def test_recorded_weights_are_in_the_definitions_order() -> None:
    item = network("plastic")
    inputs = drive(item, batch=1, steps=60)
    chosen = {"loop.w": [3, 599, 0, 17]}
    found = [backends.get(n).compile(item).run(inputs=inputs, record=chosen) for n in ("native", "reference")]
    np.testing.assert_allclose(found[0].traces["loop.w"], found[1].traces["loop.w"], rtol=1e-9)
    assert np.ptp(found[0].traces["loop.w"], axis=1).max() > 0


@pytest.mark.parametrize(("dtype", "most"), [("float32", 10), ("float64", 14)])
def test_bytes_of_a_synapse(dtype: str, most: float) -> None:
    """With a weight and a delay each: target, weight, delay, and a share of where groups begin."""
    item = network("own delays", cells=300, count=300_000)
    program = native(item, dtype=dtype)
    assert program.compiled.arrangements["loop"].grouped
    held = {n: a for n, a in _arrays(program).items() if "loop" in n}
    kept = resolve(item).delays["loop"].nbytes  # type: ignore[union-attr]
    assert 8 < (sum(a.nbytes for a in held.values()) + kept) / 300_000 <= most
    assert "rows" not in vars(resolve(item).wires["loop"].listed) and "loop" not in program.compiled.order.kept


BUILT = {
    "total": FixedTotal(1_000_000), "total, no multapses": FixedTotal(1_000_000, False), "in": FixedInDegree(500),
    "out, no multapses": FixedOutDegree(500, False), "probability": Probability(0.25),
}  # fmt: skip


def drawn(connectivity: Any, cells: int = 2000) -> Network:
    group = Population("cells", LIF, cells)
    delay = Normal("1.5 ms", "0.75 ms", low="0.1 ms", outside="redraw")
    loop = Projection("loop", "cells", "cells", PULSE, Normal("0.1 mV", "0.01 mV", "0 mV"), connectivity, delay)
    return Network((group,), (loop,), dt="0.1 ms", seed=3)


@pytest.mark.parametrize("case", BUILT)
def test_building_needs_little_more_than_what_is_kept(case: str) -> None:
    """At its peak half more, and what a part of the synapses takes by the way."""
    native(drawn(FixedTotal(1000), 20), dtype="float32")  # what is loaded, and built once
    by_the_way = 2 * 8 * PART * 3  # bytes of numbers of a part, in twice three arrays
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    program = native(drawn(BUILT[case]), dtype="float32")
    kept, peak = (size - before for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    count = program.step.projection("loop").shape[0]
    assert program.compiled.arrangements["loop"].grouped and count > 900_000 and 9 * count < kept < 10 * count
    assert peak < 1.5 * kept + by_the_way


@pytest.mark.usefixtures("small_teams")
@pytest.mark.parametrize("case", BUILT)
def test_threads_build_the_same_synapses(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn, ordered and weighted: what each source sends to each target, when, and how much."""
    monkeypatch.setattr(compiled, "WORTH", 2**31)  # one order for any number of threads
    sizes = {
        "total": FixedTotal(80_000), "total, no multapses": FixedTotal(80_000, False), "in": FixedInDegree(270),
        "out, no multapses": FixedOutDegree(270, False), "probability": Probability(0.9),
    }  # fmt: skip
    for module in (connecting, streams, arrangement):
        monkeypatch.setattr(module, "PART" if module is arrangement else "_CHUNK", 1000)
    found = [_arrays(native(drawn(sizes[case], 300), threads=n)) for n in (1, 3)]
    for name in ("post__loop", "cuts__loop", "first__loop"):
        assert found[0][name].size > 100
    assert found[0].keys() == found[1].keys() and any(n.startswith("amounts") for n in found[0])
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array)


def test_one_weight_of_all_is_stored_once() -> None:
    item = network("own delays")
    loop = replace(item.projection("loop"), weights=quantity("0.2 mV"))
    item, inputs = replace(item, projections=(item.projection("feed"), loop)), drive(item, batch=1, steps=60)
    program = native(item)
    assert max(a.size for n, a in _arrays(program).items() if n.startswith("amounts")) == 1
    each = {"loop.w": np.full(6000, 0.2e-3)}
    same(program.run(inputs=inputs, record=["cells.v"]), program.run(each, inputs, record=["cells.v"]))


def test_synapses_that_were_given_back_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrangement, "MANY", 0)
    item = network("own delays")
    inputs, wires = drive(item, batch=1, steps=60), resolve(item).wires["loop"]
    before = wires.indices
    program = native(item)
    assert "rows" not in vars(wires.listed)
    other = {"loop.w": values(item)["loop.w"][::-1]}
    same(program.run(other, inputs, record=["cells.v"]), native(item).run(other, inputs, record=["cells.v"]))
    np.testing.assert_array_equal(wires.indices, before)
    pairs: Any = item.projection("loop").connectivity
    np.testing.assert_array_equal(wires.indices, (pairs.pre, pairs.post))


def test_many_drawn_numbers_are_kept_by_whoever_holds_them() -> None:
    item = network("own delays", count=600_000)
    loop = replace(item.projection("loop"), weights=Normal(quantity("1 mV"), quantity("1 mV")))
    found = parameters(replace(item, projections=(item.projection("feed"), loop)))["loop.w"]
    first = found.value
    assert found.value is first
    again = first.copy()
    del first
    np.testing.assert_array_equal(found.value, again)


def test_rows_of_pairs() -> None:
    pre, post = np.array([2, 0, 2, 2, 0]), np.array([5, 1, 0, 5, 1])
    rows = Rows.of(4, pre, post)
    assert rows.offsets.tolist() == [0, 2, 2, 5, 5] and rows.targets.tolist() == [1, 1, 5, 0, 5]
    np.testing.assert_array_equal(rows.index(), (pre, post))
    assert Rows.of(4, np.sort(pre), post).order is None


@pytest.mark.usefixtures("small_teams")
def test_a_row_longer_than_16_bits_count() -> None:
    rng, count = np.random.default_rng(0), 70_000
    loop = Projection(
        "loop", "x", "cells", PULSE, quantity(rng.normal(0.02, 0.002, count), "mV"), Pairs(np.zeros(count, int), rng.integers(0, 40, count)),
        delay=quantity(rng.integers(1, 4, count) * 1.0, "ms"),
    )  # fmt: skip
    item = network("own delays")
    item = replace(item, projections=(item.projection("feed"), loop))
    inputs = drive(item, batch=1, steps=12)
    programs: list[Any] = [backends.get("reference").compile(item), native(item), native(item, threads=2)]
    found = [p.run(inputs=inputs, record=["cells.v"]) for p in programs]
    assert found[0].spikes["cells"].sum() > 40
    np.testing.assert_array_equal(found[0].spikes["cells"], found[1].spikes["cells"])
    np.testing.assert_allclose(found[0].traces["cells.v"], found[1].traces["cells.v"], rtol=1e-9)
    same(found[1], found[2])


def test_a_projection_without_synapses() -> None:
    nothing = np.zeros(0, np.int64)
    item = network("plastic")
    empty = replace(
        item.projection("loop"),
        weights=quantity(np.zeros(0), "mV"),
        delay=quantity(np.zeros(0), "ms"),
        connectivity=Pairs(nothing, nothing),
    )
    item = replace(item, projections=(item.projection("feed"), empty))
    assert "0 synapses, delay 0 steps" in str(resolve(item))
    inputs = drive(item, batch=1, steps=60)
    found = [backends.get(n).compile(item).run(inputs=inputs).spikes["cells"] for n in ("native", "reference")]
    assert found[0].sum() > 10
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.usefixtures("small_teams")
def test_a_team_names_what_left_the_finite_numbers() -> None:
    item = network("own delays")
    said = []
    for threads in (1, 2):
        with pytest.raises(RunError) as error:
            native(item, threads=threads).run({"loop.w": np.full(6000, 1e308)}, drive(item, batch=1, steps=60))
        said.append(str(error.value))
    assert said[0] == said[1] and "is not finite at step" in said[0]


def _arrays(program: Any) -> dict[str, np.ndarray]:
    executable = program.compiled.executable((), 1)
    return program.compiled.fixed | program.compiled.constants(executable, {}, None)  # type: ignore[no-any-return]

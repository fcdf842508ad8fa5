"""Operations on random networks over the whole language: what must change nothing changes no bit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import backends
from neuro import ModelError, Network, Pairs, Recording
from neuro.compiler.drives import weight_of
from neuro.compiler.parameters import initial_state, parameters, values
from neuro.compiler.resolve import resolve
from neuro.surgery import Surgery, rearranged, removed
from neuro.surgery.arrays import moved, wired
from neuro.surgery.operation import numbered
from twinspike.fuzzing.networks import Case, generate, with_network
from twinspike.fuzzing.oracles.drawing import as_pairs, drawn
from twinspike.fuzzing.oracles.sharing import by_hand

SEEDS = range(70)
NOTHING = (3, 40, 17, 54)  # seeds of a removal of nothing
ROUNDING = 1e-12  # of sums in another order


@cache
def cases() -> list[tuple[int, Case, dict[str, Any]]]:
    """Seeds, random networks with their random numbers written down, but for noise, and inputs; those that are networks. Weights that
    projections share are put in by hand: cells of one end alone can't leave them."""
    found = []
    for seed in SEEDS:
        case = generate(seed)
        with suppress(ModelError):
            resolve(case.network).network  # noqa: B018  receptors that can't live together are found out here
            found.append((seed, *drawn(with_network(case, by_hand(case.network)))))
    return found


def chosen(network: Network, seed: int) -> tuple[str, np.ndarray[Any, Any]] | None:
    """A population of at least three cells without noise or indices, at synapses that draw no numbers either, and one or two of them."""
    random, merged = np.random.default_rng([seed, 5]), resolve(network).network
    fitting = [p for p in network.populations if p.size > 2 and not merged.population(p.name).neuron.scope.noise]
    drawing = {end for p in merged.projections if p.synapse.scope.noise for end in (p.pre, p.post)}
    fitting = [p for p in fitting if not numbered(network, p.name) and p.name not in drawing]
    if not fitting:
        return None
    population = fitting[random.integers(len(fitting))]
    return population.name, np.sort(random.choice(population.size, random.integers(1, 3), replace=False))


def unheard(network: Network, name: str, cells: np.ndarray[Any, Any]) -> Network:
    """The network with all its synapses in lists, those from these cells left out."""

    def of(p: Any) -> Any:
        wires = resolve(network).wires[p.name]
        there = np.flatnonzero(np.ones(wires.shape, bool) if wires.mask is None else wires.mask)
        kept = ~np.isin(wires.pre_index[there], cells) if p.pre == name else np.ones(len(there), bool)
        return as_pairs(network, p, np.flatnonzero(kept))

    return replace(network, projections=tuple(of(p) for p in network.projections))


def same(cut: Surgery, before: Recording, after: Recording, rounding: float = 0.0) -> None:
    """Everything that is left has the same numbers."""
    for name, trace in before.traces.items():
        expected = moved(trace, cut.axes(name.partition(".")[0]))
        assert expected.shape == after.traces[name].shape, name
        scale = np.abs(expected).max(initial=0.0)
        np.testing.assert_allclose(after.traces[name], expected, rtol=0, atol=rounding * scale, err_msg=name)
    for name, raster in before.spikes.items():
        np.testing.assert_array_equal(after.spikes[name], raster[..., cut.cells] if name == cut.population else raster)


def run(case: Case, network: Network, inputs: Mapping[str, Any], backend: str, **options: Any) -> Recording:
    return with_network(case, network).run(backends.get(backend).compile(network), inputs=inputs, **options)


@pytest.mark.parametrize("backend", ["reference"])
def test_cells_that_nothing_reads_leave_without_a_trace(backend: str) -> None:
    """Also from a state in the middle, which goes on in the smaller network."""
    done = 0
    for seed, case, inputs in cases():
        if (found := chosen(case.network, seed)) is None:
            continue
        network = unheard(case.network, *found)
        cut = removed(network, *found, noise="anew")  # counts of drives are written down
        assert cut.after.population(found[0]).size == network.population(found[0]).size - len(found[1])
        whole = run(case, network, inputs, backend)
        own = cut.inputs(inputs)
        same(cut, whole, run(case, cut.after, own, backend))
        same(cut, whole, run(case, cut.after, own, backend, parameters=cut.parameters(values(network))))
        half = case.steps // 2
        first = run(case, network, {n: a[:, :half] for n, a in inputs.items()}, backend, steps=half)
        rest = run(
            case, cut.after, {n: a[:, half:] for n, a in own.items()}, backend, steps=case.steps - half, state=cut.state(first.state)
        )  # fmt: skip
        late = {n: t[:, half:] for n, t in whole.traces.items()}
        same(cut, Recording(whole.dt, {n: r[:, half:] for n, r in whole.spikes.items()}, late), rest)
        done += 1
    assert done > 20


def restored(cut: Surgery) -> Surgery:
    """The cells that were removed, added again at their places with all that they had."""
    network, name, places = cut.before, cut.population, np.full(cut.before.population(cut.population).size, -1)
    places[cut.cells] = np.arange(len(cut.cells))
    touched = [p for p in network.projections if name in (p.pre, p.post)]
    owners = {name, *(p.name for p in touched)}
    item = network.population(name)
    formed = {f"{name}.{n}" for n in item.neuron.scope.formed}  # anew in each step
    formed |= {f"{p.name}.{e.name}" for p in touched for e in p.synapse.scope.of_kind("held")}
    own = {f"{name}.{n}" for n in (*item.values(), *item.neuron.scope.states)}
    held = {n: p.value for n, p in parameters(network).items()} | initial_state(network)
    given = {
        n: v for n, v in held.items()
        if n.partition(".")[0] in owners and np.ndim(v) and n not in formed and (n in own or n.partition(".")[0] != name)
    }  # fmt: skip
    for drive in (i for i in network.inputs if i.kind == "drive" and wired(i, item)):
        of_each = {f"{drive.name}.rate": drive.rate, f"{name}.{weight_of(drive.name)}": drive.weight}
        given |= {n: v for n, v in of_each.items() if v is not None and v.shape}
    if item.positions is not None:
        given[f"{name}.positions"] = item.positions.value
    lists = {p.name: p for p in touched if resolve(cut.after).wires[p.name].kind == "sparse"}
    return rearranged(
        cut.after, name, places, noise="anew", values=given, delays={p.name: p.delay for p in touched},
        pairs={n: resolve(network).wires[n].indices for n in lists},
    )  # fmt: skip


def test_removed_and_added_again_is_the_same_network() -> None:
    done = 0
    for seed, case, inputs in cases():
        network = case.network
        random = np.random.default_rng([seed, 6])
        item = network.populations[random.integers(len(network.populations))]
        if item.size < 3 or numbered(network, item.name):
            continue
        cut = removed(
            network, item.name, random.choice(item.size, random.integers(1, item.size - 1), replace=False), noise="anew"
        )
        back = restored(cut)
        assert [i.size for i in back.after.inputs] == [i.size for i in network.inputs]
        a, b = (run(case, n, inputs, "reference") for n in (network, back.after))
        for name, trace in a.traces.items():
            np.testing.assert_array_equal(trace.reshape(b.traces[name].shape), b.traces[name], err_msg=f"{seed} {name}")
        for name, raster in a.spikes.items():
            np.testing.assert_array_equal(raster, b.spikes[name])
        whole = back.arrays(cut.arrays({n: p.value for n, p in parameters(network).items()}), np.nan)
        for name, value in values(network).items():
            there = np.isfinite(whole[name])
            np.testing.assert_array_equal(whole[name][there], value.reshape(whole[name].shape)[there])
        done += 1
    assert done > 20


def test_another_order_changes_nothing_but_the_order() -> None:
    """A permutation and its inverse give the definition back."""
    done = exact = 0
    for seed, case, inputs in cases():
        if (found := chosen(case.network, seed)) is None:
            continue
        name, network = found[0], case.network
        order = np.random.default_rng(seed).permutation(network.population(name).size)
        turned = rearranged(network, name, order, noise="anew")
        whole, other = (
            run(case, network, inputs, "reference"),
            run(case, turned.after, turned.inputs(inputs), "reference"),
        )
        same(turned, whole, other, ROUNDING)
        exact += all(
            np.array_equal(moved(t, turned.axes(n.partition(".")[0])), other.traces[n]) for n, t in whole.traces.items()
        )
        again = rearranged(turned.after, name, np.argsort(order), noise="anew")
        for key, value in values(network).items():
            np.testing.assert_array_equal(values(again.after)[key], value.reshape(values(again.after)[key].shape))
        done += 1
    assert done > 20 and exact > 0.7 * done


@pytest.mark.parametrize("seed", NOTHING)
def test_removal_of_nothing_is_the_network_itself(seed: int) -> None:
    network = generate(seed).network
    for population in network.populations:
        nothing = removed(network, population.name, [])
        assert nothing.after is network
        for name, value in values(network).items():
            np.testing.assert_array_equal(nothing.parameters({name: value})[name], value)


def test_channels_that_are_wired_to_cells_go_with_them() -> None:
    """Among the random networks there are some, so that the tests above mean them too."""
    found = [
        (p, i) for _, case, _ in cases() for p in case.network.populations for i in case.network.inputs if wired(i, p)
    ]  # fmt: skip
    assert len(found) > 3
    lists = [p for _, case, _ in cases() for p in case.network.projections if isinstance(p.connectivity, Pairs)]
    assert len(lists) > 10

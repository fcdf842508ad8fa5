"""What every registered target must obey, another package's too; its own profile says which network it gets and which it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import backends
from neuro import Input, Network, Projection, quantity
from neuro.compiler.parameters import values
from neuro.export import ExportError, targets
from neuro.export.lint import lint
from neuro.export.nir.importer import import_nir
from neuro.export.profile import NeuronKind, Profile
from neuro.export.targets import Export
from neuro.io.serialisation import from_json, to_json
from tests.backends.able import able
from tests.export import networks

each_target = pytest.mark.parametrize("name", targets.names())
READERS = {".nir": import_nir}  # of files that we read ourselves; other programs read the rest: tests/hardware


def profile_of(name: str) -> Profile:
    return targets.get(name).profile


each_integer_target = pytest.mark.parametrize("name", [n for n, p in networks.profiles().items() if p.integer])
each_readable_target = pytest.mark.parametrize(
    "name", [n for n, p in networks.profiles().items() if p.suffix in READERS]
)


def digits(name: str) -> tuple[Network, dict[str, Any]]:
    """An untrained digits network that the profile holds, and 20 images."""
    task = networks.digits_task(profile_of(name))
    return task.network(0), {"pixels": np.asarray(task.test_batch().inputs["pixels"][:20])}


def exported(name: str, folder: Path, network: Network, parameters: Any = None) -> Export:
    folder.mkdir(parents=True, exist_ok=True)
    return targets.get(name).export(network, parameters, folder / f"net{profile_of(name).suffix}")


def run(network: Network, inputs: Any, *record: str, parameters: Any = None, backend: str = "reference") -> Any:
    return backends.get(backend).compile(network).run(parameters, inputs, record)


# -- what it says of itself -----------------------------------------------------------------------------------------


@each_target
def test_profile(name: str, tmp_path: Path) -> None:
    profile = profile_of(name)
    assert profile.name == name and profile.title
    assert profile.suffix.startswith(".") and len(profile.suffix) > 1
    assert profile.neurons and set(profile.neurons) <= set(get_args(NeuronKind))
    assert profile.thresholds and profile.resets and 0 <= profile.delays[0] <= profile.delays[1]
    assert profile.integer == (profile.weight is not None) and (profile.integer or profile.threshold is None)


def latencies(name: str, network: Network) -> dict[str, int]:
    """Population -> steps by which a chain's spikes come later in the network, where each layer takes one, than on the target."""
    found, late, pre = {}, 1 - profile_of(name).input_latency, network.inputs[0].name
    while following := [p.post for p in network.projections if p.pre == pre and p.post != pre]:
        (pre,) = following
        found[pre] = late
        late += 1 - profile_of(name).layer_latency
    return found


@each_target
def test_a_network_that_fits_is_written(name: str, tmp_path: Path) -> None:
    """Its files and nothing else, the main one first; integers have the network's populations, inputs and step."""
    network, _ = digits(name)
    assert [p for p in lint(network, profile_of(name)) if not p.warning] == []
    export = exported(name, tmp_path, network)
    assert export.target == name and export.files[0] == tmp_path / f"net{profile_of(name).suffix}"
    assert sorted(export.files) == sorted(tmp_path.iterdir()) and all(p.stat().st_size for p in export.files)
    assert dict(export.latency) == latencies(name, network)
    assert (export.integers is not None) == (export.quantised is not None) == profile_of(name).integer
    if export.integers is not None:
        same = [
            {(p.name, p.size) for p in n.populations} | {(i.name, i.size) for i in n.inputs}
            for n in (network, export.integers)
        ]
        assert same[0] == same[1] and export.integers.dt == network.dt
        assert set(export.guards) <= {
            f"{p.name}.{v}" for p in export.integers.populations for v in p.neuron.scope.states
        }


@each_target
def test_the_same_network_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Also where its own parameters are given; others give other ones, and replace the files."""
    network, _ = digits(name)
    first, again = exported(name, tmp_path / "a", network), exported(name, tmp_path / "b", network, values(network))
    for a, b in zip(first.files, again.files, strict=True):
        assert a.name == b.name and a.read_bytes() == b.read_bytes()
    assert first.integers == again.integers
    for parameter, value in (first.quantised or {}).items():
        np.testing.assert_array_equal(value, again.quantised[parameter])  # type: ignore[index]
    other = {n: -v for n, v in values(network).items() if n.endswith(".w")}
    changed = exported(name, tmp_path / "b", network, other)
    assert changed.files == again.files and changed.files[0].read_bytes() != first.files[0].read_bytes()


# -- what it computes -----------------------------------------------------------------------------------------------


@each_integer_target
def test_its_integers_are_the_same_on_every_backend(name: str, tmp_path: Path) -> None:
    """And after a way through a file."""
    network, inputs = digits(name)
    export = exported(name, tmp_path, network)
    assert export.integers is not None
    inputs = {n: value[:2] for n, value in inputs.items()}
    voltages = [f"{p.name}.v" for p in export.integers.populations]
    given = export.integer_parameters
    ours = run(export.integers, inputs, *voltages, parameters=given)
    assert ours.spikes["hidden"].sum() > 30
    again = from_json(to_json(export.integers))
    for backend in able("state"):
        computed = again if backend == "reference" else export.integers
        theirs = run(computed, inputs, *voltages, parameters=given, backend=backend)
        for population, raster in ours.spikes.items():
            np.testing.assert_array_equal(theirs.spikes[population], raster)
        for voltage in voltages:
            np.testing.assert_array_equal(theirs.traces[voltage], ours.traces[voltage])
            np.testing.assert_array_equal(ours.traces[voltage], np.round(ours.traces[voltage]))


@each_integer_target
def test_what_the_integers_stand_for_explains_them(name: str, tmp_path: Path) -> None:
    """The float network at the values that the integers stand for fires nearly their spikes; only truncation is left."""
    network, inputs = digits(name)
    export = exported(name, tmp_path, network)
    assert export.integers is not None and export.quantised is not None
    meant = run(network, inputs, parameters=export.quantised).spikes["hidden"]
    integers = run(export.integers, inputs, parameters=export.integer_parameters).spikes["hidden"]
    assert meant.sum() > 300 and (meant != integers).sum() < 0.1 * meant.sum()
    assert export.rounding["weights"] > 0 and export.rounding["leaks"] < 0.01
    trained, profile = values(network), profile_of(name)
    steps = min(held.high // held.step for held in (*(profile.mixed_weight or ()), profile.weight) if held is not None)
    for population in network.populations:  # half a step at most, as a root mean square: some may be clipped
        into = [f"{p.name}.w" for p in network.projections if p.post == population.name]
        off = np.concatenate([(export.quantised[n] - trained[n]).ravel() for n in into])
        largest = max(float(np.abs(trained[n]).max()) for n in into)
        assert 0 < np.sqrt(np.mean(off**2)) < 0.5 * largest / steps


@each_readable_target
def test_a_file_that_we_read_fires_the_same_spikes(name: str, tmp_path: Path) -> None:
    network, inputs = digits(name)
    export = exported(name, tmp_path, network)
    read = READERS[profile_of(name).suffix](export.files[0])
    ours, theirs = run(network, inputs).spikes, run(read, inputs).spikes
    assert ours["hidden"].sum() > 300 and ours["output"].sum() > 50
    for population, raster in ours.items():
        np.testing.assert_array_equal(theirs[population], raster)


# -- what it refuses ------------------------------------------------------------------------------------------------


def misfits(profile: Profile, network: Network) -> Iterator[tuple[str, Network]]:
    """Networks that the profile doesn't hold, each with the field that says why."""
    hidden, *rest = network.populations
    feed = network.projections[0]

    def cells(**changes: Any) -> Network:
        return replace(network, populations=(replace(hidden, neuron=replace(hidden.neuron, **changes)), *rest))

    def task(**changes: Any) -> Network:
        return networks.digits_task(profile, **changes).network(0)

    noise = hidden.neuron.equations.replace(")/tau_m : volt", ")/tau_m + 1*mV*xi/sqrt(tau_m) : volt")
    assert noise != hidden.neuron.equations
    yield "noise", cells(equations=noise, method="euler")
    yield "refractory", cells(refractory=quantity("3 ms"))
    late = quantity(profile.delays[1] + 1.0, "ms")
    yield "delay", replace(network, projections=(replace(feed, delay=late), *network.projections[1:]))
    for kind in ("lif", "cuba_lif"):
        if kind not in profile.neurons:
            yield "neuron", task(neuron=kind)
    for reset in ("zero", "subtract"):
        if reset not in profile.resets:
            yield "reset", task(reset=reset)
    if ">=" not in profile.thresholds:
        yield "threshold", cells(threshold="v >= v_th")
    if not profile.recurrence:
        yield "recurrence", task(recurrent=True)
    if not profile.currents:
        bias = Input("bias", hidden.size, "current", "hidden.I")
        yield "kind", replace(network, inputs=(*network.inputs, bias))
    if profile.chain:
        skip = Projection("skip", "pixels", "output", feed.synapse, "0.1 nA")
        yield "layers", replace(network, projections=(*network.projections, skip))
        yield "inputs", replace(network, inputs=(*network.inputs, Input("more", 3)))
    if not profile.output_recurrence:
        loop = Projection("loop", "output", "output", feed.synapse, "0.1 nA")
        yield "recurrence", replace(network, projections=(*network.projections, loop))
    if not profile.self_connections:
        loop = Projection("loop", "hidden", "hidden", feed.synapse, "0.1 nA")
        yield "self-connections", replace(network, projections=(*network.projections, loop))
    if profile.inputs is not None and profile.inputs < 64:
        yield "size", task(pixels=64)
    if profile.hidden is not None:
        yield "size", task(hidden=profile.hidden + 1)
    if profile.outputs is not None and profile.outputs < 10:
        yield "size", task(classes=profile.outputs + 1)


@each_target
def test_what_the_profile_does_not_hold_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """As lint says before; an older file stays as it was, and nothing is left beside it."""
    tmp_path.mkdir(exist_ok=True)
    profile = profile_of(name)
    path = tmp_path / f"net{profile.suffix}"
    path.write_bytes(b"older")
    refused = list(misfits(profile, digits(name)[0]))
    assert len(refused) >= 5
    for field, network in refused:
        found = {(p.where, p.field) for p in lint(network, profile) if not p.warning}
        assert field in {f for _, f in found}, f"{field}: {found}"
        with pytest.raises(ExportError) as caught:
            targets.get(name).export(network, None, path)
        assert (caught.value.where, caught.value.field) in found and caught.value.why
        assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"older"


@each_target
def test_wrong_parameters_are_refused_by_name(name: str, tmp_path: Path) -> None:
    network, _ = digits(name)
    for parameters, message in (
        ({"none.w": np.array(1.0)}, r"parameter 'none.w', name"),
        ({"pixels_to_hidden.w": np.zeros(3)}, r"parameter 'pixels_to_hidden.w', shape"),
        ({"hidden.v_th": np.array(np.nan)}, r"parameter 'hidden.v_th', value"),
    ):
        with pytest.raises(ExportError, match=message):
            exported(name, tmp_path, network, parameters)
        assert not list(tmp_path.iterdir())


@each_target
def test_a_failed_write_leaves_nothing(name: str, tmp_path: Path) -> None:
    network, _ = digits(name)
    path = tmp_path / f"net{profile_of(name).suffix}"
    path.mkdir(parents=True)
    with pytest.raises(OSError):
        targets.get(name).export(network, None, path)
    assert list(tmp_path.iterdir()) == [path] and not list(path.iterdir())
    with pytest.raises(OSError):
        targets.get(name).export(network, None, tmp_path / "none" / path.name)
    assert list(tmp_path.iterdir()) == [path]


CHECKS = tuple(n for n, check in globals().items() if each_target.mark in getattr(check, "pytestmark", ()))
INTEGER_CHECKS = tuple(n for n, c in globals().items() if each_integer_target.mark in getattr(c, "pytestmark", ()))

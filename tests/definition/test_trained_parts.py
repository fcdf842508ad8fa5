"""Parts that were trained keep their numbers in a composition, in Python and in files; flags freeze and free them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backends
from neuro import (
    AllToAll,
    FixedInDegree,
    Input,
    ModelError,
    Network,
    Normal,
    Population,
    Probability,
    Projection,
    Synapse,
    Uniform,
    library,
)
from neuro.compiler.parameters import initial_state, parameters, values
from neuro.compiler.resolve import resolve
from neuro.compiler.settled import settled
from neuro.composition import Part, compose
from neuro.io.results import Run
from neuro.io.serialisation import from_json, read_network, to_json

LIF, PULSE = library.get("lif"), library.get("pulse")
AMPA = Synapse(
    "ampa", "w : amp", on_pre="s_post += w", receptor="ds/dt = -s/tau : amp\nI = s : amp",
    parameters={"tau": "5 ms"}, initial={"s": Uniform("0 nA", "1 nA")},
)  # fmt: skip
FADING = Synapse(
    "fading", "w : amp\nx : 1", on_pre="I_post += w*x\nx = x*u", parameters={"u": "0.8"}, initial={"x": Uniform("0.5", "1")}
)  # fmt: skip


def drawn(seed: int = 3) -> Network:
    """Everything that a definition may leave to the seed."""
    cells = Population("cells", LIF, 6, {"tau_m": Normal("10 ms", "1 ms")}, {"v": Uniform("-70 mV", "-60 mV")})
    weights, some = Uniform("0.3 nA", "1.5 nA"), Probability(0.6)
    links = (
        Projection("feed", "x", "cells", PULSE, weights, some, Uniform("0 ms", "5 ms"), bounds=(None, "4 nA")),
        Projection("late", "x", "cells", PULSE, None, some, "3 ms", shares="feed"),
        Projection("loop", "cells", "cells", AMPA, weights, AllToAll(self_connections=False), bounds=("0.1 nA", None)),
        Projection(
            "near", "cells", "cells", FADING, weights, FixedInDegree(3), parameters={"u": Uniform("0.4", "0.9")}
        ),
    )
    drive = Input("kicks", 6, "drive", "cells.v", rate="100 Hz", weight="1 mV")
    return Network((cells,), links, (Input("x", 8), drive), dt="1 ms", seed=seed)


def trained(network: Network) -> dict[str, Any]:
    """Other numbers for some of its parameters, a receptor's and a drive's among them."""
    given = {n: 1.1 * values(network)[n] for n in ("feed.w", "loop.w", "cells.tau_m")}
    return given | {"cells.tau_ampa": np.asarray(4e-3), "cells.weight__kicks": np.asarray(2e-3)}


def same_numbers(found: Network, expected: Network, given: dict[str, Any], prefix: str = "") -> None:
    """Parameters, initial states, synapses and delays are the expected network's, to the last bit."""
    own, wanted = values(found), values(expected, given)
    names = {n: f"{prefix}{n}".replace("weight__", f"weight__{prefix}") for n in wanted}
    assert all(np.array_equal(own[names[n]], v) for n, v in wanted.items())
    starts = initial_state(found)
    assert all(np.array_equal(starts[f"{prefix}{n}"], v) for n, v in initial_state(expected).items())
    one, two = resolve(found), resolve(expected)
    for name, wires in two.wires.items():
        for end in ("pre_index", "post_index"):
            assert np.array_equal(getattr(one.wires[f"{prefix}{name}"], end), getattr(wires, end))
        assert np.array_equal(one.delays[f"{prefix}{name}"], two.delays[name])


def test_a_settled_network_draws_nothing() -> None:
    network = drawn()
    for given in ({}, trained(network)):
        found = settled(network, given)
        same_numbers(found, network, given)
        elsewhere = Network(found.populations, found.projections, found.inputs, dt="1 ms", seed=99)
        same_numbers(elsewhere, network, given)
        assert from_json(to_json(found)) == found
    assert not np.array_equal(values(drawn(99))["feed.w"], values(network)["feed.w"])


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_trained_part_runs_like_the_network_alone(backend: str) -> None:
    network = drawn()
    given, spikes = trained(network), np.random.default_rng(0).random((2, 80, 8)) < 0.1
    counts = np.random.default_rng(1).poisson(0.1, (2, 80, 6))
    whole = compose({"part": Part(network, parameters=given), "other": Part(drawn(), parameters={})}, seed=7)
    alone = (
        backends.get(backend).compile(network, dtype="float64").run(given, {"x": spikes, "kicks": counts}, ["cells.v"])
    )
    inputs = {"part_x": spikes, "part_kicks": counts, "other_x": spikes, "other_kicks": counts}
    found = backends.get(backend).compile(whole, dtype="float64").run({}, inputs, ["part_cells.v", "other_cells.v"])
    assert alone.spikes["cells"].sum() > 50
    assert np.array_equal(found.spikes["part_cells"], alone.spikes["cells"])
    np.testing.assert_allclose(found.traces["part_cells.v"], alone.traces["cells.v"], rtol=1e-12)
    assert not np.array_equal(found.spikes["other_cells"], alone.spikes["cells"])


def test_parts_without_parameters_are_drawn_anew_and_those_with_are_not() -> None:
    network = drawn()
    found = compose({"anew": network, "kept": Part(network, parameters={})}, seed=8)
    assert not np.array_equal(values(found)["anew_near.w"], values(found)["kept_near.w"])
    same = compose({"kept": Part(network, parameters={})}, seed=9)
    assert all(np.array_equal(values(found)[n], v) for n, v in values(same).items())
    assert found.projection("kept_late").shares == "kept_feed"


def test_flags_freeze_a_part_and_free_it() -> None:
    network = drawn()
    frozen = compose({"one": Part(network, frozen=True), "two": network})
    assert {n.partition("_")[0] for n, p in parameters(frozen).items() if p.frozen} == {"one"}
    assert all(p.frozen for n, p in parameters(frozen).items() if n.startswith("one_"))
    free = compose({"all": Part(frozen, frozen=False)})
    kept = compose({"all": frozen})
    assert not any(p.frozen for p in parameters(free).values())
    assert [p.frozen for p in kept.projections] == [True] * 4 + [False] * 4
    assert "population one_cells: 6 x lif, frozen" in str(frozen).splitlines()
    assert from_json(to_json(frozen)) == frozen


def test_a_connection_shares_a_part_s_weights() -> None:
    link = Projection("link", "one.x", "two.cells", PULSE, connectivity=Probability(0.6), shares="one.feed")
    found = compose({"one": drawn(), "two": drawn()}, [link])
    assert found.projection("link").shares == "one_feed"
    assert np.array_equal(values(found)["link.w"], values(found)["one_feed.w"])
    kept = compose({"one": Part(drawn(), parameters=trained(drawn())), "two": drawn()}, [link], seed=4)
    assert np.array_equal(values(kept)["link.w"], values(drawn(), trained(drawn()))["feed.w"])
    one, two = (resolve(kept).wires[n] for n in ("link", "one_feed"))
    assert np.array_equal(one.pre_index, two.pre_index) and np.array_equal(one.post_index, two.post_index)
    for shares, message in {"one.fed": "projection in part 'one'", "three.feed": "part 'three'"}.items():
        wrong = Projection("link", "one.x", "two.cells", PULSE, connectivity=Probability(0.6), shares=shares)
        with pytest.raises(ModelError, match=message):
            compose({"one": drawn(), "two": drawn()}, [wrong])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fed.w": np.ones(3)}, "there is no parameter 'fed.w'"),
        ({"feed.w": np.ones(3)}, r"its shape is \(3,\), and the network has"),
        ({"cells.tau_ampa": "soon"}, "give SI numbers"),
        ({"cells.tau_ampa": -1.0}, "tau_ampa"),
        ({"feed.w": 5e-9}, r"'w' = .* lies outside its bounds \(None, 4 nA\)"),
        ({"feed.w": 1e-9, "late.w": 2e-9}, "'late.w' and 'feed.w' are the same weights"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_fit_are_named(given: dict[str, Any], message: str) -> None:
    network = drawn()
    shaped = {
        n: np.full(values(network)[n].shape, v) if n.endswith(".w") and np.ndim(v) == 0 and n != "fed.w" else v
        for n, v in given.items()
    }
    with pytest.raises(ModelError, match=message):
        compose({"part": Part(network, parameters=shaped)})


def test_single_precision_at_a_bound() -> None:
    network = drawn()
    top = np.full(values(network)["feed.w"].shape, np.float32(4e-9) * np.float32(1 + 1e-7), np.float32)
    assert top.max() > 4e-9
    assert values(settled(network, {"feed.w": top}))["feed.w"].max() == 4e-9


# -- files ------------------------------------------------------------------------------------------------------------


def run_file(path: Path, network: Network, given: dict[str, Any], complete: bool = True) -> None:
    run = Run.create(path, model=to_json(network), semantics={}, config={}, seed=0, metrics=("loss",))
    if complete:
        run.finish(values(network, given), parameters(network), 1)
    else:
        run.close()


TEXT = """
name = "linked"
seed = 5
[parts.low]
run = "{run}"
frozen = true
ports = {{ in = "x", out = "cells" }}
[parts.high]
file = "high.toml"
[projections.link]
pre = "low.out"
post = "high.cells"
synapse = "pulse"
weights = "1 nA"
"""
HIGH = """
dt = "1 ms"
[populations.cells]
neuron = "lif"
size = 2
"""


def test_a_run_is_a_part(tmp_path: Path) -> None:
    network = drawn()
    (tmp_path / "runs").mkdir()
    run_file(tmp_path / "runs" / "low.h5", network, trained(network))
    (tmp_path / "high.toml").write_text(HIGH)
    (tmp_path / "linked.toml").write_text(TEXT.format(run="runs/low.h5"))
    found = read_network(tmp_path / "linked.toml")
    link = Projection("link", "low.out", "high.cells", PULSE, "1 nA")
    low = Part(network, {"in": "x", "out": "cells"}, trained(network), frozen=True)
    assert found == compose({"low": low, "high": read_network(tmp_path / "high.toml")}, [link], seed=5, name="linked")
    same_numbers(found, network, trained(network), "low_")
    assert {n for n, p in parameters(found).items() if not p.frozen} >= {"link.w", "high_cells.tau_m"}


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("../low.h5", "there is no file '../low.h5' in the folder of this one"),
        ("/tmp/low.h5", "there is no file '/tmp/low.h5' in the folder of this one"),
        ("low\\u0000.h5", "there is no file 'low.*h5' in the folder of this one"),
        (f"{'low' * 100}.h5", "there is no file 'lowlow"),
        ("link.h5", "there is no file 'link.h5' in the folder of this one"),
        ("begun.h5", "run 'begun.h5' is not complete"),
        ("high.toml", "not a readable HDF5 file"),
    ],
)
def test_runs_stay_in_the_folder_and_are_complete(tmp_path: Path, run: str, message: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    run_file(tmp_path / "low.h5", drawn(), {})
    run_file(folder / "begun.h5", drawn(), {}, complete=False)
    (folder / "link.h5").symlink_to(tmp_path / "low.h5")
    (folder / "high.toml").write_text(HIGH)
    (folder / "linked.toml").write_text(TEXT.format(run=run))
    with pytest.raises(ModelError, match=message):
        read_network(folder / "linked.toml")


def test_a_run_names_no_files(tmp_path: Path) -> None:
    run = Run.create(
        tmp_path / "low.h5",
        model='{"parts": {"a": {"file": "high.toml"}}}',
        semantics={},
        config={},
        seed=0,
        metrics=(),
    )
    run.finish({}, {}, 1)
    (tmp_path / "high.toml").write_text(HIGH)
    (tmp_path / "linked.toml").write_text(TEXT.format(run="low.h5"))
    with pytest.raises(ModelError, match="data that comes from no file can't name files"):
        read_network(tmp_path / "linked.toml")


def test_a_flag_is_true_or_false(tmp_path: Path) -> None:
    (tmp_path / "high.toml").write_text(HIGH)
    (tmp_path / "linked.toml").write_text('[parts.high]\nfile = "high.toml"\nfrozen = "yes"\n')
    with pytest.raises(ModelError, match="'yes' is not true or false"):
        read_network(tmp_path / "linked.toml")

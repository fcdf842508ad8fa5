"""Networks joined by their ports are the network one would have written in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import backends
from neuro import Input, ModelError, Network, Population, Projection, library
from neuro.composition import Part, compose
from neuro.io.serialisation import from_json, read_network, to_json

LIF, PULSE = library.get("lif"), library.get("pulse")


def layer(size: int, channels: int) -> Network:
    return Network(
        (Population("cells", LIF, size),),
        (Projection("feed", "x", "cells", PULSE, "3 nA"),),
        (Input("x", channels),),
        dt="1 ms",
    )


def test_two_layers_spike_like_one_network() -> None:
    joined = compose(
        {"first": Part(layer(3, 4), {"in": "x", "out": "cells"}), "second": layer(2, 3)},
        bind={"second.x": "first.out"},
    )
    assert [p.name for p in joined.populations] == ["first_cells", "second_cells"]
    assert [i.name for i in joined.inputs] == ["first_x"]
    flat = Network(
        (Population("a", LIF, 3), Population("b", LIF, 2)),
        (Projection("p", "x", "a", PULSE, "3 nA"), Projection("q", "a", "b", PULSE, "3 nA")),
        (Input("x", 4),),
        dt="1 ms",
    )
    spikes = np.random.default_rng(0).random((2, 200, 4)) < 0.1
    reference = backends.get("reference")
    one = reference.compile(joined).run(inputs={"first_x": spikes})
    two = reference.compile(flat).run(inputs={"x": spikes})
    assert two.spikes["b"].sum() > 20
    for ours, theirs in (("first_cells", "a"), ("second_cells", "b")):
        np.testing.assert_array_equal(one.spikes[ours], two.spikes[theirs])
    assert from_json(to_json(joined)) == joined


def test_projections_and_currents_between_parts() -> None:
    joined = compose(
        {"a": layer(3, 4), "b": layer(2, 5)},
        [Projection("link", "a.cells", "b.cells", PULSE, "1 nA", delay="2 ms")],
        inputs=[Input("bias", 1, "current", target="b.cells.I")],
    )
    assert (joined.projection("link").pre, joined.projection("link").post) == ("a_cells", "b_cells")
    assert next(i for i in joined.inputs if i.name == "bias").target == "b_cells.I"


def test_parts_in_files(tmp_path: Path) -> None:
    (tmp_path / "layer.json").write_text(to_json(layer(3, 3)))
    (tmp_path / "deep.toml").write_text(
        'name = "deep"\n[parts.low]\nfile = "layer.json"\n[parts.high]\nfile = "layer.json"\n'
        '[bind]\n"high.x" = "low.cells"\n'
    )
    network = read_network(tmp_path / "deep.toml")
    assert [p.name for p in network.populations] == ["low_cells", "high_cells"]
    assert network == compose({"low": layer(3, 3), "high": layer(3, 3)}, bind={"high.x": "low.cells"}, name="deep")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("../outside.json", "there is no file '../outside.json' in the folder of this one"),
        ("deep.toml", "more than 8 levels"),
    ],
)
def test_files_stay_in_their_folder_and_end(tmp_path: Path, file: str, message: str) -> None:
    (tmp_path.parent / "outside.json").write_text(to_json(layer(1, 1)))
    (tmp_path / "deep.toml").write_text(f'[parts.low]\nfile = "{file}"\n')
    with pytest.raises(ModelError, match=message):
        read_network(tmp_path / "deep.toml")


def test_a_part_whose_name_would_run_into_those_inside() -> None:
    with pytest.raises(ModelError, match="part 'a_' ends in '_'"):
        compose({"a_": layer(2, 3), "b": layer(2, 3)})

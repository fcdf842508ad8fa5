"""Networks survive JSON bit for bit; files are data."""

from __future__ import annotations

from pathlib import Path

import pytest

from neuro import ModelError
from neuro.io.serialisation import content_hash, from_json, read_network, to_json
from tests.backends.networks import networks
from twinspike.models.mixed_network import mixed_network

NETWORKS = {**networks(), "mixed": mixed_network()}


@pytest.mark.parametrize("name", NETWORKS)
def test_round_trip(name: str) -> None:
    network = NETWORKS[name]
    again = from_json(to_json(network))
    assert again == network
    assert content_hash(again) == content_hash(network)


def test_different_networks_have_different_hashes() -> None:
    assert len({content_hash(n) for n in NETWORKS.values()}) == len(NETWORKS)


def test_toml_with_library_names(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    path.write_text(
        'dt = "1 ms"\n[[populations]]\nname = "cells"\nneuron = "lif"\nsize = 3\n'
        '[[projections]]\nname = "feed"\npre = "x"\npost = "cells"\nsynapse = "pulse"\nweights = "1 nA"\n'
        '[[inputs]]\nname = "x"\nsize = 2\n'
    )
    network = read_network(path)
    assert network.population("cells").neuron.name == "lif"
    assert from_json(to_json(network)) == network


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "not JSON"),
        ("[]", "a network is an object"),
        ('{"schema": 9}', "schema 9 is unknown"),
        ('{"populations": [{"name": "a", "sise": 3}]}', "did you mean 'size'"),
        ('{"populations": [{"name": "a", "neuron": {"type": "Neurom", "name": "n"}, "size": 1}]}', "no type 'Neurom'"),
        ('{"populations": []}', "there is no population"),
        ('{"dt": "1 ms"}', "needs 'populations'"),
    ],
)
def test_broken_text_is_named(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        from_json(text)

"""An integer chip of somebody else, with fewer bits than any of ours: the conformance suite asks what its own profile holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export import test_target_conformance as conformance
from tests.registry.packages import install

NAME = "acme_chips"
CHIP = '''
"""v = trunc(v (4096 - leak)/4096) + scale a, a spike where v > v_th; weights of 6 bits; JSON."""

import json

import numpy as np

from neuro import Neuron
from neuro.export.chips.dequantised import Held, dequantised, rounding
from neuro.export.chips.integer import IntegerChain, IntegerLayer, check_chain, check_range, network_of
from neuro.export.layers import latency, read
from neuro.export.profile import Decay, Integers, Profile, State
from neuro.export.quantisation.quantisers import Quantiser
from neuro.export.targets import Export, Target
from neuro.io.files import replaced_text

PROFILE = Profile("acme-small", "Acme's small chip", ".small", ("lif",), weight=Integers(-31, 31),
                  threshold=Integers(1, 32766), voltage=State(16, "saturate"), decay=Decay("linear", 12))
CODES = Quantiser(bits=6, symmetric=True, fit="error")
CELL = Neuron("small_lif", "v : 1\\na : 1", threshold="v > v_th", reset="v = 0",
              every_step="v = clip(sign(v)*floor(abs(v)*(4096 - leak)/4096) + scale*a, -32767, 32767)",
              parameters={"v_th": "1", "leak": "0", "scale": "1"})

def quantise(layer):
    unit = float(CODES.scale(np.vstack([m for m in (layer.feed, layer.loop) if m is not None])))
    feed, loop = (None if m is None else CODES.codes(m, unit) for m in (layer.feed, layer.loop))
    threshold = layer.numbers.threshold / unit
    scale = 2 ** int(np.clip(np.log2(8192 / threshold.max()), 0, 6))
    cells = {"v_th": np.rint(threshold * scale).astype(int), "leak": np.rint(4096 * (1 - layer.numbers.beta)).astype(int),
             "scale": np.full(threshold.size, scale)}
    check_range(layer.name, "v_th", cells["v_th"], PROFILE.threshold)
    return IntegerLayer(layer.name, feed, loop, cells)

def held(pre, x):
    weights = {pre: x.feed * x.cells["scale"]} | ({} if x.loop is None else {x.name: x.loop * x.cells["scale"]})
    return Held(1 - x.cells["leak"] / 4096, None, x.cells["v_th"].astype(float), weights)

def export(network, parameters, path):
    graph = read(network, parameters, PROFILE)
    layers = graph.chain()
    chain = IntegerChain(network.name, next(iter(graph.model.step.sources)), tuple(map(quantise, layers)), graph.model.step.dt)
    check_chain(chain.layers)
    before = (chain.source, *(x.name for x in chain.layers))
    meant = {x.name: held(pre, x) for pre, x in zip(before, chain.layers)}
    replaced_text(path, json.dumps({x.name: x.weights.tolist() for x in chain.layers}))
    return Export(PROFILE.name, (path,), latency(layers, PROFILE), dequantised(graph, meant), network_of(chain, lambda _: CELL),
                  rounding=rounding(layers, meant))

TARGET = Target(PROFILE, export)
'''


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    install(place, NAME, {"neuro.targets": {"acme-small": f"{NAME}.chip:TARGET"}}, chip=CHIP)
    yield place / NAME / "chip.py"
    for module in [m for m in sys.modules if m.partition(".")[0] == NAME]:
        del sys.modules[module]


@pytest.mark.parametrize("check", [*conformance.CHECKS, *conformance.INTEGER_CHECKS])
def test_it_passes_the_conformance_suite(check: str, tmp_path: Path) -> None:
    assert len(conformance.INTEGER_CHECKS) >= 2
    getattr(conformance, check)("acme-small", tmp_path / "out")


def test_codes_that_use_half_of_the_range_do_not_pass(package: Path, tmp_path: Path) -> None:
    text = package.read_text()
    assert "Quantiser(bits=6," in text
    package.write_text(text.replace("Quantiser(bits=6,", "Quantiser(bits=4,"))
    with pytest.raises(AssertionError):
        conformance.test_what_the_integers_stand_for_explains_them("acme-small", tmp_path / "out")

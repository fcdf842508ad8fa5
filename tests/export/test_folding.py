"""Batch normalisation folded into integer thresholds: every sum decided as in floating point, then the same network in spikes, on chips."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backends
from neuro.compiler.parameters import values
from neuro.export import ExportError, targets
from neuro.export.nir.importer import import_nir
from neuro.export.quantisation.folding import Folded, NormalisedLayer, fold, folded
from neuro.export.quantisation.quantisers import QuantiseError
from neuro.export.quantisation.threshold_network import ThresholdNetwork, bit_planes, threshold_network
from tests.backends.able import able

Array = np.ndarray
PIXELS, CELLS, CLASSES = 16, 24, 10
CHIPS = ("loihi2", "c-header", "sana-fe")


def trained(rng: np.random.Generator, sizes: tuple[int, ...]) -> list[NormalisedLayer]:
    """Layers with nothing trained: gammas of both signs and 0, means and deviations of the size of the sums."""
    found = []
    for k, (pre, post) in enumerate(pairwise(sizes)):
        spread = np.sqrt(pre) * (0.6 if k == 0 else 1.0)
        gamma = np.where(rng.random(post) < 0.1, 0.0, rng.normal(size=post))
        mean, deviation = rng.normal(0, spread / 6, post), rng.uniform(spread / 2, 2 * spread, post)
        codes, scale = rng.choice([-1, 1], (pre, post)), float(rng.uniform(0.01, 2.0))
        found.append(
            NormalisedLayer(codes, scale, gamma, scale * mean, 1 / (scale * deviation), rng.normal(0, 0.2, post))
        )
    return found


def small(seed: int = 0) -> tuple[Folded, Array]:
    """A small network and 60 random images, the darkest and the brightest one among them."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (60, PIXELS))
    images[0], images[1] = 0, 255
    return fold(trained(rng, (PIXELS, CELLS, CELLS, CLASSES))), images


def run(network: Any, inputs: Array, parameters: Any = None, backend: str = "reference") -> Any:
    return backends.get(backend).compile(network).run(parameters, {"pixels": inputs}).spikes


# -- thresholds -----------------------------------------------------------------------------------------------------

numbers = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-300, -1e-300])
positive = st.floats(1e-6, 1e6)


def layers_of(draw: Any, pre: int, pixels: bool) -> NormalisedLayer:
    """One cell; its mean is often one of its own sums, so that u is beta or 0 there."""
    codes = np.array(draw(st.lists(st.sampled_from([-1, 1]), min_size=pre, max_size=pre)))[:, None]
    given_ = {"codes": codes, "weight_scale": draw(positive), "scale": np.array([draw(positive)])}
    bare = NormalisedLayer(**given_, gamma=np.ones(1), mean=np.zeros(1), beta=np.zeros(1))
    low, high = (int(x[0]) for x in folded(bare, pixels=pixels).bounds)
    at = bare.weight_scale * (2 * draw(st.integers(low, high)) - 255 * codes.sum()) / 255
    if not pixels:
        at = bare.weight_scale * draw(st.integers(low, high))
    mean = np.array([draw(st.just(float(at)) | numbers)])
    return replace(bare, gamma=np.array([draw(numbers)]), mean=mean, beta=np.array([draw(numbers)]))


@given(st.data(), st.integers(1, 12), st.booleans())
def test_every_sum_is_decided_as_in_floating_point(data: Any, pre: int, pixels: bool) -> None:
    """In the operations of the network, one by one: 0 counts as positive, and rounding is part of it."""
    layer = layers_of(data.draw, pre, pixels)
    found, turned = folded(layer, pixels=pixels), -1 if layer.gamma[0] < 0 else 1
    np.testing.assert_array_equal(found.codes, turned * layer.codes)
    low, high = (int(x[0]) for x in found.bounds)
    sums = np.arange(low, high + 1)
    a = layer.weight_scale * (turned * sums).astype(float)
    if pixels:
        a = layer.weight_scale * ((2 * turned * sums - 255 * layer.codes.sum()) / 255)
    u = layer.gamma * ((a - layer.mean) * layer.scale) + layer.beta
    np.testing.assert_array_equal(sums >= found.threshold[0], u >= 0)
    assert low <= found.threshold[0] <= high + 1


@pytest.mark.parametrize("gamma", [2.0, -0.5])
def test_ties_at_zero_are_positive(gamma: float) -> None:
    """u is 0 at the sum 2 exactly."""
    signs = np.array(list(product([-1, 1], repeat=4)))
    layer = NormalisedLayer(np.ones((4, 1)), 0.25, np.array([gamma]), np.array([0.5]), np.array([3.0]), np.zeros(1))
    sums = signs.sum(axis=1)
    assert (layer.outputs(2) == 0).all()
    found = folded(layer).signs(signs)[:, 0]
    np.testing.assert_array_equal(found, np.where(sums >= 2 if gamma > 0 else sums <= 2, 1, -1))


@pytest.mark.parametrize("beta", [0.0, 1.0, -1e-9])
def test_gamma_of_zero_is_a_constant(beta: float) -> None:
    layer = NormalisedLayer(np.ones((4, 1)), 1.0, np.zeros(1), np.zeros(1), np.ones(1), np.array([beta]))
    for pixels, least, most in ((False, -4, 4), (True, 0, 1020)):
        assert folded(layer, pixels=pixels).threshold[0] == (least if beta >= 0 else most + 1)


def test_the_whole_network_in_floats_decides_alike() -> None:
    """Computed from scaled pixels and signs by products of floats. Scales are powers of two, for which sums of signs are exact."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        layers = [replace(x, weight_scale=2.0**-4) for x in trained(rng, (PIXELS, CELLS, CELLS, CLASSES))]
        images = rng.integers(0, 256, (200, PIXELS))
        ours, x = fold(layers), (2 * images - 255) / 255
        for k, layer in enumerate(layers):
            u = layer.gamma * ((x @ (layer.weight_scale * layer.codes) - layer.mean) * layer.scale) + layer.beta
            if k == 0:
                assert np.abs(u).min() > 1e-12  # no tie that the order of additions decides
            x = np.where(u >= 0, 1.0, -1.0)
            if k < len(layers) - 1:
                np.testing.assert_array_equal(ours.signs(images)[k], x)
        np.testing.assert_array_equal(ours.outputs(images), u)
        np.testing.assert_array_equal(ours.outputs(images).argmax(axis=1), u.argmax(axis=1))


def test_accumulators_are_as_wide_as_published() -> None:
    ours = fold(trained(np.random.default_rng(0), (784, 20, 512, 10)))
    assert ours.largest == (199_920, 20, 512) and ours.bits == (19, 6, 11)


def test_what_does_not_fit_is_refused_by_name() -> None:
    layer = trained(np.random.default_rng(0), (3, 4))[0]
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({"codes": layer.codes + 0.5}, "codes: they must be whole"),
        ({"gamma": np.ones(3)}, r"gamma: its shape is \(3,\); \(4,\)"),
        ({"mean": np.full(4, np.nan)}, "mean: not finite"),
        ({"scale": np.zeros(4)}, "scale: 0; it must be positive"),
        ({"weight_scale": -1.0}, "weight_scale: -1; it must be positive"),
        ({"codes": layer.codes * 1j}, "codes: .* no real numbers"),
        ({"codes": np.full((3, 4), 1e300)}, "codes: those of a cell sum up to 3e.300"),
        ({"codes": layer.codes[:0]}, "codes: they must be whole numbers"),
        ({"gamma": ["a"] * 4}, "gamma: .* no real numbers"),
        ({"beta": 1j * np.ones(4)}, "beta: .* no real numbers"),
    )
    for change, message in changes:
        with pytest.raises(QuantiseError, match=message):
            replace(layer, **change)
    with pytest.raises(QuantiseError, match="layers: 1 of them"):
        fold([layer])
    with pytest.raises(QuantiseError, match="layer 1: None; it is a NormalisedLayer"):
        fold([layer, None])  # type: ignore[list-item]
    with pytest.raises(QuantiseError, match="folded: a 'list' object"):
        threshold_network([layer])  # type: ignore[arg-type]
    with pytest.raises(QuantiseError, match="layer 0 has 4 cells, the next takes 3"):
        fold([layer, layer])
    for pixels in (np.full((1, PIXELS), 256), np.full((1, PIXELS), -1), np.full((1, PIXELS), 0.5)):
        with pytest.raises(QuantiseError, match="whole numbers from 0 to 255"):
            small()[0].sums(pixels)
    with pytest.raises(QuantiseError, match=r"their shape is \(2, 15\); \[\.\.\., 16\] is needed"):
        threshold_network(small()[0]).held(np.zeros((2, 15)))
    with pytest.raises(QuantiseError, match=r"their shape is \(2, 3, 16\); \[image, 16\] is needed"):
        threshold_network(small()[0]).held(np.zeros((2, 3, 16)))
    for largest in (1.5, True, "8"):
        with pytest.raises(QuantiseError, match=r"largest=.* a whole number"):
            threshold_network(small()[0], largest=largest)  # type: ignore[arg-type]
    for spikes, message in (({}, "none of 'layer1'"), ({"layer1": np.zeros((2, 7))}, r"'layer1': the shape \(2, 7\)")):
        with pytest.raises(QuantiseError, match=message):
            threshold_network(small()[0]).signs(spikes)


@pytest.mark.parametrize("gamma", [-1e308, 0.0, 1e308])
def test_a_threshold_of_numbers_that_overflow_is_refused(gamma: float) -> None:
    """u would be no number, and the network's comparison with it neither true nor false."""
    layer = trained(np.random.default_rng(0), (3, 1))[0]
    with pytest.raises(QuantiseError, match="cell 0: u isn't finite"):
        folded(replace(layer, gamma=np.array([gamma]), scale=np.array([1e308]), mean=np.array([1e5])))


def test_no_images_have_no_spikes() -> None:
    ours, channels = threshold_network(small()[0]), threshold_network(small()[0]).network.inputs[0].size
    assert ours.held(np.zeros((0, PIXELS))).shape == (0, 3, channels)
    assert not ours.streamed(np.zeros((0, PIXELS))).any()


# -- spikes ---------------------------------------------------------------------------------------------------------


def differences(
    ours: ThresholdNetwork, folded_: Folded, images: Array, network: Any, parameters: Any = None
) -> Iterator[int]:
    """Spikes, signs and answers that aren't the integer layers', images held and streamed."""
    assert folded_.signs(images)[-1].std(axis=0).astype(bool).sum() > CELLS / 3  # many cells say something
    for inputs in (ours.held(images), ours.streamed(images)):
        spikes = run(network, inputs, parameters)
        streamed = len(inputs) == 1
        for depth, (found, wanted) in enumerate(zip(ours.signs(spikes), folded_.signs(images), strict=True), 1):
            at = found[0, depth : depth + len(images)] if streamed else found[:, -1]
            yield int((at != wanted).sum())
        outputs = ours.outputs(spikes)[0, ours.latency :] if streamed else ours.outputs(spikes)[:, -1]
        yield int((outputs != folded_.outputs(images)).sum())
        yield int((outputs.argmax(axis=-1) != folded_.outputs(images).argmax(axis=-1)).sum())


@pytest.mark.parametrize("seed", range(5))
def test_spikes_are_the_integer_layers(seed: int) -> None:
    folded_, images = small(seed)
    ours = threshold_network(folded_)
    parameters = values(ours.network)
    assert all((parameters[f"{p.name}.v_th"] > 0).all() for p in ours.network.populations)
    assert all(0 < c.sum() < c.size for c in ours.complements)
    assert sum(differences(ours, folded_, images, ours.network)) == 0


def test_every_backend_gives_the_same_spikes() -> None:
    """In single precision too: what is compared lies half a unit from the threshold."""
    folded_, images = small()
    ours = threshold_network(folded_)
    inputs = ours.streamed(images)
    wanted = run(ours.network, inputs)
    assert sum(int(z.sum()) for z in wanted.values()) > 300
    for backend, dtype in [*((name, "float64") for name in able("spikes")), ("reference", "float32")]:
        found = backends.get(backend).compile(ours.network, dtype=dtype).run(None, {"pixels": inputs}).spikes
        for name, raster in wanted.items():
            np.testing.assert_array_equal(found[name], raster)


def test_codes_of_several_bits() -> None:
    rng = np.random.default_rng(3)
    layers = [replace(x, codes=rng.integers(-7, 8, x.codes.shape)) for x in trained(rng, (PIXELS, CELLS, CLASSES))]
    layers = [replace(x, mean=3 * x.mean, scale=x.scale / 4) for x in layers]
    folded_, images = fold(layers), rng.integers(0, 256, (60, PIXELS))
    ours = threshold_network(folded_)
    assert max(ours.planes) == 16 and sum(differences(ours, folded_, images, ours.network)) == 0
    with pytest.raises(QuantiseError, match="no room for a bit plane"):
        threshold_network(folded_, largest=6)
    first, middle, last = trained(rng, (PIXELS, CELLS, CELLS, CLASSES))
    with pytest.raises(QuantiseError, match="layer 2: its codes reach 200; largest=127"):
        threshold_network(fold([first, replace(middle, codes=200 * middle.codes), last]))


@pytest.mark.parametrize("largest", [1, 3, 64, 100, 127, 128, 1000])
def test_bit_planes_hold_every_pixel(largest: int) -> None:
    ours = replace(threshold_network(small()[0]), planes=bit_planes(largest))
    pixels = (np.arange(256)[:, None] + np.arange(PIXELS)) % 256
    bits = ours.held(pixels)[:, 0].reshape(256, PIXELS, -1)
    np.testing.assert_array_equal(bits @ np.array(ours.planes), pixels)
    assert max(ours.planes) <= largest and len(bit_planes(127)) == 9 and len(bit_planes(128)) == 8


# -- targets --------------------------------------------------------------------------------------------------------


def exported(target: str, network: Any, folder: Path) -> Any:
    chosen = targets.get(target)
    return chosen.export(network, None, folder / f"net{chosen.profile.suffix}")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("target", CHIPS)
def test_chips_fire_the_same_spikes(target: str, seed: int, tmp_path: Path) -> None:
    """Their integers are those of the network, and so are all the spikes; nothing was quantised again."""
    folded_, images = small(seed)
    ours = threshold_network(folded_)
    export = exported(target, ours.network, tmp_path)
    assert export.rounding == {"weights": 0.0, "leaks": 0.0}
    given_ = values(ours.network)
    assert export.quantised.keys() == given_.keys()
    for name, value in given_.items():
        np.testing.assert_array_equal(export.quantised[name], value)
    for feed in ours.network.projections:
        integers = values(export.integers)[f"{feed.pre}_to_{feed.post}.w"]
        np.testing.assert_array_equal(integers, given_[f"{feed.name}.w"])
    assert sum(differences(ours, folded_, images, export.integers, export.integer_parameters)) == 0
    for inputs in (ours.held(images), ours.streamed(images)):
        wanted, found = run(ours.network, inputs), run(export.integers, inputs, export.integer_parameters)
        assert sum(int(z.sum()) for z in wanted.values()) > 300
        for name, raster in wanted.items():
            np.testing.assert_array_equal(found[name], raster)


def test_a_nir_file_fires_the_same_spikes(tmp_path: Path) -> None:
    folded_, images = small()
    ours = threshold_network(folded_)
    exported("nir", ours.network, tmp_path)
    assert sum(differences(ours, folded_, images, import_nir(tmp_path / "net.nir"))) == 0


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler 'cc'")
def test_the_header_answers_with_the_same_spikes(tmp_path: Path) -> None:
    """Its layers act on each other within a step: an image has its answer at once."""
    folded_, images = small()
    ours = threshold_network(folded_, name="folded")
    exported("c-header", ours.network, tmp_path)
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "net.h"\n'
        "int main(void) { static folded_state s; uint8_t in[FOLDED_INPUTS]; folded_reset(&s);\n"
        "while (fread(in, 1, sizeof in, stdin) == sizeof in) { folded_step(&s, in);\n"
        "fwrite(s.layer2_z, 1, sizeof s.layer2_z, stdout); } return 0; }\n"
    )
    command = ["cc", "-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover"]
    subprocess.run([*command, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    sent = ours.held(images)[:, 0].astype(np.uint8)
    raw = subprocess.run([tmp_path / "main"], input=sent.tobytes(), capture_output=True, check=True).stdout
    spikes = np.frombuffer(raw, np.uint8).reshape(len(images), CELLS)
    found = np.where(spikes.astype(bool) ^ ours.complements[-1], 1, -1)
    np.testing.assert_array_equal(found, folded_.signs(images)[-1])
    assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize(
    ("target", "where"),
    [("nir-sinabs", "tau_mem"), ("nir-rockpool", "neuron"), ("xylo-a2", "neuron"), ("xylo-a3", "neuron")],
)
def test_other_targets_refuse_it_by_name(target: str, where: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"population 'layer1', {where}"):
        exported(target, threshold_network(small()[0]).network, tmp_path)
    assert not list(tmp_path.iterdir())


def test_sums_beyond_the_chips_bits_are_refused(tmp_path: Path) -> None:
    """All codes of 520 pixels positive: 132,600 in a step."""
    rng = np.random.default_rng(0)
    layers = trained(rng, (520, 3, 2))
    folded_ = fold([replace(layers[0], codes=np.ones((520, 3)), gamma=np.ones(3)), layers[1]])
    network = threshold_network(folded_).network
    with pytest.raises(
        ExportError, match="population 'layer1', weights: they could sum up to 132600 in a step; u holds"
    ):
        exported("loihi2", network, tmp_path)
    assert exported("c-header", network, tmp_path).rounding["weights"] == 0


@pytest.mark.slow
def test_a_network_for_whole_digits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folded_ = fold(trained(rng, (784, 512, 512, 10)))
    ours, images = threshold_network(folded_), rng.integers(0, 256, (100, 784))
    inputs = ours.streamed(images)
    for target in ("loihi2", "c-header"):
        spikes = run(exported(target, ours.network, tmp_path).integers, inputs)
        np.testing.assert_array_equal(ours.sums(spikes)[0, ours.latency :], folded_.sums(images))

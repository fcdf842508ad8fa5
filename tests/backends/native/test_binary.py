"""Products of bits equal those of whole numbers, integer by integer, for any sizes; a network of them never leaves bits on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.native import binary
from backends.native.binary import (
    LONGEST,
    PackedLayer,
    PackedNetwork,
    byte_product,
    pack_words,
    product,
    unpack_words,
)
from neuro.export.quantisation.packing import binary_product, pack
from neuro.export.quantisation.quantisers import QuantiseError, sign
from neuro.protocols import RunError, UnsupportedError

Array = np.ndarray[Any, Any]
lengths = st.integers(1, 200) | st.just(512)
counts = st.integers(1, 20)
seeds = st.integers(0, 2**32 - 1)


def signs(rng: np.random.Generator, *shape: int) -> Array:
    return np.asarray(sign(rng.normal(size=shape)), np.int64)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    """Compiled before hypothesis looks at the clock."""
    binary._library()


@pytest.fixture(params=["", "-mno-avx512vpopcntdq"], ids=["this processor", "any processor"])
def each_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernel that suits this processor, and the one without its vectors of popcounts."""
    import platform

    if request.param and platform.machine() != "x86_64":
        pytest.skip("the other kernel is of x86-64")
    monkeypatch.setenv("TWINSPIKE_NATIVE_FLAGS", request.param)
    binary._library.cache_clear()
    yield
    binary._library.cache_clear()


# -- products -----------------------------------------------------------------------------------------------------


@given(lengths, seeds)
def test_words_are_the_bytes_of_pack_and_come_back(length: int, seed: int) -> None:
    codes = signs(np.random.default_rng(seed), 3, length)
    words = pack_words(codes)
    assert words.shape == (3, -(-length // 64)) and words.dtype == np.uint64
    bytes_ = words.view(np.uint8)
    np.testing.assert_array_equal(bytes_[:, : -(-length // 8)], pack(codes))
    assert not bytes_[:, -(-length // 8) :].any()
    np.testing.assert_array_equal(unpack_words(words, length), codes)


@given(counts, counts, lengths, seeds)
def test_a_product_of_bits_is_the_integer_product(m: int, n: int, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, w = signs(rng, m, length), signs(rng, n, length)
    found = product(pack_words(a), pack_words(w), length)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, a @ w.T)
    np.testing.assert_array_equal(found, binary_product(pack(a), pack(w), length))


@given(counts, counts, lengths, seeds)
def test_a_product_of_bytes_is_the_integer_product(m: int, n: int, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.integers(0, 256, (m, length), np.uint8), signs(rng, n, length)
    found = byte_product(x, pack_words(w))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, x.astype(np.int64) @ w.T)


@pytest.mark.usefixtures("each_kernel")
@pytest.mark.parametrize(("m", "n", "length"), [(1, 1, 1), (9, 33, 127), (8, 8, 512), (17, 1030, 130), (3, 260, 4096)])
def test_both_kernels_where_blocks_end(m: int, n: int, length: int) -> None:
    """Rows are taken by eights, weights by panels of eight and blocks of panels; 1030 rows are several blocks with a rest."""
    rng = np.random.default_rng(0)
    a, x, w = signs(rng, m, length), rng.integers(0, 256, (m, length), np.uint8), signs(rng, n, length)
    np.testing.assert_array_equal(product(pack_words(a), pack_words(w), length), a @ w.T)
    np.testing.assert_array_equal(byte_product(x, pack_words(w)), x.astype(np.int64) @ w.T)
    np.testing.assert_array_equal(network_of([w]).run(x), x.astype(np.int64) @ w.T)
    thresholds = rng.integers(-20, 20, n)
    chain = network_of([w, signs(rng, 3, n)], [thresholds])
    np.testing.assert_array_equal(chain.run(x), by_integers(chain, x))


@pytest.mark.parametrize("of", [1, -1])
def test_the_largest_sums_have_their_sign(of: int) -> None:
    length = 5000
    w, x = np.full((1, length), of), np.full((2, length), 255, np.uint8)
    np.testing.assert_array_equal(byte_product(x, pack_words(w)), np.full((2, 1), of * 255 * length))
    np.testing.assert_array_equal(product(pack_words(w), pack_words(np.ones((1, length))), length), [[of * length]])
    assert 255 * LONGEST < 2**31 <= 255 * (LONGEST + 1)


def test_rows_that_lie_apart_in_memory_and_none() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 256, (12, 70), np.uint8), signs(rng, 10, 70)
    np.testing.assert_array_equal(byte_product(x[::2, ::-1], pack_words(w)), x[::2, ::-1].astype(int) @ w.T)
    a = pack_words(signs(rng, 12, 70))
    np.testing.assert_array_equal(product(a[::3], pack_words(w)[::2], 70), product(a, pack_words(w), 70)[::3, ::2])
    assert product(a[:0], pack_words(w), 70).shape == (0, 10)
    assert byte_product(x[:0], pack_words(w)).shape == (0, 10)


# -- networks -----------------------------------------------------------------------------------------------------


def network_of(codes: list[Array], thresholds: list[Any] | None = None) -> PackedNetwork:
    """thresholds: of all layers but the last."""
    return PackedNetwork([PackedLayer.of(c, t) for c, t in zip(codes, [*(thresholds or []), None], strict=True)])


def by_integers(network: PackedNetwork, images: Array) -> Array:
    """What the network says, in 64-bit whole numbers: Sign(0) = 1."""
    values = images.astype(np.int64)
    for layer in network.layers:
        values = values @ layer.codes.T
        if layer.thresholds is not None:
            values = np.where(values >= layer.thresholds, 1, -1)
    return values


@given(st.lists(st.integers(1, 140), min_size=2, max_size=5), st.integers(0, 9), seeds)
def test_a_network_is_its_integer_products_and_thresholds(widths: list[int], batch: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = [signs(rng, post, pre) for pre, post in pairwise(widths)]
    thresholds = [rng.integers(-9, 10, len(c)) for c in codes[:-1]]
    network, images = network_of(codes, thresholds), rng.integers(0, 256, (batch, widths[0]), np.uint8)
    found = network.run(images)
    assert found.dtype == np.int32 and found.shape == (batch, widths[-1])
    np.testing.assert_array_equal(found, by_integers(network, images))


def test_more_images_than_go_through_at_a_time() -> None:
    rng = np.random.default_rng(1)
    network = network_of([signs(rng, 65, 30), signs(rng, 4, 65)], [rng.integers(-300, 300, 65)])
    images = rng.integers(0, 256, (600, 30), np.uint8)
    found = network.run(images)
    np.testing.assert_array_equal(found, by_integers(network, images))
    assert len(np.unique(found, axis=0)) > 100


@pytest.mark.usefixtures("each_kernel")
@pytest.mark.parametrize("layer", ["of bytes", "of bits"])
def test_a_sum_at_its_threshold_is_1_and_one_below_is_minus_1(layer: str) -> None:
    """All hidden cells are at their thresholds, or one below; a last neuron with weights of 1 adds them up."""
    rng = np.random.default_rng(2)
    inputs = rng.integers(0, 256, (5, 21), np.uint8)
    w, ones = signs(rng, 11, 21), np.ones((1, 11))
    first = [] if layer == "of bytes" else [signs(rng, 21, 21)]
    passed = [np.zeros(21, int)] * len(first)
    sums = network_of([*first, w], passed).run(inputs)
    assert len(np.unique(sums)) > 5
    for row, image in zip(sums, inputs, strict=True):
        for shift, expected in ((0, 11), (1, -11)):
            network = network_of([*first, w, ones], [*passed, row + shift])
            assert network.run(image[None]) == expected


def test_a_sum_of_zero_is_positive() -> None:
    images = np.array([[3, 3], [3, 4], [4, 3]], np.uint8)
    network = network_of([np.array([[1, -1]]), np.array([[1]])], [np.zeros(1, int)])
    np.testing.assert_array_equal(network.run(images), [[1], [-1], [1]])


def test_a_comparison_that_is_turned_round_is_a_turned_row() -> None:
    """x.w <= t where -x.w >= -t."""
    rng = np.random.default_rng(3)
    images, w, t = rng.integers(0, 256, (300, 40), np.uint8), signs(rng, 1, 40), np.array([-100])
    found = network_of([-w, np.array([[1]])], [-t]).run(images)
    expected = np.where(images.astype(int) @ w.T <= t, 1, -1)
    np.testing.assert_array_equal(found, expected)
    assert 50 < np.count_nonzero(found == 1) < 250


def test_thresholds_that_no_sum_reaches_make_constants() -> None:
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (4, 9), np.uint8)
    for far, expected in ((2**40, -3), (-(2**40), 3)):
        network = network_of([signs(rng, 3, 9), np.ones((1, 3))], [np.full(3, far)])
        np.testing.assert_array_equal(network.run(images), np.full((4, 1), expected))


# -- refusals -----------------------------------------------------------------------------------------------------

ONES = np.ones((3, 70), int)
BITS = pack_words(ONES)
PADDED = BITS | np.uint64(2**63)
BYTES = np.zeros((2, 70), np.uint8)
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "codes of three values": (lambda: PackedLayer.of([[0, 1]]), QuantiseError, "only the codes -1 and 1"),
    "codes of one axis": (lambda: PackedLayer.of([1, -1]), QuantiseError, r"weights: the shape \(2,\); it is \[outputs, inputs\]"),
    "no inputs": (lambda: PackedLayer.of(np.ones((3, 0))), QuantiseError, "weights: the shape"),
    "no outputs": (lambda: PackedLayer(BITS[:0], 70), QuantiseError, r"words: uint64 \(0, 2\)"),
    "bytes as words": (lambda: PackedLayer(pack(ONES), 70), QuantiseError, "words: uint8"),  # type: ignore[arg-type]
    "another length": (lambda: PackedLayer(BITS, 129), QuantiseError, "words: 2 a row; 129 inputs take 3"),
    "a length of text": (lambda: PackedLayer(BITS, "70"), QuantiseError, "length: '70'; it is a whole number"),  # type: ignore[arg-type]
    "a length of nothing": (lambda: PackedLayer(BITS, 0), QuantiseError, "length: 0"),
    "sums past 32 bits": (lambda: PackedLayer(BITS, LONGEST + 1), QuantiseError, f"from 1 to {LONGEST}"),
    "pad bits": (lambda: PackedLayer(PADDED, 70), QuantiseError, "words: bits beyond the 70 inputs are set"),
    "thresholds of fractions": (lambda: PackedLayer.of(ONES, [0.5] * 3), QuantiseError, "thresholds: float64"),
    "thresholds for others": (lambda: PackedLayer.of(ONES, [1, 2]), QuantiseError, "one for each of 3 outputs"),
    "no layers": (lambda: PackedNetwork([]), QuantiseError, "layers: there are none"),
    "another layer": (lambda: PackedNetwork([ONES]), QuantiseError, "layer 0: ndarray"),  # type: ignore[list-item]
    "layers that don't fit": (lambda: network_of([ONES, np.ones((1, 4))], [[0, 0, 0]]), QuantiseError, "layer 1: 4 inputs; layer 0 has 3 outputs"),
    "a hidden layer of sums": (lambda: network_of([ONES, np.ones((1, 3))], [None]), QuantiseError, "layer 0: it has no thresholds"),
    "a last layer of bits": (lambda: PackedNetwork([PackedLayer.of(ONES, [0] * 3)]), QuantiseError, "layer 0: it has thresholds"),
    "images of floats": (lambda: network_of([ONES]).run(BYTES / 255), RunError, "the images are float64; they are an array of uint8"),
    "signed images": (lambda: network_of([ONES]).run(BYTES.view(np.int8)), RunError, "the images are int8"),
    "lists as images": (lambda: network_of([ONES]).run([[0] * 70]), RunError, "the images are a 'list' object"),  # type: ignore[arg-type]
    "one image": (lambda: network_of([ONES]).run(BYTES[0]), RunError, r"the images have the shape \(70,\); it is \[rows, 70\]"),
    "narrow images": (lambda: network_of([ONES]).run(BYTES[:, :69]), RunError, "the inputs of layer 0"),
    "rows of another length": (lambda: product(BITS[:, :1], BITS, 70), RunError, r"the rows a have the shape \(3, 1\); it is \[rows, 2\]"),
    "rows of numbers": (lambda: product(ONES, BITS, 70), RunError, "the rows a are int64"),  # type: ignore[arg-type]
    "rows with pad bits": (lambda: product(PADDED, BITS, 70), RunError, "the rows a: bits beyond the 70 codes"),
    "inputs of another length": (lambda: byte_product(np.zeros((2, 64), np.uint8), BITS), QuantiseError, "words: 2 a row; 64 inputs take 1"),
    "words of fewer codes": (lambda: unpack_words(BITS, 129), QuantiseError, "holds no words of 129 codes"),
    "bytes as words of codes": (lambda: unpack_words(pack(ONES), 70), QuantiseError, "holds no words of 70 codes"),  # type: ignore[arg-type]
    "layers that aren't folded": (lambda: PackedNetwork.of([ONES]), QuantiseError, "no folded network"),  # type: ignore[arg-type]
    "inputs of one axis": (lambda: byte_product(BYTES[0], BITS), RunError, r"the inputs x have the shape \(70,\); it is \[rows, n\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name: str) -> None:
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


def test_without_a_compiler_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    binary._library.cache_clear()
    with pytest.raises(UnsupportedError, match=r"products of bits: there is no C compiler 'no-such-compiler'.*packing"):
        product(BITS, BITS, 70)

"""matmul_dtype="bfloat16": products with weights multiply rounded numbers and sum them in float32; nothing else changes."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse, UnsupportedError
from neuro.compiler.parameters import values
from tests.backends.able import NETWORKS
from tests.backends.networks import drive

TORCH = backends.get("torch")
BITS = 2.0**-8  # of a number rounded to bfloat16


def compiled(network: Network, **options: Any) -> Any:
    return TORCH.compile(network, **{"dtype": "float32", "matmul_dtype": "bfloat16", **options})


def to_bfloat16(w: Any) -> Any:
    return torch.as_tensor(w, dtype=torch.float32).bfloat16().float().numpy()


def summing(inputs: int, weight: Any) -> Network:
    adds = Synapse("s", "w : 1", on_pre="I_post += w")
    cells = Neuron("n", "dv/dt = (I - v)/ms : 1\nI : 1", method="euler")
    projection = Projection("j", "x", "c", adds, weights=weight)
    return Network((Population("c", cells, 3),), (projection,), (Input("x", inputs),), dt="1 ms")


def test_sums_are_float32_s() -> None:
    """1,001 ones: bfloat16 knows no number between 1,000 and 1,004, and its sums would end at 256."""
    spikes = np.ones((1, 3, 1001), bool)
    found = compiled(summing(1001, 1.0)).run(inputs={"x": spikes}, record=["c.v"]).traces["c.v"]
    np.testing.assert_array_equal(found[0, -1], 1001.0)


@pytest.mark.parametrize("name", ["recurrent", "graded"])
def test_a_run_is_that_of_rounded_weights(name: str) -> None:
    network = NETWORKS[name]
    inputs = drive(network, steps=30)
    given = {n: w for n, w in values(network).items() if n.endswith(".w")}
    cells = network.populations[0]
    record = [f"{cells.name}.{next(iter(cells.neuron.scope.states))}"]
    plain = compiled(network, matmul_dtype=None)
    found = compiled(network).run(given, inputs, record, steps=30).traces[record[0]]
    as_it_is, rounded = (
        plain.run(w, inputs, record, steps=30).traces[record[0]]
        for w in (given, {n: to_bfloat16(w) for n, w in given.items()})
    )
    size = np.abs(as_it_is - as_it_is[:, :1]).max()
    bound = 1e-5 if name == "recurrent" else 2 * BITS  # values that aren't 0 or 1 are rounded too
    assert np.abs(found - rounded).max() <= bound * size
    assert np.abs(found - as_it_is).max() > 1e-6 * size


def test_gradients_are_those_of_the_plain_program_to_bfloat16_and_not_rounded_themselves() -> None:
    random = np.random.default_rng(0)
    network = summing(40, random.normal(size=(40, 3)))
    spikes, aims = random.random((8, 20, 40)) < 0.3, torch.tensor(random.normal(size=(8, 20, 3)), dtype=torch.float32)
    loss = lambda s: (s.traces["c.v"] * aims).sum()
    found, wanted = (
        p.value_and_grad(loss, None, {"x": spikes}, ["j.w"], ["c.v"])[1]["j.w"]
        for p in (compiled(network), compiled(network, matmul_dtype=None))
    )
    scale = np.abs(wanted).max()
    assert 0 < np.abs(found - wanted).max() <= 2 * BITS * scale
    assert not np.array_equal(to_bfloat16(found), found)


@pytest.mark.parametrize("sets", [None, 3])
def test_every_form_of_weights_is_multiplied(sets: int | None) -> None:
    """Shared ones, and one of each parameter set."""
    random = np.random.default_rng(1)
    w = random.normal(size=(40, 3) if sets is None else (sets, 40, 3))
    options: dict[str, Any] = {} if sets is None else {"population": sets}
    spikes = random.random((2, 20, 40)) < 0.3
    network = summing(40, 1.0)
    found = compiled(network).run({"j.w": w}, {"x": spikes}, ["c.v"], **options).traces["c.v"]
    wanted = (
        compiled(network, matmul_dtype=None)
        .run({"j.w": to_bfloat16(w)}, {"x": spikes}, ["c.v"], **options)
        .traces["c.v"]
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "float64"}, "option 'matmul_dtype'='bfloat16'.*use dtype='float32'"),
        ({"matmul_dtype": "float16"}, "matmul_dtype 'float16'.*use bfloat16"),
        ({"feedback": ["j"]}, "feedback weights are multiplied in float32"),
    ],
)
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        compiled(summing(4, 1.0), **options)


def test_the_record_says_so_and_copies_keep_it() -> None:
    program = compiled(summing(4, 1.0))
    assert (
        program.semantics.products == "bfloat16" and not compiled(summing(4, 1.0), matmul_dtype=None).semantics.products
    )
    for again in (pickle.loads(pickle.dumps(program)), program.variant(detached=("j",)), program.on_device("cpu")):
        assert again.storage.products == torch.bfloat16
    with pytest.raises(UnsupportedError, match="use dtype='float32'"):
        program.in_dtype("float64")

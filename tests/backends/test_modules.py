"""A compiled network is a whole nn.Module, and a program travels to other processes."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import backends
from neuro import Input, Network, Neuron, Population, Projection, RunError, Synapse, UnsupportedError
from neuro.compiler.parameters import values
from tests.backends.able import able
from tests.backends.networks import drive, networks

CELLS = Neuron("n", "dv/dt = (I - v)/(10*ms) : 1\nI : 1", threshold="v > 0.5", reset="v = 0", method="exact")
ADDS = Synapse("s", "w : 1", on_pre="I_post += w")
# names whose module keys would meet if they were joined by one underscore
NETWORK = Network(
    (Population("p_", CELLS, 4), Population("p", CELLS, 4)),
    (
        Projection("j_", "x", "p_", ADDS, weights=np.linspace(1, 7, 24).reshape(6, 4)),
        Projection("j", "x", "p", ADDS, weights=np.full((6, 4), 5.0)),
    ),
    (Input("x", 6),),
    dt="1 ms",
)
SPIKES = np.random.default_rng(1).random((2, 40, 6)) < 0.2
BACKENDS = able("gradients")


def _module(name: str, dtype: str = "float32") -> Any:
    return backends.get(name).compile(NETWORK, dtype=dtype).module()


def _trace(module: Any) -> torch.Tensor:
    found = module({"x": SPIKES}, record=["p.v", "p_.v"])
    assert float(found.spikes["p"].detach().sum()) > 5
    return torch.stack([found.traces["p.v"], found.traces["p_.v"]])


@pytest.mark.parametrize("name", BACKENDS)
def test_a_copied_module_has_weights_of_its_own(name: str) -> None:
    module = _module(name)
    before = _trace(module)
    copied = copy.deepcopy(module)
    assert torch.equal(_trace(copied), before)
    with torch.no_grad():
        next(iter(copied.parameters())).mul_(0.5)
    assert not torch.equal(_trace(copied), before)
    assert torch.equal(_trace(module), before)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_saved_module_gives_the_same_numbers(name: str) -> None:
    module = _module(name)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.9)
    kept = io.BytesIO()
    torch.save(module, kept)
    kept.seek(0)
    assert torch.equal(_trace(torch.load(kept, weights_only=False)), _trace(module))
    other = _module(name)
    assert not torch.equal(_trace(other), _trace(module))
    other.load_state_dict(module.state_dict())
    assert torch.equal(_trace(other), _trace(module))


@pytest.mark.parametrize("name", BACKENDS)
def test_a_module_changes_its_precision_as_a_whole(name: str) -> None:
    module = _module(name)
    single = _trace(module)
    assert module.double() is module
    double = _trace(module)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert module.program.semantics.dtype == "float64"
    torch.testing.assert_close(double.float(), single, rtol=1e-5, atol=1e-6)
    _trace(module).sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float64 for p in module.parameters())
    assert torch.equal(_trace(module.to(torch.float32)), single)
    assert torch.equal(_trace(module.to("cpu").float()), single)


@pytest.mark.parametrize("name", BACKENDS)
def test_what_a_module_can_not_be_is_an_error_that_says_what_to_do(name: str) -> None:
    module = _module(name)
    before = _trace(module)
    for change in (module.half, module.bfloat16, lambda: module.to(torch.float16)):
        with pytest.raises(RunError, match="compile with dtype='float32'"):
            change()
    with pytest.raises((RunError, UnsupportedError), match=r"'meta'.*'cpu'"):
        module.to("meta")
    with torch.autocast("cpu"), pytest.raises(RunError, match="enabled=False"):
        module({"x": SPIKES})
    with torch.autocast("cpu"), torch.autocast("cpu", enabled=False):
        assert torch.equal(_trace(module), before)
    assert torch.equal(_trace(module), before)


def test_a_program_under_autocast_is_refused() -> None:
    program = backends.get("torch").compile(NETWORK)
    with torch.autocast("cpu"), pytest.raises(RunError, match="autocast"):
        program.run(inputs={"x": SPIKES})


@pytest.mark.parametrize(
    "options", [{}, {"dtype": "float32", "surrogate": "atan", "detach_reset": False, "detached": ("j",)}]
)
@pytest.mark.parametrize("name", BACKENDS)
def test_a_pickled_program_gives_equal_runs(name: str, options: dict[str, Any]) -> None:
    program = backends.get(name).compile(NETWORK, **options)
    other = pickle.loads(pickle.dumps(program))
    assert other.semantics == program.semantics
    first, second = (p.run(inputs={"x": SPIKES}, record=["p.v"]) for p in (program, other))
    np.testing.assert_array_equal(first.traces["p.v"], second.traces["p.v"])
    assert first.spike_count() == second.spike_count() > 5


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in BACKENDS), ("native", {"device": "cuda-emulated"})]
)
@pytest.mark.parametrize("feature", ["no self-connections", "graded", "pairs"])
def test_a_program_that_was_tried_in_inference_mode_still_learns(feature: str, name: str, options: Any) -> None:
    """What the first pass keeps for later ones autograd can save."""
    network, slopes = networks()[feature], []
    inputs = drive(network, batch=2, steps=15)
    wrt = [f"{p.name}.w" for p in network.projections]
    for tried in (False, True):
        program: Any = backends.get(name).compile(network, **options)
        with torch.inference_mode():
            if tried:
                program.forward({n: torch.as_tensor(v) for n, v in values(network).items()}, inputs)
                program.run(inputs=inputs)
        size = lambda signals: sum(x.sum() for x in (*signals.spikes.values(), *signals.traces.values()))
        record = [f"{p.name}.{next(iter(p.neuron.scope.states))}" for p in network.populations]
        slopes.append(program.value_and_grad(size, {}, inputs, wrt, record)[1])
    assert all(np.array_equal(slopes[0][n], slopes[1][n]) and slopes[0][n].any() for n in wrt)

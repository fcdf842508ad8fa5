"""XOR with a 2-4-1 net of sigmoid cells, learned one weight at a time through a forward that only runs.

Source: Jabri & Flower (1991), Neural Comput 3:546. The chip's weights lie on a grid in [-10, 10); its synapses may have
gains of their own or be stuck at 0. The rule changes numbers of higher precision and sees errors only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import backends
from neuro import Input, Network, Neuron, Population, Projection, Synapse, Uniform, learning, quantity
from neuro.compiler import streams
from neuro.protocols import Batch, Recording

HIDDEN, CAP, LARGEST = 4, 1000, 10.0
WEIGHTS = 3 * HIDDEN + HIDDEN + 1
PATTERNS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
TARGETS = np.array([0.1, 0.9, 0.9, 0.1])

SOURCE = Neuron("source", "r = u : 1\nu : 1")
SIGMOID = Neuron("sigmoid", "r = sigmoid(z) : 1\nz : 1")
WEIGHTED = Synapse("weighted", "w : 1", transmits="w*r_pre", target="z")


class Xor:
    """Half the squared error, summed over the four patterns; a constant input of 1 serves as bias."""

    def network(self, seed: int) -> Network:
        weights = Uniform(quantity(-1.0, "1"), quantity(1.0, "1"))
        return Network(
            (
                Population("inputs", SOURCE, 3), Population("bias", SOURCE, 1),
                Population("hidden", SIGMOID, HIDDEN), Population("out", SIGMOID, 1),
            ),
            (
                Projection("in_hidden", "inputs", "hidden", WEIGHTED, weights),
                Projection("hidden_out", "hidden", "out", WEIGHTED, weights),
                Projection("bias_out", "bias", "out", WEIGHTED, weights),
            ),
            (Input("x", 3, "current", "inputs.u"), Input("one", 1, "current", "bias.u")),
            dt="1 ms", seed=seed, name="xor",
        )  # fmt: skip

    def batch(self) -> Batch:
        x = np.concatenate([PATTERNS, np.ones((4, 1))], axis=1)
        return Batch({"x": x[:, None], "one": np.ones((4, 1, 1))}, TARGETS)

    def record(self) -> Sequence[str]:
        return ("out.r",)

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        return 0.5 * ((traces["out.r"][:, 0, 0] - torch.as_tensor(batch.targets)) ** 2).sum()


@dataclass
class Chip:
    """A program whose synapses are what they are: weights on a grid (bits: 0 for none), gains of their own, some stuck at 0.

    last: the recording of the last run. passes: patterns sent forward so far.
    """

    program: Any
    bits: int = 0
    mismatch: float = 0.0
    stuck: int = 0

    def __post_init__(self) -> None:
        self.network, self.capabilities = self.program.network, self.program.capabilities
        self._faults: dict[str, Any] = {}
        self.last: Any = None
        self.passes = 0

    @property
    def lsb(self) -> float:
        return float(2 * LARGEST / 2**self.bits)

    def run(self, parameters: Mapping[str, Any], *arguments: Any, **options: Any) -> Recording:
        values = {n: self.realised(n, v, options.get("population")) for n, v in parameters.items()}
        self.last = self.program.run(values, *arguments, **options)
        self.passes += int(np.prod(self.last.traces["out.r"].shape[:-2]))  # [set, pattern, time, cell]
        return self.last  # type: ignore[no-any-return]

    def realised(self, name: str, w: Any, population: int | None) -> Any:
        if name not in self._faults:
            draw = streams.generator(self.network.seed, f"chip/{name}")
            gains = 1 + self.mismatch * draw.standard_normal(w.shape if population is None else w.shape[1:])
            if name == "in_hidden.w":
                gains.ravel()[draw.permutation(gains.size)[: self.stuck]] = 0.0
            self._faults[name] = gains
        if not self.bits:
            return w * self._faults[name]
        steps = np.clip(np.round(w / self.lsb), -LARGEST / self.lsb, LARGEST / self.lsb - 1)
        return steps * self.lsb * self._faults[name]


@dataclass(frozen=True)
class Solution:
    """epochs: until all outputs were within 0.2 of their targets; CAP where they never were. passes: patterns sent forward."""

    epochs: int
    passes: int


def solve(seed: int, *, bits: int = 0, backend: str = "torch", **faults: Any) -> Solution:
    """Learn from the weights of that seed, one weight at a time. bits, faults: see Chip."""
    task = Xor()
    program = Chip(backends.get(backend).compile(task.network(seed)), bits, **faults)
    size = program.lsb * max(1, round(0.01 / program.lsb)) if bits else 0.01  # whole steps of the grid
    rule = learning.get("finite-differences", learning_rate=1.0, sigma=size)
    batch, state = task.batch(), rule.init(program)
    parameters: dict[str, Any] = {}
    for epoch in range(CAP):
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
        found = program.last.traces["out.r"][0, :, 0, 0]  # of the first set: the weights before this update
        if np.abs(found - TARGETS).max() < 0.2:
            return Solution(epoch, program.passes)
    return Solution(CAP, program.passes)


def gradient_error(sampling: str, size: float, seed: int) -> float:
    """Relative error of one-at-a-time differences against autograd, at the start, in float64."""
    import torch

    from neuro.compiler.parameters import values

    task = Xor()
    program: Any = backends.get("torch").compile(task.network(seed))
    rule = learning.get("finite-differences", learning_rate=1.0, sigma=size, sampling=sampling)
    start, batch = values(program.network), task.batch()
    found, _, _ = rule.step(program, {}, rule.init(program), batch, task)
    names = [n for n in start if n.endswith(".w")]

    def loss(signals: Any) -> torch.Tensor:
        return task.loss(signals.spikes, signals.traces, batch)  # type: ignore[no-any-return]

    _, exact = program.value_and_grad(loss, start, batch.inputs, names, task.record())
    wrong = sum(float(((start[n] - found[n] - exact[n]) ** 2).sum()) for n in names)
    return float(np.sqrt(wrong / sum(float((exact[n] ** 2).sum()) for n in names)))


def derivatives(seed: int) -> tuple[Any, Any, Any]:
    """First, second and third derivative of the error by each weight alone, [weight] each, at the start, from the closed form."""
    import torch

    from neuro.compiler.parameters import values

    start = values(Xor().network(seed))
    into, out, bias = (torch.as_tensor(start[f"{n}.w"]) for n in ("in_hidden", "hidden_out", "bias_out"))
    offsets = torch.zeros(WEIGHTS, dtype=torch.float64, requires_grad=True)
    sets = torch.cat([into.ravel(), out.ravel(), bias.ravel()]) + torch.diag(
        offsets
    )  # [set, weight]: one moved in each
    parts = torch.split(sets, [into.numel(), out.numel(), bias.numel()], dim=1)
    patterns = torch.as_tensor(Xor().batch().inputs["x"][:, 0])
    hidden = torch.sigmoid(patterns @ parts[0].reshape(-1, *into.shape))
    y = torch.sigmoid(hidden @ parts[1].reshape(-1, *out.shape) + parts[2][:, None])[..., 0]
    found = [0.5 * ((y - torch.as_tensor(TARGETS)) ** 2).sum(dim=1)]
    for _ in range(3):
        found += torch.autograd.grad(found[-1].sum(), offsets, create_graph=True)
    first, second, third = (f.detach().numpy() for f in found[1:])
    return first, second, third


def expected_error(sampling: str, size: float, seed: int) -> float:
    """What `gradient_error` is to leading order: h/2 |D2| / |D1| of one-sided differences, h^2/6 |D3| / |D1| of central ones.

    D1 to D3: see `derivatives`. The next terms are smaller by the order of h and of h^2.
    """
    first, second, third = derivatives(seed)
    lost = size / 2 * second if sampling == "baseline" else size**2 / 6 * third
    return float(np.linalg.norm(lost) / np.linalg.norm(first))

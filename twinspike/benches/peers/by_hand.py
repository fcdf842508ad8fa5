"""The training benchmark's network as somebody would write it for speed in plain torch and in JAX: our own numbers, to rounding.

Membranes are in units of the threshold. A spike of step k arrives in step k + 1, as in our step; so all of a layer's input is one product
before its loop over time. The surrogate's slope is 1/(1 + 25 |v - 1|)^2, resets bring no gradient back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

BETA, SLOPE = math.exp(-1 / 20), 25.0
CELL = 5 * (1 - BETA)  # of a threshold, for 1 nA in one step: 100 Mohm over 20 mV
READOUT = 10 * (1 - BETA)  # of 10 mV
Weights = Mapping[
    str, Any
]  # numpy arrays [pre, post] in nA: "feed", "loop", of further layers "feed2", "loop2", ..., and "out"


Step = Callable[[], tuple[Any, Mapping[str, Any]]]  # the loss, and gradients in 1/nA


def layers(weights: Weights) -> list[tuple[str, str]]:
    """Names of each layer's weights."""
    return [(name, name.replace("feed", "loop")) for name in weights if name.startswith("feed")]


def torch_functions() -> tuple[Any, Any, Any]:
    """What a step later sees of [time, ...]; spikes of a layer, and the mean readout, of their input [time, batch, cell]."""
    import torch

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, margin: Any) -> Any:
            ctx.save_for_backward(margin)
            return (margin > 0).to(margin.dtype)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            (margin,) = ctx.saved_tensors
            return gradients[0] / (SLOPE * margin.abs() + 1) ** 2

    def late(values: Any) -> Any:
        return torch.cat([torch.zeros_like(values[:1]), values[:-1]])

    def layer(drive: Any, loop: Any) -> Any:
        v = z = torch.zeros_like(drive[0])
        found = []
        for now in drive.unbind(0):
            v = BETA * v + torch.addmm(now, z, loop)
            z = Spike.apply(v - 1)  # type: ignore[no-untyped-call]
            v = v * (1 - z.detach())
            found.append(z)
        return torch.stack(found)

    def readout(drive: Any) -> Any:
        v = total = torch.zeros_like(drive[0])
        for now in drive.unbind(0):
            v = BETA * v + now
            total = total + v
        return total / len(drive)

    return late, layer, readout


def torch_network(x: Any, labels: Any, weights: Weights) -> tuple[Any, Callable[[], Any]]:
    """The weights as leaf tensors where x lies, and what gives the loss."""
    import torch

    leaves = {n: torch.tensor(w, dtype=torch.float32, device=x.device, requires_grad=True) for n, w in weights.items()}
    late, layer, readout = torch_functions()

    def loss() -> Any:
        spikes = x
        for feed, loop in layers(weights):
            drive = late(spikes) @ (CELL * leaves[feed])
            spikes = layer(drive, CELL * leaves[loop])
        logits = readout(late(spikes) @ (READOUT * leaves["out"]))
        return torch.nn.functional.cross_entropy(logits, labels)

    return leaves, loss


def torch_eager(x: Any, labels: Any, weights: Weights) -> Step:
    """An operation of torch after the other."""
    leaves, loss = torch_network(x, labels, weights)

    def step() -> Any:
        for w in leaves.values():
            w.grad = None
        found = loss()
        found.backward()
        return found.detach(), {n: w.grad for n, w in leaves.items()}

    return step


def torch_graph(x: Any, labels: Any, weights: Weights) -> Step:
    """The same, its whole step captured once. Raises RuntimeError where x lies on no CUDA device."""
    import torch

    if x.device.type != "cuda":
        raise RuntimeError("a CUDA graph needs a CUDA device")
    leaves, loss = torch_network(x, labels, weights)
    side = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(side):
        for _ in range(2):
            loss().backward()
    torch.cuda.current_stream(x.device).wait_stream(side)
    for w in leaves.values():
        w.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = loss()
        found.backward()

    def step() -> Any:
        graph.replay()
        return found.detach(), {n: w.grad for n, w in leaves.items()}

    return step


def jax_scan(x: Any, labels: Any, weights: Weights) -> Step:
    """A scan over time of each layer, value and gradients jitted."""
    import jax
    import jax.numpy as jnp

    spike = jax.custom_jvp(lambda margin: (margin > 0).astype(margin.dtype))
    spike.defjvp(lambda at, along: (spike(at[0]), along[0] / (SLOPE * jnp.abs(at[0]) + 1) ** 2))

    def late(values: Any) -> Any:
        return jnp.concatenate([jnp.zeros_like(values[:1]), values[:-1]])

    def layer(drive: Any, loop: Any) -> Any:
        def advance(state: Any, now: Any) -> Any:
            v, z = state
            v = BETA * v + now + z @ loop
            z = spike(v - 1)
            return (v * (1 - jax.lax.stop_gradient(z)), z), z

        nothing = jnp.zeros_like(drive[0])
        return jax.lax.scan(advance, (nothing, nothing), drive)[1]

    def readout(drive: Any) -> Any:
        def advance(state: Any, now: Any) -> Any:
            v = BETA * state[0] + now
            return (v, state[1] + v), None

        nothing = jnp.zeros_like(drive[0])
        return jax.lax.scan(advance, (nothing, nothing), drive)[0][1] / len(drive)

    def loss(w: Any, spikes: Any, targets: Any) -> Any:
        for feed, loop in layers(weights):
            drive = late(spikes) @ (CELL * w[feed])
            spikes = layer(drive, CELL * w[loop])
        logits = readout(late(spikes) @ (READOUT * w["out"]))
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), targets[:, None], axis=1).mean()

    run = jax.jit(jax.value_and_grad(loss))
    given = {n: jnp.asarray(w, jnp.float32) for n, w in weights.items()}
    spikes, targets = jnp.asarray(x.cpu().numpy()), jnp.asarray(labels.cpu().numpy())

    def step() -> Any:
        return jax.block_until_ready(run(given, spikes, targets))

    return step


BY_HAND: Mapping[str, tuple[str, Callable[[Any, Any, Weights], Step]]] = {
    "torch by hand": ("torch", torch_eager),
    "torch by hand, graph": ("torch", torch_graph),
    "JAX by hand": ("jax", jax_scan),
}  # name -> (package, builder)

"""The training benchmark's network in other libraries, each as its own documentation shows it.

700 spike inputs -> layers of recurrent LIF -> 20 leaky readouts; every function builds one for float32 spikes x [time, batch, channel],
where those lie, and our weights (see `by_hand`), which are scaled so that a spike weighs as much. It returns a step that runs forward and
backward once and gives the loss, a tensor or JAX's array that has been computed or will be. Time constants 20 ms, dt 1 ms, unless noted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twinspike.benches.peers.by_hand import BY_HAND, CELL, Weights
from twinspike.benches.peers.by_hand import layers as names

INPUTS, HIDDEN, CLASSES = 700, 128, 20
BETA = math.exp(-1 / 20)


@dataclass(frozen=True)
class Peer:
    """A library's network. package: its distribution. differs: how its dynamics differ from ours. of_jax: it runs on a device of JAX's."""

    package: str
    build: Callable[[Any, Any, Weights], Callable[[], Any]]
    differs: str
    of_jax: bool = False


def _steps(net: Any, x: Any, labels: Any) -> Callable[[], Any]:
    """Cross entropy of the mean readout, back through time."""
    import torch

    net = net.to(x.device)

    def step() -> Any:
        net.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(net(x), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    return step


def _set(parameter: Any, values: Any) -> None:
    """Numbers of a torch layer, [post, pre], from ours."""
    import torch

    with torch.no_grad():
        parameter.copy_(torch.as_tensor(values.T, dtype=parameter.dtype))


def snntorch(x: Any, labels: Any, weights: Weights) -> Callable[[], Any]:
    import snntorch as snn
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            feeds, hidden = [], []
            for feed, loop in names(weights):
                n, m = weights[feed].shape
                feeds.append(torch.nn.Linear(n, m, bias=False))
                hidden.append(snn.RLeaky(beta=BETA, linear_features=m, all_to_all=True))
                _set(feeds[-1].weight, CELL * weights[feed])
                _set(hidden[-1].recurrent.weight, CELL * weights[loop])
            self.feeds: Any = torch.nn.ModuleList(feeds)
            self.hidden: Any = torch.nn.ModuleList(hidden)
            self.out = torch.nn.Linear(m, CLASSES, bias=False)
            self.readout = snn.Leaky(beta=BETA, reset_mechanism="none")

        def forward(self, x: Any) -> Any:
            states = [cells.init_rleaky() for cells in self.hidden]
            out = self.readout.init_leaky()
            found = []
            for spikes in x:
                for i, (feed, cells) in enumerate(zip(self.feeds, self.hidden, strict=True)):
                    states[i] = cells(feed(spikes), *states[i])
                    spikes = states[i][0]
                _, out = self.readout(self.out(spikes), out)
                found.append(out)
            return torch.stack(found).mean(0)

    return _steps(Net(), x, labels)


def norse(x: Any, labels: Any, weights: Weights) -> Callable[[], Any]:
    import norse.torch as norse_torch
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = torch.nn.ModuleList()
            for feed, loop in names(weights):
                self.hidden.append(norse_torch.LIFRecurrent(*weights[feed].shape))
                _set(self.hidden[-1].input_weights, 2 * CELL * weights[feed])  # its current and membrane halve a spike
                _set(self.hidden[-1].recurrent_weights, 2 * CELL * weights[loop])
            self.fc = torch.nn.Linear(len(weights["out"]), CLASSES, bias=False)
            self.readout = norse_torch.LI()

        def forward(self, x: Any) -> Any:
            for layer in self.hidden:
                x, _ = layer(x)
            out, _ = self.readout(self.fc(x))
            return out.mean(0)

    return _steps(Net(), x, labels)


def spikingjelly(x: Any, labels: Any, weights: Weights) -> Callable[[], Any]:
    import numpy as np
    import torch
    from spikingjelly.activation_based import functional, layer, neuron

    def hidden(feed: Any, loop: Any) -> Any:
        n, m = feed.shape
        cells = neuron.LIFNode(tau=20.0, detach_reset=True)  # its input is divided by tau
        first = layer.Linear(n, m, bias=False, step_mode="m")
        then = layer.LinearRecurrentContainer(cells, m, m, bias=False, step_mode="m")
        _set(first.weight, 20 * CELL * feed)
        _set(then.rc.weight, np.concatenate([np.eye(m), 20 * CELL * loop]))
        return first, then

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            parts = (part for feed, loop in names(weights) for part in hidden(weights[feed], weights[loop]))
            self.hidden = torch.nn.Sequential(*parts)
            self.out = layer.Linear(len(weights["out"]), CLASSES, bias=False, step_mode="m")
            self.readout = neuron.NonSpikingLIFNode(tau=20.0, decode="mean-mem")
            functional.set_step_mode(self.readout, "m")

        def forward(self, x: Any) -> Any:
            functional.reset_net(self)
            return self.readout(self.out(self.hidden(x)))

    return _steps(Net(), x, labels)


def spyx(x: Any, labels: Any, weights: Weights) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp
    from flax import nnx
    from spyx import fn, nn

    rngs = nnx.Rngs(0)

    parts: list[Any] = []
    for feed, loop in names(weights):
        n, m = weights[feed].shape
        parts += [nnx.Linear(n, m, use_bias=False, rngs=rngs), nn.RLIF((m,), beta=BETA, rngs=rngs)]
        parts[-2].kernel[...] = jnp.asarray(CELL * weights[feed], jnp.float32)
        parts[-1].recurrent_w[...] = jnp.asarray(CELL * weights[loop], jnp.float32)
    out = nnx.Linear(len(weights["out"]), CLASSES, use_bias=False, rngs=rngs)
    model = nn.Sequential(*parts, out, nn.LI((CLASSES,), beta=BETA, rngs=rngs))
    cross_entropy = fn.integral_crossentropy(smoothing=0.0, time_axis=0)

    def value_and_grad(model: Any, x: Any, labels: Any) -> Any:
        return nnx.value_and_grad(lambda m: cross_entropy(nn.run(m, x)[0], labels))(model)

    step = nnx.jit(value_and_grad)
    spikes, targets = jnp.asarray(x.cpu().numpy()), jnp.asarray(labels.cpu().numpy())
    return lambda: jax.block_until_ready(step(model, spikes, targets))[0]


LATE = "subtracts the threshold one step late"
PEERS = {
    "snnTorch": Peer("snntorch", snntorch, LATE),
    "norse": Peer("norse", norse, "adds a synaptic current; time constants 10 ms and 5 ms (its defaults)"),
    "SpikingJelly": Peer("spikingjelly", spikingjelly, "recurrent weights see a concatenated input (its container)"),
    "Spyx": Peer("spyx", spyx, f"{LATE}; also gives the gradients of both time constants", of_jax=True),
}


def _by_hand(package: str, build: Callable[..., Any]) -> Peer:
    def loss(x: Any, labels: Any, weights: Weights) -> Callable[[], Any]:
        step = build(x, labels, weights)
        return lambda: step()[0]

    return Peer(package, loss, "", of_jax=package == "jax")


ALL: dict[str, Peer] = PEERS | {
    name: _by_hand(*given) for name, given in BY_HAND.items()
}  # with our own network by hand


def loss_of(step: Callable[[], Any]) -> Callable[[], float]:
    """The step, its loss as a number: who has that has waited for a device."""
    return lambda: float(step())

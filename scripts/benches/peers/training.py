"""The training benchmark's network in other libraries, each as its own documentation shows it.

700 spike inputs -> 128 recurrent LIF -> 20 leaky readouts; every function builds one for float32 spikes x [time, batch, channel]
and returns a step that runs forward and backward once and gives the loss. Time constants 20 ms, dt 1 ms, unless noted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

INPUTS, HIDDEN, CLASSES = 700, 128, 20
BETA = math.exp(-1 / 20)


@dataclass(frozen=True)
class Peer:
    """A library's network. package: its distribution. differs: how its dynamics differ from ours."""

    package: str
    build: Callable[[Any, Any], Callable[[], float]]
    differs: str


def _finish(module: Any, readout: Any, labels: Any) -> float:
    """Cross entropy of the mean readout, back through time."""
    import torch

    module.zero_grad(set_to_none=True)
    loss = torch.nn.functional.cross_entropy(readout, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def snntorch(x: Any, labels: Any) -> Callable[[], float]:
    import snntorch as snn
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = torch.nn.Linear(INPUTS, HIDDEN, bias=False)
            self.hidden = snn.RLeaky(beta=BETA, linear_features=HIDDEN, all_to_all=True)
            self.fc2 = torch.nn.Linear(HIDDEN, CLASSES, bias=False)
            self.readout = snn.Leaky(beta=BETA, reset_mechanism="none")

        def forward(self, x: Any) -> Any:
            spikes, mem = self.hidden.init_rleaky()
            out = self.readout.init_leaky()
            found = []
            for now in x:
                spikes, mem = self.hidden(self.fc1(now), spikes, mem)
                _, out = self.readout(self.fc2(spikes), out)
                found.append(out)
            return torch.stack(found).mean(0)

    net = Net()
    return lambda: _finish(net, net(x), labels)


def norse(x: Any, labels: Any) -> Callable[[], float]:
    import norse.torch as norse_torch
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = norse_torch.LIFRecurrent(INPUTS, HIDDEN)
            self.fc = torch.nn.Linear(HIDDEN, CLASSES, bias=False)
            self.readout = norse_torch.LI()

        def forward(self, x: Any) -> Any:
            spikes, _ = self.hidden(x)
            out, _ = self.readout(self.fc(spikes))
            return out.mean(0)

    net = Net()
    return lambda: _finish(net, net(x), labels)


def spikingjelly(x: Any, labels: Any) -> Callable[[], float]:
    import torch
    from spikingjelly.activation_based import functional, layer, neuron

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = layer.Linear(INPUTS, HIDDEN, bias=False, step_mode="m")
            node = neuron.LIFNode(tau=20.0, detach_reset=True)
            self.hidden = layer.LinearRecurrentContainer(node, HIDDEN, HIDDEN, bias=False, step_mode="m")
            self.fc2 = layer.Linear(HIDDEN, CLASSES, bias=False, step_mode="m")
            self.readout = neuron.NonSpikingLIFNode(tau=20.0, decode="mean-mem")
            functional.set_step_mode(self.readout, "m")

        def forward(self, x: Any) -> Any:
            functional.reset_net(self)
            return self.readout(self.fc2(self.hidden(self.fc1(x))))

    net = Net()
    return lambda: _finish(net, net(x), labels)


def spyx(x: Any, labels: Any) -> Callable[[], float]:
    import jax
    import jax.numpy as jnp
    from flax import nnx
    from spyx import fn, nn

    rngs = nnx.Rngs(0)
    model = nn.Sequential(
        nnx.Linear(INPUTS, HIDDEN, use_bias=False, rngs=rngs),
        nn.RLIF((HIDDEN,), beta=BETA, rngs=rngs),
        nnx.Linear(HIDDEN, CLASSES, use_bias=False, rngs=rngs),
        nn.LI((CLASSES,), beta=BETA, rngs=rngs),
    )
    cross_entropy = fn.integral_crossentropy(smoothing=0.0, time_axis=0)

    def value_and_grad(model: Any, x: Any, labels: Any) -> Any:
        return nnx.value_and_grad(lambda m: cross_entropy(nn.run(m, x)[0], labels))(model)

    step = nnx.jit(value_and_grad)
    spikes, targets = jnp.asarray(x.numpy()), jnp.asarray(labels.numpy())
    return lambda: float(jax.block_until_ready(step(model, spikes, targets))[0])


PEERS = {
    "snnTorch": Peer("snntorch", snntorch, "subtracts the threshold one step late"),
    "norse": Peer("norse", norse, "adds a synaptic current; time constants 10 ms and 5 ms (its defaults)"),
    "SpikingJelly": Peer("spikingjelly", spikingjelly, "recurrent weights see a concatenated input (its container)"),
    "Spyx": Peer(
        "spyx", spyx, "subtracts the threshold one step late; also gives the gradients of both time constants"
    ),
}

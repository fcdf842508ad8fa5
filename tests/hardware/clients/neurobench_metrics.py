"""NeuroBench's own metrics of a network that is played back: `neurobench_metrics.py RUN.npz FOUND.json`.

RUN has `w/PROJECTION` [pre, post], `sent/PROJECTION` [trial, time, pre], what reaches its synapses step by step, and `active/POPULATION` [trial, time, cell].
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import torch
from neurobench.metrics.static import ConnectionSparsity
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import NeuroBenchModel


class Shown(torch.nn.Module):
    """Cells whose activations are known."""

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        return activations


class Played(NeuroBenchModel):
    """One Linear a projection and one activation module a population, to whose hooks each step of the recording is shown."""

    def __init__(self, run: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.net = torch.nn.Module()
        self.shown: list[tuple[torch.nn.Module, torch.Tensor]] = []
        for key, array in run.items():
            kind, _, name = key.partition("/")
            if kind == "w":
                layer: torch.nn.Module = torch.nn.Linear(*array.shape, bias=False)
                layer.weight = torch.nn.Parameter(torch.as_tensor(array.T.copy()), requires_grad=False)
                self.shown.append((layer, torch.as_tensor(run[f"sent/{name}"])))
            elif kind == "active":
                layer = Shown()
                self.shown.append((layer, torch.as_tensor(array)))
            else:
                continue
            self.net.add_module(key.replace("/", "_"), layer)
        self.add_activation_module(Shown)

    def __call__(self, data: Any) -> Any:
        for layer, sent in self.shown:
            for k in range(sent.shape[1]):
                layer(sent[:, k])
        return None

    def __net__(self) -> torch.nn.Module:
        return self.net


if __name__ == "__main__":
    given, output = sys.argv[1:]
    run = {n: a.astype(np.float64) for n, a in np.load(given).items()}
    model = Played(run)
    model.register_hooks()
    model(None)
    trials = torch.zeros(len(next(a for n, a in run.items() if n.startswith("sent/"))))
    found = SynapticOperations()(model, None, (trials,))
    found["ActivationSparsity"] = ActivationSparsity()(model, None, (trials,))
    found["ConnectionSparsity"] = float(ConnectionSparsity()(model))
    with open(output, "w", encoding="utf-8") as file:
        json.dump({n: float(v) for n, v in found.items()}, file)

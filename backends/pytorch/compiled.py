"""A network compiled to torch: its groups as functions of tensors, and what they begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from backends.common.storage import Storage
from backends.common.structure import Backward, local, with_feedback
from backends.pytorch.functions import Wires
from backends.pytorch.groups import Functions, Group
from backends.pytorch.render import render
from backends.pytorch.spikes import Spike, spikes
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import Parameter, initial_state, parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.step import Step
from neuro.language.mangling import mangled
from neuro.model import Network


@dataclass(frozen=True)
class CompiledNetwork:
    """What a forward pass runs. network: without receptors. declared: its parameters, feedback weights among them.
    wires: of each projection.

    scales: population -> unit of the margin that its surrogate sees. functions: of each group. initial: of states, and
    shapes: of parameters and states, both by the names of the generated text.
    """

    network: Network
    declared: Mapping[str, Parameter]
    step: Step
    backward: Backward
    storage: Storage
    wires: Mapping[str, Wires]
    scales: Mapping[str, float]
    groups: tuple[Group, ...]
    functions: tuple[Functions, ...]
    initial: Mapping[str, torch.Tensor]
    shapes: Mapping[str, tuple[int, ...]]

    @staticmethod
    def of(
        network: Network, backward: Backward, storage: Storage, surrogate: Spike, compile_step: bool
    ) -> CompiledNetwork:
        """compile_step: by torch.compile. Raises UnsupportedError."""
        merged = resolve(network).network
        declared = with_feedback(parameters(network), backward)
        step = lower(network)
        wires = {s.name: Wires(s, storage) for s in step.synapses}
        groups = tuple(render(step, {name: p.shape for name, p in declared.items()}, backward, wires, storage))
        scales = backward.scales(step, merged)
        functions = tuple(_loaded(g, surrogate, scales, compile_step) for g in groups)
        initial = {_local(n): storage.of(v) for n, v in initial_state(network).items()}
        shapes = {_local(n): p.shape for n, p in declared.items()} | {n: tuple(v.shape) for n, v in initial.items()}
        return CompiledNetwork(
            merged, declared, step, backward, storage, wires, scales, groups, functions, initial, shapes
        )  # fmt: skip

    @property
    def source(self) -> str:
        """The generated code of all groups."""
        return "\n\n".join(g.source for g in self.groups)


def _local(name: str) -> str:
    return local(*name.split(".", 1))


def _loaded(group: Group, spike: Spike, scales: Mapping[str, float], compile_step: bool) -> Functions:
    namespace: dict[str, Any] = dict(group.functions)
    for name in group.spiking:
        namespace[mangled("spike", name)] = lambda m, c=None, s=1 / scales[name]: spikes(spike, m, s, c)
    exec(compile(group.source, f"<step of {', '.join(group.populations)}>", "exec"), namespace)
    step = torch.compile(namespace["step"]) if compile_step else namespace["step"]
    return Functions(namespace["constants"], step, namespace["observe"], namespace["sums"])

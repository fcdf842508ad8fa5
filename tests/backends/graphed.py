"""CUDA's graphs on the CPU: what runs while one is captured is noted, and a replay runs it again on the same memory.

`torch.cuda.make_graphed_callables` itself runs on it. What it can't show: what a stream forbids while it is captured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backends.pytorch import graphs

ASKS = ("_local_scalar_dense", "is_nonzero", "equal")  # what asks the device for a number


class Graph(TorchDispatchMode):
    """Operations in order, with their tensors. replays: how often it has run again."""

    made: list[Graph]

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0
        Graph.made.append(self)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.overloadpacket.__name__ in ASKS:
            raise RuntimeError(f"{function}: operation not permitted when stream is capturing")
        found = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, found))
        return found

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for function, args, kwargs, found in self.operations:
            again = function(*args, **kwargs)
            for mine, now, returned in zip(
                tree_leaves(found), tree_leaves(again), function._schema.returns, strict=False
            ):
                if isinstance(mine, torch.Tensor) and returned.alias_info is None:
                    mine.copy_(now)


@contextmanager
def emulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Graph]]:
    """Graphs of the CPU; gives those that were captured."""
    Graph.made = []
    capture: Any = lambda graph, pool=None: graph
    for name, value in {
        "CUDAGraph": Graph, "graph": capture, "Stream": lambda *_: None, "stream": lambda _: nullcontext(), "synchronize": lambda *_: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.cuda.graphs, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(graphs, "DEVICES", ("cpu", "cuda"))
    yield Graph.made

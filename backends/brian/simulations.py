"""A built Brian2 network that runs again and again: in this process, or as a C++ program of its own."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.build import Builder, Ties
from backends.brian.built import Built
from backends.brian.devices import CPPStandaloneDevice, activated, brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.plan import Watched
from backends.brian.state import resume
from backends.brian.traces import monitors, stale
from neuro.model import Network
from neuro.protocols import RunError
from neuro.state import State

Array = npt.NDArray[Any]
Values = Mapping[tuple[Any, str], Array]  # (Brian2 object, variable) -> initial values


class Simulation(ABC):
    """One built network."""

    built: Built

    def __init__(self, network: Network) -> None:
        self.network = network

    def duration(self, steps: int) -> Any:
        return steps * float(self.network.dt.value) * brian2.second

    @abstractmethod
    def run(
        self, values: Values, arrays: Mapping[str, Array], steps: int, record: Sequence[Watched], state: State | None
    ) -> None:
        """From these initial values or from a state, with these inputs [time, batch * size] by our names."""

    def close(self) -> None:  # noqa: B027  most hold nothing
        """Give back what it holds."""


class InProcess(Simulation):
    """Code of Brian2's targets numpy and cython. It serves any number of steps, and monitors are added when asked for."""

    def __init__(self, network: Network, built: Built) -> None:
        super().__init__(network)
        self.built = built
        self._run(0)  # Brian2 writes its code now
        self.built.network.store("start")

    def run(
        self, values: Values, arrays: Mapping[str, Array], steps: int, record: Sequence[Watched], state: State | None
    ) -> None:
        network = self.built.network
        network.restore("start")
        self._monitor(record)
        for (group, variable), value in values.items():
            group.variables[variable].set_value(value)
        self.built.arrays.clear()
        self.built.arrays.update(arrays)
        self.built.first = 0
        if state is not None:
            resume(self.network, self.built, state)
        self._run(steps)

    def _run(self, steps: int) -> None:
        self.built.network.run(self.duration(steps), namespace={})

    def _monitor(self, record: Sequence[Watched]) -> None:
        network, gone = self.built.network, stale(self.built, record)
        new = monitors(self.built, record)
        network.remove(*gone)
        for monitor in new:
            monitor.before_run({})
        if new:
            network.add(*new)
            network.store("start")
        wanted = {id(self.built.traces[item]) for item in record if item.size}
        for monitor in self.built.traces.values():
            monitor.active = id(monitor) in wanted


class Standalone(Simulation):
    """A program in C++, compiled once; initial values and inputs reach it in files."""

    def __init__(self, network: Network, batch: int, ties: Ties, record: tuple[Watched, ...], steps: int) -> None:
        super().__init__(network)
        self.folder = tempfile.mkdtemp(prefix="twinspike-brian2-")
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.device = CPPStandaloneDevice()
        with activated(self.device):
            self.built = Builder(network, batch, steps, ties).build()
            self.built.network.add(*monitors(self.built, record))
            words = {t.name: t for t in self.built.tables.values()}
            self.built.network.run(self.duration(steps), namespace=words)
            self.device.build(directory=str(Path(self.folder) / "code"), compile=True, run=False, with_output=False)

    def run(
        self, values: Values, arrays: Mapping[str, Array], steps: int, record: Sequence[Watched], state: State | None
    ) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            given = {
                f"{group.name}.{variable}": (group.variables[variable], v) for (group, variable), v in values.items()
            }
            files = {}
            for name, (variable, value) in given.items():
                files[name] = np.asarray(value, dtype=variable.dtype)
            for name, value in arrays.items():
                files[f"{self.built.tables[name].name}.values"] = np.asarray(value, dtype=np.float64)
            arguments = []
            for number, (name, value) in enumerate(files.items()):
                path = Path(folder) / f"{number}.bin"
                np.ascontiguousarray(value).tofile(path)
                arguments.append(f"{name}={path}")
            with activated(self.device):
                try:
                    self.device.run(with_output=False, run_args=arguments)
                except RuntimeError as error:
                    raise RunError(f"Brian2's C++ program failed: {error}") from None

    def close(self) -> None:
        self._remove()

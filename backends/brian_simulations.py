"""A built Brian2 network that runs again and again: in this process, or as a C++ program of its own."""

from __future__ import annotations

import gc
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian_build import Builder, Built
from backends.brian_devices import CPPStandaloneDevice, activated, brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian_functions import FUNCTIONS
from neuro.model import Network
from neuro.protocols import RunError

Array = npt.NDArray[Any]
Values = Mapping[tuple[Any, str], Array]  # (Brian2 object, variable) -> initial values


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Brian2 collects garbage before each run, which takes longer than many a run; what lives now is set aside."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Simulation(ABC):
    """One built network."""

    def __init__(self, network: Network, batch: int, record: tuple[str, ...], steps: int) -> None:
        self.network = network
        self.built = self.build(batch, record, steps)

    def duration(self, steps: int) -> Any:
        return steps * float(self.network.dt.value) * brian2.second

    @abstractmethod
    def build(self, batch: int, record: tuple[str, ...], steps: int) -> Built: ...

    @abstractmethod
    def run(self, values: Values, arrays: Mapping[str, Array], steps: int) -> None:
        """From these initial values, with these inputs [time, batch * size] by our names."""

    def close(self) -> None:  # noqa: B027  most hold nothing
        """Give back what it holds."""


class InProcess(Simulation):
    """Code of Brian2's targets numpy and cython."""

    def build(self, batch: int, record: tuple[str, ...], steps: int) -> Built:
        built = Builder(self.network, batch, None).build(record)
        built.network.store("start")
        return built

    def run(self, values: Values, arrays: Mapping[str, Array], steps: int) -> None:
        self.built.network.restore("start")
        for (group, variable), value in values.items():
            group.variables[variable].set_value(value)
        self.built.arrays.clear()
        self.built.arrays.update(arrays)
        with _nothing_to_collect():
            self.built.network.run(self.duration(steps), namespace=FUNCTIONS)


class Standalone(Simulation):
    """A program in C++, compiled once; initial values and inputs reach it in files."""

    def build(self, batch: int, record: tuple[str, ...], steps: int) -> Built:
        self.folder = tempfile.mkdtemp(prefix="twinspike-brian2-")
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.device = CPPStandaloneDevice()
        with activated(self.device):
            built = Builder(self.network, batch, steps).build(record)
            built.network.run(
                self.duration(steps), namespace={**FUNCTIONS, **{t.name: t for t in built.tables.values()}}
            )
            self.device.build(directory=str(Path(self.folder) / "code"), compile=True, run=False, with_output=False)
        return built

    def run(self, values: Values, arrays: Mapping[str, Array], steps: int) -> None:
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

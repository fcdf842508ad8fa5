"""What of twinspike works on this machine, and the command that brings what doesn't.

twinspike doctor
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Annotated, Any

import typer

from twinspike import cli

DISTRIBUTION = "twinspike"
Row = tuple[str, str, str]  # what, how it is, what to do


def main(
    json_: Annotated[
        bool, typer.Option("--json", help="for a report of a fault: all of it as one JSON object")
    ] = False,
) -> None:
    """Run one cell on every backend, look for compilers, devices, packages and recordings, and say how to get what lacks.

    Exit code 1 where something that is installed doesn't work.
    """
    with cli.progress("looking") as update:
        found: dict[str, list[Row]] = {}
        parts = {"here": here, "backends": backends_, "devices": devices, "extras": extras, "recordings": recordings}
        for number, (title, look) in enumerate(parts.items()):
            update(number, len(parts), title)
            found[title] = list(look())
        update(len(parts), len(parts), "")
    if json_:
        import json

        print(json.dumps(found, indent=1))
    else:
        for title, rows in found.items():
            cli.table(title, ("what", "state", "what to do"), rows)
    if any(state.startswith("fails") for rows in found.values() for _, state, _ in rows):
        raise typer.Exit(1)


def here() -> Iterator[Row]:
    """Versions, machine and compiler."""
    import neuro
    from backends.native.build import compiler, missing

    yield DISTRIBUTION, neuro.__version__, ""
    yield "Python", platform.python_version(), ""
    yield "machine", f"{platform.system()} {platform.machine()}", ""
    yield "C compiler", compiler() or "none", missing() or ""
    for name in core():
        yield name, *installed(name)


def backends_() -> Iterator[Row]:
    """One cell for one step on each."""
    import warnings

    import backends
    from neuro import Network, Neuron, Population
    from neuro.protocols import UnsupportedError

    cell = Neuron("cell", "dv/dt = -v/second : 1", method="euler")
    network = Network((Population("cells", cell, 1),), (), dt="1 ms")
    for name in backends.names():
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                backends.get(name).compile(network).run(steps=1)
        except (backends.UnknownBackendError, UnsupportedError) as error:
            why, _, how = str(error).rpartition("; ")
            yield name, "can't be used", f"{how} ({why})" if why else how
        except Exception as error:  # of a package that is there and doesn't work
            yield name, f"fails: {type(error).__name__}", str(error).strip().partition("\n")[0]
        else:
            yield name, f"works ({time.perf_counter() - start:.1f} s)", ""


def devices() -> Iterator[Row]:
    """Those of CUDA that torch sees."""
    try:
        import torch
    except ImportError:
        yield "CUDA", "unknown", "torch, which looks for devices, isn't installed"
        return
    if not torch.cuda.is_available():
        built = "is built for the processor alone" if torch.version.cuda is None else "sees no device"
        yield "CUDA", "none", f"torch {torch.__version__} {built}"
    for number in range(torch.cuda.device_count()):
        yield f"cuda:{number}", torch.cuda.get_device_name(number), ""


def extras() -> Iterator[Row]:
    """Packages of each extra: all there, or the command that brings them."""
    try:
        names = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        yield DISTRIBUTION, "not installed", "pip install -e . in the checkout; its extras are not known before"
        return
    for name in names:
        lacking = [p for p in packages_of(name) if installed(p)[0] == "missing"]
        state = f"lacks {', '.join(lacking)}" if lacking else "complete"
        yield name, state, f"pip install '{DISTRIBUTION}[{name}]'" if lacking else ""


def recordings() -> Iterator[Row]:
    """How many of the tasks' files are there."""
    import tasks

    states = [file.state for file in tasks.sources()]
    there = states.count("found")
    yield "files of tasks", f"{there} of {len(states)} found", "" if there == len(states) else "twinspike data --list"


def core() -> list[str]:
    """Packages that every installation has."""
    try:
        return sorted(r.name for r in _requirements() if _applies(r, ""))
    except metadata.PackageNotFoundError:
        return ["numpy", "scipy", "sympy", "pint", "h5py"]


def packages_of(extra: str) -> list[str]:
    """Packages that an extra brings, those of the extras it stands on included."""
    found: dict[str, None] = {}
    for requirement in _requirements():
        if _applies(requirement, extra) and not _applies(requirement, ""):
            if requirement.name != DISTRIBUTION:
                found[requirement.name] = None
            for inner in requirement.extras if requirement.name == DISTRIBUTION else ():
                found |= dict.fromkeys(packages_of(inner))
    return list(found)


def installed(package: str) -> tuple[str, str]:
    """Its version, or that it is missing and what brings it."""
    from neuro.registry import command

    try:
        return metadata.version(package), ""
    except metadata.PackageNotFoundError:
        return "missing", command(package)


def _requirements() -> list[Any]:
    from packaging.requirements import Requirement

    return [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]


def _applies(requirement: Any, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})

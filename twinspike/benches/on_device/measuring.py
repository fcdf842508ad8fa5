"""One work on one device: every function's whole calls, interleaved; times, ratios and what they must reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

from twinspike.benchmark import Bench, Figure
from twinspike.device import Device
from twinspike.timing import CONTROL, interleaved

CALLS = 9  # whose times on the stream are taken
Step = Callable[[], Any]


@dataclass(frozen=True)
class Goal:
    """What our first backend must reach on an H100 or H200. ms: of a whole call. ratios: of its time to a peer's."""

    ms: float | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)


def installed(packages: Mapping[str, str], device: Device, of_jax: frozenset[str]) -> Iterator[str]:
    """The peers that are there, by name; names the others. of_jax: those that need JAX on the device."""
    why = ""
    if of_jax:
        try:
            version("jax")
        except PackageNotFoundError:
            why = "the package jax is not installed"
        else:
            why = device.prepare_jax()
    for name, package in packages.items():
        try:
            version(package)
        except PackageNotFoundError:
            print(f"left out: {name} (the package {package} is not installed)")
            continue
        if name in of_jax and why:
            print(f"left out: {name} (JAX on {device.name}: {why})")
        else:
            yield name


def built(makers: Mapping[str, Callable[[], Step]], device: Device) -> dict[str, Step]:
    """Those that can be made and called once; names the others with what they say."""
    found = {}
    for name, make in makers.items():
        try:
            step = make()
            step()
        except Exception as error:
            said = str(error).strip().splitlines() or [""]
            print(f"left out: {name} (on {device.name}: {type(error).__name__}: {said[0][:200]})")
        else:
            found[name] = step
    return found


def measure(
    bench: Bench, device: Device, title: str, steps: Mapping[str, Step], goal: Goal, read: Callable[[Any], Any],
    differs: Mapping[str, str] | None = None, of_jax: frozenset[str] = frozenset(), ours: Sequence[str] = (),
) -> None:  # fmt: skip
    """Adds the work's table and figures. steps: that leave what they compute where it is. read: brings it here, as every counted call does.

    ours: names, the one that must reach the goal first; left out: our backends.
    """
    names = ours or bench.backends
    there = [name for name in names if name in steps]
    bench.criterion(f"{title}: runs on {device.name}", ", ".join(there) or "none", names[0], names[0] in there)
    first = next(iter(there), "")
    judged = device.cuda and not bench.quick and first == names[0]
    calls = {name + end: _read(step, read) for name, step in steps.items() for end in _ends(name, first)}
    with bench.progress(title) as update:
        times = interleaved(calls, bench.rounds, update, device.clock)
    ms = {name: [1e3 * t for t in found] for name, found in times.items()}
    stream = {n: device.stream_seconds(f, CALLS) for n, f in steps.items() if device.cuda and n not in of_jax}
    header = ("who", "whole call, median ms", "least ms", *(["on torch's stream, median ms"] if stream else []))
    rows = [
        (n, median(ms[n]), min(ms[n]), *([1e3 * stream[n] if n in stream else "-"] if stream else [])) for n in steps
    ]
    bench.table(title, header, rows)
    if not first:
        return
    bench.ratios(title, ms, first, targets=goal.ratios if judged else {}, differs=differs, unit="ms")
    if goal.ms is not None:
        absolute(bench, title, first, ms[first], "ms", goal.ms if judged else None)


def absolute(bench: Bench, title: str, name: str, found: list[float], unit: str, limit: float | None) -> None:
    """A figure that is no ratio. name: whose."""
    middle = median(found)
    bench.figures.append(
        Figure(title, name, "itself", f"{middle:.3g} {unit}", "", middle, min(found), max(found), target=limit)
    )


def _ends(name: str, first: str) -> tuple[str, ...]:
    return ("", CONTROL) if name == first else ("",)


def _read(step: Step, read: Callable[[Any], Any]) -> Step:
    return lambda: read(step())

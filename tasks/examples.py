"""Examples that somebody gives for a network: made arrays of plain numbers, filled up to one length, and compared with the network."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neuro.events import Events
from neuro.language.units import Quantity
from neuro.model import Network
from neuro.options import OptionError
from neuro.protocols import Array, Batch


@dataclass(frozen=True)
class Examples:
    """x: input name -> [example, time, channel]. y: labels [example] or [example, time], or values [example, unit] or [example, time, unit].
    mask: bool [example, time], the steps that count; None for all."""

    x: Mapping[str, Any]
    y: Array
    mask: Array | None = None

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, chosen: Array) -> Examples:
        mask = None if self.mask is None else self.mask[chosen]
        return Examples({n: a[chosen] for n, a in self.x.items()}, self.y[chosen], mask)

    @cached_property
    def lengths(self) -> Array:
        """Steps up to the last that counts, int [example]."""
        if self.mask is None:
            return np.full(len(self), next(iter(self.x.values())).shape[1])
        return np.asarray(self.mask.shape[1] - self.mask[:, ::-1].argmax(axis=1))

    def cut(self, chosen: Array) -> Examples:
        """Some of them, up to the last step that counts in one."""
        steps = int(self.lengths[chosen].max())
        x = {n: a[chosen].between(0, steps) if isinstance(a, Events) else a[chosen, :steps] for n, a in self.x.items()}
        y = self.y[chosen, :steps] if stepwise(self.y) else self.y[chosen]
        return Examples(x, y, None if self.mask is None else self.mask[chosen, :steps])

    @property
    def labels(self) -> bool:
        """Whether y names classes."""
        return bool(self.y.dtype.kind in "iu")

    def checksum(self, before: int = 0) -> int:
        """Of all numbers in them, and of the checksum of those before."""
        found = before
        for name, part in {**self.x, "y": self.y, "mask": self.mask}.items():
            if part is None:
                continue
            found = zlib.crc32(f"{name} {tuple(map(int, part.shape))}".encode(), found)
            for held in (part.offsets, part.channels) if isinstance(part, Events) else (part,):
                found = zlib.crc32(np.ascontiguousarray(held).tobytes(), found)
        return found

    @property
    def batch(self) -> Batch:
        return Batch(dict(self.x), self.y, self.mask)


def numbers(what: str, given: Any) -> Array:
    """An array of numbers that all libraries take: in the processor's byte order, of 64 bits at most. Raises OptionError."""
    try:
        found = np.asarray(given.detach() if hasattr(given, "detach") else given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"{what} is no array of numbers: {error}") from None
    if found.dtype.kind not in "biuf":
        raise OptionError(f"{what} has entries that are no finite numbers, but {found.dtype}; give numbers")
    plain = (
        np.dtype(np.float64) if found.dtype.kind == "f" and found.dtype.itemsize > 8 else found.dtype.newbyteorder("=")
    )
    return found.astype(plain, copy=False)


def stepwise(y: Array) -> bool:
    """Whether targets are one of each step."""
    return y.ndim == (2 if y.dtype.kind in "iu" else 3)


def fitting(network: Network, answer: tuple[str, str], x: Any, y: Any, mask: Any, what: str) -> Examples:
    """As given, by input; a single array is for the one input that takes data. answer: population and variable. what: they are called in errors.
    Raises OptionError on what doesn't fit."""
    taking = [i.name for i in network.inputs if not i.drawn]
    if not isinstance(x, Mapping):
        if len(taking) != 1:
            raise OptionError(
                f"x is one array, and the network has the inputs {', '.join(taking) or 'none'}; give {{name: array}}"
            )
        x = {taking[0]: x}
    target = numbers(f"{what}: y", y)
    if not target.ndim:
        raise OptionError(f"{what}: y is one number; give an array with one entry for each example")
    if target.dtype.kind == "b":
        target = target.astype(np.int64)
    arrays = {
        str(n): a if isinstance(a, Events) else numbers(f"{what}: '{n}'", a.value if isinstance(a, Quantity) else a)
        for n, a in x.items()
    }
    found = Examples(arrays, target, None if mask is None else _counting(f"{what}: the mask", mask))
    _check(network, found, what)
    _check_targets(network.population(answer[0]).size, answer[1], found, what)
    return found


def _counting(what: str, mask: Any) -> Array:
    found = numbers(what, mask)
    if not np.isin(found, (0, 1)).all():
        raise OptionError(f"{what} has other entries than 0 and 1; give True for the steps that count")
    return found.astype(bool)


def stacked(dataset: Iterable[tuple[Any, Any]]) -> tuple[Array, Array, Array | None]:
    """x [example, time, channel], y, and which steps are there; None where all are. Raises OptionError."""
    pairs = list(_pairs(dataset))
    if not pairs:
        raise OptionError("the dataset has no examples")
    for k, (x, y) in enumerate(pairs):
        if x.ndim != 2 or x.shape[1] != pairs[0][0].shape[1]:
            raise OptionError(
                f"example {k} has the shape {x.shape}; give each x as [time, channel] with as many channels"
            )
        each = y.ndim == (1 if y.dtype.kind in "biu" else 2)  # one target of each step
        shape, first = (y.shape[1:], pairs[0][1].shape[1:]) if each else (y.shape, pairs[0][1].shape)
        if y.ndim != pairs[0][1].ndim or shape != first or (each and len(y) != len(x)):
            raise OptionError(
                f"example {k} has y of the shape {y.shape} for {len(x)} steps, and example 0 of {pairs[0][1].shape} for {len(pairs[0][0])};"
                " give all one target, or all one of each step"
            )
    steps = max(len(x) for x, _ in pairs)
    there = np.array([np.arange(steps) < len(x) for x, _ in pairs])
    targets = [y for _, y in pairs]
    several = len({y.shape for y in targets}) > 1
    return (
        _filled([x for x, _ in pairs], steps),
        _filled(targets, steps) if several else np.stack(targets),
        None if there.all() else there,
    )


def _pairs(dataset: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Array, Array]]:
    """Of what has a length and places, so many: not every Dataset says by an IndexError where it ends."""
    given: Any = dataset
    counted = hasattr(given, "__len__") and hasattr(given, "__getitem__")
    for k, pair in enumerate((given[i] for i in range(len(given))) if counted else given):
        try:
            x, y = pair
        except (TypeError, ValueError):
            raise OptionError(f"example {k} of the dataset is no pair of x and y") from None
        yield numbers(f"example {k}: x", x), numbers(f"example {k}: y", y)


def _filled(parts: Sequence[Array], steps: int) -> Array:
    return np.stack([np.pad(a, [(0, steps - len(a)), *[(0, 0)] * (a.ndim - 1)]) for a in parts])


def _check(network: Network, examples: Examples, what: str) -> None:
    """Raises OptionError where inputs are missing or don't fit."""
    taking = {i.name: i for i in network.inputs if not i.drawn}
    for name in (*taking, *examples.x):
        if name not in examples.x or name not in taking:
            raise OptionError(
                f"{what}: x has {', '.join(examples.x) or 'nothing'}, and the network takes {', '.join(taking)}: '{name}' is on one side only"
            )
    lengths = set()
    for name, array in examples.x.items():
        shape, size = array.shape, taking[name].size
        if len(shape) != 3 or shape[0] != len(examples) or shape[2] != size or not shape[0] * shape[1]:
            raise OptionError(
                f"{what}: '{name}' has the shape {shape}; it takes [{len(examples)} examples as in y, time, {size} channels]"
            )
        lengths.add(shape[1])
        if isinstance(array, Events):
            if taking[name].kind != "spikes":
                raise OptionError(f"{what}: '{name}' takes a current, not events; give an array of SI values")
            continue
        if not np.isfinite(array).all():
            raise OptionError(f"{what}: '{name}' has entries that are no finite numbers")
        if taking[name].kind == "spikes" and not np.isin(array, (0, 1)).all():
            raise OptionError(
                f"{what}: '{name}' takes spikes, 0 and 1; encode the numbers (neuro.encoders), or make it an input of kind 'current'"
            )
    if len(lengths) > 1:
        raise OptionError(f"{what}: the inputs have {' and '.join(map(str, sorted(lengths)))} steps; give all as many")
    if examples.mask is not None and (
        examples.mask.shape != (len(examples), *lengths) or not examples.mask.any(axis=1).all()
    ):
        raise OptionError(
            f"{what}: the mask has the shape {examples.mask.shape}; it takes [example, time] with a step that counts in each"
        )


def _check_targets(size: int, variable: str, examples: Examples, what: str) -> None:
    """Raises OptionError where y doesn't fit what is read."""
    y, steps = examples.y, next(iter(examples.x.values())).shape[1]
    shapes = [(len(y),), (len(y), steps)] if examples.labels else [(len(y), size), (len(y), steps, size)]
    if y.shape not in shapes or not np.isfinite(y).all():
        wanted = " or ".join(map(str, shapes))
        kind = "labels (whole numbers)" if examples.labels else "values"
        raise OptionError(
            f"{what}: y has the shape {y.shape} of {y.dtype}; {kind} for this network take finite numbers [{wanted}]"
        )
    if examples.labels and (y.min() < 0 or y.max() >= size):
        raise OptionError(
            f"{what}: y has labels from {y.min()} to {y.max()}, and the output has {size} cells; give labels from 0 to {size - 1}"
        )
    if stepwise(y) and not variable:
        raise OptionError(
            f"{what}: y has one target for each step, which spikes alone can't answer; read a variable of the output"
        )
    if not examples.labels and not variable:
        raise OptionError(f"{what}: y has values, which are compared with a variable; read one of the output")

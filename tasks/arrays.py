"""Data that somebody has: arrays, or a torch Dataset, and a network of one's own, as a task like any other."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neuro.compiler import streams
from neuro.events import Events
from neuro.io.npz import NpzError, read_npz
from neuro.io.serialisation import read_network
from neuro.language.units import Quantity
from neuro.model import Network
from neuro.options import OptionError, hint
from neuro.protocols import Array, Batch, Recording, Settings
from tasks.files import plain

LARGEST = 2**33  # bytes of a file of arrays
SURE = 1e3  # score of the right class in a perfect answer
X, Y, MASK = "x", "y", "mask"


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

    @property
    def labels(self) -> bool:
        """Whether y names classes."""
        return bool(self.y.dtype.kind in "iu")

    @property
    def batch(self) -> Batch:
        return Batch(dict(self.x), self.y, self.mask)


class Arrays:
    """Examples that fit the network: see from_arrays. Loss: cross entropy of labels, or mean squared error of values. Metric: accuracy, or minus the mean squared error.

    output: a population, whose spikes are counted over the steps that count, or "population.variable". A label or value of a whole example is compared with
    the spike counts, or with the variable's mean over those steps; one of each step with the variable in that step. network's weights are drawn from the
    run's seed. The control trains the weights of the projections onto that population.
    """

    name = "arrays"

    def __init__(
        self, train: Examples, test: Examples, network: Network, output: str = "", valid: Examples | None = None
    ) -> None:
        self._network, self.valid = network, valid
        self.output, self.variable = _read_of(network, output)
        self.train, self.test = train, test
        self.readout = tuple(
            f"{p.name}.w"
            for p in network.projections
            if p.post == self.output and p.pre != self.output and p.weights is not None
        )
        self.settings = Settings(epochs=20, batch=64, rules={"bptt": {"learning_rate": 1e-2}})

    @cached_property
    def version(self) -> int:
        """A number of the data, so that a run of other data is told from one of these."""
        found = 0
        for side in (self.train, self.test):
            for part in (*side.x.values(), side.y):
                held = part.channels if isinstance(part, Events) else part
                found = zlib.crc32(np.ascontiguousarray(held).tobytes(), found)
        return found

    def network(self, seed: int) -> Network:
        """The given one, drawn from this seed."""
        return replace(self._network, seed=seed)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        order = rng.permutation(len(self.train))
        for start in range(0, len(order), batch):
            yield self.train[order[start : start + batch]].batch

    def valid_batch(self) -> Batch | None:
        """Training examples that are kept apart, to say when to stop; None where there are none."""
        return None if self.valid is None else self.valid.batch

    def test_batch(self) -> Batch:
        return self.test.batch

    def record(self) -> Sequence[str]:
        return (f"{self.output}.{self.variable}",) if self.variable else ()

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        answer = self._answer(spikes, traces, batch)
        y = torch.as_tensor(batch.targets)
        if batch.targets.dtype.kind in "iu":
            answer, y = answer.reshape(-1, answer.shape[-1]), y.reshape(-1).long()
            each = torch.nn.functional.cross_entropy(answer, y, reduction="none")
        else:
            each = (answer - y.to(answer.dtype)).square().mean(-1).reshape(-1)
        return each[torch.as_tensor(_counted(batch))].mean()

    def metric(self, recording: Recording, batch: Batch) -> float:
        answer, y = self._answer(recording.spikes, recording.traces, batch), batch.targets
        found = answer.argmax(-1) == y if y.dtype.kind in "iu" else -((answer - y) ** 2).mean(-1)
        return float(np.ravel(found)[_counted(batch)].mean())

    def _answer(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        """[example, unit], or [example, time, unit] where y has steps; arrays or tensors."""
        given = traces[f"{self.output}.{self.variable}"] if self.variable else spikes[self.output]
        if _stepwise(batch.targets):
            return given
        if batch.mask is None:
            return given.mean(1) if self.variable else given.sum(1)
        counts = given.new_tensor(batch.mask) if hasattr(given, "new_tensor") else batch.mask
        total = (given * counts[..., None]).sum(1)
        return total / counts.sum(1)[:, None] if self.variable else total

    def perfect(self, batch: Batch) -> Recording:
        """The right class fires in every step, or the variable is what it should be."""
        y, steps = batch.targets, next(iter(batch.inputs.values())).shape[1]
        size = self._network.population(self.output).size
        each = SURE * np.eye(size)[y] if y.dtype.kind in "iu" else y
        whole = each if _stepwise(y) else np.repeat(each[:, None], steps, axis=1)
        dt = float(self._network.dt.value)
        if self.variable:
            return Recording(dt, traces={f"{self.output}.{self.variable}": whole})
        return Recording(dt, spikes={self.output: whole > 0})


def from_arrays(
    x: Any, y: Any, network: Network, *, x_test: Any = None, y_test: Any = None, mask: Any = None, mask_test: Any = None,
    output: str = "", test: float = 0.2, valid: float = 0.0,
) -> Arrays:  # fmt: skip
    """A task of these examples. x: [example, time, channel], or input name -> such arrays; spikes are 0 and 1 (or Events), currents SI values.
    y: whole numbers for labels, others for values; see Examples for the shapes. test: the share of the examples that is kept for the test where no x_test
    is given. valid: the share of the others that says when to stop (`train.py --patience`). Both are drawn once and for all. output: see Arrays.
    Raises OptionError."""
    answer = _read_of(network, output)
    training = _examples(network, answer, x, y, mask, "training" if x_test is not None else "examples")
    if x_test is not None:
        tested = _examples(network, answer, x_test, y_test, mask_test, "test")
    else:
        training, tested = _divided(training, test, "test", "give x_test and y_test")
    if not valid:
        return Arrays(training, tested, network, output)
    training, kept = _divided(training, valid, "valid", "give 0 for none")
    return Arrays(training, tested, network, output, kept)


def _divided(examples: Examples, share: float, option: str, instead: str) -> tuple[Examples, Examples]:
    """The others, and this share of them. Raises OptionError."""
    number = round(share * len(examples)) if 0 < share < 1 else 0
    if not 1 <= number < len(examples):
        raise OptionError(
            f"{option}={share} of {len(examples)} examples leaves none on one side; give another share, or {instead}"
        )
    order = streams.generator(0, f"arrays/{option}").permutation(len(examples))
    return examples[np.sort(order[number:])], examples[np.sort(order[:number])]


def from_dataset(
    dataset: Iterable[tuple[Any, Any]],
    network: Network,
    *,
    test_dataset: Iterable[tuple[Any, Any]] | None = None,
    **options: Any,
) -> Arrays:
    """A task of a torch Dataset, or of any pairs of x [time, channel] and y. Shorter examples are filled up with zeros, which don't count.
    options: of from_arrays."""
    x, y, mask = _stacked(dataset)
    if test_dataset is not None:
        options |= dict(zip(("x_test", "y_test", "mask_test"), _stacked(test_dataset), strict=True))
    return from_arrays(x, y, network, mask=mask, **options)


class FromFiles(Arrays):
    """Arrays from files. network: a network's .toml or .json. data: an .npz with `y`, and `x` or an array for each input; `mask` where not all steps count;
    `y_test`, `x_test` and so on where the test has its own. output, test, valid: see from_arrays."""

    def __init__(self, network: str, data: str, output: str = "", test: float = 0.2, valid: float = 0.0) -> None:
        model = read_network(plain("network", Path(network)))
        first, second = _sides(data, {X, Y, MASK, *(i.name for i in model.inputs)})
        late = {f"{n}_test": a for n, a in second.items()}
        made = from_arrays(network=model, output=output, test=test, valid=valid, **first, **late)
        super().__init__(made.train, made.test, model, output, made.valid)


def _sides(data: str, known: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """x, y and mask of training, and of the test; empty where it has none of its own. Raises OptionError."""
    arrays, found = _read(Path(data)), list[dict[str, Any]]()
    for end in ("", "_test"):
        side = {n.removesuffix("_test"): a for n, a in arrays.items() if n.endswith("_test") == bool(end)}
        for name in side:
            if name not in known:
                raise OptionError(f"data: '{data}' has an array '{name}{end}', which is no input; {hint(name, known)}")
        if Y not in side and (side or not end):
            raise OptionError(f"data: '{data}' has no array '{Y}{end}'")
        x = side.get(X, {n: a for n, a in side.items() if n not in (Y, MASK)})
        found.append({X: x, Y: side[Y], MASK: side.get(MASK)} if side else {})
    return found[0], found[1]


def _read(path: Path) -> dict[str, Array]:
    try:
        return read_npz(plain("data", path), LARGEST)
    except NpzError as error:
        raise OptionError(f"data: '{path}' can't be read: {error}; write it with numpy.savez(path, x=x, y=y)") from None
    except OSError as error:
        raise OptionError(f"data: '{path}' can't be read: {error.strerror}") from None


def _stacked(dataset: Iterable[tuple[Any, Any]]) -> tuple[Array, Array, Array | None]:
    """x [example, time, channel], y, and which steps are there; None where all are."""
    pairs = [(np.asarray(x), np.asarray(y)) for x, y in dataset]
    if not pairs:
        raise OptionError("the dataset has no examples")
    for k, (x, _) in enumerate(pairs):
        if x.ndim != 2 or x.shape[1] != pairs[0][0].shape[1]:
            raise OptionError(
                f"example {k} has the shape {x.shape}; give each x as [time, channel] with as many channels"
            )
    steps = max(len(x) for x, _ in pairs)
    there = np.array([np.arange(steps) < len(x) for x, _ in pairs])
    return (
        _filled([x for x, _ in pairs], steps),
        _filled_targets([y for _, y in pairs], steps),
        None if there.all() else there,
    )


def _filled(parts: Sequence[Array], steps: int) -> Array:
    return np.stack([np.pad(a, [(0, steps - len(a)), *[(0, 0)] * (a.ndim - 1)]) for a in parts])


def _filled_targets(parts: Sequence[Array], steps: int) -> Array:
    try:
        return np.stack(list(parts))
    except ValueError:  # one of each step
        return _filled(parts, steps)


def _examples(network: Network, answer: tuple[str, str], x: Any, y: Any, mask: Any, what: str) -> Examples:
    """As given, by input; a single array is for the one input that takes data. Raises OptionError on what doesn't fit."""
    taking = [i.name for i in network.inputs if i.kind != "poisson"]
    if not isinstance(x, Mapping):
        if len(taking) != 1:
            raise OptionError(
                f"x is one array, and the network has the inputs {', '.join(taking) or 'none'}; give {{name: array}}"
            )
        x = {taking[0]: x}
    target = np.asarray(y)
    if target.dtype.kind == "b":
        target = target.astype(np.int64)
    arrays = {
        n: a if isinstance(a, Events) else np.asarray(a.value if isinstance(a, Quantity) else a) for n, a in x.items()
    }
    found = Examples(arrays, target, None if mask is None else np.asarray(mask, bool))
    _check(network, found, what)
    _check_targets(network.population(answer[0]).size, answer[1], found, what)
    return found


def _read_of(network: Network, output: str) -> tuple[str, str]:
    """Population and variable that are read; for spikes no variable. Raises OptionError."""
    names = [p.name for p in network.populations]
    population, _, variable = (output or names[-1]).partition(".")
    if population not in names:
        raise OptionError(f"output '{output}': there is no population '{population}'; {hint(population, names)}")
    neuron = network.population(population).neuron
    known = list(dict.fromkeys([*(e.name for e in neuron.scope.equations), *neuron.scope.states]))
    if variable and variable not in known:
        raise OptionError(f"output '{output}': population '{population}' has no '{variable}'; {hint(variable, known)}")
    if not variable and not neuron.threshold:
        choices = ", ".join(f"{population}.{n}" for n in known)
        raise OptionError(f"output '{population}' doesn't fire; name a variable: {choices}")
    return population, variable


def _stepwise(y: Array) -> bool:
    return y.ndim == (2 if y.dtype.kind in "iu" else 3)


def _counted(batch: Batch) -> Array:
    """bool [example], or [example*time] where y has steps: what loss and metric are the mean of."""
    if not _stepwise(batch.targets):
        return np.ones(len(batch.targets), bool)
    return np.ones(batch.targets.shape[:2], bool).ravel() if batch.mask is None else np.ravel(batch.mask)


def _check(network: Network, examples: Examples, what: str) -> None:
    """Raises OptionError where inputs are missing or don't fit."""
    taking = {i.name: i for i in network.inputs if i.kind != "poisson"}
    for name in (*taking, *examples.x):
        if name not in examples.x or name not in taking:
            raise OptionError(
                f"{what}: x has {', '.join(examples.x)}, and the network takes {', '.join(taking)}: '{name}' is on one side only"
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
            continue
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
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
    if y.dtype.kind not in "iuf" or y.shape not in shapes or not np.isfinite(y).all():
        wanted = " or ".join(map(str, shapes))
        kind = "labels (whole numbers)" if examples.labels else "values"
        raise OptionError(
            f"{what}: y has the shape {y.shape} of {y.dtype}; {kind} for this network take finite numbers [{wanted}]"
        )
    if examples.labels and (y.min() < 0 or y.max() >= size):
        raise OptionError(
            f"{what}: y has labels from {y.min()} to {y.max()}, and the output has {size} cells; give labels from 0 to {size - 1}"
        )
    if _stepwise(y) and not variable:
        raise OptionError(
            f"{what}: y has one target for each step, which spikes alone can't answer; read a variable of the output"
        )
    if not examples.labels and not variable:
        raise OptionError(f"{what}: y has values, which are compared with a variable; read one of the output")

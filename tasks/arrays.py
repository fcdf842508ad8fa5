"""Data that somebody has: arrays, or a torch Dataset, and a network of one's own, as a task like any other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neuro.compiler import streams
from neuro.io.npz import NpzError, read_npz
from neuro.io.serialisation import read_network
from neuro.model import Network
from neuro.options import OptionError, hint
from neuro.protocols import Array, Batch, Recording, Settings
from tasks.buckets import batches, check_buckets
from tasks.counting import check_per, divided, number
from tasks.examples import Examples, fitting, stacked, stepwise
from tasks.files import plain

LARGEST = 2**33  # bytes of a file of arrays
SURE = 1e3  # score of the right class in a perfect answer
X, Y, MASK = "x", "y", "mask"


class Arrays:
    """Examples that fit the network: see from_arrays. Loss: cross entropy of labels, or mean squared error of values. Metric: accuracy, or minus the mean squared error.

    output: a population, whose spikes are counted over the steps that count, or "population.variable". A label or value of a whole example is compared with
    the spike counts, or with the variable's mean over those steps; one of each step with the variable in that step. network's weights are drawn from the
    run's seed. buckets: batches whose examples are sorted together (see tasks.buckets) by the last step that counts; a training batch then ends with it, 1 for that alone;
    0 for batches of all steps. per: where y has steps, what the sum of the losses of all steps that count is divided by: "frame", their number, so that the loss is their mean, or "sequence", the
    number of examples, so that long ones weigh more and a learning rate acts on their sum. The control trains the weights of the projections onto that population.
    """

    name = "arrays"

    def __init__(
        self,
        train: Examples,
        test: Examples,
        network: Network,
        output: str = "",
        valid: Examples | None = None,
        buckets: int = 0,
        per: str = "frame",
    ) -> None:
        check_buckets(buckets)
        check_per(per)
        self._network, self.valid, self.buckets, self.per = network, valid, buckets, per
        self.output, self.variable = _read_of(network, output)
        self.train, self.test = train, test
        self.readout = tuple(
            f"{p.name}.w"
            for p in network.projections
            if p.post == self.output and p.pre != self.output and network.holder(p).weights is not None
        )
        self.settings = Settings(epochs=20, batch=64, rules={"bptt": {"learning_rate": 1e-2}})

    @cached_property
    def version(self) -> int:
        """A number of the data, so that a run of other data is told from one of these."""
        found = 0
        for side in (self.train, self.valid, self.test):
            found = found if side is None else side.checksum(found)
        return found

    def network(self, seed: int) -> Network:
        """The given one, drawn from this seed."""
        return replace(self._network, seed=seed)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """One epoch in random order."""
        for chosen in batches(self.train.lengths, batch, self.buckets, rng):
            yield (self.train.cut(chosen) if self.buckets else self.train[chosen]).batch

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
        y = torch.as_tensor(batch.targets).to(answer.device)
        if batch.targets.dtype.kind in "iu":
            answer, y = answer.reshape(-1, answer.shape[-1]), y.reshape(-1).long()
            each = torch.nn.functional.cross_entropy(answer, y, reduction="none")
        else:
            each = (answer - y.to(answer.dtype)).square().mean(-1).reshape(-1)
        counted = _counted(batch)
        return divided(each[torch.as_tensor(counted).to(each.device)], counted, len(batch.targets), self.per)

    def weight(self, batch: Batch) -> float:
        return float(number(_counted(batch), len(batch.targets), self.per))

    def metric(self, recording: Recording, batch: Batch) -> float:
        answer, y = self._answer(recording.spikes, recording.traces, batch), batch.targets
        found = answer.argmax(-1) == y if y.dtype.kind in "iu" else -((answer - y) ** 2).mean(-1)
        return float(np.ravel(found)[_counted(batch)].mean())

    def _answer(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        """[example, unit], or [example, time, unit] where y has steps; arrays or tensors."""
        given = traces[f"{self.output}.{self.variable}"] if self.variable else spikes[self.output]
        if stepwise(batch.targets):
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
        whole = each if stepwise(y) else np.repeat(each[:, None], steps, axis=1)
        dt = float(self._network.dt.value)
        if self.variable:
            return Recording(dt, traces={f"{self.output}.{self.variable}": whole})
        return Recording(dt, spikes={self.output: whole > 0})


def from_arrays(
    x: Any, y: Any, network: Network, *, x_test: Any = None, y_test: Any = None, mask: Any = None, mask_test: Any = None,
    output: str = "", test: float = 0.2, valid: float = 0.0, buckets: int = 0, per: str = "frame",
) -> Arrays:  # fmt: skip
    """A task of these examples. x: [example, time, channel], or input name -> such arrays; spikes are 0 and 1 (or Events), currents SI values.
    y: whole numbers for labels, others for values; see Examples for the shapes. test: the share of the examples that is kept for the test where no x_test
    is given. valid: the share of the others that says when to stop (`train.py --patience`). Both are drawn once and for all. output, buckets, per: see Arrays.
    Raises OptionError."""
    if not isinstance(network, Network):
        raise OptionError(
            f"network={network!r}; give a Network (neuro.io.serialisation.read_network reads one from a file)"
        )
    for name, given, beside in (
        ("y_test", y_test, x_test),
        ("mask_test", mask_test, x_test),
        ("x_test", x_test, y_test),
    ):
        if given is not None and beside is None:
            raise OptionError(f"{name} is of no use alone; give x_test and y_test, or neither")
    answer = _read_of(network, output)
    training = fitting(network, answer, x, y, mask, "training" if x_test is not None else "examples")
    if x_test is not None:
        tested = fitting(network, answer, x_test, y_test, mask_test, "test")
    else:
        training, tested = _divided(training, test, "test", "give x_test and y_test")
    if not valid:
        return Arrays(training, tested, network, output, buckets=buckets, per=per)
    training, kept = _divided(training, valid, "valid", "give 0 for none")
    return Arrays(training, tested, network, output, kept, buckets, per)


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
    x, y, mask = stacked(dataset)
    if test_dataset is not None:
        options |= dict(zip(("x_test", "y_test", "mask_test"), stacked(test_dataset), strict=True))
    return from_arrays(x, y, network, mask=mask, **options)


class FromFiles(Arrays):
    """Arrays from files. network: a network's .toml or .json. data: an .npz with `y`, and `x` or an array for each input; `mask` where not all steps count;
    `y_test`, `x_test` and so on where the test has its own. output, test, valid, buckets, per: see from_arrays."""

    def __init__(
        self, network: str, data: str, output: str = "", test: float = 0.2, valid: float = 0.0, buckets: int = 0,
        per: str = "frame",
    ) -> None:  # fmt: skip
        model = read_network(plain("network", Path(network)))
        first, second = _sides(data, {i.name for i in model.inputs})
        late = {f"{n}_test": a for n, a in second.items()}
        made = from_arrays(network=model, output=output, test=test, valid=valid, **first, **late)
        super().__init__(made.train, made.test, model, output, made.valid, buckets, per)


def _sides(data: str, inputs: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """x, y and mask of training, and of the test; empty where it has none of its own. Raises OptionError."""
    known = {X, Y, MASK, *inputs}
    arrays, found = _read(Path(data)), list[dict[str, Any]]()
    for end in ("", "_test"):
        side = {n.removesuffix("_test"): a for n, a in arrays.items() if n.endswith("_test") == bool(end)}
        for name in side:
            if name not in known:
                raise OptionError(f"data: '{data}' has an array '{name}{end}', which is no input; {hint(name, known)}")
        if Y not in side and (side or not end):
            raise OptionError(f"data: '{data}' has no array '{Y}{end}'")
        named = {n: a for n, a in side.items() if n in inputs and n not in (Y, MASK)}
        if X in side and X not in inputs and named:
            raise OptionError(
                f"data: '{data}' has '{X}{end}', and '{next(iter(named))}{end}' for an input; give one of them"
            )
        x = side[X] if X in side and X not in inputs else named
        found.append({X: x, Y: side[Y], MASK: side.get(MASK)} if side else {})
    return found[0], found[1]


def _read(path: Path) -> dict[str, Array]:
    try:
        return read_npz(plain("data", path), LARGEST)
    except NpzError as error:
        raise OptionError(f"data: '{path}' can't be read: {error}; write it with numpy.savez(path, x=x, y=y)") from None
    except OSError as error:
        raise OptionError(f"data: '{path}' can't be read: {error.strerror}") from None


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


def _counted(batch: Batch) -> Array:
    """bool [example], or [example*time] where y has steps: what loss and metric are the mean of."""
    if not stepwise(batch.targets):
        return np.ones(len(batch.targets), bool)
    return np.ones(batch.targets.shape[:2], bool).ravel() if batch.mask is None else np.ravel(batch.mask)

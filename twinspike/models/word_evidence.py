"""Arms of the word evidence task: what trains, on the same phrases and starts; and the best that a readout of the frozen network can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import backends
from neuro import learning
from neuro.compiler import streams
from neuro.compiler.parameters import values
from neuro.protocols import Batch
from tasks.synthetic import TEST_SEED
from tasks.word_evidence import OUTPUT, WordEvidence

Array = npt.NDArray[Any]

HIDDEN = ("feed.w", "loop.w")
SIGMA = {"feed.w": 0.1, "loop.w": 0.03}
AT_ONCE, ON_THE_WAY = 200, 600  # phrases in one run of a test; in a test before the last
ARMS = CONTROL, ES, BPTT, DISCRETE = "readout only (control)", "ES", "BPTT", "ES on 0/1 accuracy"
SEARCH: dict[str, Any] = {
    "trainable": HIDDEN, "sigma": SIGMA, "samples": 16, "shaping": "standardised", "learning_rate": 0.01,
    "learning_power": 1.0, "stability": 99.0,
}  # fmt: skip


def rules_of(arm: str, updates: int) -> list[Any]:
    """Rules that take turns on each batch. The readout has the exact gradient in every arm. All learning rates fall over the updates."""
    falling = {"scheduler": "cosine", "schedule_options": {"T_max": updates}}
    if arm == BPTT:
        return [learning.get("bptt", trainable=("*.w", "output.bias"), learning_rate=5e-3, clip=10.0, **falling)]
    readout = learning.get("bptt", trainable=("readout.w", "output.bias"), learning_rate=0.02, **falling)
    if arm == CONTROL:
        return [readout]
    return [learning.get("es", **SEARCH, fitness="metric" if arm == DISCRETE else "loss"), readout]


@dataclass
class Trained:
    """What an arm came to. losses: of each update's batch. curve: (update, test accuracy). moved: |change| of the loop's weights, and
    of the first weights. skipped: updates left out because the gradient wasn't finite."""

    losses: list[float] = field(default_factory=list)
    curve: list[tuple[int, float]] = field(default_factory=list)
    moved: tuple[float, float] = 0.0, 0.0
    skipped: int = 0
    seconds: float = 0.0

    @property
    def accuracy(self) -> float:
        return self.curve[-1][1]


def phrases(task: WordEvidence, seed: int, batch: int) -> Iterator[Batch]:
    """Batches without end, the same for every arm."""
    random = streams.generator(seed, "word evidence/train")
    while True:
        yield task.sample(random, batch)


def tests(task: WordEvidence, trials: int) -> Iterator[Batch]:
    """The test phrases in parts, the same for every arm and seed."""
    for part in range(trials // AT_ONCE):
        yield task.sample(streams.generator(TEST_SEED, f"word evidence/{part}"), AT_ONCE)


def compiled(task: WordEvidence, seed: int) -> Any:
    return backends.get("auto").compile(task.network(seed), dtype="float32")


def accuracy(task: WordEvidence, program: Any, parameters: Mapping[str, Array], trials: int) -> float:
    """On so many test phrases."""
    found = [
        task.metric(program.run(parameters, b.inputs, task.record(), state=b.state), b) for b in tests(task, trials)
    ]
    return float(np.mean(found))


def train(
    task: WordEvidence, arm: str, seed: int, updates: int, *, batch: int, trials: int = 2000, looks: int = 4,
    update: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Trained:  # fmt: skip
    """So many updates of an arm. looks: how often it is tested, on fewer phrases before the end.

    A rule whose gradient isn't finite leaves its parameters for that batch, and the arm goes on.
    """
    program, found, start = compiled(task, seed), Trained(), time.process_time()
    rules, first = rules_of(arm, updates), values(program.network)
    states = [rule.init(program) for rule in rules]
    parameters: Any = dict(first)
    for k, data in zip(range(1, updates + 1), phrases(task, seed, batch), strict=False):
        loss = np.nan
        for i, rule in enumerate(rules):
            try:
                parameters, states[i], metrics = rule.step(program, parameters, states[i], data, task)
                loss = metrics["loss"]
            except FloatingPointError:
                found.skipped += 1
        found.losses.append(loss)
        if k * looks // updates > (k - 1) * looks // updates:
            asked = trials if k == updates else min(trials, ON_THE_WAY)
            found.curve.append((k, accuracy(task, program, parameters, asked)))
        update(k, updates, f"loss {loss:.3f}")
    weights, before = parameters["loop.w"], first["loop.w"]
    found.moved = float(np.linalg.norm(weights - before)), float(np.linalg.norm(before))
    found.seconds = time.process_time() - start
    return found


def features(task: WordEvidence, program: Any, batch: Batch) -> Array:
    """Mean graded outputs that the answer reads [trial, unit]."""
    v = program.run(inputs=batch.inputs, record=("cells.v",), state=batch.state).traces["cells.v"]
    read = v[:, -task.window - 1 : -1] * 1e3  # an output reads the step before
    half, slope = (float(text.split()[0]) for text in OUTPUT.values())
    return np.asarray((1 / (1 + np.exp(-(read - half) / slope))).mean(axis=1))


def ceiling(task: WordEvidence, seed: int, fitted: int, trials: int) -> float:
    """Test accuracy of a logistic readout of the frozen network, fitted to so many phrases; its penalty by cross-validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    program, source = compiled(task, seed), phrases(task, seed + 1_000_000, AT_ONCE)
    known = [next(source) for _ in range(fitted // AT_ONCE)]
    x, y = (
        np.concatenate(parts) for parts in ([features(task, program, b) for b in known], [b.targets for b in known])
    )
    readout = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model = GridSearchCV(readout, {"logisticregression__C": np.logspace(-3, 2, 6)}).fit(x, y)
    asked = list(tests(task, trials))
    return float(np.mean([model.score(features(task, program, b), b.targets) for b in asked]))


def gradient_norms(task: WordEvidence, seed: int, dtype: str) -> tuple[float, float]:
    """Norms of BPTT's gradient by the recurrent and the readout weights at initialisation, 4 phrases; summed in float64, whatever dtype is."""
    program: Any = backends.get("auto").compile(task.network(seed), dtype=dtype)
    rule = learning.get("bptt", trainable=("loop.w", "readout.w"))
    slopes = rule.gradient(program, values(program.network), next(phrases(task, seed, 4)), task)
    loop, readout = (float(np.linalg.norm(slopes[n].astype(np.float64))) for n in ("loop.w", "readout.w"))
    return loop, readout


def update_seconds(task: Any, backend: str, threads: int, rule: Any, batch: int) -> tuple[float, float]:
    """Wall clock and processor time of the second update; the first one builds. Brian2 computes in float64, the others in float32."""
    options: dict[str, Any] = {} if backend == "brian2" else {"dtype": "float32"}
    options |= {"threads": threads} if backend == "native" else {}
    program: Any = backends.get(backend).compile(task.network(0), **options)
    state, data = rule.init(program), next(phrases(task, 0, batch))
    parameters: Any = dict(values(program.network))
    parameters, state, _ = rule.step(program, parameters, state, data, task)
    wall, cpu = time.perf_counter(), time.process_time()
    rule.step(program, parameters, state, data, task)
    return time.perf_counter() - wall, time.process_time() - cpu

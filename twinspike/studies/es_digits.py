"""Digits by evolution strategies against BPTT: test accuracy against the number of simulations.

Both rules train the same network of 64 hidden cells, on all weights and, as control, on the readout alone with the
hidden layer frozen. One simulation is one parameter set on one batch of 128 images; BPTT's backward pass is not counted.
An output cell that is silent on a whole batch in all candidates gives ES no direction, and its digit is lost: 0.1 of the accuracy.
Whether that happens is the seed's luck, so the median seed is judged, and the gain over the control in all of them. See docs/studies.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twinspike.study import Study

MINUTES = 5  # from 0.08 processor seconds an update by ES and 0.03 by BPTT
ARMS = {"all weights": ("*.w",), "readout only (control)": ("hidden_to_output.w",)}
RULES: dict[str, dict[str, Any]] = {
    "es": {"samples": 16, "sigma": 0.1, "learning_rate": 0.05, "learning_power": 1.0, "stability": 200.0},
    "bptt": {"learning_rate": 0.03},
}
SEEDS = 3
LEVEL, BACKEND = 0.8, "auto"


@dataclass(frozen=True)
class Curve:
    """accuracies: [epoch, 2], simulations so far and test accuracy. losses: of each update. lost: digits of which no test image
    is recognised. seconds: of the processor.
    """

    accuracies: Any
    losses: Any
    lost: int
    seconds: float

    @property
    def last(self) -> float:
        """Test accuracy at the end."""
        return float(self.accuracies[-1, 1])

    @property
    def needed(self) -> float:
        """Simulations until the level is reached; infinite if it never is."""
        reached = self.accuracies[self.accuracies[:, 1] >= LEVEL]
        return float(reached[0, 0]) if len(reached) else float("inf")


def curve(rule: str, trainable: tuple[str, ...], seed: int, epochs: int, size: int) -> Curve:
    """Learn from the weights of that seed. size: images a batch."""
    import time

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    task = tasks.get("digits", hidden=64)
    program = backends.get(BACKEND).compile(task.network(seed), dtype="float32", surrogate="atan")
    chosen = learning.get(rule, trainable=trainable, **RULES[rule])
    state, parameters = chosen.init(program), dict(values(program.network))
    test, losses, start = task.test_batch(), [], time.process_time()
    rows: list[tuple[float, float]] = []
    for epoch in range(epochs):
        for batch in task.train_batches(streams.generator(seed, f"data/{epoch}"), size):
            parameters, state, metrics = chosen.step(program, parameters, state, batch, task)
            losses.append(metrics["loss"])
        answer = program.run(parameters, test.inputs)
        rows.append((metrics.get("evaluations", len(losses)), task.metric(answer, test)))
    right = np.asarray(answer.spikes[task.output]).sum(axis=1).argmax(axis=1) == test.targets
    lost = len(set(test.targets) - set(test.targets[right]))
    return Curve(np.array(rows), np.array(losses), lost, time.process_time() - start)


def curves(study: Study, seeds: int, size: int, epochs: Mapping[str, int]) -> dict[tuple[str, str], list[Curve]]:
    """By rule and arm, one a seed."""
    from joblib import delayed

    jobs = [(rule, arm, study.seed + s) for rule in RULES for arm in ARMS for s in range(seeds)]
    calls = (delayed(curve)(rule, ARMS[arm], seed, epochs[rule], size) for rule, arm, seed in jobs)
    found: dict[tuple[str, str], list[Curve]] = {}
    with study.progress(f"{len(jobs)} networks") as update:
        for done, ((rule, arm, seed), result) in enumerate(zip(jobs, study.parallel(calls), strict=True)):
            found.setdefault((rule, arm), []).append(result)
            study.array(f"{rule}/{arm}/{seed}", result.accuracies)
            update(done + 1, len(jobs), f"{rule}, {arm}: test accuracy {result.last:.3f}")
    return found


def table(study: Study, found: Mapping[tuple[str, str], list[Curve]], title: str) -> None:
    """A line for each rule and arm."""
    rows = []
    for (rule, arm), each in found.items():
        simulations, needed = int(each[0].accuracies[-1, 0]), float(np.median([c.needed for c in each]))
        accuracies = [float(f([c.last for c in each])) for f in (np.median, min, max)]
        lost = ", ".join(str(c.lost) for c in each)
        rows.append((rule, arm, simulations, needed, *accuracies, lost, float(np.mean([c.seconds for c in each]))))
    reached = f"simulations to {LEVEL:.0%}"
    header = ("rule", "trained", "simulations", reached, "accuracy", "lowest", "highest", "digits lost", "seconds")
    study.table(title, header, rows)


def picture(study: Study, found: Mapping[tuple[str, str], list[Curve]]) -> None:
    """Mean accuracy of the seeds against simulations."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for (rule, arm), each in found.items():
        mean = np.mean([c.accuracies for c in each], axis=0)
        axes.semilogx(mean[:, 0], mean[:, 1], label=f"{rule}, {arm}")
    axes.set(xlabel="simulations of one batch", ylabel="test accuracy")
    axes.legend()
    study.figure("accuracy", figure)
    plt.close(figure)


def run(study: Study) -> None:
    seeds, size, epochs = (1, 32, {"es": 1, "bptt": 1}) if study.quick else (SEEDS, 128, {"es": 60, "bptt": 30})
    found = curves(study, seeds, size, epochs)
    table(study, found, f"digits, 64 hidden cells, batches of {size}, median of {seeds} seed(s)")
    picture(study, found)
    trained, control = (found["es", arm] for arm in ARMS)
    fall = max(float(c.losses[-5:].mean() / c.losses[:5].mean()) for c in trained)
    study.criterion("ES, loss of the last 5 updates over the first 5, at most", fall, "< 1", fall < 1)
    median = float(np.median([c.last for c in trained]))
    study.criterion("ES, all weights: test accuracy, median seed", median, ">= 0.9", median >= 0.9, full=True)
    gain = min(t.last - c.last for t, c in zip(trained, control, strict=True))
    study.criterion("ES, gain over the frozen hidden layer, smallest", gain, "> 0", gain > 0, full=True)
    ratio = float(np.median([c.needed for c in trained]) / np.median([c.needed for c in found["bptt", "all weights"]]))
    study.criterion(f"simulations to {LEVEL:.0%}, ES over BPTT", ratio, "finite", np.isfinite(ratio), full=True)

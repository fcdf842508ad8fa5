"""Digits by BPTT against its controls: the same network with a frozen hidden layer, and logistic regression on pixels.

Training inside claims to help only as far as it beats the frozen network whose readout alone is fitted, with the same rule,
data, seeds and number of updates.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twinspike.study import Study

MINUTES = 6  # 540 epochs, 0.4 to 0.65 processor seconds each in quick runs
TRAINED = {"all weights": ("*.w",), "readout only (control)": ("hidden_to_output.w",)}


def accuracy(encoder: str, trainable: tuple[str, ...], seed: int, epochs: int, update: Any) -> float:
    """Test accuracy after training."""
    import backends
    import tasks
    from neuro.io.results import Run
    from neuro.io.serialisation import to_json
    from neuro.learning.gradient.bptt import BPTT
    from neuro.learning.loop import METRICS, train

    task = tasks.get("digits", encoder=encoder)
    program = backends.get("torch").compile(task.network(seed), dtype="float32", surrogate="atan")
    rule = BPTT(learning_rate=0.03, trainable=trainable, scheduler="cosine", schedule_options={"T_max": 23 * epochs})
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(
            Path(folder) / "run.h5", model=to_json(program.network), semantics=program.semantics.to_data(), config={},
            seed=seed, metrics=METRICS,
        )  # fmt: skip
        train(task, program, rule, run, epochs=epochs, seed=seed, batch=64, update=update)
        return float(run.history["test_accuracy"][-1][1])


def pixels() -> float:
    """Logistic regression on the images themselves."""
    from sklearn.linear_model import LogisticRegression

    from tasks.digits import data

    images, labels, test_images, test_labels = data()
    return float(LogisticRegression(max_iter=2000).fit(images, labels).score(test_images, test_labels))


def run(study: Study) -> None:
    import numpy as np

    # After few epochs the gain is largest where the encoder is: a frozen layer knows little of latencies.
    encoders, epochs, seeds = (("latency",), 2, 1) if study.quick else (("rate", "latency", "poisson"), 30, 3)
    rows: list[tuple[object, ...]] = []
    found: dict[tuple[str, str], float] = {}
    for encoder in encoders:
        for label, trainable in TRAINED.items():
            with study.progress(f"{encoder}, {label}") as update:
                values = [accuracy(encoder, trainable, study.seed + s, epochs, update) for s in range(seeds)]
            found[encoder, label] = float(np.mean(values))
            study.array(f"{encoder}/{label}", values)
            rows.append((encoder, label, float(np.mean(values)), float(np.min(values)), float(np.max(values))))
    rows.append(("none", "logistic regression on pixels", pixels(), "", ""))
    title = f"test accuracy, {epochs} epochs, {seeds} seed(s)"
    study.table(title, ("encoder", "trained", "mean", "lowest", "highest"), rows)
    if study.quick:
        trained, control = (found["latency", label] for label in TRAINED)
        name = f"latency encoder, {epochs} epochs, gain over the frozen network"
        study.criterion(name, trained - control, "> 0", trained > control)
        study.unmeasured("rate encoder, all weights", ">= 0.95")
        study.unmeasured("rate encoder, gain over the frozen network", "> 0")
        return
    trained, control = (found["rate", label] for label in TRAINED)
    study.criterion("rate encoder, all weights", trained, ">= 0.95", trained >= 0.95)
    study.criterion("rate encoder, gain over the frozen network", trained - control, "> 0", trained > control)

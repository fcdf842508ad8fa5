"""Digits with integer weights: 8 bits after training, 4 bits and 1 bit in training, against the same without training for them.

Every run has the same network, data, seeds and number of updates; one scale an output neuron, for binary weights one a
projection. The last columns are the same trained float network, only quantised: the control.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from twinspike.study import Study

MINUTES = 7  # 750 epochs, 0.5 processor seconds each
QUANTISERS: dict[str, dict[str, Any]] = {
    "8 bits": {"kind": "linear", "bits": 8, "per": "neuron"},
    "4 bits": {"kind": "linear", "bits": 4, "per": "neuron"},
    "log, 4 bits": {"kind": "log", "bits": 4, "per": "neuron"},
    "ternary": {"kind": "ternary"},
    "binary": {"kind": "binary"},
}
TRAINED = ("4 bits", "log, 4 bits", "ternary", "binary")
QUICK = ("binary",)  # after few epochs, training for 4 bits and more gains nothing yet
BUDGETS = {("8 bits", "after"): 0.5, ("4 bits", "in training"): 1.0, ("binary", "in training"): 3.0}  # points


def train(seed: int, epochs: int, quantise: dict[str, Any], update: Any) -> tuple[float, dict[str, Any]]:
    """Test accuracy and parameters after training as twinspike train does it, for integers where there is a scheme."""
    import tasks
    from neuro.io.results import Run
    from neuro.io.serialisation import to_json
    from neuro.learning.loop import METRICS
    from neuro.learning.loop import train as loop
    from twinspike.run_settings import settings_of
    from twinspike.train import prepare

    settings = settings_of(None, {"task": "digits", "seed": seed, "epochs": epochs})
    if quantise:
        settings["rule_options"] |= {"quantise": {"weights": {"*": quantise}}}
    task = tasks.get("digits")
    program, rule = prepare(settings, task)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(
            Path(folder) / "run.h5", model=to_json(program.network), semantics=program.semantics.to_data(), config={},
            seed=seed, metrics=METRICS,
        )  # fmt: skip
        parameters = loop(task, program, rule, run, epochs=epochs, seed=seed, batch=settings["batch"], update=update)
        return float(run.history["test_accuracy"][-1][1]), parameters


def quantised(seed: int, parameters: dict[str, Any], quantise: dict[str, Any]) -> tuple[float, Any]:
    """Test accuracy and calibration of a float network's parameters, quantised after training."""
    import backends
    import tasks
    from neuro.export.quantisation.calibration import NetworkQuantiser, Scheme

    task = tasks.get("digits")
    network, test = task.network(seed), task.test_batch()
    found = NetworkQuantiser(network, Scheme.of({"weights": {"*": quantise}})).calibrate(parameters)
    recording = backends.get("torch").compile(network).run(found.parameters, test.inputs)
    return task.metric(recording, test), found


def measure(study: Study, seeds: int, epochs: int, trained: tuple[str, ...]) -> dict[tuple[str, str], Any]:
    """(quantiser, when) -> accuracy by seed."""
    found: dict[tuple[str, str], Any] = {("float", ""): []}
    errors: list[tuple[object, ...]] = []
    for seed in range(study.seed, study.seed + seeds):
        with study.progress(f"seed {seed}, float") as update:
            accuracy, parameters = train(seed, epochs, {}, update)
        found["float", ""].append(accuracy)
        for label, options in QUANTISERS.items():
            accuracy, calibrated = quantised(seed, parameters, options)
            found.setdefault((label, "after"), []).append(accuracy)
            if seed == study.seed:
                bits = max(calibrated.accumulators.values())
                errors += [(label, *row, bits) for row in calibrated.rows()]
            if label in trained:
                with study.progress(f"seed {seed}, {label}") as update:
                    accuracy, _ = train(seed, epochs, options, update)
                found.setdefault((label, "in training"), []).append(accuracy)
    header = (
        "quantiser",
        "weights",
        "bits",
        "least scale",
        "largest",
        "saturated",
        "error",
        "zeros",
        "accumulator bits",
    )
    study.table(f"calibration after training, seed {study.seed}", header, errors)
    return found


def run(study: Study) -> None:
    seeds, epochs, trained = (1, 2, QUICK) if study.quick else (5, 30, TRAINED)
    found = measure(study, seeds, epochs, trained)
    reference, rows = np.array(found["float", ""]), []
    for (label, when), values in found.items():
        study.array(f"{label}/{when or 'trained'}", values)
        loss = 100 * (reference - values)
        rows.append((label, when, *(float(f(values)) for f in (np.mean, np.min, np.max)), float(loss.mean())))
    header = ("weights", "quantised", "mean", "lowest", "highest", "points lost")
    study.table(f"test accuracy, {epochs} epochs, {seeds} seed(s)", header, rows)
    study.figure("accuracy", figure(found))
    for (label, when), budget in BUDGETS.items():
        name, wanted = f"{label} {when}: points lost", f"<= {budget:g}"
        if (label, when) not in found:
            study.unmeasured(name, wanted)
            continue
        loss = float(100 * (reference - found[label, when]).mean())
        study.criterion(name, loss, wanted, loss <= budget, full=True)
    for label in ("4 bits", "binary"):
        name = f"{label}: points that training for it gains"
        if (label, "in training") not in found:
            study.unmeasured(name, "> 0")
            continue
        gain = float(100 * (np.array(found[label, "in training"]) - found[label, "after"]).mean())
        study.criterion(name, gain, "> 0", gain > 0)


def figure(found: dict[tuple[str, str], Any]) -> Any:
    """Accuracy of every seed."""
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(figsize=(7, 4))
    for i, (label, when) in enumerate(found):
        axes.plot([i] * len(found[label, when]), found[label, when], "o", color="C1" if when == "after" else "C0")
    axes.set_xticks(range(len(found)), [f"{label}\n{when}" for label, when in found], rotation=45, ha="right")
    axes.set(ylabel="test accuracy")
    axes.grid(axis="y")
    plt.close(drawn)
    return drawn

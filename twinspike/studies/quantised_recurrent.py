"""Recurrent networks of few bits: spiking cells and tanh units, weights ternary, of 3 and 4 bits, and binary, which are published not to train.

Digits row by row (models.row_digits). All arms of a network have the same data, seeds and updates, the first third of them with real weights, where they don't say
otherwise; then the quantiser begins, and its scale stays. Quantised training: Hubara et al. (2018), JMLR 18(187). That binary weights don't train: Ott et al. (2016), arXiv
1608.06902; it is measured here and not asserted. Controls: a frozen network with a fitted readout; no recurrence. Then the ternary and the 3-bit spiking network go
to chips, as the codes that were trained.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinspike.study import Study

MINUTES = 8  # 4,320 epochs of spiking cells, 0.15 processor seconds each, and 1,440 of tanh units, 0.1 each
RUNS = 3
EPOCHS = {"spiking": 120, "tanh": 40}
SHARE = 3  # the part of the updates with real weights is one over this
RATES = {"spiking": 0.01, "tanh": 0.003}
TERNARY, BINARY = {"kind": "ternary"}, {"kind": "binary"}
BITS = {bits: {"kind": "linear", "bits": bits, "fit": "error"} for bits in (3, 4)}
FLOAT, CONTROL, FORWARD = "float", "float, readout only", "float, without recurrence"
ARMS: Mapping[str, dict[str, Any]] = {  # options of the quantiser
    FLOAT: {},
    CONTROL: {},
    FORWARD: {},
    "4 bits": {"weights": {"*": BITS[4]}},
    "3 bits": {"weights": {"*": BITS[3]}},
    "ternary": {"weights": {"*": TERNARY}},
    "binary": {"weights": {"*": BINARY}},
    "ternary, from the first update": {"weights": {"*": TERNARY}, "after": 0},
    "binary, from the first update": {"weights": {"*": BINARY}, "after": 0},
    "binary, each projection its own scale": {"weights": {"*": BINARY}, "shared": False},
    "binary, recurrent weights alone": {"weights": {"loop": BINARY}},
    "binary, all but the recurrent weights": {"weights": {"feed": BINARY, "readout": BINARY}},
}
BINARIES = tuple(arm for arm in ARMS if arm.startswith("binary"))
QUICK = (FLOAT, "3 bits", "ternary", "binary")
MARGINS = {"4 bits": 3.0, "3 bits": 3.0, "ternary": 6.0}  # points below float, mean of the runs: see docs/studies.md
TARGETS = {"loihi2": 1.0, "c-header": 1.0}  # points of accuracy that a chip's state arithmetic may lose
EXPORTED = ("ternary", "3 bits")


def task_of(kind: str, arm: str = FLOAT) -> Any:
    from twinspike.models.row_digits import rate_task, spiking_task

    return {"spiking": spiking_task, "tanh": rate_task}[kind](loop=arm != FORWARD)


def trained(kind: str, arm: str, seed: int, epochs: int) -> dict[str, Any]:
    """One run on native: accuracy after each epoch on the test images, the parameters that the network has at the end, their integers, seconds of the processor."""
    import time

    import numpy as np

    import backends
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    task, begin = task_of(kind, arm), time.process_time()
    options = {"surrogate": "atan"} if kind == "spiking" else {}
    program: Any = backends.get("native").compile(task.network(seed), dtype="float32", threads=1, **options)
    updates = epochs * -(-len(task.train) // task.settings.batch)
    quantise = {"after": updates // SHARE, **ARMS[arm]} if ARMS[arm] else {}
    rule: Any = learning.get(
        "bptt", learning_rate=RATES[kind], clip=1.0, scheduler="cosine", schedule_options={"T_max": updates},
        trainable=task.readout if arm == CONTROL else ("*.w",), quantise=quantise,
    )  # fmt: skip
    parameters, state, test = values(program.network), rule.init(program), task.test_batch()
    metrics = []
    for epoch in range(epochs):
        for batch in task.train_batches(streams.generator(seed, f"data/{epoch}"), task.settings.batch):
            parameters, state, _ = rule.step(program, parameters, state, batch, task)
        metrics.append(task.metric(program.run(parameters, test.inputs, task.record()), test))
    found = rule.results(state, parameters).get("quantisation", {"codes": {}})["codes"]
    return {"metric": np.array(metrics), "parameters": parameters, "quantised": found, "seconds": time.process_time() - begin}  # fmt: skip


def learning(study: Study, kind: str) -> dict[str, list[dict[str, Any]]]:
    """All runs of a kind of network, as table and criteria. Returns arm -> runs."""
    import numpy as np
    from joblib import delayed

    arms, runs, epochs = (QUICK, 1, 3) if study.quick else (tuple(ARMS), RUNS, EPOCHS[kind])
    calls = [(kind, arm, study.seed + k, epochs) for arm in arms for k in range(runs)]
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    with study.progress(f"{kind} cells") as update:
        results = study.parallel(delayed(trained)(*call) for call in calls)
        for done, ((_, arm, seed, _), run) in enumerate(zip(calls, results, strict=True)):
            found[arm].append(run)
            study.array(f"{kind}/{arm}/{seed}/metric", run["metric"])
            update(done + 1, len(calls), f"{arm} {run['metric'][-1]:.3f}")
    last = {arm: np.array([r["metric"][-1] for r in all_]) for arm, all_ in found.items()}
    lost = {arm: float(100 * (last[FLOAT] - x).mean()) for arm, x in last.items()}
    rows = [(arm, " ".join(f"{v:.3f}" for v in x), float(x.mean()), lost[arm], found[arm][0]["seconds"]) for arm, x in last.items()]  # fmt: skip
    header = ("weights", "each run", "mean", "points below float", "processor s")
    study.table(f"{kind} cells: test accuracy after {epochs} epochs", header, rows)
    for arm, margin in MARGINS.items():
        name, wanted = f"{kind}, {arm}: points below float", f"<= {margin:g}"
        if arm in lost:
            study.criterion(name, lost[arm], wanted, lost[arm] <= margin, full=True)
        else:
            study.unmeasured(name, wanted)
    if study.quick:
        least = min(float(x.mean()) for arm, x in last.items() if arm not in BINARIES)
        study.criterion(
            f"{kind}: the worst of these networks that isn't binary (chance 0.1)", least, "> 0.15", least > 0.15
        )
    else:
        ahead = lost[CONTROL] - lost["ternary"]
        study.criterion(f"{kind}: points that ternary weights are over the control", ahead, "> 0", ahead > 0)
    return found


def exported(study: Study, found: Mapping[str, list[dict[str, Any]]]) -> None:
    """The first run of each exported arm on each chip: codes of its file, and spikes of its integers, against those that were trained."""
    import backends
    from neuro.export import targets
    from neuro.export.stages import measure, stages_of
    from twinspike.models.row_digits import multiples

    task, rows = task_of("spiking"), []
    network, batch = task.network(study.seed), task.test_batch()
    for arm in EXPORTED:
        run = found[arm][0]
        for target, most in TARGETS.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"net{targets.get(target).profile.suffix}"
                export = targets.get(target).export(network, run["parameters"], path)
                factors = multiples(target, path, run["quantised"])
            stages = stages_of(network, run["parameters"], export)[1:]  # without single precision
            measured = measure(stages, task, batch, backends.get("native"))
            first, last = measured[0], measured[-1]
            rounding = {"quantised": export.rounding["weights"]}
            rows += [(arm, target, m.stage.name, m.accuracy, m.spikes, m.differing, rounding.get(m.stage.name, "")) for m in measured]  # fmt: skip
            name = f"{arm}, {target}: codes of the file, in those that were trained"
            study.criterion(name, " ".join(f"{n} x{k}" for n, k in factors.items()), "whole multiples", all(factors.values()))  # fmt: skip
            lost = 100 * (first.accuracy - last.accuracy)
            name = f"{arm}, {target}: points that the chip's arithmetic loses"
            study.criterion(name, lost, f"<= {most:g}", lost <= most, full=True)
    header = (
        "weights",
        "target",
        "stage",
        "accuracy",
        "spikes",
        "differing from the stage before",
        "rounding of thresholds",
    )
    study.table("the first run on chips: float64 is the network as trained, integers what the chip computes", header, rows)  # fmt: skip


def exact(study: Study) -> None:
    """Cells without a leak, whose states integers hold exactly: ternary weights of a few updates, and the spikes of Loihi's integers."""
    import backends
    from neuro.export import targets
    from neuro.export.stages import measure, stages_of
    from twinspike.models.row_digits import spiking_task

    task: Any = spiking_task(leaky=False)
    network, batch = task.network(study.seed), task.test_batch()
    run = updated(task, study.seed, 12, {"weights": {"*": TERNARY}})
    with tempfile.TemporaryDirectory() as folder:
        export = targets.get("loihi2").export(network, run, Path(folder) / "net.net")
    measured = measure(stages_of(network, run, export)[1:], task, batch, backends.get("native"))
    apart, spikes = sum(m.differing for m in measured), measured[0].spikes
    name = "without leaks, ternary: spikes of Loihi's integers that aren't the trained network's"
    study.criterion(name, f"{apart} of {spikes}", "0 of more than 10,000", apart == 0 and spikes > 10_000)


def updated(task: Any, seed: int, updates: int, quantise: Mapping[str, Any]) -> Any:
    """Quantised parameters after a few updates."""
    from itertools import islice

    import backends
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    program: Any = backends.get("native").compile(task.network(seed), surrogate="atan", threads=1)
    rule: Any = learning.get("bptt", learning_rate=RATES["spiking"], clip=1.0, quantise=quantise)
    parameters, state = values(program.network), rule.init(program)
    for batch in islice(task.train_batches(streams.generator(seed, "data/0"), task.settings.batch), updates):
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
    return parameters


def refused(study: Study) -> None:
    """Which targets hold the spiking network, and what the others name."""
    from neuro.export import targets
    from neuro.export.lint import lint

    network, rows = task_of("spiking").network(study.seed), []
    for name in targets.names():
        found = [p for p in lint(network, targets.get(name).profile) if not p.warning]
        rows.append((name, "; ".join(f"{p.where}, {p.field}: {p.why}" for p in found) or "holds it"))
    study.table("targets for the spiking network", ("target", "refused for"), rows)
    holding = {name for name, why in rows if why == "holds it"}
    study.criterion("targets that hold the spiking network", ", ".join(sorted(holding)), f"{', '.join(TARGETS)} among them", set(TARGETS) <= holding)  # fmt: skip


def recurrent(study: Study) -> None:
    """Both kinds of network, then the chips."""
    config = {"arms": ARMS, "epochs": EPOCHS, "learning rates": RATES, "margins": MARGINS, "runs": RUNS, "seed": study.seed}  # fmt: skip
    study.array("recurrent/config", json.dumps(config).encode())
    expected = {"recurrent layers with binary weights": "don't train, ternary ones do (Ott et al. 2016, abstract)", "4 bits": "comparable with float (Hubara et al., abstract)"}  # fmt: skip
    study.array("recurrent/expected", json.dumps(expected).encode())
    spiking = learning(study, "spiking")
    learning(study, "tanh")
    exported(study, spiking)
    exact(study)
    refused(study)


def run(study: Study) -> None:
    recurrent(study)

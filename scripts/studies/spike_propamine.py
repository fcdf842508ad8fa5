"""Synapses that learn within a trial hold what static spiking networks forget: five cues in noise (Schmidgall et al. 2021).

BPTT through the plasticity trains weights, alpha, rates and modulator. The baselines: a static feedforward network, which the published claim
is about, and a static one with trained recurrence, which solves the task in part. Ablation: alpha = 0 in what was trained. A trained network
is then run at noise and delays that it wasn't trained at. Reset and gains are the prototype's: soft, by subtraction; 4, and 16 for BCM.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from study import Study

MINUTES = 6  # from 0.1 processor seconds an update with plasticity, 0.03 without
UPDATES, LAST = 200, 100  # updates of a run; those over which accuracy is averaged
SHORT, EARLY = 80, 20  # the same in a quick run
BATCH, TEST = 64, 1000  # trials
NOISE, LOUD = 0.05, 0.2  # that networks are trained at
PLASTIC = ("dp-oja", "dp-bcm", "ndp-oja", "ndp-bcm")
STATIC = ("static", "recurrent")  # the second is the baseline that has a memory
# Noise, delay (steps) of tests. Trained at the first one.
CONDITIONS = (
    (NOISE, 20),
    (0.0, 20),
    (0.1, 20),
    (LOUD, 20),
    (0.3, 20),
    (NOISE, 5),
    (NOISE, 40),
    (NOISE, 80),
    (LOUD, 40),
)
PROTOTYPE = {  # form, noise -> accuracy of RNG seeds 0 and 1, as far as there are any
    ("static", NOISE): "0.543, 0.511",
    ("recurrent", NOISE): "0.836",
    ("dp-oja", NOISE): "0.915, 0.901",
    ("dp-bcm", NOISE): "0.918, 0.900",
    ("ndp-oja", NOISE): "0.928, 0.920",
    ("ndp-bcm", NOISE): "0.923, 0.904",
    ("static", LOUD): "0.507, 0.491",
    ("ndp-oja", LOUD): "0.916",
}
PROVENANCE = "figures of a prototype of the same recipe; the publication's abstract has none, its sizes and noise levels aren't known"
FULL = {  # what needs runs that a quick one has no time for: criterion -> wanted
    "1 static feedforward, the highest of 2 runs": "<= 0.60",
    "1 each plastic form, the lowest of 2 runs": ">= 0.85",
    f"2 noise {LOUD}: ndp-oja, the lowest; static, the highest of 2 runs": ">= 0.85, <= 0.56",
    "3 alpha = 0 in each plastic form, the highest of 2 runs": "<= 0.60",
    "processor seconds of one run, the most": "< 30",
}


def counted(**options: Any) -> Any:
    """The task, which also keeps in `accuracies` the accuracy of each batch whose loss it is asked for."""
    from tasks.cue_accumulation import CueAccumulation

    class Counted(CueAccumulation):
        accuracies: list[float] = []  # noqa: RUF012  one object a class

        def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Any) -> Any:
            right = self.logits(traces).detach().numpy().argmax(axis=1) == batch.targets
            self.accuracies.append(float(right.mean()))
            return super().loss(spikes, traces, batch)

    return Counted(**options)


def compiled(task: Any, seed: int, backend: str = "auto", **options: Any) -> Any:
    """The task's network on a backend, one thread."""
    import backends

    chosen = backends.get(backend)
    own = {"threads": 1} if chosen.name == "native" else {}
    return chosen.compile(task.network(seed), **{**task.settings.for_backend(chosen.name), **own, **options})


def learn(form: str, noise: float, seed: int, updates: int) -> dict[str, Any]:
    """One run: accuracy of each batch before the update it makes, all of new trials; tests of what was learnt; processor seconds."""
    import torch

    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    start, task = time.process_time(), counted(form=form, noise=noise)
    program = compiled(task, seed)
    rule = learning.get("bptt", **task.settings.rules["bptt"])
    state, parameters = rule.init(program), dict(values(program.network))
    random = streams.generator(seed, "study/spike-propamine")
    for _ in range(updates):
        parameters, state, _ = rule.step(program, parameters, state, task.sample(random, BATCH), task)
    found = {"accuracy": list(task.accuracies), "seconds": time.process_time() - start}
    if form in PLASTIC:
        silenced = {**parameters, "feed.alpha": 0 * parameters["feed.alpha"]}
        found["alpha = 0"] = tested(program, silenced, form, noise, 20)
    conditions = CONDITIONS if noise == NOISE and form != "static" and updates == UPDATES else ((noise, 20),)
    return found | {"tests": [tested(program, parameters, form, *c) for c in conditions]}


def tested(program: Any, parameters: Mapping[str, Any], form: str, noise: float, delay: int) -> float:
    """Accuracy on test trials of that noise and delay."""
    import tasks

    task = tasks.get("cue-accumulation", form=form, noise=noise, delay=delay, test_trials=TEST)
    batch = task.test_batch()
    return float(task.metric(program.run(parameters, batch.inputs, task.record()), batch))


def backends_agree(study: Study) -> None:
    """6: rho of untrained networks of both rules, with and without a modulator, everywhere that plasticity is compiled."""
    import numpy as np

    import tasks

    rows, worst, spikes = [], 0.0, 0
    for form in PLASTIC:
        task = tasks.get("cue-accumulation", form=form, hidden=10)
        batch, record = task.sample(np.random.default_rng(study.seed), 2), ("feed.rho", "output.y")
        runs = {
            name: compiled(
                task, study.seed, name, **({} if name in ("brian2", "reference") else {"dtype": "float64"})
            ).run(inputs=batch.inputs, record=record)
            for name in ("reference", "brian2", "native", "torch")
        }
        first = runs.pop("reference")
        spikes += first.spike_count()
        off = {n: float(np.abs(r.traces["feed.rho"] - first.traces["feed.rho"]).max()) for n, r in runs.items()}
        same = all(np.array_equal(r.spikes["cells"], first.spikes["cells"]) for r in runs.values())
        worst = max(worst, *off.values()) if same else np.inf
        rows.append((form, float(np.abs(first.traces["feed.rho"]).max()), *off.values(), "yes" if same else "NO"))
    header = ("form", "largest |rho|", *(f"{n}: off by" for n in runs), "same spikes")
    study.table(f"rho on each backend against the reference, {spikes} spikes", header, rows)
    study.criterion("6 the same spikes, and rho, on four backends: differs by at most", worst, "<= 1e-6", worst <= 1e-6)


def trained(
    study: Study, jobs: list[tuple[str, float, int]], updates: int
) -> dict[tuple[str, float], list[dict[str, Any]]]:
    """Results of `learn` by form and noise, one a seed."""
    from joblib import delayed

    found: dict[tuple[str, float], list[dict[str, Any]]] = {}
    with study.progress(f"{len(jobs)} runs") as update:
        calls = (delayed(learn)(*job, updates) for job in jobs)
        for done, ((form, noise, seed), result) in enumerate(zip(jobs, study.parallel(calls), strict=True)):
            found.setdefault((form, noise), []).append(result)
            study.array(f"{form}/noise {noise}/{seed}/accuracy", result["accuracy"])
            study.array(f"{form}/noise {noise}/{seed}/tests", result["tests"])
            update(done + 1, len(jobs), f"{form}, noise {noise}: {result['tests'][0]:.3f}")
    return found


def accuracies(
    study: Study, found: Mapping[tuple[str, float], list[dict[str, Any]]], last: int
) -> dict[tuple[str, float], list[float]]:
    """Mean accuracy over the last updates by run, beside the prototype's and that with alpha = 0."""
    import numpy as np

    means = {key: [float(np.mean(r["accuracy"][-last:])) for r in runs] for key, runs in found.items()}
    rows = []
    for key, runs in found.items():
        silenced = ", ".join(f"{r['alpha = 0']:.3f}" for r in runs if "alpha = 0" in r)
        tests = ", ".join(f"{r['tests'][0]:.3f}" for r in runs)
        each, seconds = ", ".join(f"{m:.3f}" for m in means[key]), max(r["seconds"] for r in runs)
        rows.append((*key, each, PROTOTYPE.get(key, "-"), tests, silenced or "-", seconds))
    header = ("form", "noise", "mean accuracy", "prototype", "test", "test, alpha = 0", "processor s")
    study.table(f"accuracy over the last {last} updates by RNG seed; prototype: last 100 of 200", header, rows)
    return means


def conditions(study: Study, found: Mapping[tuple[str, float], list[dict[str, Any]]]) -> None:
    """Noise and delays that weren't trained at; mean test accuracy of the runs."""
    import numpy as np

    tests = {form: np.mean([r["tests"] for r in found[form, NOISE]], axis=0) for form in (*PLASTIC, "recurrent")}
    rows = [
        (f"{noise:g}", delay, *(float(t[i]) for t in tests.values())) for i, (noise, delay) in enumerate(CONDITIONS)
    ]
    title = f"test accuracy of {TEST} trials at other noise and delays; trained at noise {NOISE}, delay 20"
    study.table(title, ("noise", "delay", *tests), rows)
    lost = [("largest loss", "", *(float(np.max(t[0] - t[1:])) for t in tests.values()))]
    lost += [("mean loss", "", *(float(np.mean(t[0] - t[1:])) for t in tests.values()))]
    study.table("accuracy lost where conditions weren't seen in training", ("", "", *tests), lost)


def picture(study: Study, found: Mapping[tuple[str, float], list[dict[str, Any]]]) -> None:
    """Accuracy of every run, means of ten updates."""
    import matplotlib.pyplot as plt
    import numpy as np

    levels = sorted({noise for _, noise in found})
    figure, axes = plt.subplots(
        1, len(levels), figsize=(5 * len(levels), 4), sharey=True, squeeze=False, layout="constrained"
    )
    colours = {form: f"C{i}" for i, form in enumerate((*STATIC, *PLASTIC))}
    for at, noise in zip(axes[0], levels, strict=True):
        for form in (f for f, n in found if n == noise):
            for i, run in enumerate(found[form, noise]):
                curve = np.mean(np.reshape(run["accuracy"], (-1, 10)), axis=1)
                at.plot(
                    10 * np.arange(len(curve)) + 5, curve, color=colours[form], lw=1, label=form if i == 0 else None
                )
        at.axhline(0.5, color="k", lw=0.5)
        at.set(title=f"noise {noise:g}", xlabel="update", ylabel="accuracy on new trials")
        at.legend(fontsize="small")
    study.figure("accuracy", figure)
    plt.close(figure)


def described(study: Study, jobs: list[tuple[str, float, int]], updates: int) -> None:
    """What was run, and where the expected numbers are from."""
    import tasks

    settings = {form: vars(tasks.get("cue-accumulation", form=form).settings) for form in (*STATIC, *PLASTIC)}
    config = {
        "runs": jobs,
        "updates": updates,
        "batch": BATCH,
        "test trials": TEST,
        "conditions": CONDITIONS,
        "settings": settings,
    }
    study.array("config", json.dumps(config).encode())
    expected = {f"{form}, noise {noise}": figure for (form, noise), figure in PROTOTYPE.items()}
    study.array("expected", json.dumps({"accuracy": expected, "provenance": PROVENANCE}).encode())


def run(study: Study) -> None:
    backends_agree(study)
    if study.quick:
        jobs = [(form, NOISE, study.seed) for form in ("static", "ndp-oja")]
    else:
        pairs = [(form, NOISE) for form in (*STATIC, *PLASTIC)] + [(form, LOUD) for form in (*STATIC, "ndp-oja")]
        jobs = [(*pair, study.seed + s) for pair in pairs for s in range(2)]
    updates, last = (SHORT, EARLY) if study.quick else (UPDATES, LAST)
    described(study, jobs, updates)
    found = trained(study, jobs, updates)
    means = accuracies(study, found, last)
    picture(study, found)
    gain = min(p - s for p, s in zip(means["ndp-oja", NOISE], means["static", NOISE], strict=True))
    study.criterion(f"1 ndp-oja above static, accuracy of {last} updates, least", gain, ">= 0.15", gain >= 0.15)
    if study.quick:
        for name, wanted in FULL.items():
            study.unmeasured(name, wanted)
        return
    conditions(study, found)
    for noise, static_limit, forms in ((NOISE, 0.60, PLASTIC), (LOUD, 0.56, ("ndp-oja",))):
        item, most = (1, max(means["static", NOISE])) if noise == NOISE else (2, max(means["static", LOUD]))
        study.criterion(
            f"{item} noise {noise}: static feedforward, highest of 2",
            most,
            f"<= {static_limit:.2f}",
            most <= static_limit,
        )
        for form in forms:
            least = min(means[form, noise])
            study.criterion(f"{item} noise {noise}: {form}, lowest of 2", least, ">= 0.85", least >= 0.85)
    for form in PLASTIC:
        left = max(r["alpha = 0"] for r in found[form, NOISE])
        study.criterion(f"3 {form} with alpha = 0, highest of 2", left, "<= 0.60", left <= 0.60)
    seconds = max(r["seconds"] for runs in found.values() for r in runs)
    study.criterion("processor seconds of one run, the most", seconds, "< 30", seconds < 30)

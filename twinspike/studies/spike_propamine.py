"""Synapses that learn within a trial hold what static spiking networks forget: five cues in noise (Schmidgall et al. 2021).

BPTT through the plasticity trains weights, alpha, rates and modulator. The published claim is about a static feedforward network. The other
baseline is a static one with trained recurrence, after as many updates, and after as much processor time. Ablation: alpha = 0 in what was
trained. At last, networks are run at noise and delays that they weren't trained at: those trained at one level of noise, and others, trained at
a range of it. Reset and gains are the prototype's: soft, by subtraction; 4, and 16 for BCM. Locomotion (7) is judged by the study evolved-plasticity.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from twinspike.study import Study

MINUTES = 5  # from 0.1 processor seconds an update with plasticity, 0.013 without
UPDATES, LAST = 200, 100  # updates of a run; those over which accuracy is averaged
SHORT, EARLY = 80, 20  # the same in a quick run
LONGER = 5  # times the updates: a static recurrent network's, which cost as much as a plastic one's
BATCH, TEST = 64, 1000  # trials
NOISE, LOUD, DELAY = 0.05, 0.2, 20  # that networks are trained at
PLASTIC = ("dp-oja", "dp-bcm", "ndp-oja", "ndp-bcm")
LONG = f"recurrent, {LONGER} x updates"
ARMS = {form: (form, 1) for form in ("static", "recurrent", *PLASTIC)} | {
    LONG: ("recurrent", LONGER)
}  # form, factor of updates
VARIED, SPREAD = (
    "at noise 0 to 0.1",
    0.05,
)  # what arms trained at a range of noise have in their names, and half of that range
RANGE = {f"{arm}, {VARIED}": ARMS[arm] for arm in (*PLASTIC, LONG)}
CONDITIONS = {  # noise and delay of tests, by what isn't as in training
    "nothing": ((NOISE, DELAY),),
    "noise": ((0.0, DELAY), (0.1, DELAY), (LOUD, DELAY), (0.3, DELAY)),
    "delay": ((NOISE, 5), (NOISE, 40), (NOISE, 80)),
    "both": ((LOUD, 40),),
}
PROTOTYPE = {  # arm, noise -> accuracy of RNG seeds 0 and 1, as far as there are any
    ("static", NOISE): "0.543, 0.511",
    ("recurrent", NOISE): "0.836",
    ("dp-oja", NOISE): "0.915, 0.901",
    ("dp-bcm", NOISE): "0.918, 0.900",
    ("ndp-oja", NOISE): "0.928, 0.920",
    ("ndp-bcm", NOISE): "0.923, 0.904",
    ("static", LOUD): "0.507, 0.491",
    ("ndp-oja", LOUD): "0.916",
}
PROVENANCE = (
    "a prototype of the same recipe; the publication's abstract gives none, and its sizes and noise levels aren't known"
)
FULL = {  # what needs runs that a quick one has no time for: criterion -> wanted
    "1 static feedforward, highest of 2 runs": "<= 0.60",
    "1 each plastic form, lowest of 2 runs": ">= 0.85",
    f"2 noise {LOUD}: ndp-oja, lowest; static, highest of 2 runs": ">= 0.85, <= 0.56",
    "3 each plastic form with alpha = 0, highest of 2 runs": "<= 0.60",
    "processor seconds of a run of 200 updates, most": "< 30",
}
Found = dict[tuple[str, float], list[dict[str, Any]]]  # arm, noise -> results of `learn`, one a seed
Job = tuple[str, float, int]  # arm, noise, seed


def counted(**options: Any) -> Any:
    """The task, which also keeps in `accuracies` the accuracy of each batch whose loss it is asked for."""
    from tasks.cue_accumulation import CueAccumulation

    class Counted(CueAccumulation):
        def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Any) -> Any:
            right = self.logits(traces).detach().numpy().argmax(axis=1) == batch.targets
            self.accuracies.append(float(right.mean()))
            return super().loss(spikes, traces, batch)

        accuracies: list[float]

    task = Counted(**options)
    task.accuracies = []
    return task


def learn(arm: str, noise: float, seed: int, updates: int) -> dict[str, Any]:
    """One run on one thread: accuracy of each batch before its update, always of new trials; processor seconds; tests."""
    import torch

    import backends
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    form, factor = (ARMS | RANGE)[arm]
    start, chosen = time.process_time(), backends.get("auto")
    task = counted(form=form, noise=noise, spread=SPREAD if arm in RANGE else 0.0)
    options = {**task.settings.for_backend(chosen.name), **({"threads": 1} if chosen.name == "native" else {})}
    program = chosen.compile(task.network(seed), **options)
    rule = learning.get("bptt", **task.settings.rules["bptt"])
    state, parameters = rule.init(program), dict(values(program.network))
    random = streams.generator(seed, "study/spike-propamine")
    for _ in range(updates * factor):
        parameters, state, _ = rule.step(program, parameters, state, task.sample(random, BATCH), task)
    found = {"accuracy": task.accuracies, "seconds": time.process_time() - start, "parameters": parameters}
    if form in PLASTIC:
        silenced = {**parameters, "feed.alpha": 0 * parameters["feed.alpha"]}
        found["alpha = 0"] = tested(program, silenced, form, noise, DELAY)
    everywhere = noise == NOISE and updates == UPDATES
    conditions = [c for each in CONDITIONS.values() for c in each] if everywhere else [(noise, DELAY)]
    return found | {"tests": [tested(program, parameters, form, *c) for c in conditions]}


def tested(program: Any, parameters: Mapping[str, Any], form: str, noise: float, delay: int) -> float:
    """Accuracy on test trials of that noise and delay."""
    import tasks

    task = tasks.get("cue-accumulation", form=form, noise=noise, delay=delay, test_trials=TEST)
    batch = task.test_batch()
    return float(task.metric(program.run(parameters, batch.inputs, task.record()), batch))


def backends_agree(study: Study, found: Found) -> None:
    """6: what was trained, in float64 on all backends that compile plasticity."""
    import numpy as np

    import backends
    import tasks

    rows, worst = [], 0.0
    for arm, noise in found:
        if arm not in PLASTIC or noise != NOISE:
            continue
        task = tasks.get("cue-accumulation", form=arm)
        batch, given = task.sample(np.random.default_rng(study.seed), 2), found[arm, noise][0]["parameters"]
        runs = {
            name: backends.get(name).compile(task.network(study.seed)).run(given, batch.inputs, ["feed.rho"])
            for name in ("reference", "brian2", "native", "torch")
        }
        first = runs.pop("reference")
        rho, spikes = first.traces["feed.rho"], first.spikes["cells"]
        off = [float(np.abs(r.traces["feed.rho"] - rho).max()) for r in runs.values()]
        same = all(np.array_equal(r.spikes["cells"], spikes) for r in runs.values())
        worst = max(worst, *off) if same else np.inf
        rows.append((arm, int(spikes.sum()), "yes" if same else "NO", float(np.abs(rho).max()), *off))
    header = ("form", "spikes", "the same everywhere", "largest |rho|", *(f"{name}: rho off by" for name in runs))
    study.table("two trials of trained networks on each backend against the reference", header, rows)
    study.criterion("6 same spikes, and rho, on four backends: differs by, at most", worst, "<= 1e-6", worst <= 1e-6)


def trained(study: Study, jobs: list[Job], updates: int) -> Found:
    """All runs, two at a time."""
    from joblib import delayed

    found: Found = {}
    with study.progress(f"{len(jobs)} runs") as update:
        calls = (delayed(learn)(*job, updates) for job in jobs)
        for done, ((arm, noise, seed), result) in enumerate(zip(jobs, study.parallel(calls), strict=True)):
            found.setdefault((arm, noise), []).append(result)
            for name in ("accuracy", "tests", "seconds"):
                study.array(f"{arm}/noise {noise}/{seed}/{name}", result[name])
            update(done + 1, len(jobs), f"{arm}, noise {noise}: {result['tests'][0]:.3f}")
    return found


def accuracies(study: Study, found: Found, last: int) -> dict[tuple[str, float], list[float]]:
    """Mean accuracy over the last updates by run, beside the prototype's and that with alpha = 0."""
    import numpy as np

    means = {key: [float(np.mean(r["accuracy"][-last:])) for r in runs] for key, runs in found.items()}
    rows = []
    for key, runs in found.items():
        each, tests = (", ".join(f"{x:.3f}" for x in xs) for xs in (means[key], [r["tests"][0] for r in runs]))
        silenced = ", ".join(f"{r['alpha = 0']:.3f}" for r in runs if "alpha = 0" in r)
        seconds = max(r["seconds"] for r in runs)
        rows.append((*key, len(runs[0]["accuracy"]), each, PROTOTYPE.get(key, "-"), tests, silenced or "-", seconds))
    header = ("network", "noise", "updates", "accuracy", "prototype", "test", "test, alpha = 0", "processor s")
    study.table(f"accuracy over the last {last} updates, by RNG seed; prototype: last 100 of 200", header, rows)
    return means


def elsewhere(study: Study, found: Found, arms: Iterable[str], trained_at: str) -> None:
    """Noise and delays that weren't trained at: test accuracy, means of the runs, and what is lost of it."""
    import numpy as np

    tests = {arm: np.mean([r["tests"] for r in found[arm, NOISE]], axis=0) for arm in arms}
    places = [(kind, *c) for kind, each in CONDITIONS.items() for c in each]
    rows: list[Any] = [
        (k, f"{n:g}", str(d), *(float(t[i]) for t in tests.values())) for i, (k, n, d) in enumerate(places)
    ]
    for kind in ("noise", "delay"):
        at = [i for i, place in enumerate(places) if place[0] == kind]
        for what, measure in (("mean", np.mean), ("largest", np.max)):
            rows.append((f"{what} loss by {kind}", "", "", *(float(measure(t[0] - t[at])) for t in tests.values())))
    header = ("what is new", "noise", "delay", *(arm.removesuffix(f", {VARIED}") for arm in tests))
    study.table(f"test accuracy, {TEST} trials; networks trained at {trained_at}, delay {DELAY}", header, rows)


def picture(study: Study, found: Found) -> None:
    """Accuracy of every run, means of ten updates; a panel for each noise that was trained at."""
    import matplotlib.pyplot as plt
    import numpy as np

    panels = {
        f"noise {NOISE}": (ARMS, NOISE),
        f"noise {LOUD}": (ARMS, LOUD),
        VARIED.removeprefix("at "): (RANGE, NOISE),
    }
    panels = {title: (arms, n) for title, (arms, n) in panels.items() if any((arm, n) in found for arm in arms)}
    size = (5 * len(panels), 4)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for at, (title, (arms, noise)) in zip(axes[0], panels.items(), strict=True):
        for arm in reversed(arms):  # the longest runs below the others
            colour, label = f"C{list(ARMS).index(arm.removesuffix(f', {VARIED}'))}", arm.removesuffix(f", {VARIED}")
            for run, result in enumerate(found.get((arm, noise), ())):
                curve = np.mean(np.reshape(result["accuracy"], (-1, 10)), axis=1)
                at.semilogx(10 * np.arange(len(curve)) + 5, curve, colour, lw=1, label=None if run else label)
        at.axhline(0.5, color="k", lw=0.5)
        at.set(title=f"trained at {title}", xlabel="update", ylabel="accuracy on new trials")
        at.legend(fontsize="small")
    study.figure("accuracy", figure)
    plt.close(figure)


def described(study: Study, jobs: list[Job], updates: int) -> None:
    """What was run, and where the expected numbers are from, as JSON."""
    import tasks

    settings = {form: vars(tasks.get("cue-accumulation", form=form).settings) for form, _ in ARMS.values()}
    config = {
        "runs": jobs,
        "updates": updates,
        "arms": ARMS | RANGE,
        "spread": SPREAD,
        "batch": BATCH,
        "test trials": TEST,
    }
    expected = {f"{arm}, noise {noise}": figure for (arm, noise), figure in PROTOTYPE.items()}
    study.provenance(
        {**config, "conditions": CONDITIONS, "settings": settings}, {"accuracy": expected, "provenance": PROVENANCE}
    )


def criteria(study: Study, found: Found, means: Mapping[tuple[str, float], list[float]]) -> None:
    """1, 2, 3 and the budget."""
    for item, noise, limit, forms in ((1, NOISE, 0.60, PLASTIC), (2, LOUD, 0.56, ("ndp-oja",))):
        most, name = max(means["static", noise]), f"{item} noise {noise}"
        study.criterion(f"{name}: static feedforward, highest of 2", most, f"<= {limit:.2f}", most <= limit)
        for form in forms:
            least = min(means[form, noise])
            study.criterion(f"{name}: {form}, lowest of 2", least, ">= 0.85", least >= 0.85)
    for form in PLASTIC:
        left = max(r["alpha = 0"] for r in found[form, NOISE])
        study.criterion(f"3 {form} with alpha = 0, highest of 2", left, "<= 0.60", left <= 0.60)
    seconds = max(r["seconds"] for (arm, _), runs in found.items() for r in runs if not arm.startswith(LONG))
    study.criterion("processor seconds of a run of 200 updates, most", seconds, "< 30", seconds < 30)


def run(study: Study) -> None:
    if study.quick:
        jobs, updates, last = [(arm, NOISE, study.seed) for arm in ("static", "ndp-oja", "dp-bcm")], SHORT, EARLY
    else:
        pairs = [(arm, NOISE) for arm in ARMS | RANGE] + [(arm, LOUD) for arm in ("static", "recurrent", "ndp-oja")]
        jobs, updates, last = [(*pair, study.seed + s) for pair in pairs for s in range(2)], UPDATES, LAST
    described(study, jobs, updates)
    found = trained(study, jobs, updates)
    means = accuracies(study, found, last)
    picture(study, found)
    backends_agree(study, found)
    gain = min(p - s for p, s in zip(means["ndp-oja", NOISE], means["static", NOISE], strict=True))
    study.criterion(f"1 ndp-oja after {updates} updates, accuracy above static, least", gain, ">= 0.15", gain >= 0.15)
    if study.quick:
        for name, wanted in FULL.items():
            study.unmeasured(name, wanted)
        return
    criteria(study, found, means)
    elsewhere(study, found, ARMS, f"noise {NOISE}")
    elsewhere(study, found, RANGE, VARIED.removeprefix("at "))

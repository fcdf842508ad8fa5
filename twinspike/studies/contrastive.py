"""Contrastive learning against the true gradient of the settled error; XOR, digits and a slow trajectory learned by it (C1 to C6).

Networks relax without a teacher and with one (Baldi & Pineda 1991; equilibrium propagation: Scellier & Bengio 2017). The true gradient is
that of central differences at settled fixed points, which move w_ij and w_ji together.
"""

from __future__ import annotations

from typing import Any

from twinspike.study import Study

MINUTES = 4  # processor seconds: 110 for XOR, 80 for digits and its control, 25 for slow sines, 15 for the rest
WEAK: dict[str, Any] = {"teacher": "weak", "beta": 1.0, "learning_rate": 1.2}  # 0.3 of the sum of four patterns
BETAS = (1e-3, 1e-2, 0.1, 1.0, 10.0)
ESTIMATORS: dict[str, dict[str, Any]] = {
    **{f"beta {b:g}": {"beta": b} for b in BETAS},
    "hard clamp": {"beta": 10.0, "teacher": "hard"},
    "beta 0.02": {"beta": 0.02},
    "beta +-0.1": {"beta": 0.1, "phases": "symmetric"},
    "beta +-0.05": {"beta": 0.05, "phases": "symmetric"},
}
SETTLED: dict[str, Any] = {"trainable": ("*.w", "*.b"), "tolerance": 1e-8, "longest": 200_000}
PROTOTYPE = 0.898  # mean cosine of the hard clamp, five networks
ALARMS = 0.01  # how often a mean of five is as far from ours by chance as the limit


def gradient_network(seed: int) -> tuple[Any, Any, Any]:
    """The 2-6-1 network of the check: task, network as it is drawn, program of its symmetric part."""
    import backends
    import tasks
    from neuro import learning

    task = tasks.get("xor", hidden=6)
    drawn = task.network(seed)
    return task, drawn, backends.get("native").compile(learning.get("contrastive").attach(drawn))


def deviations(study: Study, seeds: range) -> dict[str, Any]:
    """Of each estimator and network: cosine and norm ratio by weights and biases, relative deviation, cosine by weights alone; [network, 4]."""
    import numpy as np

    from neuro import learning
    from neuro.analysis.gradients import measure
    from neuro.compiler.parameters import values
    from twinspike.models.relaxation import true_gradient

    found: dict[str, list[Any]] = {label: [] for label in ESTIMATORS}
    with study.progress("gradients") as update:
        for k, seed in enumerate(seeds):
            task, _, program = gradient_network(seed)
            start, names = values(program.network), learning.get("contrastive", **SETTLED).names(program)
            moves, truth = true_gradient(program, task.batch(), names)
            weights = np.array([move[0][0].endswith(".w") for move in moves.entries])
            for label, options in ESTIMATORS.items():
                rule = learning.get("contrastive", **{**SETTLED, **options})
                estimate = moves.vector(rule.gradient(program, start, task.batch(), task))
                m, alone = measure(estimate, truth), measure(estimate[weights], truth[weights])
                found[label].append((m.cosine, m.norm_ratio, m.deviation, alone.cosine))
            update(k + 1, len(seeds), "")
    return {label: np.array(rows) for label, rows in found.items()}


def gradients(study: Study) -> None:
    """C1."""
    import numpy as np

    from twinspike.studies.gradient_audit import likely

    seeds = range(study.seed, study.seed + (3 if study.quick else 40))
    found = deviations(study, seeds)
    rows = [(label, *(float(x) for x in v.mean(axis=0)), float(v[:, 0].min())) for label, v in found.items()]
    header = ("teacher", "cosine", "norm ratio", "deviation", "cosine, weights alone", "lowest cosine")
    study.table(f"C1 estimate against differences, 2-6-1, mean of {len(seeds)} networks", header, rows)
    for label, v in found.items():
        study.array(f"C1/{label}", v)
    small = min(float(found[f"beta {b:g}"][:, 0].min()) for b in BETAS[:2])
    study.criterion("C1 cosine at beta <= 0.01, lowest", small, ">= 0.999", small >= 0.999)
    means = [float(found[f"beta {b:g}"][:, 0].mean()) for b in BETAS] + [float(found["hard clamp"][:, 0].mean())]
    largest = float(np.diff(means).max())
    study.criterion("C1 mean cosine, largest change to the next larger beta", largest, "< 0", largest < 0)
    for name, near, far, power in (("one-sided", "0.01", "0.02", 1), ("symmetric", "+-0.05", "+-0.1", 2)):
        ratios = found[f"beta {far}"][:, 2] / found[f"beta {near}"][:, 2]
        worst = float(ratios[np.abs(ratios / 2**power - 1).argmax()])
        named = f"C1 {name}: deviation at beta {far} over {near}, worst of {len(seeds)}"
        study.criterion(named, worst, f"{2**power} (to 10 %)", abs(worst / 2**power - 1) <= 0.1)
    named = f"C1 hard clamp: chance that five networks are as far from ours as {PROTOTYPE}"
    if study.quick:
        study.unmeasured(named, f">= {ALARMS}")
        return
    chance = likely(found["hard clamp"][:, 3], PROTOTYPE, networks=5)
    study.criterion(named, chance, f">= {ALARMS}", chance >= ALARMS)
    study.figure("gradients", figure(found))


def figure(found: dict[str, Any]) -> Any:
    """Deviation over beta, one line a network."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(figsize=(5, 4))
    axes.loglog(BETAS, np.array([found[f"beta {b:g}"][:, 2] for b in BETAS]), color="C0", alpha=0.3)
    axes.loglog((0.05, 0.1), np.array([found[f"beta +-{b:g}"][:, 2] for b in (0.05, 0.1)]), color="C1", alpha=0.3)
    axes.set(xlabel="beta (blue: one-sided, orange: both signs)", ylabel="|estimate - gradient| / |gradient|")
    return figure


def xor(study: Study) -> None:
    """C2. Controls: weights onto the output alone, which random hidden units suffice for, and those from the inputs to it, which can't do."""
    from functools import partial

    import numpy as np

    import tasks
    from twinspike.models.relaxation import xor_epochs

    runs = 2 if study.quick else 10
    quick: dict[str, Any] = {"optimiser": "adam", "learning_rate": 0.1} if study.quick else {}
    arms: dict[str, tuple[int, Any]] = {
        "hard clamp": (1000, partial(xor_epochs, **quick)),
        "weak, beta 1": (3000, partial(xor_epochs, **{**WEAK, **quick})),
    }
    if not study.quick:
        alone = ("skip.w", "output.b")
        arms["hard clamp, readout only (control)"] = 1000, partial(xor_epochs, trainable=tasks.get("xor").readout)
        arms["hard clamp, inputs to output only (control)"] = 1000, partial(xor_epochs, trainable=alone)
    rows = []
    for label, (cap, learn) in arms.items():
        count, epochs = (2 if "control" in label else runs), []
        with study.progress(f"XOR, {label}") as update:
            for k in range(count):
                epochs.append(learn(study.seed + k, cap))
                update(k + 1, count, f"{epochs[-1]} epochs")
        solved = sum(e < cap for e in epochs)
        study.array(f"C2/{label}", epochs)
        rows.append((label, f"{solved}/{count}", float(np.median(epochs)), cap))
        if "control" not in label:
            least = int(np.ceil(0.9 * runs))
            study.criterion(
                f"C2 XOR 2-8-1, {label}: solved", f"{solved} of {runs}", f">= {least} of {runs}", solved >= least
            )
    optimiser = "Adam" if study.quick else "plain gradient steps"
    study.table(f"C2 XOR, {optimiser}", ("teacher", "solved", "median epochs", "cap"), rows)


def biases(study: Study) -> None:
    """C3: beta 1e-3, so that what a settled symmetric network leaves out is 1e-4."""
    import numpy as np

    from neuro import learning
    from neuro.compiler.parameters import values
    from twinspike.models.relaxation import true_gradient

    networks = 2 if study.quick else 5
    shares, lengths = (0.0, 0.01, 0.1, 1.0), (200_000, 80, 40, 20)
    off: dict[str, Any] = {"asymmetric": np.zeros((networks, 4, 2)), "unsettled": np.zeros((networks, 4, 2))}
    with study.progress("asymmetric and unsettled networks") as update:
        for k in range(networks):
            task, drawn, program = gradient_network(study.seed + k)
            even, own = values(program.network), values(drawn)
            for i, (share, longest) in enumerate(zip(shares, lengths, strict=True)):
                now = {n: v + share * (own[n] - v) for n, v in even.items()}
                asked: dict[str, tuple[Any, dict[str, Any]]] = {
                    "asymmetric": (now, {"asymmetric": True}),
                    "unsettled": (even, {"longest": longest, "unsettled": "report"}),
                }
                for what, (parameters, options) in asked.items():
                    rule = learning.get("contrastive", **{**SETTLED, **options, "beta": 1e-3})
                    memory = rule.memory(program)
                    _, slopes = rule.estimate(program, parameters, task.batch(), task, memory, 0)
                    moves, truth = true_gradient(program, task.batch(), rule.names(program), parameters)
                    apart = max(
                        float(np.abs(parameters[f"{n}.w"] - parameters[f"{m}.w"].T).max())
                        for n, m in (("loop", "loop"), ("up", "down"))
                    )
                    measured = float(memory["residual"]) if what == "unsettled" else apart
                    deviation = np.linalg.norm(moves.vector(slopes) - truth) / np.linalg.norm(truth)
                    off[what][k, i] = measured, deviation
            update(k + 1, networks, "")
    for what, label, unit in (("asymmetric", shares, "|W - W^T|"), ("unsettled", lengths, "|du/dt|, 1/s")):
        study.array(f"C3/{what}", off[what])
        mean = off[what].mean(axis=0)
        title = f"C3 {what}, beta 0.001, mean of {networks} networks"
        study.table(title, ("share" if what == "asymmetric" else "longest phase, steps", f"largest {unit}", "deviation"),
                    [(x, *map(float, row)) for x, row in zip(label, mean, strict=True)])  # fmt: skip
        least = float((off[what][:, 1:, 1] / off[what][:, :-1, 1]).min())
        study.criterion(f"C3 {what}: deviation over that of the case before, least", least, "> 1", least > 1)
        gain = float((off[what][:, 2, 1] / off[what][:, 0, 1]).min())
        study.criterion(f"C3 {what}: deviation of the third case over the first, least", gain, ">= 10", gain >= 10)


def backends_agree(study: Study) -> None:
    """C4."""
    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler.parameters import values
    from neuro.learning.phases.energy import read
    from twinspike.models.relaxation import PRECISE

    task, names = tasks.get("xor"), ("brian2", "torch", "native", "reference")
    network = learning.get("contrastive").attach(task.network(study.seed))
    energy, found, rows = read(network), {}, []
    for phase, beta in (("free", 0.0), ("forced", 1.0)):
        now = {**values(network), "output.beta": np.asarray(beta)}
        for name in names:
            program = backends.get(name).compile(network)
            holding = {n: v[:, 0] for n, v in task.batch().inputs.items()}
            settled = PRECISE.relax(program, now, holding, energy.states, phase)
            found[phase, name] = np.concatenate([settled.recording.traces[n][:, -1] for n in energy.states], axis=1)
            away = float(np.abs(found[phase, name] - found[phase, names[0]]).max())
            rows.append((phase, name, settled.steps, settled.residual, away))
            study.array(f"C4/{phase}/{name}", found[phase, name])
    study.table("C4 fixed points of XOR's network", ("phase", "backend", "steps", "|du/dt|, 1/s", "largest difference from Brian2"), rows)  # fmt: skip
    worst = max(row[-1] for row in rows)
    study.criterion("C4 largest difference of u at the fixed point from Brian2", worst, "<= 1e-6", worst <= 1e-6)


def digits(study: Study) -> None:
    """C5. A readout alone learns from random hidden units; logistic regression needs none."""
    import tasks
    from twinspike.models.relaxation import trained
    from twinspike.studies.digits import pixels

    task, epochs = tasks.get("graded-digits"), 1 if study.quick else 10
    arms = {"all weights": ("*.w", "*.b"), "readout only (control)": task.readout}
    rows: list[tuple[Any, ...]] = []
    found = {}
    for label, names in arms.items() if not study.quick else list(arms.items())[:1]:
        with study.progress(f"digits, {label}") as update:
            found[label] = trained(task, study.seed, epochs, update, trainable=names)
        study.array(f"C5/{label}/losses", found[label].losses)
        rows.append((label, found[label].metric, found[label].residual, found[label].seconds))
    rows.append(("logistic regression on pixels", pixels(), "", ""))
    study.table(
        f"C5 digits 64-64-10, {epochs} epochs",
        ("trained", "test accuracy", "largest |du/dt|, 1/s", "processor seconds"),
        rows,
    )
    accuracy, seconds = found["all weights"].metric, found["all weights"].seconds
    study.criterion("C5 digits: test accuracy", accuracy, ">= 0.9", accuracy >= 0.9, full=True)
    study.criterion("C5 digits: processor seconds", seconds, "<= 180", seconds <= 180, full=True)


def trajectories(study: Study) -> None:
    """C6: an approximation, as far as the network keeps up with its input."""
    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.analysis.gradients import measure
    from neuro.compiler.parameters import values
    from twinspike.models.relaxation import trained, trajectory_gradient

    rows: list[tuple[Any, ...]] = []
    cosines = []
    for period in (5, 20, 100):
        task = tasks.get("slow-sine", period=period)
        rule = learning.get("contrastive", **{**SETTLED, "beta": 1e-2, "phases": "symmetric", "trajectory": True})
        program = backends.get("native").compile(rule.attach(task.network(study.seed)))
        memory = rule.memory(program)
        _, slopes = rule.estimate(program, values(program.network), task.batch(), task, memory, 0)
        moves, truth = trajectory_gradient(program, task.batch(), task, rule.names(program))
        m = measure(moves.vector(slopes), truth)
        cosines.append(m.cosine)
        rows.append((period, float(memory["residual"]), m.cosine, m.norm_ratio))
    study.table(
        "C6 approximation: integrated contrast against BPTT of the trajectory, untrained",
        ("period, time constants", "largest |du/dt|, 1/s", "cosine", "norm ratio"),
        rows,
    )
    study.criterion("C6 cosine with BPTT, periods 5, 20, 100: least growth", float(np.diff(cosines).min()), "> 0", bool(np.diff(cosines).min() > 0))  # fmt: skip
    task, seeds = tasks.get("slow-sine"), 1 if study.quick else 3
    epochs, rows = (1 if study.quick else task.settings.epochs), []
    arms = {"all weights": ("*.w", "*.b"), "readout only (control)": task.readout}
    falls: dict[str, list[float]] = {}
    for label, names in arms.items() if not study.quick else list(arms.items())[:1]:
        for seed in range(study.seed, study.seed + seeds):
            with study.progress(f"slow sine, {label}") as update:
                options = {"trainable": names, "schedule_options": {"T_max": epochs * task.updates}}
                found = trained(task, seed, epochs, update, **options)
            study.array(f"C6/{label}/{seed}", found.losses)
            falls.setdefault(label, []).append(float(found.losses[0] / found.losses[-1]))
            rows.append(
                (label, seed, float(found.losses[0]), float(found.losses[-1]), falls[label][-1], found.residual)
            )
    title = f"C6 slow sine, period 100, {epochs * task.updates} updates; the best constant has {task.batch().targets.var() / 2:.4g}"
    study.table(title, ("trained", "seed", "first loss", "last loss", "ratio", "largest |du/dt|, 1/s"), rows)
    least = min(falls["all weights"])
    study.criterion(f"C6 fall of the error (approximate rule), least of {seeds}", least, ">= 5", least >= 5, full=True)


def run(study: Study) -> None:
    import torch

    torch.set_num_threads(1)
    gradients(study)
    xor(study)
    biases(study)
    backends_agree(study)
    digits(study)
    trajectories(study)

"""Recurrent networks learn weights and time constants of limit cycles, a circle and a figure eight (Pearlmutter 1989).

P1: gradients of native and torch against adjoints in numpy and scipy. P2, P3: free runs, from the learnt start and from others. P4:
the control keeps all time constants at 10 ms. P5: the control has no hidden units. Brian2 runs what native has learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinspike.study import Study

MINUTES = 4  # from 5 to 8 processor milliseconds an update
RUNS, PERTURBED = {"circle": 5, "eight": 3}, 10  # seeds; perturbations of each learnt start
MEAN, GAP = 0.02, 0.05  # of a run's distance to its curve, and of the curve's to the run
LOW = 1e-3  # a loss far below that of the best standing point, 0.04
LATE = 500  # updates at the end, whose median loss is compared: single losses of Adam jump
FULL = {  # what needs runs that a quick one has no time for: criterion -> wanted
    f"P2, P3 circle, {RUNS['circle']} runs; eight, {RUNS['eight']} runs": f"<= {MEAN}, {GAP}",
    "Brian2 runs the learnt eight": f"<= 1e-9; <= {MEAN}, {GAP}",
    "P4 updates to a low loss, and loss at the end: learnt against fixed time constants": "fewer, and lower, in every run",
    "P5 eight without hidden units": f"0 runs within P2's bounds; gap > {GAP}",
}
LEARNT, FIXED, NO_HIDDEN = "learnt time constants", "fixed time constants", "no hidden units"
NAMES = {"w": "loop.w", "b": "units.b", "tau": "units.tau"}


def learn(
    which: str, seed: int, updates: int, hidden: int | None = None, fixed: bool = False, backend: str = "auto"
) -> dict[str, Any]:
    """Losses before each update, and what was learnt. fixed: time constants stay at 10 ms."""
    import torch

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    task = tasks.get("trajectory", which=which, hidden=hidden, updates=updates)
    options = dict(task.settings.rules["bptt"])
    if fixed:
        options |= {"trainable": ("loop.w", "units.b"), "logarithmic": (), "learning_rates": {}}
    rule = learning.get("bptt", **options)
    program = backends.get(backend).compile(task.network(seed), dtype="float64")
    state, parameters, losses = rule.init(program), dict(values(program.network)), []
    for batch in task.train_batches(None, 1):
        parameters, state, metrics = rule.step(program, parameters, state, batch, task)
        losses.append(metrics["loss"])
    return {"losses": losses, "parameters": parameters}


def free_run(which: str, parameters: Mapping[str, Any], starts: Any = None, backend: str = "auto") -> Any:
    """Rates [start, time, unit] over 20 periods. starts: rates [start, unit] to begin with, or the network's own."""
    import numpy as np

    import backends
    import tasks
    from neuro.state import State

    size = len(parameters["units.b"])
    task = tasks.get("trajectory", which=which, hidden=size - 2)
    network, batch = task.network(0), task.test_batch()
    program = backends.get(backend).compile(network, dtype="float64")
    lead = 1 if starts is None else len(starts)
    state = None if starts is None else State(float(network.dt.value), 0, (lead,), variables={"units.x": starts})
    inputs = {"I": np.zeros((lead, *batch.inputs["I"].shape[1:]))}
    return program.run(parameters, inputs, task.record(), state=state).traces["units.x"]


def to_curve(which: str, path: Any) -> tuple[float, float]:
    """Mean distance and worst gap of the last 3 periods of a run [time, unit]."""
    from tasks.trajectory import PERIOD, distances

    return distances(which, path[-3 * PERIOD :, :2])


# -- P1 ----------------------------------------------------------------------------------------------------


def drawn(which: str, seed: int) -> tuple[Any, Any, Any]:
    """A network at random weights, time constants and start: the task, and rates and error in ms."""
    import numpy as np

    import tasks
    from neuro.compiler import streams
    from tasks.trajectory import DT, FROM, PERIOD, UNIT, curve
    from twinspike.models.trajectory_adjoint import Error, Rates

    task = tasks.get("trajectory", which=which)
    random, n = streams.generator(seed, "study/pearlmutter"), task.hidden + 2
    w, b = random.uniform(-1, 1, (n, n)), random.uniform(-1, 1, n)
    rates = Rates(w, b, UNIT * random.uniform(0.6, 5, n), random.uniform(0.2, 0.8, n))
    period = float(PERIOD * DT)
    return task, rates, Error(lambda t: curve(which, np.asarray(2 * np.pi * t / period)), FROM * DT, 2 * period)


def by_autograd(task: Any, rates: Any, backend: str) -> tuple[float, dict[str, Any]]:
    """The loss and its gradients with respect to weights, biases, time constants (1/ms) and start."""
    import torch

    import backends
    from neuro.state import State

    network, batch = task.network(0), next(iter(task.train_batches(None, 1)))
    program: Any = backends.get(backend).compile(network, dtype="float64")
    leaves = {n: torch.tensor(getattr(rates, n), requires_grad=True) for n in (*NAMES, "start")}
    given = {NAMES[n]: leaves[n] * (1e-3 if n == "tau" else 1.0) for n in NAMES}
    state = State(float(network.dt.value), 0, (1,), variables={"units.x": leaves["start"][None]})
    found = program.forward(given, batch.inputs, task.record(), state=state)
    loss = task.loss(found.spikes, found.traces, batch)
    grads = torch.autograd.grad(loss, list(leaves.values()))
    return float(loss.detach()), {n: g.numpy() for n, g in zip(leaves, grads, strict=True)}


def apart(found: Any, wanted: Any) -> float:
    """Largest difference over the largest number."""
    import numpy as np

    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def gradients(study: Study) -> None:
    """P1. Delays are left out: graded synapses have none, and say so."""
    import numpy as np

    from tasks.trajectory import DT
    from twinspike.models.trajectory_adjoint import of_equations, of_steps

    cases = [(which, study.seed + s) for which in ("circle", "eight") for s in range(1 if study.quick else 3)]
    parts, rows, orders = (*NAMES, "start"), [], []
    differ: dict[tuple[str, str], list[float]] = {}
    for which, seed in cases:
        task, rates, error = drawn(which, seed)
        value, exact = of_steps(rates, error, DT)
        for backend in ("torch", "native"):
            loss, found = by_autograd(task, rates, backend)
            differ.setdefault((backend, "loss"), []).append(abs(loss / value - 1))
            for part in parts:
                key = backend, f"gradient by {part}"
                differ.setdefault(key, []).append(apart(found[part], getattr(exact, part)))
        limit, dts = of_equations(rates, error), DT / 2.0 ** np.arange(4)
        steps = [of_steps(rates, error, dt)[1] for dt in dts]
        for part in parts:
            off = [apart(getattr(s, part), getattr(limit, part)) for s in steps]
            orders.append(float(np.polyfit(np.log(dts), np.log(off), 1)[0]))
            rows.append((which, seed, part, *off, orders[-1]))
    for (backend, part), each in differ.items():
        most = float(np.max(each))
        name = f"P1 {backend}, {part}: differs from the discrete adjoint's by"
        study.criterion(name, most, "<= 1e-8", most <= 1e-8)
    study.array("P1/orders", orders)
    header = ("curve", "seed", "by", *(f"dt {dt:g} ms" for dt in dts), "order in dt")
    study.table("discrete adjoint against the adjoint ODE, largest difference over largest number", header, rows)
    for what, order in (("lowest", float(np.min(orders))), ("highest", float(np.max(orders)))):
        study.criterion(f"P1 adjoint ODE: order in dt, {what}", order, "0.9 .. 1.1: O(dt)", 0.9 <= order <= 1.1)
    study.table("P1 delays: not shown", ("what the language says of a graded synapse with a delay",), [(no_delays(),)])


def no_delays() -> str:
    """What a network of graded synapses with delays is refused with."""
    from dataclasses import replace

    import tasks
    from neuro import ModelError, quantity

    network = tasks.get("trajectory").network(0)
    late = tuple(replace(p, delay=quantity("2 ms")) for p in network.projections)
    try:
        replace(network, projections=late)
    except ModelError as error:
        return " ".join(str(error).split())
    return "nothing: it takes it"


# -- P2, P3, Brian2 ----------------------------------------------------------------------------------------


def cycles(study: Study, which: str, learnt: Mapping[int, Mapping[str, Any]]) -> None:
    """P2, P3. learnt: parameters by seed."""
    import numpy as np

    import tasks
    from neuro.compiler import streams
    from neuro.compiler.parameters import initial_state

    rows, free, moved = [], [], []
    for seed, parameters in learnt.items():
        path = free_run(which, parameters)
        start = initial_state(tasks.get("trajectory", which=which).network(seed))["units.x"]
        noise = streams.generator(seed, "study/pearlmutter/start").normal(size=(PERTURBED, len(start)))
        others = [to_curve(which, p) for p in free_run(which, parameters, start + 0.1 * noise)]
        free.append(to_curve(which, path[0]))
        moved += others
        rows.append(
            (seed, *free[-1], *np.max(others, axis=0), *(1e3 * f(parameters["units.tau"]) for f in (np.min, np.max)))
        )
        study.array(f"{which}/{seed}/run", path[0, :, :2])
        study.array(f"{which}/{seed}/tau", parameters["units.tau"])
    header = ("seed", "mean distance", "worst gap", "perturbed: distance", "gap", "shortest tau (ms)", "longest")
    study.table(f"{which}: last 3 of 20 periods of a free run; worst of {PERTURBED} perturbed starts", header, rows)
    for label, found in (("P2", free), (f"P3 {PERTURBED} starts moved by 0.1 a run", moved)):
        mean, gap = np.max(found, axis=0)
        name = f"{label}, {which}, {len(learnt)} run(s)"
        study.criterion(f"{name}: mean distance, worst", mean, f"<= {MEAN}", mean <= MEAN)
        study.criterion(f"{name}: worst gap", gap, f"<= {GAP}", gap <= GAP)


def replay(study: Study, which: str, parameters: Mapping[str, Any]) -> None:
    """Brian2, which integrates the equations with its own code, on what native has learnt."""
    import numpy as np

    from tasks.trajectory import PERIOD

    ours, theirs, torchs = (free_run(which, parameters, backend=b)[0] for b in ("auto", "brian2", "torch"))
    for name, path in (("Brian2", theirs), ("torch", torchs)):
        off = float(np.abs(path - ours)[: 5 * PERIOD].max())
        study.criterion(f"{name} runs the learnt {which}: difference over 5 periods", off, "<= 1e-9", off <= 1e-9)
    mean, gap = to_curve(which, theirs)
    study.array(f"{which}/brian2", theirs[:, :2])
    study.criterion(f"Brian2 runs the learnt {which}: mean distance after 17 periods", mean, f"<= {MEAN}", mean <= MEAN)
    study.criterion(f"Brian2 runs the learnt {which}: worst gap", gap, f"<= {GAP}", gap <= GAP)


# -- P4, P5 ------------------------------------------------------------------------------------------------


def late(result: Mapping[str, Any]) -> float:
    """Median loss of the last updates."""
    import numpy as np

    return float(np.median(result["losses"][-LATE:]))


def updates_to_low(result: Mapping[str, Any]) -> int:
    """Updates after which the loss is first below LOW; all of them where it never is."""
    losses = result["losses"]
    return next((i for i, loss in enumerate(losses) if loss < LOW), len(losses))


def controls(study: Study, found: Mapping[tuple[str, str], Mapping[int, Any]]) -> None:
    """P4, P5. found: results by seed, of each curve and kind of network."""
    rows = []
    for (which, kind), results in found.items():
        for seed, result in results.items():
            fit = to_curve(which, free_run(which, result["parameters"])[0])
            losses = result["losses"]
            rows.append((which, kind, seed, losses[0], losses[500], late(result), updates_to_low(result), *fit))
            study.array(f"{which}/{kind}/{seed}/losses", losses)
    header = ("curve", "network", "seed", "E/T at start", "at 500", f"median of last {LATE}", f"updates to {LOW:g}")
    title = "loss, and the last 3 of 20 periods of a free run"
    study.table(title, (*header, "mean distance", "worst gap"), rows)
    for which in ("circle", "eight"):
        pairs = [(found[which, LEARNT][s], found[which, FIXED][s]) for s in found[which, LEARNT]]
        for what, figure_of in ((f"fewer updates to E/T {LOW:g}", updates_to_low), ("lower E/T at the end", late)):
            better = sum(figure_of(learnt) < figure_of(fixed) for learnt, fixed in pairs)
            name, every = f"P4 {which}: runs of {len(pairs)} with {what} than with fixed time constants", len(pairs)
            study.criterion(name, better, str(every), better == every)
    without = [to_curve("eight", free_run("eight", r["parameters"])[0]) for r in found["eight", NO_HIDDEN].values()]
    passed = sum(mean <= MEAN and gap <= GAP for mean, gap in without)
    study.criterion(
        f"P5 eight without hidden units: runs of {len(without)} within P2's bounds", passed, "0", passed == 0
    )
    nearest = min(gap for _, gap in without)
    study.criterion("P5 eight without hidden units: smallest worst gap", nearest, f"> {GAP}", nearest > GAP)


def same_training(study: Study) -> None:
    """torch makes the updates that native makes."""
    updates = 20 if study.quick else 100
    ours, theirs = (learn("circle", study.seed, updates, backend=b)["losses"] for b in ("native", "torch"))
    off = max(abs(a / b - 1) for a, b in zip(ours, theirs, strict=True))
    study.criterion(f"native and torch: losses of {updates} updates differ by", off, "<= 1e-8", off <= 1e-8)


# -- the study ---------------------------------------------------------------------------------------------


def trained(study: Study) -> dict[tuple[str, str], dict[int, Any]]:
    """Results of `learn` by curve and kind of network, and seed."""
    from joblib import delayed

    from tasks.trajectory import UPDATES

    kinds: dict[tuple[str, str], dict[str, Any]] = {("circle", LEARNT): {}}
    if not study.quick:
        kinds |= {("circle", FIXED): {"fixed": True}, ("eight", LEARNT): {}, ("eight", FIXED): {"fixed": True}}
        kinds |= {("eight", NO_HIDDEN): {"hidden": 0}}
    jobs = [(key, study.seed + s) for key in kinds for s in range(1 if study.quick else RUNS[key[0]])]
    calls = [delayed(learn)(key[0], seed, UPDATES[key[0]], **kinds[key]) for key, seed in jobs]
    found: dict[tuple[str, str], dict[int, Any]] = {key: {} for key in kinds}
    with study.progress(f"{len(jobs)} runs") as update:
        for i, result in enumerate(study.parallel(calls)):
            key, seed = jobs[i]
            found[key][seed] = result
            update(i + 1, len(jobs), ", ".join(key))
    return found


def figure(study: Study, learnt: Mapping[str, Mapping[int, Any]]) -> Any:
    """Free runs on their curves, and the learnt time constants of all units."""
    import matplotlib.pyplot as plt
    import numpy as np

    from tasks.trajectory import PERIOD, UNIT, curve

    drawn, axes = plt.subplots(1, len(learnt) + 1, figsize=(4 * (len(learnt) + 1), 4), layout="constrained")
    phase = np.linspace(0, 2 * np.pi, 400)
    for at, (which, parameters) in zip(axes, learnt.items(), strict=False):
        at.plot(*curve(which, phase).T, "k--", lw=1, label="target")
        for seed in parameters:
            at.plot(*study.arrays[f"{which}/{seed}/run"][-3 * PERIOD :].T, lw=1, label=f"seed {seed}")
        at.set(title=f"{which}: last 3 of 20 periods", xlabel="output 1", ylabel="output 2", aspect="equal")
    axes[0].legend(loc="center", fontsize="small")
    for i, parameters in enumerate(learnt.values()):
        for seed, values in parameters.items():
            taus = 1e3 * values["units.tau"]
            axes[-1].semilogy(np.full(len(taus), i + 0.1 * seed), taus, "o", ms=4)
    axes[-1].axhline(UNIT, color="k", lw=0.5)
    axes[-1].set(title="time constants (ms); line: before", xticks=range(len(learnt)), xticklabels=list(learnt))
    plt.close(drawn)
    return drawn


def run(study: Study) -> None:
    gradients(study)
    same_training(study)
    found = trained(study)
    learnt = {w: {s: r["parameters"] for s, r in d.items()} for (w, kind), d in found.items() if kind == LEARNT}
    for which, parameters in learnt.items():
        cycles(study, which, parameters)
        replay(study, which, parameters[study.seed])
    study.figure("cycles", figure(study, learnt))
    if study.quick:
        for name, wanted in FULL.items():
            study.unmeasured(name, wanted)
        return
    controls(study, found)

"""Backpropamine: synapses that a trained modulator changes within an episode; identities, cue-reward, maze (B1 to B3, B5).

Miconi, Rawal, Clune & Stanley (2019), ICLR, arXiv 2002.10585, by their equations. Sizes and budgets are reduced: the published runs took 200,000 updates.
Advantages are those of each episode; the published code took every episode's from the value of the first one in the batch
(`value_baseline="shared_first"`). B4, the language model, is study `language-model`. Controls: the same network without plasticity, and with plasticity that nothing modulates.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from twinspike.study import Study
from twinspike.study import curves as drawn

MINUTES = 14
FORMS = ("static", "plastic", "modulated", "retroactive")
WINDOW = 100  # updates over which a curve is averaged
CALIBRATION = {
    11: (7.1, 257.0, 328.0),
    13: (5.6, 185.0, 271.0),
}  # the specification's prototype: random walk, explore then go, shortest path
PROTOTYPE = {  # accuracy over 250 updates up to the one given, RNG seed 0
    "modulated": {500: 0.900, 750: 0.995, 1000: 0.997}, "retroactive": {500: 0.513, 750: 0.937, 1000: 0.989},
    "plastic": {500: 0.502, 1000: 0.540}, "static": {1000: 0.506},
}  # fmt: skip
SOURCE = "a prototype of the same reduced settings by the specification's author; not the publication's figures"
WALK, RELATIVE = 1.5, 0.05  # how far from it: rewards an episode, and share


def episode_of(form: str, seed: int, *, clip: float, constant: float | None = None, eta: float | None = None) -> Any:
    """A small plastic network. constant: what its modulator sends whatever it hears."""
    from neuro.model import Neuron
    from tasks.self_modifying import plastic_network

    network = plastic_network(
        "identity", 4, 8, 3, form, clip=clip, eta=0.1 if eta is None else eta, scale=0.6, seed=seed
    )
    if constant is None:
        return network
    steady = Neuron("steady", "z : 1\ny = b : 1", parameters={"b": repr(constant)})
    cells = tuple(replace(p, neuron=steady, parameters={}) if p.name == "modulator" else p for p in network.populations)
    return replace(network, populations=cells)


def outer_sums(x: Any, m: Any) -> Any:
    """Sum over steps of m(t) x(t-1) x(t)^T from [batch, time, cell] and [batch, time]."""
    import numpy as np

    before = np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], axis=1)
    return np.einsum("bt,bti,btj->bij", m, before, x)


def identities(study: Study) -> None:
    """B1 a to c, on every backend."""
    import numpy as np

    import backends

    drive = np.random.default_rng(study.seed).normal(0, 1, (3, 10, 4))
    record = ["hidden.x", "modulator.y", "loop.hebb"]
    rows: list[tuple[Any, ...]] = []
    for backend in ("reference", "native", "torch", "brian2"):
        compiler = backends.get(backend)
        plain = compiler.compile(episode_of("plastic", study.seed, clip=1.0, eta=0.1))
        steady = compiler.compile(episode_of("modulated", study.seed, clip=1.0, constant=0.1))
        a, b = (p.run(inputs={"senses": drive}, record=["loop.hebb"]).traces["loop.hebb"] for p in (plain, steady))
        worst = []
        for form, eta, late in (("modulated", None, 0), ("retroactive", 1.0, 1)):
            found = (
                compiler.compile(episode_of(form, study.seed, clip=1e6, eta=eta))
                .run(inputs={"senses": drive}, record=record)
                .traces
            )
            m = found["modulator.y"][..., 0]
            m = np.concatenate([m[:, late:], np.zeros((len(m), late))], axis=1)
            hebb = found["loop.hebb"][:, -1].reshape(3, 8, 8)
            worst.append(float(np.abs(hebb - outer_sums(found["hidden.x"], m)).max() / np.abs(hebb).max()))
        rows.append((backend, bool(np.array_equal(a, b) and np.ptp(a) > 0.1), *worst))
    study.table("B1 identities", ("backend", "a: bit for bit", "c: modulated", "b: retroactive"), rows)
    same = all(row[1] for row in rows)
    study.criterion("B1a constant modulator is plain plasticity, bit for bit, 4 backends", same, "yes", same)
    for name, column in (("B1c modulated", 2), ("B1b retroactive with eta 1", 3)):
        off = max(row[column] for row in rows)
        study.criterion(f"{name}: sum of outer products, relative error, 4 backends", off, "< 1e-12", off < 1e-12)


def gradients(study: Study) -> None:
    """B1 d, on torch and native: 10 steps, the clip inactive."""
    import numpy as np

    import backends
    from neuro.compiler.parameters import values

    drive, worst, step = np.random.default_rng(study.seed).normal(0, 1, (3, 10, 4)), 0.0, 1e-5

    def loss(found: Any) -> Any:
        return (found.traces["output.y"] ** 2).sum()

    for form in FORMS[1:]:
        network = episode_of(form, study.seed, clip=1e6)
        held = values(network)
        wrt = [n for n in held if n.rpartition(".")[2] in ("w", "alpha", "eta", "b") and not n.startswith("given")]
        judge = backends.get("reference").compile(network)
        for backend in ("torch", "native"):
            program: Any = backends.get(backend).compile(network)
            slopes = program.value_and_grad(loss, None, {"senses": drive}, wrt, ["output.y"])[1]
            for name in wrt:
                direction = np.random.default_rng(1).normal(0, 1, np.shape(held[name]))
                ends = [
                    float(loss(judge.run({name: held[name] + s * step * direction}, {"senses": drive}, ["output.y"])))
                    for s in (1, -1)
                ]
                along, mine = (ends[0] - ends[1]) / (2 * step), float((slopes[name] * direction).sum())
                worst = max(worst, abs(mine - along) / abs(along))
    study.criterion(
        "B1d gradients against differences, worst of all parameters and forms", worst, "< 1e-6", worst < 1e-6
    )


def learned(name: str, form: str, seed: int, updates: int) -> Any:
    """Metric of each update's episodes [update], as the network plays them before it: accuracy of cue-reward's second half, the maze's return."""
    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values
    from neuro.episodes import played

    task = tasks.get(name, form=form)
    program = backends.get("native").compile(task.network(seed), threads=1)
    rule = learning.get("actor-critic", **task.settings.rules["actor-critic"])
    parameters: Any = values(program.network)
    state, random, found = rule.init(program), streams.generator(seed, "data/0"), []
    for k in range(updates):
        batch = task.sample(random, task.settings.batch)
        episodes = played(program, parameters, task, batch, k)
        found.append(task.accuracy(episodes) if name == "cue-reward" else episodes.returns.mean())
        parameters, state, _ = rule.step(program, parameters, state, batch, task)
    return np.array(found)


def curves(study: Study, name: str, arms: dict[str, tuple[int, int]]) -> dict[str, list[Any]]:
    """Learning curves of all runs. arms: form -> number of runs, updates."""
    from joblib import delayed

    calls = [(form, study.seed + k, n) for form, (runs, n) in arms.items() for k in range(runs)]
    found: dict[str, list[Any]] = {form: [] for form in arms}
    with study.progress(name) as update:
        results = study.parallel(delayed(learned)(name, *call) for call in calls)
        for k, ((form, seed, _), curve) in enumerate(zip(calls, results, strict=True)):
            found[form].append(curve)
            study.array(f"{name}/{form}/{seed}", curve)
            update(k + 1, len(calls), f"{form} {curve[-WINDOW:].mean():.3f}")
    return found


def cue_reward(study: Study) -> None:
    """B2: 2 cues of 2 bits, 60 steps, 32 units."""
    import numpy as np

    if study.quick:
        found = curves(study, "cue-reward", {"modulated": (1, 30)})
        study.table(
            "B2 cue-reward, first 30 updates",
            ("form", "accuracy"),
            [("modulated", float(found["modulated"][0].mean()))],
        )
        study.unmeasured("B2 cue-reward, modulated, 600 updates", ">= 0.85 in 2 of 2 runs")
        return
    arms = {"modulated": (4, 600), "retroactive": (4, 1000), "plastic": (2, 1000), "static": (2, 1000)}
    found = curves(study, "cue-reward", arms)
    last = {form: [float(c[-WINDOW:].mean()) for c in runs] for form, runs in found.items()}
    rows = [(form, arms[form][1], " ".join(f"{v:.3f}" for v in values)) for form, values in last.items()]
    study.table(f"B2 cue-reward, accuracy over the last {WINDOW} updates", ("form", "updates", "runs"), rows)
    worst = min(last["modulated"][:2])
    study.criterion("B2 modulated, the worse of the first 2 runs", worst, ">= 0.85", worst >= 0.85)
    for form in (
        "plastic",
        "static",
    ):  # as many updates as the modulated networks get; plasticity alone begins to learn later
        early = max(float(c[600 - WINDOW : 600].mean()) for c in found[form])
        study.criterion(f"B2 {form} at 600 updates, the better of 2 runs", early, "<= 0.60", early <= 0.60)
    best = [float(np.convolve(c, np.ones(WINDOW) / WINDOW, "valid").max()) for c in found["retroactive"][:3]]
    study.criterion("B2 retroactive, the best of 3 runs within 1,000 updates", max(best), ">= 0.85", max(best) >= 0.85)
    study.figure(
        "cue-reward", drawn(found, "update", "accuracy at go signals, second half", over=20, levels={"chance": 0.5})
    )


def calibration(study: Study) -> None:
    """B5: walkers by rule in the two mazes of the published runs, 200 steps."""
    from tasks.maze import ExploreThenGo, random_walk, shortest_path, walked

    episodes, rows = (60 if study.quick else 300), []
    for size, wanted in CALIBRATION.items():
        walkers = (random_walk, ExploreThenGo(episodes, size), shortest_path)
        means = [float(walked(size, 200, episodes, w, study.seed).mean()) for w in walkers]
        rows.append((size, *means))
        off = [abs(m - w) / w for m, w in zip(means[1:], wanted[1:], strict=True)]
        near = abs(means[0] - wanted[0]) <= WALK
        shown = ", ".join(f"{m:.4g}" for m in means)
        limits = f"{wanted[0]} +- {WALK}, {wanted[1]:g} and {wanted[2]:g} to 5 %"
        study.criterion(
            f"B5 maze {size}: random walk, explore then go, shortest path",
            shown,
            limits,
            near and max(off) <= RELATIVE,
            full=True,
        )
    study.table(
        f"B5 mazes, mean return of {episodes} episodes",
        ("size", "random walk", "explore then go", "shortest path"),
        rows,
    )


def maze(study: Study) -> None:
    """B3: maze 7, 100 steps, 50 units."""
    from tasks.maze import ExploreThenGo, random_walk, shortest_path, walked

    level = partial(walked, 7, 100, 300)
    walkers: dict[str, Any] = {
        "random walk": random_walk,
        "explore then go": ExploreThenGo(300, 7),
        "shortest path": shortest_path,
    }
    steady = {name: float(level(w, study.seed).mean()) for name, w in walkers.items()}
    study.table("B3 maze 7, 100 steps, who doesn't learn", ("walker", "return"), list(steady.items()))
    if study.quick:
        study.unmeasured("B3 modulated over random walk", ">= 4")
        return
    found = curves(study, "maze", {"modulated": (2, 1000), "plastic": (2, 1000), "static": (2, 1000)})
    last = {form: [float(c[-WINDOW:].mean()) for c in runs] for form, runs in found.items()}
    rows = [(form, " ".join(f"{v:.1f}" for v in values)) for form, values in last.items()]
    study.table(f"B3 maze 7, return over the last {WINDOW} of 1,000 updates", ("form", "runs"), rows)
    ratio = min(last["modulated"]) / steady["random walk"]
    study.criterion("B3 modulated over random walk, the worse of 2 runs", ratio, ">= 4", ratio >= 4)
    ahead = sum(last["modulated"]) / sum(last["plastic"])
    study.criterion("B3 modulated over plastic, means of 2 runs", ahead, ">= 1", ahead >= 1)
    study.figure("maze", drawn(found, "update", "return of an episode", over=20, levels=steady))


def provenance(study: Study) -> None:
    """What was run, and where the expected numbers are from, as JSON."""
    from dataclasses import asdict

    import tasks

    config = {
        name: asdict(tasks.get(name).settings) | {"task": vars(tasks.get(name))} for name in ("cue-reward", "maze")
    }
    expected = {"calibration": CALIBRATION, "cue-reward": PROTOTYPE, "provenance": SOURCE}
    study.provenance({**config, "seed": study.seed, "window": WINDOW}, expected)


def run(study: Study) -> None:
    """Identities and gradients, calibration, then what is learned."""
    provenance(study)
    identities(study)
    gradients(study)
    calibration(study)
    cue_reward(study)
    maze(study)

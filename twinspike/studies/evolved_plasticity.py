"""Evolved plasticity: a policy that changes its own weights, and a static one, for a walker of which a random leg is disabled (Schmidgall 2020).

An evolution strategy finds all numbers, those of the plasticity too, from zero. Reduced: 32 members of one episode of 150 steps, 80 generations, where
the publication's code has 288 members of five episodes of 1,000 steps. Metres of a reduced prototype, not the publication's returns, are what
was expected. That plastic beats static isn't judged here: see evolved-plasticity-night. Control: the static policy, by the same search.

The same for policies that spike (item 7 of SpikePropamine, Schmidgall et al. 2021): cells whose incoming synapses follow Oja's rule at a modulator's rate,
and the same cells without plasticity. Their search begins with drawn weights onto the cells, since cells that never fire can't be searched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from twinspike.study import Study

MINUTES = 20
PROTOTYPE = {  # RNG seeds 0, 1, 2: mean of generations 41 to 80 [m], the final policy's mean over {none, 4 legs} [m]
    "plastic": ((0.82, 0.84, 1.03), (0.75, 0.26, 1.21)),
    "static": ((0.72, 0.66, 0.88), (-0.41, 1.22, 0.02)),
}
PROVENANCE = "a prototype of the same reduced settings by the specification's author; not the publication's figures, whose returns aren't metres"
NUMBERS = {"plastic": 1513, "static": 1232, "spiking plastic": 2089, "spiking static": 1128}
ITEMS = {name: 7 if name.startswith("spiking") else 3 for name in NUMBERS}  # 7: of SpikePropamine's list
FIRST, LATE, LEAST, RATIO = slice(0, 5), slice(40, 80), 0.5, 2.0  # generations, metres
Found = dict[tuple[str, int], Any]  # policy and RNG seed -> Evolved
COSINE, ENOUGH = 0.95, 0.99  # of the estimate at population 200 in 3 dimensions; how often


def search_units(study: Study) -> None:
    """1, but for the last part: on a quadratic in 3 dimensions."""
    import numpy as np

    from neuro.compiler import streams
    from neuro.learning.search.searches import Smoothing

    scales, place = np.array([1.0, 3.0, 0.5]), np.array([1.0, -2.0, 0.5])
    search = Smoothing(100, shaping="ranks", weight_cost=0.01, standardise=True)
    cosines, off, same = [], 0.0, True
    for draw in range(300):
        state = search.init(np.zeros(3), np.full(3, 0.05), partial(streams.generator, study.seed, f"quadratic {draw}"))
        members, directions = search.ask(state)
        losses = (scales * (members - place) ** 2).sum(axis=1)
        found, true = search.estimate(state, directions, losses), -2 * scales * place
        cosines.append(found @ true / np.linalg.norm(found) / np.linalg.norm(true))
        off = max(off, float(np.abs(members[:100] + members[100:]).max()))
        same &= np.array_equal(found, search.estimate(state, directions, np.expm1(losses / 10)))
    often = float(np.mean(np.array(cosines) > COSINE))
    name = f"1 gradient of a quadratic, population 200: draws of 300 with a cosine above {COSINE}"
    study.criterion(name, often, f">= {ENOUGH}", often >= ENOUGH)
    study.criterion("1 antithetic pairs sum to zero: largest sum", off, "< 1e-15", off < 1e-15)
    study.criterion("1 the same gradient for monotone transforms of the returns", bool(same), "yes", bool(same))
    study.array("cosines", cosines)


def environment_units(study: Study) -> None:
    """2: what reaches the motors of the simulator, for each leg, and what is left of an episode in the next one."""
    import numpy as np

    import backends
    import tasks
    from neuro.compiler.parameters import values
    from neuro.episodes import played
    from neuro.protocols import Batch

    rows, least, random = [], np.inf, np.random.default_rng(study.seed)
    for leg in range(4):
        made = tasks.get("crippled", disabled=str(leg)).environment(1)
        made.reset(seed=[study.seed])
        told = []
        for actions in random.uniform(-1, 1, (20, 1, 8)):
            made.step(actions)
            told.append(np.array(made._made.envs[0].unwrapped.data.ctrl))
        largest = np.abs(told).max(axis=0)
        rows.append((leg, *largest))
        least = min(least, float(np.delete(largest, [2 * leg, 2 * leg + 1]).min()))
        made.close()
    header = ("leg", *(f"action {i}" for i in range(8)))
    study.table("2 largest |action| that reaches the simulator in 20 steps", header, rows)
    zero = all(row[1 + 2 * row[0]] == row[2 + 2 * row[0]] == 0 for row in rows) and least > 0.5
    study.criterion("2 each leg's two actions are exactly zero, the others aren't", zero, "yes", zero)
    task = tasks.get("crippled", form="eligibility", steps=30)
    network = task.network(study.seed)
    program = backends.get("native").compile(network, threads=1)
    p = {n: random.normal(0, 0.2, np.shape(v)) for n, v in values(network).items()}
    plays = [played(program, p, task, Batch({}, np.array([study.seed, 1]))) for _ in "ab"]
    same = all(np.array_equal(getattr(plays[0], n), getattr(plays[1], n)) for n in ("actions", "rewards"))
    study.criterion(
        "2 the same episodes again: hebb, trace and recurrence begin at 0, the seed says the rest", same, "yes", same
    )


def sizes(study: Study) -> None:
    """What is searched, and that motors are silent at first: everything is 0, or, of policies that spike, what goes to the motors."""
    import backends
    import tasks
    from neuro.learning.search.search_space import SearchSpace
    from twinspike.models.evolution import FORMS, SPIKING

    for name, form in (FORMS | SPIKING).items():
        task = tasks.get("crippled", form=form)
        program = backends.get("native").compile(task.network(study.seed))
        space = SearchSpace.of(program, task.settings.rules["es"]["trainable"])
        begins, wanted = space.vector(), NUMBERS[name]
        silent = task.readout if name in SPIKING else space.names
        right = len(begins) == wanted and not any(space.arrays(begins)[n].any() for n in silent)
        what = f"numbers that are searched, {name}, {'those of the motors' if name in SPIKING else 'all'} 0 at first"
        study.criterion(what, len(begins), f"{wanted}", right)


def workers(study: Study) -> None:
    """The same run with one process and with two."""
    import numpy as np

    from twinspike.models.evolution import Budget, evolved

    runs = [evolved("modulated", study.seed, Budget(8, 1, 30, 2), n) for n in (0, 1, 2)]
    same = all(np.array_equal(r.curve, runs[0].curve) for r in runs)
    same &= all(np.array_equal(v, r.parameters[n]) for r in runs for n, v in runs[0].parameters.items())
    study.criterion("the same numbers in this process, with 1 worker and with 2", bool(same), "yes", bool(same))


def throughput(study: Study) -> None:
    """Environment steps a second without the policy and with it."""
    from twinspike.models.evolution import FORMS, SPIKING, costs

    rows, shares = [], []
    for name, form in (FORMS | SPIKING).items():
        world, policy, whole = costs(form, study.seed, 150, 3 if study.quick else 9)
        rows.append((name, 1 / world, 1 / (world + policy), 1 / whole, 1e6 * policy, 1e6 * world))
        shares.append(policy / world)
    header = ("policy", "environment alone", "with the policy", "whole episodes", "policy, us", "environment, us")
    study.table("environment steps a second of processor time, and microseconds of a step", header, rows)
    worst = max(shares)
    study.criterion("a step of the policy over one of the environment, most", worst, "< 1", worst < 1)


def learning(study: Study) -> None:
    """All runs, two at a time, as curves in the file; then 3 and 7, or what six generations of a small run of each kind show."""
    from joblib import delayed

    from twinspike.models.evolution import FORMS, SPIKING, Budget, evolved

    forms = FORMS | SPIKING
    budget = Budget(16, 1, 40, 6) if study.quick else Budget(32, 1, 150, 80)
    names, runs = (("plastic", "spiking plastic"), 1) if study.quick else (tuple(forms), 3)
    jobs = [(name, study.seed + k) for name in names for k in range(runs)]
    study.array("budget", json.dumps(asdict(budget)).encode())
    found: Found = {}
    with study.progress(f"{len(jobs)} runs of {budget.environment_steps} steps") as update:
        results = study.parallel(delayed(evolved)(forms[name], seed, budget) for name, seed in jobs)
        for done, ((name, seed), result) in enumerate(zip(jobs, results, strict=True)):
            found[name, seed] = result
            for what in ("curve", "central", "seconds"):
                study.array(f"{name}/{seed}/{what}", getattr(result, what))
            for parameter, value in result.parameters.items():
                study.array(f"{name}/{seed}/parameters/{parameter}", value)
            update(done + 1, len(jobs), f"{name} {result.curve[-5:].mean():.2f} m")
    if study.quick:
        begins(study, {name: result for (name, _), result in found.items()})
    else:
        displacements(study, found, budget.steps)


def begins(study: Study, results: Mapping[str, Any]) -> None:
    """The end of 1, and as much of 7."""
    import numpy as np

    length = max(len(result.curve) for result in results.values())
    rows = [(name, *map(float, result.curve)) for name, result in results.items()]
    study.table("displacement [m] by generation", ("policy", *(str(k + 1) for k in range(length))), rows)
    for name, result in results.items():
        item, weights = (7, "readout.w") if ITEMS[name] == 7 else (1, "plastic.w")
        moved = float(np.abs(result.parameters[weights]).max())
        what = f"{item} motors whose weights are 0 begin to move, {name}: largest after 6 generations"
        study.criterion(what, moved, "> 0.03", moved > 0.03)
    for item in dict.fromkeys(ITEMS.values()):
        study.unmeasured(f"{item} generations 41 to 80, each run [m]", f">= {LEAST}")
        study.unmeasured(f"{item} the same over generations 1 to 5, each run", f">= {RATIO:g}")


def displacements(study: Study, found: Found, steps: int) -> None:
    """3 and 7, beside the prototype's. Of a run that went backwards at first the ratio is infinite, with the sign of what came later."""
    import numpy as np

    from twinspike.models.evolution import FORMS, SPIKING, by_condition

    forms, rows, conditions = FORMS | SPIKING, [], []
    late: dict[str, list[float]] = {name: [] for name in forms}
    ratios: dict[str, list[float]] = {name: [] for name in forms}
    for (name, seed), result in found.items():
        first, last, central = (
            float(c.mean()) for c in (result.curve[FIRST], result.curve[LATE], result.central[LATE])
        )
        late[name].append(last)
        ratios[name].append(last / first if first > 0 else np.copysign(np.inf, last))
        final = by_condition(forms[name], result.parameters, seed, steps)
        theirs = [each[seed] for each in PROTOTYPE[name]] if study.seed == 0 and name in PROTOTYPE else ["-", "-"]
        mean = float(np.mean(list(final.values())))
        rows.append((name, seed, first, last, theirs[0], central, mean, theirs[1], result.seconds))
        conditions.append((name, seed, *final.values()))
        study.array(f"{name}/{seed}/final", list(final.values()))
    title = "members' mean displacement [m] by generation, and that of the policy amid them; final: mean over {none, 4 legs}"
    header = ("policy", "seed", "1-5", "41-80", "prototype", "41-80, amid", "final", "prototype", "processor s")
    study.table(title, header, rows)
    parts = ("policy", "seed", "none", "leg 0", "leg 1", "leg 2", "leg 3")
    study.table("displacement of the final policy by what is disabled [m], 3 episodes each", parts, conditions)
    study.figure("displacement", picture(found))
    for name, item in ITEMS.items():
        least, lowest = min(late[name]), min(ratios[name])
        what = f"{item} {name}, generations 41 to 80 [m]: the worst of 3 runs"
        study.criterion(what, least, f">= {LEAST}", least >= LEAST)
        study.criterion(
            f"{item} {name}, the same over generations 1 to 5: lowest", lowest, f">= {RATIO:g}", lowest >= RATIO
        )


def picture(found: Found) -> Any:
    """Every run: each generation, and means of ten of them."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    names = list(dict.fromkeys(name for name, _ in found))
    for (name, seed), result in found.items():
        colour, style = f"C{names.index(name)}", ("-", "--", ":")[seed % 3]
        generations = np.arange(1, len(result.curve) + 1)
        axes.plot(generations, result.curve, color=colour, lw=0.5, alpha=0.3)
        smooth = np.convolve(result.curve, np.ones(10) / 10, "valid")
        axes.plot(generations[9:], smooth, color=colour, ls=style, label=f"{name}, seed {seed}")
    axes.axhline(0, color="0.5", lw=0.5)
    axes.set(xlabel="generation", ylabel="mean displacement of the members [m]")
    axes.legend(fontsize=8)
    return figure


def described(study: Study) -> None:
    """What was run, and where the expected numbers are from, as JSON."""
    from importlib.metadata import version

    import tasks
    from twinspike.models.evolution import FORMS, SPIKING

    policies = {name: tasks.get("crippled", form=form) for name, form in (FORMS | SPIKING).items()}
    config: dict[str, Any] = {"seed": study.seed, "tasks": {name: vars(task) for name, task in policies.items()}}
    config["rules"] = {name: task.settings.rules["es"] for name, task in policies.items()}
    config["versions"] = {package: version(package) for package in ("gymnasium", "mujoco")}
    study.provenance(config, {"metres": PROTOTYPE, "provenance": PROVENANCE})


def run(study: Study) -> None:
    """Units of search and environment, costs, then what is learned. Raises UserError without the extra `control`."""
    from neuro.options import OptionError
    from twinspike import cli

    try:
        environment_units(study)
    except OptionError as error:
        raise cli.UserError(str(error)) from None
    described(study)
    search_units(study)
    sizes(study)
    workers(study)
    throughput(study)
    learning(study)

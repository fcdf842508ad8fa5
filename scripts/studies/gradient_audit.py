"""Cosines of learning rules with the true gradient on an untrained rate network (specification gradient-audit.md, G1-G4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from study import Study

MINUTES = 2  # from 2.4 to 4 processor seconds a network, 0.003 a draw of UORO
QUICK = ((0.5, None), (0.5, 0.1))  # where a network's cosines are close to their mean
GAINS = ((0.5, None), (1.0, None), (1.5, None), (1.0, 0.1), (1.5, 0.1))
PUBLISHED = {  # a prototype's mean of three networks, in the order of GAINS
    "RFLO, random feedback": (0.00, -0.01, -0.10, -0.05, -0.10),
    "0 hops": (0.95, 0.54, 0.52, 0.60, 0.34),
    "SnAp-1": (0.95, 0.53, 0.52, 0.61, 0.34),
    "1 hop": (0.996, 0.65, 0.65, 0.71, 0.49),
    "1 hop, unrelated weights": (0.89, 0.37, 0.42, 0.52, 0.32),
    "ModProp": (1.0, 0.999, 0.74, 1.0, 0.93),
    "UORO, one draw": (0.17, 0.09, 0.10, 0.10, 0.08),
    "UORO, mean of draws": (0.96, 0.87, 0.87, 0.91, 0.86),
}
EXACT_ROWS = ("0 hops", "SnAp-1", "1 hop", "ModProp")
HOPS = (0, 1, 2, 4, 8)


def network(gain: float, density: float | None, seed: int) -> Any:
    """The periodic task's network; sparse: this share of the recurrent synapses, scaled up."""
    from dataclasses import replace

    import numpy as np

    import tasks
    from neuro import Normal, Probability, quantity

    found = tasks.get("rflo", gain=gain).network(seed)
    if density is None:
        return found
    std = gain / np.sqrt(density * found.population("hidden").size)
    weights = Normal(quantity(0.0, ""), quantity(std, ""))
    loop = next(p for p in found.projections if p.name == "loop")
    sparse = replace(loop, weights=weights, connectivity=Probability(density))
    return replace(found, projections=tuple(sparse if p is loop else p for p in found.projections))


def cosines(gain: float, density: float | None, seed: int, draws: int) -> dict[str, float]:
    """Of the recurrent weights' update, by rule. draws: of UORO, 0 to leave it out."""
    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.analysis.gradients import measure
    from neuro.compiler.parameters import values
    from neuro.learning.traces.eligibility import by_traces
    from neuro.learning.traces.influence import by_influence, by_uoro
    from neuro.learning.traces.trial import run_trial

    task, model = tasks.get("rflo", gain=gain), network(gain, density, seed)
    program, parameters, random = backends.get("torch").compile(model), values(model), np.random.default_rng(seed)
    batch = task.batch()
    truth = learning.get("bptt", trainable=("loop.w",)).gradient(program, parameters, batch, task)["loop.w"]
    trial = run_trial(program, parameters, batch, task, {})
    shape = parameters["readout.w"].shape
    away = run_trial(program, parameters, batch, task, {"readout": random.standard_normal(shape)})
    other = random.permutation(parameters["loop.w"].ravel()).reshape(parameters["loop.w"].shape)
    loop = ("loop",)
    found = {f"{h} hops" if h != 1 else "1 hop": by_influence(trial, loop, hops=h) for h in HOPS}
    found |= {f"SnAp-{n}": by_influence(trial, loop, snap=n) for n in ((1, 2, 3) if density else (1,))}
    found["1 hop, unrelated weights"] = by_influence(trial, loop, hops=1, hop_weights={"loop": other})
    found["ModProp"] = by_influence(trial, loop, smooth=True)
    found["RFLO, random feedback"] = by_traces(away, loop)
    found["RTRL"] = by_influence(trial, loop)

    def flat(values: Any) -> Any:
        return values.ravel()

    result = {name: measure(flat(g["loop.w"]), flat(truth)).cosine for name, g in found.items()}
    result["RTRL, deviation"] = measure(flat(found["RTRL"]["loop.w"]), flat(truth)).deviation
    if not draws:
        return result
    samples = [flat(by_uoro(trial, loop, np.random.default_rng([seed, d]))["loop.w"]) for d in range(draws)]
    mean = measure(np.mean(samples, axis=0), flat(truth))
    result["UORO, one draw"] = float(np.mean([measure(s, flat(truth)).cosine for s in samples]))
    result["UORO, mean of draws"], result["UORO, projection"] = mean.cosine, mean.projection
    return result


def measured(study: Study, gains: Sequence[tuple[float, float | None]], networks: int, random: int, draws: int) -> dict[str, list[float]]:  # fmt: skip
    """Rows of the table, means over networks; UORO on `random` of them."""
    import numpy as np
    from joblib import delayed

    found: dict[str, list[float]] = {}
    with study.progress("networks") as update:
        for i, (gain, density) in enumerate(gains):
            calls = (
                delayed(cosines)(gain, density, study.seed + n, draws if n < random else 0) for n in range(networks)
            )
            each: list[dict[str, float]] = []
            for cosine in study.parallel(calls):
                each.append(cosine)
                update(i * networks + len(each), len(gains) * networks, f"gain {gain}")
            for name in (*each[0], "SnAp-2", "SnAp-3"):
                row = found.setdefault(name, [float("nan")] * len(gains))
                row[i] = float(np.mean([e[name] for e in each if name in e])) if name in each[0] else row[i]
            for name in each[0]:
                study.array(f"networks/{i}/{name}", [e[name] for e in each if name in e])
    labels = [f"g={g}" + (f", {d:.0%} of synapses" if d else "") for g, d in gains]
    study.table(f"cosine with the true gradient, mean of {networks} network(s); UORO: {random}, {draws} draws each", ("rule", *labels), [(n, *row) for n, row in found.items()])  # fmt: skip
    for name, row in found.items():
        study.array(name, row)
    return found


def exact_and_ordered(study: Study, found: Mapping[str, Sequence[float]], sparse: Sequence[int], where: str) -> None:
    """G2 and G4. sparse: columns of networks for which SnAp-n differ. where: added to the names."""
    deviation = max(found["RTRL, deviation"])
    study.criterion(f"G2 RTRL: relative deviation{where}", deviation, "<= 1e-10", deviation <= 1e-10)
    rows = [found["1 hop" if h == 1 else f"{h} hops"] for h in HOPS]
    ordered = all(a <= b + 1e-3 for low, high in pairwise(rows) for a, b in zip(low, high, strict=True))
    study.criterion(f"G4 cosine grows with hops{where}", "yes" if ordered else "no", "yes", ordered)
    snaps = all(found["SnAp-1"][i] <= found["SnAp-2"][i] <= found["SnAp-3"][i] for i in sparse)
    study.criterion(f"G4 cosine grows with n of SnAp-n{where}", "yes" if snaps else "no", "yes", snaps)


def quick(study: Study) -> None:
    """One dense and one sparse network of gain 0.5: networks of larger gains differ too much among themselves."""
    found = measured(study, QUICK, networks=1, random=0, draws=0)
    where = ", gain 0.5"
    for name in EXACT_ROWS:
        away = abs(found[name][0] - PUBLISHED[name][0])
        study.criterion(f"G1 {name}: distance from the published number{where}", away, "<= 0.1", away <= 0.1)
    exact_and_ordered(study, found, [1], where)
    for name in EXACT_ROWS:
        study.unmeasured(f"G1 {name}: largest distance from the published row", "<= 0.1")
    study.unmeasured("G2 RTRL: relative deviation", "<= 1e-10")
    study.unmeasured("G3 UORO: projection of the mean", "1 +- 0.1")
    study.unmeasured("G4 cosine grows with hops", "yes")
    study.unmeasured("G4 cosine grows with n of SnAp-n", "yes")


def run(study: Study) -> None:
    if study.quick:
        quick(study)
        return
    found = measured(study, GAINS, networks=10, random=3, draws=300)
    for name in EXACT_ROWS:
        worst = max(abs(a - b) for a, b in zip(found[name], PUBLISHED[name], strict=True))
        study.criterion(f"G1 {name}: largest distance from the published row", worst, "<= 0.1", worst <= 0.1)
    off = max(abs(p - 1) for p in found["UORO, projection"])
    study.criterion("G3 UORO: projection of the mean", 1 + off, "1 +- 0.1", off <= 0.1)
    exact_and_ordered(study, found, [i for i, (_, d) in enumerate(GAINS) if d], "")

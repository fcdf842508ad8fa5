"""Cosines of learning rules with the true gradient on an untrained rate network (specification gradient-audit.md, G1-G4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from twinspike.study import Study

MINUTES = (
    6  # processor seconds: 1.3 a network for the published rows, 3 more for exact ones and hops, 0.003 a draw of UORO
)
QUICK = ((0.5, None), (0.5, 0.1))  # where a network's cosines are close to their mean
GAINS = ((0.5, None), (1.0, None), (1.5, None), (1.0, 0.1), (1.5, 0.1))
PUBLISHED = {  # a prototype's mean of three networks, in the order of GAINS
    "0 hops": (0.95, 0.54, 0.52, 0.60, 0.34),
    "SnAp-1": (0.95, 0.53, 0.52, 0.61, 0.34),
    "1 hop": (0.996, 0.65, 0.65, 0.71, 0.49),
    "1 hop, unrelated weights": (0.89, 0.37, 0.42, 0.52, 0.32),
    "ModProp": (1.0, 0.999, 0.74, 1.0, 0.93),
    "UORO, 300 draws": (0.96, 0.87, 0.87, 0.91, 0.86),
}
ROWS = ("0 hops", "SnAp-1", "1 hop", "1 hop, unrelated weights", "ModProp")  # without random feedback or draws
HOPS = (0, 1, 2, 4, 8)
TOGETHER = 50  # draws of UORO that are one batch of copies of the trial
ALARMS = 0.01  # how often one of a criterion's comparisons fails by chance where all are true


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


@dataclass
class Untrained:
    """One untrained network: its program, parameters and task, and the true gradient by the recurrent weights [weight]."""

    task: Any
    program: Any
    parameters: dict[str, Any]
    truth: Any

    @staticmethod
    def of(gain: float, density: float | None, seed: int) -> Untrained:
        import backends
        import tasks
        from neuro import learning
        from neuro.compiler.parameters import values

        task, model = tasks.get("rflo", gain=gain), network(gain, density, seed)
        program, parameters = backends.get("torch").compile(model), values(model)
        truth = learning.get("bptt", trainable=("loop.w",)).gradient(program, parameters, task.batch(), task)
        return Untrained(task, program, parameters, truth["loop.w"].ravel())

    def trial(self, copies: int = 1, feedback: Any = None) -> Any:
        """The task's trial, so many times. feedback: instead of the readout's own weights."""
        import numpy as np

        from neuro.learning.traces.trial import run_trial
        from neuro.protocols import Batch

        one = self.task.batch()
        inputs = {n: np.repeat(v, copies, axis=0) for n, v in one.inputs.items()}
        batch = Batch(inputs, np.repeat(one.targets, copies, axis=0))
        signals = {} if feedback is None else {"readout": feedback}
        return run_trial(self.program, self.parameters, batch, self.task, signals)

    def measures(self, found: Mapping[str, Any]) -> Any:
        """Of a gradient by the recurrent weights."""
        from neuro.analysis.gradients import measure

        return measure(found["loop.w"].ravel(), self.truth)


def cosines(gain: float, density: float | None, seed: int, deep: bool) -> dict[str, float]:
    """Of the recurrent weights' update, by rule. deep: also of the rules that take seconds."""
    import numpy as np

    from neuro.learning.traces.eligibility import by_traces
    from neuro.learning.traces.influence import by_influence

    net, random, loop = Untrained.of(gain, density, seed), np.random.default_rng(seed), ("loop",)
    trial, weights = net.trial(), net.parameters["loop.w"]
    away = net.trial(feedback=random.standard_normal(net.parameters["readout.w"].shape))
    other = random.permutation(weights.ravel()).reshape(weights.shape)
    hops, snaps = (HOPS if deep else HOPS[:2]), ((1, 2, 3) if density and deep else (1,))
    found = {f"{h} hops" if h != 1 else "1 hop": by_influence(trial, loop, hops=h) for h in hops}
    found |= {f"SnAp-{n}": by_influence(trial, loop, snap=n) for n in snaps}
    found["1 hop, unrelated weights"] = by_influence(trial, loop, hops=1, hop_weights={"loop": other})
    found["ModProp"] = by_influence(trial, loop, smooth=True)
    found["RFLO, random feedback"] = by_traces(away, loop)
    result = {name: net.measures(g).cosine for name, g in found.items()}
    if deep:
        exact = net.measures(by_influence(trial, loop))
        result |= {"RTRL": exact.cosine, "RTRL, deviation": exact.deviation}
    return result


def measured(study: Study, gains: Sequence[tuple[float, float | None]], networks: int, deep: int) -> dict[str, list[list[float]]]:  # fmt: skip
    """By row: the networks' cosines for each gain. deep: networks with the rows that take seconds; SnAp-n are for sparse ones."""
    from joblib import delayed

    found: dict[str, list[list[float]]] = {}
    with study.progress("networks") as update:
        for i, (gain, density) in enumerate(gains):
            calls = (delayed(cosines)(gain, density, study.seed + n, n < deep) for n in range(networks))
            for done, each in enumerate(study.parallel(calls)):
                for name, cosine in each.items():
                    found.setdefault(name, [[] for _ in gains])[i].append(cosine)
                update(i * networks + done + 1, len(gains) * networks, f"gain {gain}")
    for name, row in found.items():
        for i, values in enumerate(row):
            study.array(f"networks/{i}/{name}", values)
    title = f"cosine with the true gradient, mean (standard deviation) of {networks} network(s); of {deep} where slow"
    rows = [(n, *map(spread, row)) for n, row in found.items() if n != "RTRL, deviation"]
    study.table(title, ("rule", *labels(gains)), rows)
    return found


def spread(cosines: Sequence[float]) -> str:
    """Mean and standard deviation, as a cell of a table."""
    import numpy as np

    if len(cosines) < 2:
        return f"{cosines[0]:.3f}" if cosines else ""
    return f"{np.mean(cosines):.3f} ({np.std(cosines, ddof=1):.3f})"


def labels(gains: Sequence[tuple[float, float | None]]) -> list[str]:
    """Names of columns."""
    return [f"g={g}" + (f", {d:.0%} of synapses" if d else "") for g, d in gains]


def likely(cosines: Any, published: float, networks: int = 3) -> float:
    """How likely a mean of so few networks is as far from ours as the published one, on either side.

    By resampling ours 200,000 times, so that it holds for any distribution. The published one is rounded to 0.01.
    """
    import numpy as np

    means = np.random.default_rng(0).choice(np.asarray(cosines), (200_000, networks)).mean(axis=1)
    sides = np.mean(means <= published + 0.005), np.mean(means >= published - 0.005)
    return float(min(1.0, 2 * min(sides)))


def published_rows(study: Study, found: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """G1: networks of one gain differ by 0.1 to 0.3, and the published numbers are means of three: they are compared as such."""
    least, rows = ALARMS / len(ROWS) / len(GAINS), []
    for name in ROWS:
        chances = [likely(c, p) for c, p in zip(found[name], PUBLISHED[name], strict=True)]
        rows.append((name, *chances))
        wanted = f">= {least:.1g}"
        study.criterion(
            f"G1 {name}: likelihood of the published row, least", min(chances), wanted, min(chances) >= least
        )
    title = "likelihood of a mean of three networks as far from ours as the published one"
    study.table(title, ("rule", *labels(GAINS)), rows)


def uoro(gain: float, density: float | None, seed: int, draws: int) -> tuple[Any, Any]:
    """Projections [batch] on the true gradient of the means of batches of draws, and the cosine of the mean of the first
    1, 2, ... batches.
    """
    import numpy as np

    from neuro.learning.traces.influence import by_uoro

    net = Untrained.of(gain, density, seed)
    trial, total, projections, cosine = net.trial(copies=TOGETHER), np.zeros(()), [], []
    for k in range(draws // TOGETHER):
        found = by_uoro(trial, ("loop",), np.random.default_rng([seed, k]))["loop.w"]
        total = total + found
        projections.append(net.measures({"loop.w": found}).projection)
        cosine.append(net.measures({"loop.w": total}).cosine)
    return np.array(projections), np.array(cosine)


def unbiased(study: Study, draws: int) -> None:
    """G3: the projection of the mean in its own standard errors, which fall as 1/sqrt(draws), until 0.1 would show."""
    import numpy as np
    from joblib import delayed
    from scipy.stats import norm

    calls, rows, away, blur = (delayed(uoro)(g, d, study.seed, draws) for g, d in GAINS), [], [], []
    marks = [m for m in (300, 1000, 3000, 10_000) if m < draws] + [draws]
    limit = float(norm.isf(ALARMS / 2 / len(GAINS)))
    with study.progress(f"UORO, {draws} draws") as update:
        for i, (label, (each, cosine)) in enumerate(zip(labels(GAINS), study.parallel(calls), strict=True)):
            means = [float(each[: m // TOGETHER].mean()) for m in marks]
            error = float(each.std(ddof=1) / np.sqrt(len(each)))
            away.append(abs(means[-1] - 1) / error)
            blur.append(limit * error)
            given = PUBLISHED["UORO, 300 draws"][i]
            rows.append((label, *means, error, float(cosine[300 // TOGETHER - 1]), given, float(cosine[-1])))
            study.array(f"UORO/{i}/projections", each)
            study.array(f"UORO/{i}/cosines", cosine)
            update(i + 1, len(GAINS), label)
    said = ("standard error", "cosine, 300", "published", f"cosine, {draws}")
    header = ("network", *(f"{m} draws" for m in marks), *said)
    study.table("UORO: projection of the mean on the true gradient", header, rows)
    study.criterion(
        "G3 UORO: projection of the mean, standard errors from 1", max(away), f"<= {limit:.2f}", max(away) <= limit
    )
    study.criterion("G3 UORO: distance from 1 that would show", max(blur), "<= 0.1", max(blur) <= 0.1)


def exact_and_ordered(study: Study, found: Mapping[str, Sequence[Sequence[float]]], where: str) -> None:
    """G2 and G4, of means over networks. where: added to the names."""
    import numpy as np

    deep = len(found["RTRL, deviation"][0])
    mean = {n: [float(np.mean(v[:deep])) for v in row if v] for n, row in found.items()}
    deviation = max(max(v) for v in found["RTRL, deviation"])
    study.criterion(f"G2 RTRL: relative deviation{where}", deviation, "<= 1e-10", deviation <= 1e-10)
    rows = [mean["1 hop" if h == 1 else f"{h} hops"] for h in HOPS]
    ordered = all(a <= b + 1e-3 for low, high in pairwise(rows) for a, b in zip(low, high, strict=True))
    study.criterion(f"G4 cosine grows with hops{where}", "yes" if ordered else "no", "yes", ordered)
    sparse = [v for v, row in zip(mean["SnAp-1"], found["SnAp-2"], strict=True) if row]
    snaps = all(a <= b <= c for a, b, c in zip(sparse, mean["SnAp-2"], mean["SnAp-3"], strict=True))
    study.criterion(f"G4 cosine grows with n of SnAp-n{where}", "yes" if snaps else "no", "yes", snaps)


def quick(study: Study) -> None:
    """One dense and one sparse network of gain 0.5: networks of larger gains differ too much among themselves."""
    found = measured(study, QUICK, networks=1, deep=1)
    where = ", gain 0.5"
    for name in ROWS:
        away = abs(found[name][0][0] - PUBLISHED[name][0])
        study.criterion(f"G1 {name}: distance from the published number{where}", away, "<= 0.1", away <= 0.1)
    exact_and_ordered(study, found, where)
    for name in ROWS:
        study.unmeasured(
            f"G1 {name}: likelihood of the published row, least", f">= {ALARMS / len(ROWS) / len(GAINS):.1g}"
        )
    study.unmeasured("G2 RTRL: relative deviation", "<= 1e-10")
    study.unmeasured("G3 UORO: projection of the mean, standard errors from 1", "that of chance")
    study.unmeasured("G3 UORO: distance from 1 that would show", "<= 0.1")
    study.unmeasured("G4 cosine grows with hops", "yes")
    study.unmeasured("G4 cosine grows with n of SnAp-n", "yes")


def run(study: Study) -> None:
    if study.quick:
        quick(study)
        return
    found = measured(study, GAINS, networks=40, deep=10)
    published_rows(study, found)
    exact_and_ordered(study, found, "")
    unbiased(study, draws=20_000)

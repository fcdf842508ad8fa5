"""Evolved plasticity, a night's budget: plastic against static policies after 300 generations of 96 members of two episodes (Schmidgall 2020).

The claim that needs this budget: policies that change their own weights end higher than static ones, found by the same search. Wanted: one-sided, in the mean
of the final policies of three runs each. On a smaller budget it isn't judged anywhere; a prototype's six short runs were within noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from twinspike.study import Study

MINUTES = 400  # 1.0e8 environment steps, two runs at a time
LEVEL = 0.05
PROVENANCE = (
    "the publication's claim, by its abstract; its code's stored returns are 6.2, 4.1, 5.6 (plastic, unfinished) and 6.9, 4.9, 7.5 (static), which "
    "doesn't show it"
)


def chance(ahead: Sequence[float], behind: Sequence[float]) -> float:
    """How often a division of all figures into groups of these sizes at random gives a difference of means at least as large (exact permutation test)."""
    import numpy as np

    both = np.array([*ahead, *behind])
    found = [
        both[list(chosen)].mean() - np.delete(both, chosen).mean()
        for chosen in combinations(range(len(both)), len(ahead))
    ]
    return float(np.mean(np.array(found) >= np.mean(ahead) - np.mean(behind) - 1e-12))


def run(study: Study) -> None:
    """Six runs, then what they ended with. Raises UserError without the extra `control`."""
    import numpy as np
    from joblib import delayed

    import tasks
    from neuro.options import OptionError
    from twinspike import cli
    from twinspike.models.evolution import FORMS, Budget, by_condition, evolved

    budget = Budget(4, 2, 10, 2) if study.quick else Budget(96, 2, 300, 300)
    jobs = [(name, study.seed + k) for k in range(1 if study.quick else 3) for name in FORMS]
    try:
        tasks.get("crippled").environment(1).close()
    except OptionError as error:
        raise cli.UserError(str(error)) from None
    settings = tasks.get("crippled").settings.rules["es"]
    study.provenance({"budget": asdict(budget), "rule": settings, "jobs": jobs}, {"plastic beats static": PROVENANCE})
    curves: dict[tuple[str, int], Any] = {}
    finals: dict[str, list[float]] = {name: [] for name in FORMS}
    with study.progress(f"{len(jobs)} runs of {budget.environment_steps} steps") as update:
        results = study.parallel(delayed(evolved)(FORMS[name], seed, budget) for name, seed in jobs)
        for done, ((name, seed), result) in enumerate(zip(jobs, results, strict=True)):
            final = by_condition(FORMS[name], result.parameters, seed, budget.steps, 2 if study.quick else 10)
            finals[name].append(float(np.mean(list(final.values()))))
            curves[name, seed] = result
            study.array(f"{name}/{seed}/displacement", result.curve)
            study.array(f"{name}/{seed}/final", list(final.values()))
            study.array(f"{name}/{seed}/seconds", result.seconds)
            update(done + 1, len(jobs), f"{name} {finals[name][-1]:.2f} m")
    rows = [(name, " ".join(f"{v:.2f}" for v in found), float(np.mean(found))) for name, found in finals.items()]
    study.table("displacement of the final policies, mean over {none, 4 legs} [m]", ("policy", "runs", "mean"), rows)
    if study.quick:
        again = evolved(FORMS["plastic"], study.seed, budget)
        same = bool(np.array_equal(again.curve, curves["plastic", study.seed].curve) and again.curve.any())
        study.criterion("the same run again", same, "yes", same)
        study.unmeasured("4 plastic above static, 3 runs each: one-sided p", f"<= {LEVEL}")
        return
    from twinspike.studies.evolved_plasticity import picture

    study.figure("displacement", picture(curves))
    p = chance(finals["plastic"], finals["static"])
    study.criterion(
        "4 plastic above static, 3 runs each: one-sided p of the difference of means", p, f"<= {LEVEL}", p <= LEVEL
    )

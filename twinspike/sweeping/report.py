"""What came of a sweep: one table in HDF5, the best of it printed, and a picture of how it depends on each setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twinspike import cli
from twinspike.sweeping.spec import Best, Spec
from twinspike.sweeping.trials import COMPLETE, FAILED, Trial

TABLE, PICTURE = "sweep.h5", "response.png"


def value_of(trial: Trial, best: Best) -> float | None:
    """What a complete trial reached; None where that is no number. Raises UserError where it has no such metric."""
    import numpy as np

    from neuro.io.results import open_run
    from neuro.options import hint

    metrics = open_run(trial.run).metrics()
    if best.metric not in metrics:
        raise cli.UserError(f"[best]: run '{trial.run}' has no metric '{best.metric}'; {hint(best.metric, metrics)}")
    found = metrics[best.metric][:, 1]
    known = found[np.isfinite(found)]
    if not len(known) or not np.isfinite(found[-1]):
        return None
    return best.key(float(found[-1]), float(known.min()), float(known.max()))


def report(folder: Path, spec: Spec, trials: Sequence[Trial]) -> int:
    """Write and print what came of the trials. Returns how many failed."""
    from neuro.io.merging import Row, merge

    standing = {trial.name: trial.standing() for trial in trials}
    rows = [Row(t.name, t.run, dict(t.chosen), standing[t.name], t.error) for t in trials]
    merge(folder / TABLE, rows, partial=True, parameters=False, overwrite=True)
    complete = [trial for trial in trials if standing[trial.name] == COMPLETE]
    print_best(folder, spec, complete)
    for trial in trials:
        if standing[trial.name] == FAILED:
            cli.note(f"trial '{trial.name}' failed: {trial.error}; see {trial.file('log')}; run it again with --retry")
    counts = ", ".join(f"{list(standing.values()).count(s)} {s}" for s in dict.fromkeys(standing.values()))
    print(f"{len(trials)} trials: {counts}; {folder / TABLE}")
    return list(standing.values()).count(FAILED)


def print_best(folder: Path, spec: Spec, trials: Sequence[Trial]) -> None:
    """A table of the best complete trials, and the picture of all of them."""
    from neuro.analysis.response import plot_response

    best = spec.best
    values = [float("nan") if (v := value_of(trial, best)) is None else v for trial in trials]
    order = best.order(values)
    if not order:
        return
    wanted = {"final": "final", "best": "largest" if best.direction == "maximize" else "least"}[best.value]
    rows: list[list[Any]] = [
        [trials[i].name, values[i], *(trials[i].chosen.get(n) for n in spec.swept)] for i in order[: best.rows]
    ]
    cli.table(f"best {len(rows)} of {len(trials)}", ("trial", f"{wanted} {best.metric}", *spec.swept), rows)
    settings = {n: [trial.chosen.get(n) for trial in trials] for n in spec.swept}
    picture = plot_response(
        folder / PICTURE, settings, values, metric=f"{wanted} {best.metric}", best=order[0], title=spec.path.stem
    )
    print(f"drawn: {picture}")

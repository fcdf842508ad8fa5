"""Differentiable structure: recurrent networks that grow and shrink with what they are to predict, against networks of fixed size.

Miconi (2016), arXiv 1606.06216, the version of August: `neuro.learning.gradient.differentiable_structure`. Easy and hard streams, and one that goes from
easy to hard and back; published are medians of 20 runs. The control has a fixed size, with the same optimiser and the same penalty on weights.
A hard run alone says little: either the reversal is found (a loss near 9.7) or it isn't (13.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twinspike.study import Study

MINUTES = 10
CYCLES, EARLY = 100_000, 20_000  # updates; those after which growth shows
SEEDS, FIXED_SEEDS, EARLY_SEEDS = 5, 1, 3
SIZES = (20, 37, 100)
# Places for cells: a program takes as long as all of them do, so the next one is compiled when it is needed.
ROOMS = (24, 36, 48, 64, 100)
EVERY = 100  # updates from one entry of a curve to the next
STREAMS = ("easy", "hard", "easy-hard-easy")
PUBLISHED = {
    "hard": "37 cells, loss 10.2",
    "easy": "14 cells, loss 9.0",
    "easy-hard-easy": "14 -> 60 -> 42 -> 19 cells",
}
PROTOTYPE = {
    "hard": {"cells": [27, 42, 48, 36, 31], "loss": [9.62, 13.12, 9.76, 9.73, 13.14]},
    "easy": {"cells": [18, 17, 14, 16, 19], "loss": "8.96 to 9.24"},
    "hard, fixed": {"20": 13.21, "37": 13.26, "100": 13.83},
    "easy-hard-easy": "11-13 -> 47-53 -> 35-37 -> 15-18 cells; loss 9.0-9.1 at the end",
    "after 20,000": {"hard": [28, 50, 29, 25, 36], "easy": [14, 8, 11, 17, 12]},
}
SOURCE = "published: medians of 20 runs, arXiv 1606.06216; prototype: the specification's author, RNG seeds 0-4"


def learned(stream: str, seed: int, updates: int, size: int = 0) -> dict[str, Any]:
    """Numbers of cells and smoothed losses, every hundredth update [entry], and processor seconds. size: of a network that keeps it; 0: it learns its own."""
    import time

    import numpy as np
    import torch

    import backends
    import tasks
    from neuro import learning, surgery
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    rooms = [size] if size else list(ROOMS)
    task = tasks.get("grouped-letters", stream=stream, updates=updates, hidden=rooms[0], start=size or 1)
    program: Any = backends.get("native").compile(task.network(seed))
    rule: Any = learning.get("differentiable-structure", trainable=("*.w", "*.b"), seed=seed, grows=not size)
    parameters: Any = dict(values(program.network))
    state, begin, found = rule.init(program, parameters), time.process_time(), []
    for k, batch in enumerate(task.train_batches(streams.generator(seed, "data/0"), 1), start=1):
        parameters, state, metrics = rule.step(program, parameters, state, batch, task)
        if k % EVERY == 0:
            found.append((metrics["cells"], metrics["smoothed_loss"]))
        if (
            metrics["cells"] >= rooms[0] - 1 and len(rooms) > 1
        ):  # the same, to rounding, as with all the room from the start
            wider = surgery.added(program.network, "hidden", rooms[1] - rooms.pop(0))
            program, saved = backends.get("native").compile(wider.after), rule.save(state)
            parameters, state = wider.parameters(parameters), rule.load(program, rule.operated(program, saved, wider))
    cells, losses = np.array(found).T
    return {"cells": cells, "loss": losses, "seconds": time.process_time() - begin}


def runs(study: Study, jobs: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What each job learned. jobs: arguments of `learned`."""
    from joblib import delayed

    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    with study.progress("training") as update:
        for job, result in zip(jobs, study.parallel(delayed(learned)(*job) for job in jobs), strict=True):
            found[job] = result
            name = "/".join(map(str, job))
            for key, value in result.items():
                study.array(f"{name}/{key}", value)
            update(len(found), len(jobs), f"{name}: {result['cells'][-1]:.0f} cells, loss {result['loss'][-1]:.2f}")
    return found


def of(found: Mapping[tuple[Any, ...], Mapping[str, Any]], stream: str, size: int = 0) -> list[Mapping[str, Any]]:
    """The runs of one kind."""
    return [r for (name, _, _, *own), r in found.items() if name == stream and (own[0] if own else 0) == size]


def optima(study: Study) -> None:
    """Losses of a predictor that knows the stream, on a long sample, against the stream's entropy."""
    from itertools import chain, islice

    import numpy as np

    from tasks import grouped_letters as letters

    rows: list[tuple[Any, ...]] = []
    wanted = {"easy": 8.997, "hard": 8.96}
    for stream, predict in (("easy", easy_surprise), ("hard", hard_surprise)):
        random = np.random.default_rng(study.seed)
        text = "".join(islice(chain.from_iterable(letters.GROUPS[stream](random)), 200_000))
        sampled = letters.STEPS * predict(text) / len(text)
        rows.append((stream, wanted[stream], letters.optimum(stream), sampled))
        off = abs(letters.optimum(stream) - wanted[stream])
        study.criterion(f"6 optimal loss, {stream}, from the published table", off, "< 0.005", off < 0.005)
        share = abs(sampled / letters.optimum(stream) - 1)
        study.criterion(f"6 optimal loss, {stream}: 200,000 characters against entropy", share, "< 1 %", share < 0.01)
    forgetful, chance = letters.STEPS * 6 * np.log(2) / 8, letters.STEPS * np.log(4)
    rows += [("hard without memory", 20.8, forgetful, "-"), ("chance", 55.45, chance, "-")]
    study.table("optimal losses, nats per 40 characters", ("stream", "specification", "entropy", "sample"), rows)


def easy_surprise(text: str) -> float:
    """Nats of a text: after "b" comes "a" with 0.75, else ")"; all else is certain."""
    from itertools import pairwise
    from math import log

    after = [b for a, b in pairwise(text) if a == "b"]
    return -sum(log(0.75 if c == "a" else 0.25) for c in after)


def hard_surprise(text: str) -> float:
    """Nats of a text: of each group one letter isn't that of the group before it in reverse, each with the same probability."""
    from itertools import pairwise
    from math import log

    groups, total = [g.strip("(") for g in text.split(")")[:-1]], 0.0
    for before, group in pairwise(groups):
        for place, (expected, letter) in enumerate(zip(before[::-1], group, strict=True)):
            other = 1 / (len(group) - place)  # as long as all were as expected
            total -= log(other) if letter != expected else log(1 - other)
            if letter != expected:
                break
    return total


def units(study: Study) -> None:
    """5: a window's gradient, and what a new cell has."""
    from dataclasses import replace
    from itertools import islice

    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler.parameters import values

    task = tasks.get("grouped-letters", hidden=12, start=10, updates=2)
    program, judge = (backends.get(n).compile(task.network(study.seed)) for n in ("native", "reference"))
    rule: Any = learning.get("differentiable-structure", trainable=("*.w", "*.b"), seed=study.seed)
    random = np.random.default_rng(study.seed)
    now = {n: v + 0.3 * random.standard_normal(v.shape) for n, v in values(program.network).items()}
    (batch,) = islice(task.train_batches(random, 1), 1)
    slopes, worst = rule.gradient(program, now, replace(batch, follows=None), task), 0.0

    def loss(parameters: Any) -> float:
        y = judge.run(parameters, batch.inputs, ["output.y"]).traces["output.y"]
        return -float(
            np.take_along_axis(y - np.log(np.exp(y).sum(-1, keepdims=True)), batch.targets[..., None], -1).sum()
        )

    for name, slope in slopes.items():
        direction = random.standard_normal(slope.shape)
        up, down = (loss({**now, name: now[name] + s * 1e-5 * direction}) for s in (1, -1))
        along = float((slope * direction).sum())
        worst = max(worst, abs(along - (up - down) / 2e-5) / abs(along))
    study.criterion(
        "5 gradient of a window against differences, worst of all parameters", worst, "< 1e-6", worst < 1e-6
    )
    theta: Any = {n: v.copy() for n, v in values(program.network).items()}
    state = rule.init(program, theta)
    before = state.number
    i = rule.add(program.network, theta, state)
    out, within = (float(np.abs(theta[n][i]).sum()) for n in ("readout.w", "loop.w"))
    off = max(
        abs(out / 0.025 - 1), abs(within / (0.05 * before / 8) - 1), abs(0.5 * (out + 4 * within / before) / 0.025 - 1)
    )
    study.criterion("5 a new cell's sums T/2 and T N/8, and its norm T/2", off, "< 1e-12", off < 1e-12)


def early(study: Study, found: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> None:
    """4: after 20,000 updates, medians of three seeds."""
    import numpy as np

    at, rows = EARLY // EVERY - 1, []
    limits = {"easy": ("8 to 20", 8, 20, 9.4), "hard": (">= 20", 20, np.inf, 16.0)}
    for stream, (wanted, least, most, loss) in limits.items():
        picked = of(found, stream)[:EARLY_SEEDS]
        cells, losses = ([float(r[key][at]) for r in picked] for key in ("cells", "loss"))
        n, middle = float(np.median(cells)), float(np.median(losses))
        rows.append((stream, " ".join(f"{c:.0f}" for c in cells), " ".join(f"{x:.2f}" for x in losses)))
        study.criterion(f"4 {stream}, {EARLY:,} updates, cells, median of {EARLY_SEEDS}", n, wanted, least <= n <= most)
        study.criterion(
            f"4 {stream}, {EARLY:,} updates, loss, median of {EARLY_SEEDS}", middle, f"<= {loss}", middle <= loss
        )
    study.table(f"after {EARLY:,} updates", ("stream", "cells", "loss"), rows)


def ends(study: Study, found: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> None:
    """1 and 2, and the control."""
    import numpy as np

    def last(stream: str, key: str, size: int = 0) -> list[float]:
        return [float(r[key][-1]) for r in of(found, stream, size)]

    rows: list[tuple[Any, ...]] = []
    for stream in STREAMS:
        rows.append((stream, "learnt", " ".join(f"{c:.0f}" for c in last(stream, "cells")), " ".join(f"{x:.2f}" for x in last(stream, "loss")), PUBLISHED[stream]))  # fmt: skip
    for size in SIZES:
        rows.append(
            ("hard", "fixed (control)", size, " ".join(f"{x:.2f}" for x in last("hard", "loss", size)), "13 to 15.5")
        )
    study.table(f"after {CYCLES:,} updates", ("stream", "size", "cells", "loss", "published"), rows)
    hard, easy = float(np.median(last("hard", "cells"))), float(np.median(last("easy", "cells")))
    study.criterion("1 hard, cells, median", hard, "25 to 50", 25 <= hard <= 50)
    study.criterion("1 hard over easy, median cells", hard / easy, ">= 1.5", hard >= 1.5 * easy)
    losses = last("hard", "loss")
    study.criterion("1 hard, loss, median", float(np.median(losses)), "<= 13.5", float(np.median(losses)) <= 13.5)
    study.criterion("1 hard, loss, lowest", min(losses), "<= 10.0", min(losses) <= 10.0)
    study.criterion("2 easy, cells, median", easy, "10 to 22", 10 <= easy <= 22)
    study.criterion("2 easy, loss, highest", max(last("easy", "loss")), "<= 9.4", max(last("easy", "loss")) <= 9.4)
    fixed = [x for size in SIZES for x in last("hard", "loss", size)]
    median = float(np.median(losses))
    study.criterion("hard, median loss below the lowest of fixed sizes", f"{median:.2f} against {min(fixed):.2f}", "<", median < min(fixed))  # fmt: skip
    slowest = max(float(r["seconds"]) for r in of(found, "hard"))
    study.criterion("processor seconds of a hard run, the longest", slowest, "<= 60", slowest <= 60)


def back_and_forth(study: Study, found: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> None:
    """3: the course of the number of cells where the stream gets harder and easier again."""
    third, rows = CYCLES // 3 // EVERY, []
    for r in of(found, "easy-hard-easy"):
        cells = r["cells"]
        top = float(cells[third : 2 * third].max())
        rows.append((float(cells[third - 1]), top, float(cells[2 * third - 1]), float(cells[-1]), float(r["loss"][-1])))
    header = ("at the first switch", "most", "at the second switch", "at the end", "loss at the end")
    study.table("easy-hard-easy, cells", header, rows)
    rise, fall = min(top / begin for begin, top, *_ in rows), min(1 - end / at for _, _, at, end, _ in rows)
    study.criterion("3 cells rise in the hard phase, the least of 5 runs", rise, ">= 2", rise >= 2)
    study.criterion("3 cells fall in the last phase, the least of 5 runs", fall, ">= 0.3", fall >= 0.3)
    loss = max(row[-1] for row in rows)
    study.criterion("3 loss at the end, the highest of 5 runs", loss, "<= 9.5", loss <= 9.5)


def figure(
    panels: Iterable[tuple[str, Sequence[tuple[str, Sequence[Any]]]]], label: str, switches: Sequence[int] = ()
) -> Any:
    """Every run's curve. panels: title, and (kind, curves)."""
    import matplotlib.pyplot as plt
    import numpy as np

    panels = list(panels)
    drawn, axes = plt.subplots(1, len(panels), figsize=(4.4 * len(panels), 3.6), squeeze=False)
    for axis, (title, kinds) in zip(axes[0], panels, strict=True):
        for number, (kind, curves) in enumerate(kinds):
            for k, curve in enumerate(curves):
                x = EVERY * np.arange(1, len(curve) + 1)
                axis.plot(x, curve, color=f"C{number}", lw=0.8, alpha=0.8, label=kind if k == 0 else None)
        for at in switches:
            axis.axvline(at, color="0.6", ls=":", lw=1)
        axis.set(title=title, xlabel="update", ylabel=label)
        axis.legend(fontsize=8)
    return drawn


def figures(study: Study, found: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> None:
    """Cells and losses over training, all runs."""
    for key, label in (("cells", "cells"), ("loss", "smoothed loss, nats per 40 characters")):
        alone = [(s, [r[key] for r in of(found, s)]) for s in STREAMS[:2]]
        both = [("easy-hard-easy", [r[key] for r in of(found, STREAMS[2])])]
        third = CYCLES // 3
        study.figure(key, figure([("easy and hard", alone)], label))
        study.figure(f"{key}-easy-hard-easy", figure([("easy, hard, easy", both)], label, (third, 2 * third)))
    control = [("size learnt", [r["loss"] for r in of(found, "hard")])]
    control += [(f"fixed, {size}", [r["loss"] for r in of(found, "hard", size)]) for size in SIZES]
    study.figure("control", figure([("hard", control)], "smoothed loss, nats per 40 characters"))


def provenance(study: Study) -> None:
    """What was run, and where expected numbers come from, as JSON."""
    from dataclasses import asdict

    import tasks
    from neuro import learning
    from neuro.learning.gradient.differentiable_structure import OWN

    rule, task = learning.get("differentiable-structure"), tasks.get("grouped-letters")
    config = {
        "rule": asdict(rule) | dict(OWN[rule.version]),
        "task": vars(task),
        "cycles": CYCLES,
        "seed": study.seed,
        "every": EVERY,
    }
    study.provenance(config, {"published": PUBLISHED, "prototype": PROTOTYPE, "provenance": SOURCE})


def run(study: Study) -> None:
    """Optima and units, then what is learned."""
    provenance(study)
    optima(study)
    units(study)
    if study.quick:
        early(study, runs(study, [(s, study.seed + k, EARLY) for s in STREAMS[:2] for k in range(EARLY_SEEDS)]))
        left = {
            "1 hard, cells, median": "25 to 50", "1 hard over easy, median cells": ">= 1.5", "1 hard, loss, median": "<= 13.5",
            "1 hard, loss, lowest": "<= 10.0", "2 easy, cells, median": "10 to 22", "2 easy, loss, highest": "<= 9.4",
            "3 cells rise in the hard phase, the least of 5 runs": ">= 2", "3 cells fall in the last phase, the least of 5 runs": ">= 0.3",
            "3 loss at the end, the highest of 5 runs": "<= 9.5", "hard, median loss below the lowest of fixed sizes": "<",
            "processor seconds of a hard run, the longest": "<= 60",
        }  # fmt: skip
        for name, wanted in left.items():
            study.unmeasured(name, wanted)
        return
    jobs: list[tuple[Any, ...]] = [(s, study.seed + k, CYCLES) for s in STREAMS for k in range(SEEDS)]
    jobs += [("hard", study.seed + k, CYCLES, size) for size in SIZES for k in range(FIXED_SEEDS)]
    found = runs(study, jobs)
    early(study, found)
    ends(study, found)
    back_and_forth(study, found)
    figures(study, found)

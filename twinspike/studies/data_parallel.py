"""Data-parallel training: gradients and curves of any number of processes, populations over workers, what a loss costs, linked modules.

D1: the gradient of a ragged batch with masked steps and noise, by 1, 2 and 4 processes. Its controls are two errors that an even batch hides: the mean of the
processes' own means, and random streams that begin anew in each process. D2: curves of 20 updates, and the same bits where sums are made in slices. D3: what
two workers save where an evaluation takes 0.1 s or more, and what two processes save or lose on BPTT of a small and a larger network. D4: two modules that learn
apart, linked by a text. The full run also loses a process, workers, a node of Ray and time on purpose.

Source: Frasconi, Gori & Soda (1993), Int J Mod Phys C 4:17. Bounds are ours.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from twinspike.models.linked_words import linked_words
from twinspike.scaling import cases, equality, faults
from twinspike.scaling.cases import Case
from twinspike.scaling.equality import Arm
from twinspike.scaling.group import Group
from twinspike.study import Study

MINUTES = 12
NUMBERS = (1, 2, 4)
LIMITS = {"float64": 1e-10, "float32": 1e-5}
CURVE, SEEN = 1e-8, 1e-3  # D2; what an error must at least differ by, or D1 would not see it
COST = 0.1  # seconds an evaluation takes, at least, where two workers should give:
SPEED = 1.6
LACKS = "" if find_spec("ray") else "needs Ray: the extra 'distributed'"

GRADIENTS = (
    *(Arm(rule, backend) for rule in ("bptt", "eprop", "rflo") for backend in ("native", "torch")),
    Arm("bptt", per="sequence"),
    *(Arm("bptt", backend, "float32") for backend in ("native", "torch")),
)
CURVES = (Arm("bptt"), Arm("bptt", slices=5), Arm("eprop"), Arm("rflo", "torch"))
SMALL, LARGER = Case("700-16-20", 16, 50, 32), Case("700-128-20", 128, 100, 256)
EVALUATED = Case("700-256-20", 256, 200, 64)


def equal(study: Study, group: Group) -> None:
    """D1 and D2."""
    curves = CURVES[:2] if study.quick else CURVES
    found = {}
    with study.progress(f"gradients and curves by {', '.join(map(str, NUMBERS))} processes") as update:
        for k, number in enumerate(NUMBERS):
            found[number] = group.call(number, equality.all_of, GRADIENTS, curves)
            update(k + 1, len(NUMBERS) + 1, "")
        wrong = {number: group.call(1, equality.mistaken, GRADIENTS[0], number)[0] for number in NUMBERS[1:]}
        update(len(NUMBERS) + 1, len(NUMBERS) + 1, "")
    whole, alone = found[1][0]
    rows, worst = [], dict.fromkeys(LIMITS, 0.0)
    for arm in GRADIENTS:
        apart = [max(equality.apart(gradients[arm], whole[arm]) for gradients, _ in found[n]) for n in NUMBERS[1:]]
        worst[arm.dtype] = max(worst[arm.dtype], *apart)
        rows.append((str(arm), *apart))
    errors = {}
    for k, name in enumerate(("control: mean of the processes' means", "control: streams begin anew in each process")):
        errors[name] = [equality.apart(wrong[n][k], whole[GRADIENTS[0]]) for n in NUMBERS[1:]]
        rows.append((name, *errors[name]))
    title = f"D1: largest relative difference of the gradient of {equality.BATCH} sequences to that of one process"
    study.table(title, ("rule, backend, precision, normalisation", *(f"{n} processes" for n in NUMBERS[1:])), rows)
    for dtype, limit in LIMITS.items():
        study.criterion(
            f"D1 gradients, {dtype}: largest relative difference", worst[dtype], f"<= {limit:g}", worst[dtype] <= limit
        )
    for name, apart in errors.items():
        study.criterion(f"D1 {name}", min(apart), f">= {SEEN:g}, or D1 shows nothing", min(apart) >= SEEN)
    rows = []
    for arm in curves:
        own = [[{"loss": c[arm][0], **c[arm][1]} for _, c in found[n]] for n in NUMBERS[1:]]
        reference = {"loss": alone[arm][0], **alone[arm][1]}
        apart = [max(equality.apart(o, reference) for o in each) for each in own]
        bits = all(equality.same(c[arm], alone[arm]) for n in NUMBERS for _, c in found[n])
        rows.append((str(arm), *apart, bits))
        study.array(f"curves/{arm}", [found[n][0][1][arm][0] for n in NUMBERS])
        study.criterion(
            f"D2 {arm}: losses and weights of {equality.UPDATES} updates",
            max(apart),
            f"<= {CURVE:g}",
            max(apart) <= CURVE,
        )
        if arm.slices:
            study.criterion(f"D2 {arm}: the same bits for {NUMBERS} processes", bits, "True", bits)
    header = ("rule, backend, precision, normalisation", *(f"{n} processes" for n in NUMBERS[1:]), "same bits")
    study.table(f"D2: largest relative difference of losses and weights over {equality.UPDATES} updates", header, rows)


def fitness(study: Study) -> None:
    """D3 for populations: updates of ES by one worker and by two, in turn."""
    import torch

    torch.set_num_threads(1)
    candidates, rounds = (4, 1) if study.quick else (16, 7)
    arms = {"1 worker": (1, "joblib"), "2 workers, joblib": (2, "joblib"), "2 workers, Ray": (2, "ray")}
    if study.quick or LACKS:
        del arms["2 workers, Ray"]
        study.unmeasured(f"D3 ES over 2 workers, Ray, of evaluations of {COST:g} s: speed-up", f">= {SPEED:g}", LACKS)
    programs = {name: cases.spread(EVALUATED.hidden, *arm, backend="torch") for name, arm in arms.items()}
    searches = {name: cases.Search(EVALUATED, program, candidates) for name, program in programs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    losses: dict[str, list[float]] = {name: [] for name in arms}
    order = random.Random(study.seed)
    with study.progress("evaluations over workers") as update:
        for k in range(rounds + 1):  # the first compiles, in every worker
            for name in order.sample(list(arms), len(arms)):
                took, metrics = searches[name].update()
                seconds[name].append(took)
                losses[name].append(metrics["loss"])
            update(k + 1, rounds + 1, "")
    for program in programs.values():
        program.crew.close()
    first = seconds["1 worker"][1:]
    cost = median(first) / candidates
    rows = []
    for name in arms:
        gains = sorted(a / b for a, b in zip(first, seconds[name][1:], strict=True))
        rows.append((name, median(seconds[name][1:]), median(gains), f"{gains[0]:.3g}..{gains[-1]:.3g}"))
        study.array(f"seconds/{name}", seconds[name])
        if name != "1 worker":
            label = f"D3 ES over {name}, of evaluations of {COST:g} s: speed-up"
            study.criterion(label, median(gains), f">= {SPEED:g}", median(gains) >= SPEED, full=True)
    title = f"D3: ES on torch, {candidates} candidates of {cost:.3g} s each, {rounds} rounds in turn"
    study.table(title, ("workers", "seconds an update", "speed-up", "range"), rows)
    study.criterion("D3 seconds of an evaluation", cost, f">= {COST:g}", cost >= COST, full=True)
    same = all(found == losses["1 worker"] for found in losses.values())
    study.criterion("D3 the same losses for any workers and engine", same, "True", same)


def processes(study: Study, group: Group) -> None:
    """D3 for gradients: no bound; what two processes give is said, also where they lose."""
    rounds, number = (1, 3) if study.quick else (7, 10)
    rows = []
    for case in (SMALL, *(() if study.quick else (LARGER,))):
        found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
        with study.progress(f"BPTT of {case.name} by 1 and 2 processes") as update:
            for k in range(rounds):
                for n in random.Random(k).sample((1, 2), 2):
                    found[n].append(group.call(n, cases.updates, case, number)[0])
                update(k + 1, rounds, "")
        one, two = (np.array(found[n]) for n in (1, 2))
        gains = one[:, 0] / two[:, 0]
        share = float(np.median(two[:, 1] / two[:, 0]))
        spread = f"{gains.min():.3g}..{gains.max():.3g}"
        rows.append(
            (
                f"{case.name}, {case.weights} weights, batch {case.batch}",
                *(float(np.median(t[:, 0])) for t in (one, two)),
                float(np.median(gains)),
                spread,
                share,
            )
        )
        study.array(f"processes/{case.name}", [one, two])
    header = ("BPTT on native", "1 process: s an update", "2 processes", "speed-up", "range", "share of communication")
    study.table("D3: BPTT by two processes (no bound: a small network may lose)", header, rows)


def losses_of_workers(study: Study) -> None:
    """What was killed or stopped when, and what it cost."""
    wanted, candidates, found = "the same bits", 8, dict[str, faults.Fault]()
    with TemporaryDirectory() as folder:
        makers: dict[str, Callable[[], faults.Fault]] = {
            "a process that shares batches": partial(faults.gradients, Path(folder), 4, study.seed)
        }
        for engine in ("joblib", "ray"):
            makers[f"a worker of {engine}"] = partial(faults.killed, EVALUATED, candidates, engine)
            makers[f"a worker of {engine} that stands still"] = partial(faults.stopped, EVALUATED, candidates, engine)
        makers["a node of ray"] = partial(faults.without_its_node, EVALUATED, candidates)
        for kind in list(makers):
            lacks = LACKS if kind.partition(" of ")[2].startswith("ray") else ""
            if study.quick or lacks:
                study.unmeasured(f"losing {kind}", wanted, lacks)
                del makers[kind]
        if not makers:
            return
        with study.progress("what is lost on purpose") as update:
            for kind, make in makers.items():
                found[kind] = make()
                update(len(found), len(makers), kind)
    header = ("what was lost, and when", "s without", "s with", "cost, s", "same bits")
    title = f"faults: a whole run of train.py; an update of ES of {candidates} candidates"
    study.table(title, header, faults.rows(list(found.values())))
    for kind, fault in found.items():
        study.criterion(f"losing {kind}", "the same bits" if fault.same else "OTHER NUMBERS", wanted, fault.same)


def run(study: Study) -> None:
    import logging

    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    with Group(max(NUMBERS)) as group:
        equal(study, group)
        processes(study, group)
    fitness(study)
    losses_of_workers(study)
    linked_words(study)
    study.provenance(
        {"D1, D2": {"batch": equality.BATCH, "lengths": equality.LENGTHS}, "D3": {"evaluated": vars(EVALUATED)}},
        {"D1": LIMITS, "D2": CURVE, "D3": SPEED, "source": "specification of data-parallel training"},
    )

"""More processes and workers: updates by BPTT and by ES on one and on two, what these send, and what each part of that takes.

On the wall clock, in rounds whose order is drawn; every round measures all. docs/scaling.md has the figures, the model that is fitted to them, and what follows for clusters.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from twinspike import cli
from twinspike.benchmark import Bench, Figure
from twinspike.scaling import cases, page
from twinspike.scaling.cases import Case
from twinspike.scaling.group import Group

GRADIENTS = (Case("700-16-20", 16, 50, 32), Case("700-128-20", 128, 100, 256), Case("700-2844-20", 2844, 20, 64))
SEARCHED = (Case("700-16-20", 16, 50, 512), Case("700-128-20", 128, 100, 128))
CANDIDATES = (8, 16)
SIZES = (4 * 2**10, 256 * 2**10, 4 * 2**20, 40 * 2**20)  # bytes of a sum
EMPTY = 100  # calls
SHARED = 16 * 2**20  # bytes
ENGINES = ("joblib", "ray")
LASTING = 0.5  # seconds of updates by BPTT, about, of which one round is the mean
Measurement = dict[str, Any]


def rounds(bench: Bench, title: str, arms: Mapping[str, Callable[[], Any]], number: int = 0) -> dict[str, list[Any]]:
    """What each arm gives in each round. number: of rounds, the bench's where it is left out."""
    found: dict[str, list[Any]] = {name: [] for name in arms}
    order, number = random.Random(bench.seed), number or bench.rounds
    with bench.progress(title) as update:
        for k in range(number):
            for name in order.sample(list(arms), len(arms)):
                found[name].append(arms[name]())
            update(k + 1, number, "")
    return found


def called(group: Group, processes: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the first of so many processes gives."""
    return group.call(processes, function, *arguments)[0]


def gradients(bench: Bench, group: Group) -> list[Measurement]:
    """Updates by BPTT of two batches of each network, by one process and by two; the larger batch by one twice."""
    found = []
    for case in GRADIENTS[:1] if bench.quick else GRADIENTS:
        number = max(1, round(LASTING / called(group, 1, cases.updates, case, 1)[0]))
        arms: dict[str, Callable[[], Any]] = {}
        for batch in (case.batch // 4, case.batch):
            own = Case(case.name, case.hidden, case.steps, batch)
            for processes in (1, 2):
                arms[f"{batch} {processes}"] = partial(called, group, processes, cases.updates, own, number)
        again = f"{case.batch} 1"
        measured = rounds(bench, f"BPTT of {case.name}", {**arms, "again": arms[again]})
        for name in arms:
            batch, processes = map(int, name.split())
            seconds, communication, sizes = map(list, zip(*measured[name], strict=True))
            kept: Measurement = {
                "case": case.name,
                "weights": case.weights,
                "steps": case.steps,
                "batch": batch,
                "processes": processes,
            }
            kept |= {"seconds": seconds, "communication": communication, "bytes": sizes[0]}
            found.append(kept | ({"again": [s for s, *_ in measured["again"]]} if name == again else {}))
    return found


def sums(bench: Bench, group: Group) -> list[Measurement]:
    """By two processes, and, of which the fit isn't told, by four on as many processors as there are."""
    arms = {
        f"{processes} {size}": partial(called, group, processes, cases.sums, size, 3 if size > 2**20 else 30)
        for size in (SIZES[:2] if bench.quick else SIZES)
        for processes in (2, 4)
    }
    return [
        {"processes": int(name.split()[0]), "bytes": int(name.split()[1]), "seconds": seconds}
        for name, seconds in rounds(bench, "sums over processes", arms).items()
    ]


def writing(bench: Bench) -> list[Measurement]:
    """What the first process writes."""
    chosen = GRADIENTS[:1] if bench.quick else GRADIENTS
    found = rounds(bench, "log and checkpoints", {c.name: partial(cases.writing, c, 10) for c in chosen}, 3)
    return [{"weights": c.weights, "seconds": found[c.name]} for c in chosen]


def populations(bench: Bench, engines: Sequence[str]) -> list[Measurement]:
    """Updates of ES by one worker and by two of each engine; the larger number of candidates by one twice."""
    found = []
    for case in SEARCHED[:1] if bench.quick else SEARCHED:
        programs = {"1 joblib": cases.spread(case.hidden, 1, "joblib")}
        programs |= {f"2 {engine}": cases.spread(case.hidden, 2, engine) for engine in engines}
        arms: dict[str, Callable[[], Any]] = {}
        for number in CANDIDATES:
            for name, program in programs.items():
                search = cases.Search(case, program, number)
                search.update()  # compiles, in every worker
                arms[f"{name} {number}"] = search.update
        again = f"1 joblib {CANDIDATES[-1]}"
        measured = rounds(
            bench,
            f"ES of {case.name}",
            {**arms, "again": cases.Search(case, programs["1 joblib"], CANDIDATES[-1]).update},
        )
        for name in arms:
            workers, engine, of = name.split()
            kept: Measurement = {"case": case.name, "weights": case.weights, "steps": case.steps, "batch": case.batch}
            kept |= {
                "candidates": int(of),
                "workers": int(workers),
                "engine": engine,
                "seconds": [s for s, _ in measured[name]],
            }
            if workers == "2":
                last = measured[name][-1][1]
                kept |= {
                    "worked": [m["worker_seconds"] for _, m in measured[name]],
                    "sent": last["bytes_sent"],
                    "received": last["bytes_received"],
                }
            found.append(kept | ({"again": [s for s, _ in measured["again"]]} if name == again else {}))
    return found


def parts(bench: Bench, engines: Sequence[str]) -> dict[str, list[Measurement]]:
    """Drawing candidates, calls that do nothing, and what is shared."""
    drawn = [(SEARCHED[0], 256), (SEARCHED[-1], 64)][: 1 if bench.quick else 2]
    programs = {engine: cases.spread(SEARCHED[0].hidden, 2, engine) for engine in engines}
    for program in programs.values():
        cases.calls(program, 4)
    arms: dict[str, Callable[[], Any]] = {f"asking {k}": partial(cases.asking, *own) for k, own in enumerate(drawn)}
    for engine, program in programs.items():
        arms[f"calls {engine}"] = partial(cases.calls, program, EMPTY)
        arms[f"sending {engine}"] = partial(cases.sending, program, SHARED)
    measured = rounds(bench, "what ES consists of", arms)
    return {
        "asking": [{"weights": c.weights, "candidates": n, "seconds": measured[f"asking {k}"]} for k, (c, n) in enumerate(drawn)],
        "calls": [{"engine": e, "calls": EMPTY, "seconds": measured[f"calls {e}"]} for e in engines],
        "sending": [{"engine": e, "bytes": SHARED, "calls": 4, "seconds": measured[f"sending {e}"]} for e in engines],
    }  # fmt: skip


def measured(bench: Bench) -> dict[str, Any]:
    """All of it, as numbers and text. A list a kind of measurement."""
    begun, load = time.perf_counter(), os.getloadavg()[0]
    engines = [e for e in ENGINES if e == "joblib" or (find_spec("ray") is not None and not bench.quick)]
    if "ray" not in engines:
        print("left out: Ray (quick, or the package ray is not installed)")
    with Group(4) as group:
        found: dict[str, Any] = {"updates": gradients(bench, group), "sums": sums(bench, group)}
    found |= {"writing": writing(bench), "searches": populations(bench, engines), **parts(bench, engines)}
    versions = bench.versions()
    found["machine"] = {
        "processors": os.cpu_count(), "processor": versions["processor"], "python": versions["python"], "torch": versions["torch"],
        "rounds": bench.rounds, "load": [load, os.getloadavg()[0]], "seconds": round(time.perf_counter() - begun),
    }  # fmt: skip
    return found


def figures(bench: Bench, found: Mapping[str, Any]) -> None:
    """Speed-ups by two, beside what each takes."""
    for kind, by, what in (("updates", "processes", "BPTT"), ("searches", "workers", "ES")):
        for name, one, two, again in page.pairs(found[kind], by):
            gains = page.ratios(one["seconds"], two["seconds"])
            control = page.ratios(one["seconds"], again)
            first, second = (f"{sorted(m['seconds'])[len(gains) // 2]:.3g} s" for m in (one, two))
            whose = f"2 {by}" + (f", {two['engine']}" if what == "ES" else "")
            bench.figures.append(
                Figure(
                    f"distributed, {what}, {name}", whose, f"1 {by}", second, first, gains[len(gains) // 2], gains[0], gains[-1],
                    control[len(control) // 2], at_least=True, differs="speed-up on the wall clock, not CPU time",
                )
            )  # fmt: skip
    for title, table in (("BPTT", page.gradients), ("ES", page.populations)):
        header, _, *rows = ([c.strip() for c in line.strip("|").split("|")] for line in table(found).splitlines())
        bench.table(f"distributed: {title}", header, rows)


def run(bench: Bench) -> None:
    found = json.loads(cli.existing(bench.measured).read_text(encoding="utf-8")) if bench.measured else measured(bench)
    bench.array("distributed/measured", json.dumps(found).encode())
    figures(bench, found)
    if bench.page is not None:
        page.write(bench.page, found)
        print(f"written: {bench.page}")

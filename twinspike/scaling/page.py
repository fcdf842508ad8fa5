"""The tables of docs/scaling.md, from measurements: what was measured, the fit, its errors, and what follows for clusters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from twinspike import cli
from twinspike.scaling.cost import Fit, Link, efficiency, fitted, rows_of, searching, training, useful

WORKERS = (8, 64, 1024)
LINKS = (Link(10), Link(200), Link(200, software=False))
CANDIDATES, MEMORY = 4096, 8  # of ES; bytes of a candidate's number
POWERS = tuple(2**k for k in range(13))
BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Measured = Mapping[str, Any]


def written(page: str, found: Measured) -> str:
    """A page with its tables made anew. Raises UserError where it asks for one that isn't known."""
    fit = fitted(rows_of(found))

    def block(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise cli.UserError(f"there is no table '{match[2]}' of measurements; known: {', '.join(TABLES)}")
        return f"{match[1]}{TABLES[match[2]](found, fit)}\n{match[3]}"

    return BLOCK.sub(block, page)


def write(page: Path, found: Measured) -> None:
    """Put tables into a page, and beside it what was measured."""
    text = written(cli.existing(page).read_text(encoding="utf-8"), found)
    page.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page.write_text(text, encoding="utf-8")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """In Markdown."""
    lines = [header, ["---"] * len(header), *([_shown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(cell: Any) -> str:
    if not isinstance(cell, float):
        return str(cell)
    if cell and not 1e-3 <= abs(cell) < 1e5:
        return f"{cell:.2e}"
    return f"{cell:.3g}" if abs(cell) < 1000 else f"{cell:.0f}"


def spread(values: Sequence[float]) -> str:
    return f"{_shown(min(values))}..{_shown(max(values))}"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round."""
    return sorted(a / b for a, b in zip(ours, theirs, strict=True))


# -- what was measured -------------------------------------------------------------------------------------


def machine(found: Measured, fit: Fit | None = None) -> str:
    m = found["machine"]
    return (
        f"{m['processors']} processors ({m['processor']}), Python {m['python']}, torch {m['torch']}, one thread a process, {m['rounds']} rounds in turn, each in an order of its own; "
        f"{m['load'][0]:.1f} processes wanted a processor when it began, {m['load'][1]:.1f} when it ended."
    )


def gradients(found: Measured, fit: Fit | None = None) -> str:
    """BPTT by one process and two."""
    rows = []
    for name, one, two, again in pairs(found["updates"], "processes"):
        gains = ratios(one["seconds"], two["seconds"])
        share = median(c / s for c, s in zip(two["communication"], two["seconds"], strict=True))
        for m, efficient in ((one, "1"), (two, f"{_shown(median(gains) / 2)} ({spread([g / 2 for g in gains])})")):
            seconds = median(m["seconds"])
            last = ("", "", median(ratios(one["seconds"], again))) if m is one else (share, int(m["bytes"]), "")
            work = m["weights"] * m["steps"] * m["batch"] / seconds
            rows.append(
                (name if m is one else "", m["processes"], seconds, work, m["batch"] / seconds, efficient, *last)
            )
    header = (
        "network, batch", "processes", "s an update", "connections x steps/s", "examples/s", "efficiency (range)",
        "share of communication", "bytes an update", "A/A",
    )  # fmt: skip
    return table(header, rows)


def pairs(measured: Sequence[Measured], by: str) -> Iterable[tuple[str, Measured, Measured, Sequence[float]]]:
    """Name, what one process or worker took, what two took, and what one took again."""
    for one in (m for m in measured if m[by] == 1 and m.get("again")):
        for two in (
            m
            for m in measured
            if m[by] == 2 and all(m[n] == one[n] for n in ("case", "batch", "candidates") if n in one)
        ):
            yield f"{one['case']} ({one['weights']} weights), {one['batch']}", one, two, one["again"]


def populations(found: Measured, fit: Fit | None = None) -> str:
    """ES by one worker and two."""
    rows, said = list[tuple[Any, ...]](), set[str]()
    for name, one, two, again in pairs(found["searches"], "workers"):
        gains = ratios(one["seconds"], two["seconds"])
        idle = median(1 - w / (2 * s) for w, s in zip(two["worked"], two["seconds"], strict=True))
        for m, where, efficient in (
            (one, "1", "1"),
            (two, f"2, {two['engine']}", f"{_shown(median(gains) / 2)} ({spread([g / 2 for g in gains])})"),
        ):
            if m is one and name in said:
                continue
            last: tuple[Any, ...] = (idle, int(two["sent"]), int(two["received"]), "")
            if m is one:
                last = ("", "", "", median(ratios(one["seconds"], again)))
            seconds, examples = median(m["seconds"]), m["batch"] * m["candidates"]
            work = m["weights"] * m["steps"] * examples / seconds
            rows.append((name if m is one else "", where, seconds, work, examples / seconds, efficient, *last))
        said.add(name)
    header = (
        "network, batch", "workers", "s an update", "connections x steps/s", "examples/s", "efficiency (range)",
        "share without work", "bytes sent", "bytes received", "A/A",
    )  # fmt: skip
    return table(header, rows)


# -- the fit -----------------------------------------------------------------------------------------------


def terms(found: Measured, fit: Fit) -> str:
    return table(("term", "seconds"), [(name, f"{value:.3g}") for name, value in fit.values.items()])


def errors(found: Measured, fit: Fit) -> str:
    rows = [
        (r.what if r.fitted else f"{r.what} (not in the fit)", r.seconds, r.seconds * e, e) for r, e in fit.errors()
    ]
    return table(("measured", "s", "fit", "fit / measured"), rows)


# -- what follows ------------------------------------------------------------------------------------------


def networks(found: Measured) -> list[Measured]:
    """The smallest and the largest that learned by BPTT, with their larger batch."""
    largest = {m["case"]: m for m in sorted(found["updates"], key=lambda m: m["batch"])}
    ordered = sorted(largest.values(), key=lambda m: m["weights"])
    return [ordered[0], ordered[-1]]


def clusters(found: Measured, fit: Fit) -> str:
    """Gradients: an update by so many processes, the batch of one divided, or one such batch for each."""
    rows = []
    for m in networks(found):
        for link in LINKS:
            for number in WORKERS:
                row: list[Any] = [f"{m['case']} ({m['weights']} weights), {m['batch']}", str(link), number]
                for growing in (False, True):
                    known = [
                        (p, training(fit, m["case"], m["weights"], m["batch"], p, link, growing=growing))
                        for p in (1, number)
                    ]
                    seconds, communication = known[1][1]
                    row += [
                        seconds,
                        efficiency([(p, s) for p, (s, _) in known], growing=growing)[number],
                        communication / seconds,
                    ]
                rows.append(row)
    header = (
        "network, batch", "link", "processes", "s an update", "efficiency", "communication", "s, a batch for each",
        "efficiency", "communication",
    )  # fmt: skip
    return table(header, rows)


def evolved(found: Measured, fit: Fit) -> str:
    """ES of many candidates."""
    rows = []
    for m in searched(found):
        for link in LINKS[:2]:
            for number in WORKERS:
                known = {w: searching(fit, m["case"], m["weights"], CANDIDATES, w, link) for w in (1, number)}
                seconds, parts = known[number]
                share = {n: parts[n] / seconds for n in ("candidate", "number", "call")}
                efficient = efficiency([(w, s) for w, (s, _) in known.items()])[number]
                travel = (parts["shared"] + parts["link"]) / seconds
                rows.append(
                    (
                        f"{m['case']} ({m['weights']} weights)",
                        str(link),
                        number,
                        seconds,
                        efficient,
                        *share.values(),
                        travel,
                    )
                )
    header = (
        "network", "link", "workers", "s an update", "efficiency", "evaluating", "drawing candidates", "calls",
        "travel",
    )  # fmt: skip
    return table(header, rows)


def searched(found: Measured) -> list[Measured]:
    """One measurement of each network that ES trained."""
    return list({m["case"]: m for m in found["searches"]}.values())


def limits(found: Measured, fit: Fit) -> str:
    """Up to how many at least half of all is of use, and what takes most there and twice as far."""
    rows = []
    for m in networks(found):
        for link in LINKS:
            for growing in (False, True):
                times = {
                    p: training(fit, m["case"], m["weights"], m["batch"], p, link, growing=growing)[0] for p in POWERS
                }
                number = useful(efficiency(times.items(), growing=growing))
                what = f"BPTT, {m['case']}, " + (
                    f"a batch of {m['batch']} for each" if growing else f"batch {m['batch']}"
                )
                rows.append((what, str(link), number, "" if growing else min(times, key=lambda p: times[p])))
    for m in searched(found):
        for link in LINKS[:2]:
            times = {w: searching(fit, m["case"], m["weights"], CANDIDATES, w, link)[0] for w in POWERS}
            rows.append(
                (
                    f"ES, {m['case']}, {CANDIDATES} candidates",
                    str(link),
                    useful(efficiency(times.items())),
                    min(times, key=lambda w: times[w]),
                )
            )
    return table(("what", "link", "half is of use up to", "fastest with"), rows)


def memory(found: Measured, fit: Fit | None = None) -> str:
    """Of all candidates, which everybody draws."""
    known = {m["case"]: m for m in (*found["searches"], *found["updates"])}.values()
    rows = [(f"{m['case']} ({m['weights']} weights)", CANDIDATES * m["weights"] * MEMORY / 2**30) for m in known]
    return table(("network", f"GiB of {CANDIDATES} candidates in each worker"), rows)


TABLES: Mapping[str, Callable[[Measured, Fit], str]] = {
    f.__name__: f for f in (machine, gradients, populations, terms, errors, clusters, evolved, limits, memory)
}

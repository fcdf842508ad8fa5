"""Finite automata as networks of threshold cells: size, time and energy against each other (Šíma 2014), every transition checked.

Energy is the largest number of cells that fire at one instant, over all inputs. The constructions are this project's (`tasks.automaton_networks`), with sizes and times as specified; figures wanted for
energy are a prototype's, one automaton a size. A network is exact where, from every state and on both bits, one cycle leads to the next state's cells and the clock's first, all others silent: then it
is so from any start and for words of any length. That is counted with the network's own weights in numpy; what backends and chips make of them is compared on random words.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from twinspike.study import Study

MINUTES = 3
AUTOMATA, WORDS, LENGTH = 5, 4, 320
SIZES = {  # the specification's, to be met exactly
    "one-shot": {16: 36, 64: 70, 256: 148, 1024: 318, 4096: 688},
    "successive": {16: 45, 64: 73, 256: 117, 1024: 193, 4096: 333, 16384: 601},
}
ACTIVE = {  # most active cells, the prototype's
    "one-shot": {16: 5, 64: 7, 256: 10, 1024: 11, 4096: 12},
    "successive": {16: 10, 64: 16, 256: 18, 1024: 20, 4096: 19, 16384: 26},
    "blocks": {1: 190, 2: 112, 4: 64, 8: 43, 16: 30, 32: 26},
}
OPERATIONS = {16: 41, 64: 151, 256: 318, 1024: 716, 4096: 1618}  # synaptic, a bit, one-shot, the prototype's
DIAL, PRODUCT, FALL = 1024, 2.1, 4
COUNTERS = (2, 3, 7, 60, 64)
PATTERNS = ("(0|1)*101(0|1)*", "(01*0|1)*", "((0|1)(0|1)(0|1))*", "0*(10*10*)*|1(0|11)*", "(0|1)*1(0|1)(0|1)(0|1)(0|1)")
BACKENDS = ("reference", "native", "torch", "brian2")
EXACT = 4096  # most states for which every transition is counted


def transitions(network: Any, coding: Any) -> tuple[int, int]:
    """How many transitions are wrong, of all states on both bits, and the most cells that fire in a step of one that the start leads to."""
    import numpy as np
    from scipy.sparse import csr_array

    from neuro.compiler.parameters import values

    own, ends, groups = values(network), network.projection("loop").connectivity, coding.groups
    weights = csr_array((own["loop.w"].astype(int), (ends.post, ends.pre)), (coding.size, coding.size))
    least = np.ceil(own["cells.v_th"]).astype(int)[:, None]
    source, bit = np.indices(coding.automaton.table.shape).reshape(2, -1)
    reached = np.isin(source, reachable(coding.automaton))

    def cells(states: Any) -> Any:
        y = np.zeros((coding.size, len(states)), int)
        y[groups["state"]] = (states >> np.arange(coding.bits)[::-1, None]) & 1
        y[groups["clock"][0]] = 1
        return y

    y, most = cells(source), 0
    y[groups["input"][0]] = bit
    for _ in range(coding.tau):
        most = max(most, int(y[:, reached].sum(axis=0).max()))
        y = (weights @ y >= least).astype(int)
    return int((y != cells(coding.automaton.table[source, bit])).any(axis=0).sum()), most


def reachable(automaton: Any) -> list[int]:
    """States that some word leads to."""
    found = [automaton.start]
    seen = set(found)
    for state in found:
        new = {int(s) for s in automaton.table[state]} - seen
        seen |= new
        found += sorted(new)
    return found


def walked(automaton: Any, construction: str, blocks: int, seed: int) -> dict[str, Any]:
    """One network on native and random words: states that differ from direct execution, size, time, activity, synaptic operations."""
    import backends
    from neuro.analysis.energy import measure
    from neuro.compiler import streams
    from tasks.automaton_networks import automaton_network

    network, coding = automaton_network(automaton, construction, blocks=blocks)  # type: ignore[arg-type]
    words = streams.generator(seed, f"words/{automaton.size}").integers(0, 2, (WORDS, LENGTH))
    inputs = coding.inputs(words)
    recording: Any = backends.get("native").compile(network).run(None, inputs)
    energy = measure(network, recording, inputs)
    wrong, active = transitions(network, coding) if automaton.size <= EXACT else (0, energy.max_active)
    differ = int((coding.states(recording.spikes) != automaton.states(words)).sum())
    return {
        "wrong": differ + wrong, "size": coding.size, "tau": coding.tau, "active": active, "mean": energy.mean_active,
        "operations": energy.projections["loop"].acs / (WORDS * LENGTH), "summary": energy.summary(),
    }  # fmt: skip


def all_of(study: Study, title: str, kinds: Sequence[tuple[str, int, int]], automata: int) -> dict[tuple[str, int, int], list[dict[str, Any]]]:  # fmt: skip
    """Random automata of every (construction, states, blocks)."""
    from joblib import delayed

    from tasks.automata import random_automaton

    calls = [(kind, study.seed + k) for kind in kinds for k in range(automata)]
    found: dict[tuple[str, int, int], list[dict[str, Any]]] = {kind: [] for kind in kinds}
    with study.progress(title) as update:
        runs = study.parallel(delayed(walked)(random_automaton(m, seed), c, g, seed) for (c, m, g), seed in calls)
        for done, ((kind, _), run) in enumerate(zip(calls, runs, strict=True), start=1):
            found[kind].append(run)
            update(done, len(calls), " ".join(map(str, kind)))
    return found


def most(runs: Sequence[dict[str, Any]]) -> int:
    return max(int(r["active"]) for r in runs)


# -- S1: every transition -----------------------------------------------------------------------------------------


def tables(study: Study) -> None:
    """All tables of 2 and of 3 states (quick: of 2); random ones of every number up to 64, on native too; counters and patterns."""
    import numpy as np

    from tasks.automata import Automaton, counter, from_regex
    from tasks.automaton_networks import automaton_network

    wrong = count = 0
    complete = (2,) if study.quick else (2, 3)
    for m in complete:
        for entries in itertools.product(range(m), repeat=2 * m):
            for construction, blocks in kinds_of(m):
                made = automaton_network(Automaton(np.reshape(entries, (m, 2))), construction, blocks=blocks)  # type: ignore[arg-type]
                wrong, count = wrong + transitions(*made)[0], count + 1
    name = f"S1 all tables of {' and '.join(map(str, complete))} states, {count} networks: wrong transitions"
    study.criterion(name, wrong, "0", wrong == 0)
    sizes = (2, 3, 17, 64) if study.quick else range(2, 65)
    kinds = [(c, m, g) for m in sizes for c, g in kinds_of(m)]
    found = all_of(study, "up to 64 states", kinds, 1 if study.quick else AUTOMATA)
    wrong, count = sum(r["wrong"] for runs in found.values() for r in runs), sum(map(len, found.values()))
    name = f"S1 random tables of {len(sizes)} sizes from 2 to 64, {count} networks: wrong states and transitions"
    study.criterion(name, wrong, "0", wrong == 0)
    structured = {**{f"ones modulo {k}": counter(k) for k in COUNTERS}, **{p: from_regex(p) for p in PATTERNS}}
    rows, wrong = [], 0
    for name, automaton in structured.items():
        runs = [walked(automaton, c, g, study.seed) for c, g in kinds_of(automaton.size)]
        wrong += sum(r["wrong"] for r in runs)
        rows.append((name, automaton.size, len(reachable(automaton)), sum(r["wrong"] for r in runs)))
    study.table("counters and patterns", ("automaton", "states", "reached", "wrong states and transitions"), rows)
    study.criterion(f"S1 {len(structured)} counters and patterns: wrong states and transitions", wrong, "0", wrong == 0)


def kinds_of(m: int) -> Iterator[tuple[str, int]]:
    """Constructions, with the fewest and the most blocks."""
    rows = 2 ** (int(m - 1).bit_length() // 2)
    yield from (("one-shot", 1), ("successive", 1), *(("blocks", g) for g in sorted({1, rows})))


# -- S2 and S4: size and the floor of energy ----------------------------------------------------------------------


def sizes(study: Study) -> None:
    """Networks of all sizes: exactness, size, the most active cells."""
    import numpy as np

    kinds = [(c, m, 1) for c, own in SIZES.items() for m in own if not study.quick or m <= 1024]
    found = all_of(study, "sizes", kinds, 1 if study.quick else AUTOMATA)
    rows = [
        (
            c, m, runs[0]["size"], SIZES[c][m], runs[0]["tau"], most(runs), ACTIVE[c][m], most(runs) / np.log2(m),
            float(np.mean([r["mean"] for r in runs])), float(np.mean([r["operations"] for r in runs])),
            OPERATIONS[m] if c == "one-shot" else "-", runs[0]["tau"] * most(runs) / runs[0]["size"],
        )
        for (c, m, _), runs in found.items()
    ]  # fmt: skip
    header = ("construction", "states", "size", "wanted", "tau", "most active e", "prototype", "e/log2 m", "mean active", "operations a bit", "prototype", "e tau/size")  # fmt: skip
    title = f"random automata, {1 if study.quick else AUTOMATA} a size; e over all inputs, above {EXACT} states over the words that are run"
    study.table(title, header, rows)
    wrong = sum(r["wrong"] for runs in found.values() for r in runs)
    name = f"S1 random tables of 16 to {max(m for _, m, _ in kinds)} states: wrong states and transitions"
    study.criterion(name, wrong, "0", wrong == 0)
    met = all(row[2] == row[3] for row in rows)
    study.criterion("S2 sizes are the specified ones", met, "yes", met)
    for c, limits, wanted in (("one-shot", (0.5, 0.6), "0.50 to 0.60"), ("successive", (0, 0.5), "<= 0.50")):
        if study.quick:
            study.unmeasured(f"S2 {c}: slope of log size over log m, 64 to 4096 states", wanted)
            continue
        m, size = np.array([(row[1], row[2]) for row in rows if row[0] == c and 64 <= row[1] <= 4096], float).T
        slope = float(np.polyfit(np.log(m), np.log(size), 1)[0])
        study.criterion(f"S2 {c}: slope of log size over log m, 64 to 4096 states", slope, wanted, limits[0] <= slope <= limits[1])  # fmt: skip
    falling = [row[2] / np.sqrt(row[1]) for row in rows if row[0] == "successive"]
    shown = ", ".join(f"{x:.1f}" for x in falling)
    study.criterion("S2 successive: size/sqrt(m) falls towards 4", shown, "falling", all(np.diff(falling) < 0) and min(falling) > 4)  # fmt: skip
    worst = max(row[7] for row in rows)
    study.criterion("S4 one-shot and successive: e/log2 m, largest", worst, "<= 3", worst <= 3)
    study.array("sizes", np.array([[m, *(runs[0][n] for n in ("size", "tau")), most(runs)] for (_, m, _), runs in found.items()]))  # fmt: skip
    study.figure("size", size_figure(rows))


def size_figure(rows: Sequence[Any]) -> Any:
    """Sizes over states, with what is known about them."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(figsize=(6, 4.5))
    for marker, c in zip("os", SIZES, strict=True):
        axes.plot(*np.array([row[1:3] for row in rows if row[0] == c]).T, marker + "-", label=c)
    m = np.array([16.0, 16384.0])
    bounds = {
        "4 sqrt(m), the limit of successive": 4 * m**0.5, "sqrt(m log2 m), weights of 1 and -1": np.sqrt(m * np.log2(m)),
        "m^(3/4), Alon et al.": m**0.75, "2 m + 1, Minsky": 2 * m + 1,
    }  # fmt: skip
    for style, (name, bound) in zip(("k-", "k--", "k-.", "k:"), bounds.items(), strict=True):
        axes.loglog(m, bound, style, lw=0.8, label=name)
    axes.set(xlabel="states m", ylabel="threshold cells", ylim=(10, 4e4), title="lines: bounds, without constants")
    axes.legend(fontsize=8)
    return figure


# -- S3: the dial -------------------------------------------------------------------------------------------------


def dial(study: Study) -> None:
    """Fewer active cells for more time, one size."""
    import numpy as np

    found = all_of(study, "dial", [("blocks", DIAL, g) for g in ACTIVE["blocks"]], 1 if study.quick else AUTOMATA)
    e, tau = (np.array([f(runs) for runs in found.values()]) for f in (most, lambda runs: runs[0]["tau"]))
    rows = [
        (g, runs[0]["size"], runs[0]["tau"], " ".join(str(r["active"]) for r in runs), ACTIVE["blocks"][g], most(runs) * runs[0]["tau"],
         runs[0]["tau"] * most(runs) / runs[0]["size"], float(np.mean([r["mean"] for r in runs])), float(np.mean([r["operations"] for r in runs])))
        for (_, _, g), runs in found.items()
    ]  # fmt: skip
    header = ("blocks", "size", "tau", "most active e, each automaton", "prototype", "e tau", "e tau/size", "mean active", "operations a bit")  # fmt: skip
    study.table(f"the dial, {DIAL} states", header, rows)
    wrong = sum(r["wrong"] for runs in found.values() for r in runs)
    study.criterion("S1 the dial: wrong states and transitions", wrong, "0", wrong == 0)
    ends = f"{rows[0][1]} to {rows[-1][1]}"
    study.criterion("S2 the dial's sizes", ends, "773 to 804", ends == "773 to 804")
    fall = e[0] / e[-1]
    study.criterion("S3 e falls, over 1 to 32 blocks, by", fall, f">= {FALL}", fall >= FALL and all(np.diff(tau) > 0))
    each = np.array([[r["active"] * r["tau"] for r in runs] for runs in found.values()])
    ratios = each.max(axis=0) / each.min(axis=0)
    shown = f"{ratios.min():.2f} to {ratios.max():.2f}"
    study.criterion("S3 e tau, largest over smallest, of each automaton", shown, f"<= {PRODUCT}", ratios.max() <= PRODUCT, full=True)  # fmt: skip
    floor = float(e[-1] / np.log2(DIAL))
    study.criterion("S4 the dial at 32 blocks: e/log2 m", floor, "<= 3", floor <= 3)
    study.array("dial", np.array([list(ACTIVE["blocks"]), tau, e]))
    study.figure("dial", dial_figure(list(ACTIVE["blocks"]), e, tau))


def dial_figure(blocks: Sequence[int], e: Any, tau: Any) -> Any:
    """Energy, time, and their product beside the prototype's."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(figsize=(6, 4.5))
    for style, values, name in (("o-", e, "most active cells e"), ("s-", tau, "steps a bit"), ("^-", e * tau, "product")):  # fmt: skip
        axes.loglog(blocks, values, style, base=2, label=name)
    axes.loglog(blocks, np.array(list(ACTIVE["blocks"].values())) * tau, "k:", base=2, label="product, prototype")
    axes.set(xlabel="blocks", title=f"{DIAL} states")
    axes.legend(fontsize=8)
    return figure


# -- S5: backends and chips ---------------------------------------------------------------------------------------


def backends_and_chips(study: Study) -> None:
    """The same spikes on every backend; integers of every chip that holds the cells, in a table of what each said."""
    import numpy as np

    import backends
    from neuro.compiler import streams
    from tasks.automata import counter, from_regex, random_automaton
    from tasks.automaton_networks import automaton_network

    cases = {"16 random": random_automaton(16, study.seed), "64 random": random_automaton(64, study.seed), "ones modulo 7": counter(7), PATTERNS[0]: from_regex(PATTERNS[0])}  # fmt: skip
    differ, spikes, rows = dict.fromkeys(BACKENDS[1:], 0), 0, []
    words = streams.generator(study.seed, "words").integers(0, 2, (2, 60))
    wrong = 0
    for name, automaton in cases.items():
        for construction, blocks in kinds_of(automaton.size):
            network, coding = automaton_network(automaton, construction, blocks=blocks)  # type: ignore[arg-type]
            inputs = coding.inputs(words)
            run = {b: backends.get(b).compile(network).run(None, inputs).spikes for b in BACKENDS}
            spikes += int(run["reference"]["cells"].sum())
            wrong += sum(int((coding.states(r) != automaton.states(words)).sum()) for r in run.values())
            for b in differ:
                differ[b] += int((run[b]["cells"] != run["reference"]["cells"]).sum())
            if name == "16 random" and blocks == 1:
                rows += chips(network, coding, words)
    study.criterion("S5 states that are wrong on any backend", wrong, "0", wrong == 0)
    for b, count in differ.items():
        study.criterion(f"S5 {b}: spikes that differ from the reference's {spikes}", count, "0", count == 0)
    for m in (32, 64, 1024):  # weights of the comparisons reach 2^(p + 1)
        network, coding = automaton_network(random_automaton(m, study.seed), "successive")
        rows += chips(network, coding, words)
    said: dict[tuple[Any, ...], list[str]] = {}
    for what, largest, *rest in rows:
        said.setdefault(tuple(rest), []).append(f"{what} (up to {largest})")
    header = ("target", "what it says", "spikes that differ", "networks (largest weight)")
    study.table("targets", header, [(*rest, "; ".join(which)) for rest, which in sorted(said.items(), key=str)])
    exact = [row[4] for row in rows if row[1] <= 127 and row[4] != "-"]
    study.criterion("S5 integers of chips that hold the weights: spikes that differ", int(np.sum(exact)), f"0 of {len(exact)} exports", len(exact) >= 12 and not any(exact))  # fmt: skip


def chips(network: Any, coding: Any, words: Any) -> list[tuple[Any, ...]]:
    """A row for every target: refusal by name, or how its integers replay the words."""
    import backends
    from neuro.compiler.parameters import values
    from neuro.export import ExportError, targets

    inputs, native = coding.inputs(words), backends.get("native")
    rows: list[tuple[Any, ...]] = []
    what = f"{coding.construction}, {coding.automaton.size} states"
    largest = int(abs(values(network)["loop.w"]).max())
    own = native.compile(network).run(None, inputs).spikes["cells"]
    for name in targets.names():
        target = targets.get(name)
        try:
            with tempfile.TemporaryDirectory() as folder:
                found = target.export(network, None, Path(folder) / f"net{target.profile.suffix}")
        except ExportError as error:
            rows.append((what, largest, name, f"refused: {error}", "-"))
            continue
        if found.integers is None:
            rows.append((what, largest, name, "held, computes in floating point", "-"))
            continue
        codes = native.compile(found.integers).run(found.integer_parameters, inputs).spikes["cells"]
        lost = max(found.rounding.values(), default=0.0)
        says = f"held, weights rounded by {lost:.2g}" if lost else "held as it is"
        rows.append((what, largest, name, says, int((codes != own).sum())))
    return rows


def metrics(study: Study) -> None:
    """What the simulator prints about a run, by construction."""
    from neuro.analysis.energy import CAVEAT
    from tasks.automata import random_automaton

    kinds = (("one-shot", 1), ("successive", 1), ("blocks", 1), ("blocks", 32))
    runs = [walked(random_automaton(DIAL, study.seed), c, g, study.seed)["summary"] for c, g in kinds]
    rows = [(name, *(r[name] for r in runs)) for name in runs[0]]
    title = f"{DIAL} states, a sample is a word of {LENGTH} bits; {CAVEAT}"
    study.table(title, ("figure", *(f"{c}, {g} blocks" if c == "blocks" else c for c, g in kinds)), rows)


def run(study: Study) -> None:
    """Transitions, sizes, the dial, backends and chips, metrics."""
    config = {"sizes": SIZES, "automata": AUTOMATA, "words": WORDS, "length": LENGTH, "patterns": PATTERNS, "counters": COUNTERS, "seed": study.seed}  # fmt: skip
    source = "a prototype by the specification's author, one random automaton a size, random words"
    study.provenance(config, {"active": ACTIVE, "operations": OPERATIONS, "provenance": source})
    tables(study)
    sizes(study)
    dial(study)
    backends_and_chips(study)
    metrics(study)

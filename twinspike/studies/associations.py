"""STDP makes assemblies of repeated patterns, and associations of those shown together (Pokorny et al. 2020).

432 excitatory and 108 inhibitory cells; noise, encoding of three patterns, noise, two of them together, noise. A short run has 100 s of encoding and no noise, as the prototype that the limits are from. After every phase
each pattern is shown 20 times with plasticity off, to a copy of the state; the network goes on as if nothing had happened. Controls: without STDP while two patterns are shown together; plastic synapses with a delay of
1 ms ("prompt"), for the prototype's plasticity acts when a spike is emitted, and ours, as the publication's, where it arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinspike.study import Study, curves

MINUTES = 8
FULL = {
    "noise": 250.0,
    "encoding": 250.0,
    "rest": 250.0,
    "association": 0.0,
    "late rest": 250.0,
}  # s; 20 presentations are as long as they are
SHORT = {"encoding": 100.0, "association": 0.0}
TOGETHER = 20
CHUNK = 10_000  # steps that are in memory
EXACT = 1e-12
RATES = 10.0  # s of noise in which rates are counted
CIRCUITS = 4  # of which rates are means
PROTOTYPE = {  # gamma_exc, gamma_w: cells in blue and green before and after, new ones; its short runs, not the paper's numbers
    (0.9, 1.0): "0, 3 -> 55, 44", (1.0, 1.0): "1 -> 35", (1.0, 0.8): "0 -> 51", (1.0, 0.6): "0, 0 -> 2, 5; new 23, 16",
}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """gamma_exc, gamma_w, the seed of a run; whether plastic synapses have a delay of 1 ms; whether the run is short."""

    excitability: float
    scale: float
    seed: int = 0
    prompt: bool = False
    short: bool = False

    def __str__(self) -> str:
        return (
            f"{self.excitability:g}, {self.scale:g}, run {self.seed}{', prompt' * self.prompt}{', short' * self.short}"
        )

    @property
    def seconds(self) -> Mapping[str, float]:
        """Phase -> how long it is."""
        return SHORT if self.short else FULL

    @property
    def before(self) -> str:
        """The phase before the association."""
        return "encoding" if self.short else "rest"


def timeline(circuit: Any, seconds: Mapping[str, float]) -> tuple[Any, dict[str, tuple[int, int]]]:
    """What is shown over all phases, and phase -> its first step and the one after its last."""
    from neuro.compiler import streams
    from tasks.assemblies import LASTS, Course, gaps, sequence
    from tasks.associations import COMBINED

    shown: dict[int, str] = {}
    spans, at = dict[str, tuple[int, int]](), 0
    for phase, long in seconds.items():
        random, last = streams.generator(circuit.seed, f"associations/{phase}"), at + round(1e3 * long)
        if phase == "encoding":
            onsets = gaps(random, at, last)
            shown |= dict(zip(onsets, sequence(random, len(onsets)), strict=True))
        elif phase == "association":
            onsets = gaps(random, at, last, TOGETHER)
            shown |= dict.fromkeys(onsets, COMBINED)
            last = onsets[-1] + LASTS
        spans[phase] = (at, last)
        at = last
    return Course(circuit, "run", shown), spans


class Life:
    """One circuit, from phase to phase. A phase's masks, answers and weights are kept in `found`, "weights/encoding/EE" and so on."""

    def __init__(self, arm: Arm) -> None:
        import backends
        from tasks.associations import Circuit

        self.circuit = Circuit(arm.excitability, arm.scale, arm.seed, prompt=arm.prompt)
        self.program: Any = backends.get("native").compile(self.circuit.network)
        self.course, self.spans = timeline(self.circuit, arm.seconds)
        self.found: dict[str, Any] = {"seconds": 0.0}

    def parts(self, phase: str, state: Any, parameters: Mapping[str, Any] | None = None) -> Any:
        """Recordings of the phase's steps."""
        first, last = self.spans[phase]
        inputs = lambda a, b: self.course.inputs(first + a, first + b)
        return self.program.stream(parameters, inputs, steps=last - first, chunk=CHUNK, state=state)

    def probe(self, name: str, state: Any) -> None:
        """Show every pattern with plasticity off; the state stays as it is."""
        import numpy as np

        from tasks.assemblies import LAG, LASTS, answers, assemblies, probe
        from tasks.associations import FROZEN

        course = probe(self.circuit, f"probe/{name}")
        steps = max(course.shown) + LAG + LASTS
        parts = self.program.stream(FROZEN, course.inputs, steps=steps, chunk=CHUNK, state=state)
        answered = answers(course, np.concatenate([part.spikes["E"][0] for part in parts]))
        self.found |= {f"answers/{name}/{p}": a.astype(np.uint8) for p, a in answered.items()}
        self.found |= {f"cells/{name}/{p}": cells for p, cells in assemblies(answered).items()}

    def live(self, phase: str, file: Any) -> None:
        """A phase with STDP, into the file; then what it made."""
        import time

        begin, counts = time.process_time(), {"E": 0, "I": 0}
        for part in self.parts(phase, file.state):
            file.append(part)
            counts = {n: k + int(part.spikes[n].sum()) for n, k in counts.items()}
        self.found["seconds"] += time.process_time() - begin
        self.found |= {f"weights/{phase}/{n.removesuffix('.w')}": w[0] for n, w in part.final.items()}
        self.found |= {f"spikes/{phase}/{n}": k for n, k in counts.items()}
        self.found[f"steps/{phase}"] = self.spans[phase]
        self.probe(phase, file.state)

    def control(self, state: Any) -> None:
        """The association without STDP, as "frozen"."""
        from tasks.associations import FROZEN

        for part in self.parts("association", state, FROZEN):
            end = part
        self.probe("frozen", end.state)


def lived(arm: Arm, path: Path) -> dict[str, Any]:
    """All phases, spikes into a run file; the control where gamma_exc is 0.9."""
    from neuro.io.appending import append_recording

    life = Life(arm)
    with append_recording(path, life.circuit.network, overwrite=True) as file:
        for phase in arm.seconds:
            before = file.state
            life.live(phase, file)
            if phase == "association" and arm.excitability < 1:
                life.control(before)
    return life.found


def cells(found: Mapping[str, Any], phase: str) -> dict[str, Any]:
    """Pattern -> its assembly after a phase."""
    return named(found, f"cells/{phase}/")


def named(found: Mapping[str, Any], start: str) -> dict[str, Any]:
    """What lies below, by its own name."""
    return {n.removeprefix(start): v for n, v in found.items() if n.startswith(start)}


def phases(found: Mapping[str, Any], what: str) -> list[str]:
    """Those of which this is kept, in order."""
    return list(dict.fromkeys(n.partition("/")[0] for n in named(found, f"{what}/")))


def closed_forms(first: Any, second: Any) -> list[tuple[Any, Any, Any]]:
    """Pairs and triplets at these intervals, in steps of 1 ms: steps of presynaptic spikes, of postsynaptic ones, and what they change a weight by."""
    import numpy as np

    zero, both = np.zeros_like(first), first + second
    near, late, all_ = (np.exp(-x / 25) for x in (first, second, both))
    far, later = (np.exp(-x / 1000) for x in (first, second))
    return [
        ([zero], [first], 10 * near),
        ([first], [zero], -0.5 * far),
        ([zero, both], [first], 10 * near - later * (0.5 + 0.5 * all_)),
        ([first], [zero, both], -0.5 * far + late * (10 + 10 * all_)),
    ]


def forced(synapses: Any, size: int, **options: Any) -> Any:
    """A network of cells E that fire when current `force` says so; each hears one channel of x through one of each of the synapses. options: of the projections, by name of the synapse."""
    from dataclasses import replace

    from neuro.language.units import quantity
    from neuro.model import Input, Network, OneToOne, Population, Projection
    from tasks.associations import cell

    plain = cell("forced", 10, traces=True)
    neuron = replace(plain, equations=f"{plain.equations}\nforce : 1", threshold="force > 0.5")
    projections = tuple(Projection(s.name, "x", "E", s, quantity(20, ""), OneToOne(), **options) for s in synapses)
    inputs = (Input("x", size), Input("force", size, "current", "E.force"))
    return Network((Population("E", neuron, size),), projections, inputs, quantity(1, "ms"))


def isolated(backend: str, delay: int = 0) -> float:
    """Largest difference of a plastic weight from the closed forms, of many intervals, with short-term plasticity and without. delay: steps."""
    import numpy as np

    import backends
    from neuro.language.units import quantity
    from tasks.associations import BOTH, TRIPLETS

    first, second = np.array([(a, b) for a in (1, 7, 26) for b in (1, 9, 40)]).T
    kinds, n = closed_forms(first, second), len(first)
    pre, post = np.zeros((2, 1, 80 + delay, len(kinds) * n))
    for k, (sent, fired, _) in enumerate(kinds):
        for raster, times, late in ((pre, sent, 0), (post, fired, delay)):
            for at in times:
                raster[0, 1 + at + late, k * n + np.arange(n)] = 1
    net = forced((TRIPLETS, BOTH), len(kinds) * n, delay=quantity(delay, "ms"), parameters={"w_max": quantity(100, "")})
    final = backends.get(backend).compile(net).run(inputs={"x": pre > 0, "force": post}).final
    expected = 20 + np.concatenate([change for _, _, change in kinds])
    return max(float(np.abs(final[f"{s.name}.w"][0] - expected).max()) for s in (TRIPLETS, BOTH))


def rule(study: Study) -> None:
    """2."""
    from neuro.registry import MissingPackageError

    for backend in ("reference", "native", "torch", "brian2"):
        name, wanted = f"2 STDP of isolated pairs and triplets, {backend}: off by", f"<= {EXACT:g}"
        try:
            off = max(isolated(backend, delay) for delay in (0, 5))
        except MissingPackageError as error:
            study.unmeasured(name, wanted, str(error))
            continue
        study.criterion(name, f"{off:.1e}", wanted, off <= EXACT)


def noise(study: Study) -> None:
    """1: rates before any pattern, with STDP and without."""
    import numpy as np

    import backends
    from tasks.assemblies import Course
    from tasks.associations import FROZEN, Circuit

    steps, found = round(1e3 * RATES), list[Any]()
    with study.progress("noise") as update:
        for k in range(CIRCUITS):
            circuit = Circuit(0.9, 1.0, study.seed + k)
            program: Any = backends.get("native").compile(circuit.network)
            low, inputs = program.declared["E.E_exc"].value, Course(circuit, "run", {})
            for more in (0.0, 0.1):
                for plastic, stopped in (("on", {}), *(() if study.quick else (("off", FROZEN),))):
                    r = program.run({**stopped, "E.E_exc": low + 300 * more}, inputs.inputs(0, steps)).spikes
                    found.append((0.9 + more, plastic, *(1e3 * float(r[n].mean()) for n in "EI")))
            update(k + 1, CIRCUITS, "")
    rows = [(e, p, *np.mean([f[2:] for f in found if f[:2] == (e, p)], axis=0)) for e, p in dict.fromkeys(f[:2] for f in found)]  # fmt: skip
    study.table(f"noise, {RATES:g} s, mean of {CIRCUITS} circuits", ("gamma_exc", "STDP", "E [Hz]", "I [Hz]"), rows)
    for e, plastic, excitatory, inhibitory in rows:
        if plastic == "on":
            right = 0.5 <= excitatory <= 1.5 and 8 <= inhibitory <= 16
            study.criterion(f"1 noise with STDP, gamma_exc {e:g}: E and I [Hz]", f"{excitatory:.2f}, {inhibitory:.1f}", "0.5 to 1.5, 8 to 16", right)  # fmt: skip


def judged(study: Study, arm: Arm, found: Mapping[str, Any]) -> None:
    """3 to 5, of one life."""
    from tasks.assemblies import kept, shared
    from tasks.associations import PATTERNS

    encoded, old, new = (cells(found, phase) for phase in ("encoding", arm.before, "association"))
    sizes, overlaps = [int(encoded[p].sum()) for p in PATTERNS], shared(encoded)
    least = [min(sizes[a], sizes[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    right = all(15 <= n <= 60 for n in sizes) and all(o <= 0.3 * n for o, n in zip(overlaps, least, strict=True))
    study.criterion("3 blue, green, red after encoding; in two of them", f"{sizes}; {overlaps}", "15 to 60; <= 30 % of the smaller", right)  # fmt: skip
    (was, *_), (pair, *others), share = shared(old), shared(new), kept(old, new)
    right = pair >= 10 and pair >= 3 * was and all(2 * o < pair for o in others)
    study.criterion("4 blue & green after association", f"{was} -> {pair}; {others}", ">= 10, tripled; others below half", right)  # fmt: skip
    study.criterion("4 of each assembly kept, least", min(share.values()), ">= 0.4", min(share.values()) >= 0.4)
    still = shared(cells(found, "frozen"))[0]
    study.criterion("5 blue & green, STDP frozen meanwhile", f"{was} -> {still}", "+- 3", abs(still - was) <= 3)


def sweep(study: Study, lives: Mapping[Arm, Mapping[str, Any]]) -> None:
    """6: of every run."""
    from tasks.assemblies import added, shared

    both: dict[float, list[int]] = {1.0: [], 0.8: [], 0.6: []}
    new: dict[float, list[int]] = {1.0: [], 0.8: [], 0.6: []}
    for arm, found in lives.items():
        if arm.excitability == 1 and not arm.short:
            old, own = cells(found, arm.before), cells(found, "association")
            both[arm.scale].append(shared(own)[0])
            new[arm.scale].append(int(added(old, own)[0].sum()))
    name = "6 blue & green, gamma_exc 1, gamma_w 1: each run"
    study.criterion(name, both[1.0], "all >= 20", min(both[1.0]) >= 20)
    right = max(both[0.6]) <= 8 and all(few < recruited for few, recruited in zip(both[0.6], new[0.6], strict=True))
    study.criterion("6 gamma_w 0.6: blue & green; new ones", f"{both[0.6]}; {new[0.6]}", "<= 8; more new ones", right)


def shown(study: Study, lives: Mapping[Arm, Mapping[str, Any]]) -> None:
    """A table of every phase, and a figure."""
    from tasks.assemblies import added, kept, pair_coding, shared
    from tasks.associations import PATTERNS

    rows = []
    for arm, found in lives.items():
        answered = {phase: named(found, f"answers/{phase}/") for phase in phases(found, "cells")}
        old = cells(found, arm.before)
        for phase in answered:
            own = cells(found, phase)
            new, fresh = added(old, own)
            rows.append((
                str(arm), phase, " ".join(str(own[p].sum()) for p in PATTERNS), "/".join(map(str, shared(own))), f"{new.sum()} ({fresh.sum()})",
                " ".join(f"{s:.2f}" for s in kept(old, own).values()), pair_coding(answered[arm.before], answered[phase]).sum(),
            ))  # fmt: skip
    header = ("gamma_exc, gamma_w", "after", "blue green red", "b&g/b&r/g&r", "new", "kept", "pair-coding")  # fmt: skip
    study.table("assemblies; new, kept, pair-coding since the association began", header, rows)
    study.table("prototype's blue & green (short runs)", ("gamma_exc, gamma_w", "before -> after"), [(f"{e:g}, {w:g}", v) for (e, w), v in PROTOTYPE.items()])  # fmt: skip
    first = next(iter(lives.values()))
    past = phases(first, "steps")
    pairs = zip(*(shared(cells(first, phase)) for phase in past), strict=True)
    drawn = {n: [v] for n, v in zip(("blue & green", "blue & red", "green & red"), pairs, strict=True)}
    study.figure("shared", curves(drawn, f"after phase ({', '.join(past)})", "cells in both"))


def files(study: Study, paths: Mapping[Arm, Path], lives: Mapping[Arm, Mapping[str, Any]]) -> None:
    """7."""
    import h5py

    for arm, path in paths.items():
        counted = sum(map(int, named(lives[arm], "spikes/").values()))
        with h5py.File(path) as file:
            held = sum(len(file["spikes"][n]["timestamps"]) for n in "EI")
            right = bool(file.attrs["complete"]) and held == counted > 0
        study.criterion(f"7 {path.name}: spikes", held, f"complete, {counted}", right)


def run(study: Study) -> None:
    """The rule, noise, then lives."""
    from joblib import delayed

    arms = [Arm(0.9, 1.0, study.seed, short=study.quick)]
    if not study.quick:
        arms += [Arm(1.0, w, study.seed) for w in (1.0, 0.8, 0.6)]
        arms += [Arm(*point, study.seed + 1) for point in ((0.9, 1.0), (1.0, 1.0), (1.0, 0.6))]
        arms += [Arm(0.9, 1.0, study.seed, prompt=True)]
        arms += [
            Arm(*point, study.seed, prompt, True) for point in ((0.9, 1.0), (1.0, 0.8)) for prompt in (False, True)
        ]
    source = "a prototype by the specification's author, short runs; not the paper's numbers"
    study.provenance({"arms": [vars(a) for a in arms], "seconds": {"full": FULL, "short": SHORT}, "seed": study.seed}, {"blue & green": {str(k): v for k, v in PROTOTYPE.items()}, "provenance": source})  # fmt: skip
    rule(study)
    noise(study)
    paths = {a: study.folder / f"{study.name}-{str(a).replace(', ', '-').replace(' ', '')}.h5" for a in arms}
    lives: dict[Arm, dict[str, Any]] = {}
    with study.progress("lives") as update:
        for arm, found in zip(arms, study.parallel(delayed(lived)(a, paths[a]) for a in arms), strict=True):
            lives[arm] = found
            for name, value in found.items():
                study.array(f"{arm}/{name}", value)
            update(len(lives), len(arms), str(arm))
    shown(study, lives)
    judged(study, arms[0], lives[arms[0]])
    if study.quick:
        study.unmeasured("6 blue & green by gamma_w", ">= 20 at 1; <= 8 at 0.6, and more new ones")
    else:
        sweep(study, lives)
    files(study, paths, lives)
    steps = max(last for _, last in named(lives[arms[0]], "steps/").values())
    worst = max(f["seconds"] for f in lives.values())
    study.criterion(f"processor seconds of {steps / 1e3:.0f} s", worst, "<= 180 for 1,037", worst <= 180, full=True)

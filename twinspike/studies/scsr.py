"""Skip-connected self-recurrent spiking networks, whose membranes are trained with the weights (Zhang & Li 2021).

Synthesised letters in place of TI46, which isn't free; two layers of 64 cells. The margins wanted are those of a reduced prototype after 120 updates, for learning is what
differs, and less so at the end. Controls: the same with a frozen inside and a trained readout; membranes trained without recurrence; slopes by spike times (TSSL-BP); an unsupervised rule
for the membranes (SpiKL-IP). Three voices are held out; nothing was chosen by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from twinspike.study import Study, curves

MINUTES = 4
RUNS = 3
MARKS = (120, 240, 624)  # updates after which the test voices are asked; the last one is 24 epochs
WEIGHTS = {"trainable": ("*.w",)}
PLAIN: dict[str, Any] = {"self_recurrent": False, "skip": False}
FORWARD, SCSR, BIP, TIMED, SPIKL = "feed-forward", "ScSr", "ScSr + BIP", "ScSr + BIP, by spike times", "ScSr + SpiKL-IP"
ARMS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {  # options of the task and of the rule
    FORWARD: (PLAIN, WEIGHTS),
    "feed-forward + BIP": (PLAIN, {}),
    "self-recurrent": ({"skip": False}, WEIGHTS),
    SCSR: ({}, WEIGHTS),
    BIP: ({}, {}),
    TIMED: ({"backward": "spike times"}, {}),
    SPIKL: ({}, WEIGHTS),
    "ScSr, readout only": ({}, {"trainable": ("feed2.w", "skip2.w")}),
}
PROTOTYPE = {FORWARD: 0.479, SCSR: 0.677, BIP: 0.731}  # letters, 120 updates, mean of 2 seeds
BIN = 6.4  # milliseconds of a step; one in SpiKL-IP's publication


def trained(arm: str, words: str, seed: int, marks: tuple[int, ...]) -> dict[str, Any]:
    """One run on native: accuracy on the voices held out after so many updates, membranes at the end, seconds of the processor."""
    import time

    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    options, changes = ARMS[arm]
    task = tasks.get("spoken-letters", words=words, **options)
    begin = time.process_time()
    program: Any = backends.get("native").compile(task.network(seed), **task.settings.for_backend("native"))
    rule = learning.get("bptt", **{**task.settings.rules["bptt"], **changes})
    first = {**values(program.network), **(tuned(task, seed) if arm == SPIKL else {})}
    parameters, state, test = first, rule.init(program, first), task.test_batch()
    metrics, updates, epoch = list[float](), 0, 0
    while updates < marks[-1]:
        for batch in task.train_batches(streams.generator(seed, f"data/{epoch}"), task.settings.batch):
            parameters, state, _ = rule.step(program, parameters, state, batch, task)
            updates += 1
            if updates in marks:
                recording = program.run(parameters, test.inputs, task.record())
                metrics.append(task.metric(recording, test))
            if updates == marks[-1]:
                break
        epoch += 1
    kept = {n: np.asarray(v) for n, v in parameters.items() if n.rpartition(".")[2] in ("tau_m", "R")}
    return {"metric": np.array(metrics), "seconds": time.process_time() - begin, **kept}


def tuned(task: Any, seed: int) -> dict[str, Any]:
    """Membranes of the hidden cells as SpiKL-IP leaves them, which hears every training utterance once, one after the other, through the first weights."""
    import numpy as np

    import backends
    from neuro.compiler import streams
    from neuro.language.units import quantity
    from neuro.model import Network
    from tasks.self_recurrent import tunes

    network: Network = task.network(seed)
    own = {n: quantity(v / BIN, "") for n, v in (("tau_least", 32), ("tau_most", 512))}
    first = {"tau": quantity(64 / BIN, ""), "R": quantity(64, "")}
    populations = tuple(
        p if p.name == "output" else replace(p, neuron=tunes, parameters=own, initial=first)
        for p in network.populations
    )
    program: Any = backends.get("native").compile(replace(network, populations=populations))
    order = streams.generator(seed, "tuning").permutation(task.sides[0])
    heard = {"x": np.concatenate(task.spikes[order])[None]}
    final = program.run(inputs=heard).state.numpy().variables
    found = {}
    for p in populations[:-1]:
        tau, resistance = (final[f"{p.name}.{n}"][0] for n in ("tau", "R"))
        found[f"{p.name}.tau_m"] = tau * BIN / 1e3
        found[f"{p.name}.R"] = resistance / found[f"{p.name}.tau_m"] / 20  # its threshold is 20, ours 1
    return found


def gradients(study: Study) -> None:
    """1 to 3: of every membrane against autograd, and against differences where no cell fires; what zeros do; how many weights."""
    import numpy as np

    import backends
    from neuro.compiler.parameters import values
    from tasks.self_recurrent import network

    random = np.random.default_rng(study.seed)
    shown = {"x": random.random((3, 25, 6)) < 0.4}
    net = network("small", 6, (8, 7), 4, seed=study.seed)
    p: dict[str, Any] = {
        n: v * 3 if n.startswith(("feed", "skip")) and n.endswith(".w") else v for n, v in values(net).items()
    }
    own = [f"self{k}.w" for k in range(2)]
    p |= {n: random.normal(0, 0.5, np.shape(p[n])) for n in own}
    p |= {n: v * random.uniform(0.5, 1.5, np.shape(v)) for n, v in p.items() if n.endswith((".tau_m", ".R"))}
    wrt = [n for n in p if n.endswith((".tau_m", ".R", ".w"))]
    options: dict[str, Any] = {"surrogate": "sigmoid", "surrogate_scale": 5.0}
    programs: dict[str, Any] = {b: backends.get(b).compile(net, **options) for b in ("native", "torch")}
    loss = lambda found: found.traces["output.u"].square().sum()
    ours, theirs = (c.value_and_grad(loss, p, shown, wrt, ["output.u"])[1] for c in programs.values())
    off = max(float(np.abs(ours[n] - theirs[n]).max() / np.abs(theirs[n]).max()) for n in wrt if theirs[n].any())
    study.criterion("1 gradients of membranes and weights, native over autograd", off, "< 1e-5", off < 1e-5)
    worst = differences(programs["native"], p, shown)
    study.criterion("1 the same over differences, where no cell fires", worst, "< 1e-5", worst < 1e-5)
    zero = {**p, **{n: np.zeros(np.shape(p[n])) for n in (*own, "skip1.w", "skip2.w")}}
    same, off = without(zero, net, network("small", 6, (8, 7), 4, **PLAIN, seed=study.seed), shown)
    name = "2 without weights to themselves and over layers: the feed-forward network, bit for bit (reference)"
    study.criterion(name, same, "yes", same)
    study.criterion("2 the same on native, with the same spikes: u is off by", off, "< 1e-12", off < 1e-12)
    count = sum(np.size(p[n]) for n in own)
    study.criterion("3 weights to themselves, 8 + 7 cells", count, "15", count == 15)


def without(p: Mapping[str, Any], net: Any, plain: Any, shown: Mapping[str, Any]) -> tuple[bool, float]:
    """Whether two networks are the same on the reference, and how far apart they are on native, which sums in another order; infinitely where spikes differ."""
    import numpy as np

    import backends
    from neuro.compiler.parameters import values

    variables = ("layer0.u", "layer1.u", "output.u")
    found = {}
    for backend in ("reference", "native"):
        a, b = (
            backends.get(backend).compile(n).run({k: p[k] for k in values(n)}, shown, variables) for n in (net, plain)
        )
        off = max(float(np.abs(a.traces[n] - b.traces[n]).max()) for n in variables)
        fires = a.spikes["layer1"].any() and all(np.array_equal(a.spikes[n], b.spikes[n]) for n in a.spikes)
        found[backend] = off if fires else np.inf
    return found["reference"] == 0, found["native"]


def differences(program: Any, p: Mapping[str, Any], shown: Mapping[str, Any]) -> float:
    """Largest relative difference of the first layer's gradients from quotients of differences, on so small an R that nothing fires, and nothing hears itself:
    a surrogate passes a gradient of spikes that are not there."""
    import numpy as np

    quiet = {**p, "layer0.R": np.full(8, 10.0), "self0.w": np.zeros(8)}
    loss = lambda found: found.traces["layer0.u"].square().sum()
    _, slopes = program.value_and_grad(loss, quiet, shown, ["layer0.tau_m", "layer0.R"], ["layer0.u"])
    worst = 0.0
    for name, slope in slopes.items():
        for k in range(8):
            step, at = 1e-5 * quiet[name][k], np.arange(8) == k
            runs = [
                program.run({**quiet, name: quiet[name] + s * step * at}, shown, ["layer0.u"]).traces["layer0.u"]
                for s in (1, -1)
            ]
            up, down = (float((u**2).sum()) for u in runs)
            worst = max(worst, abs((up - down) / (2 * step) / slope[k] - 1))
    return worst


def front_end(study: Study) -> None:
    """6: what the cochlea sends, as shares of all steps up to the longest utterance's end."""
    from tasks.synthetic_speech import CHANNELS, utterances

    wanted = {"digits": (390, 0.07), "letters": (1014, 0.05)}
    for words, (count, rate) in wanted.items():
        found = utterances(words)
        steps = max(map(len, found.spikes))
        share = sum(float(s.sum()) for s in found.spikes) / (len(found.spikes) * steps * CHANNELS)
        right = len(found.spikes) == count and abs(share - rate) < 0.01
        study.criterion(f"6 {words}: utterances of {CHANNELS} channels, and their rate", f"{len(found.spikes)}, {share:.4f}", f"{count}, {rate} +- 0.01", right)  # fmt: skip


def learning(study: Study, words: str, arms: Mapping[str, Any], runs: int, marks: tuple[int, ...]) -> dict[str, Any]:
    """All runs of some words, as a table and a figure. Returns arm -> runs."""
    from joblib import delayed

    calls = [(arm, study.seed + k) for arm in arms for k in range(runs)]
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    with study.progress(words) as update:
        results = study.parallel(delayed(trained)(arm, words, seed, marks) for arm, seed in calls)
        for done, ((arm, seed), run) in enumerate(zip(calls, results, strict=True)):
            found[arm].append(run)
            for name, value in run.items():
                study.array(f"{words}/{arm}/{seed}/{name}", value)
            update(done + 1, len(calls), f"{arm} {run['metric'][-1]:.3f}")
    rows = []
    for arm, all_ in found.items():
        at = [" ".join(f"{r['metric'][k]:.3f}" for r in all_) for k in range(len(marks))]
        taus = [1e3 * float(v.mean()) for n, v in all_[0].items() if n.endswith(".tau_m")]
        rows.append((arm, *at, PROTOTYPE.get(arm, "-") if words == "letters" else "-", " ".join(f"{t:.1f}" for t in taus), all_[0]["seconds"]))  # fmt: skip
    header = ("network", *(f"{m} updates" for m in marks), "prototype, 120", "mean tau_m [ms]", "processor s")
    study.table(f"{words}: accuracy on the voices held out, each run", header, rows)
    study.figure(words, curves({arm: [r["metric"] for r in all_] for arm, all_ in found.items()}, f"mark ({', '.join(map(str, marks))} updates)", "accuracy", title=words))  # fmt: skip
    return found


def letters(study: Study) -> None:
    """4 and 5."""
    import numpy as np

    few = {arm: ARMS[arm] for arm in (FORWARD, SCSR, BIP)}
    found = learning(study, "letters", few if study.quick else ARMS, 1 if study.quick else RUNS, MARKS[:1] if study.quick else MARKS)  # fmt: skip
    mean = {arm: float(np.mean([r["metric"][0] for r in all_])) for arm, all_ in found.items()}
    for arm, margin in ((BIP, 0.12), (SCSR, 0.08)):
        ahead = mean[arm] - mean[FORWARD]
        study.criterion(
            f"4 letters, 120 updates: {arm} over feed-forward", ahead, f">= {margin}", ahead >= margin, full=True
        )
    if study.quick:
        least, name = min(mean.values()), "4 letters, 120 updates: the worst of these networks (chance 0.038)"
        study.criterion(name, least, "> 0.2", least > 0.2)
    moved = min(
        float(np.abs(r[f"{n}.tau_m"] / (16e-3 * BIN) - 1).mean())
        for r in found[BIP]
        for n in ("layer0", "layer1", "output")
    )
    study.criterion("5 tau_m moves from 16 steps, mean of a layer's cells, least", moved, "> 0.02", moved > 0.02)


def run(study: Study) -> None:
    """Units, the front end, then what is learned."""
    from neuro.options import OptionError

    config = {
        "arms": {n: [dict(o) for o in options] for n, options in ARMS.items()},
        "marks": MARKS,
        "runs": RUNS,
        "seed": study.seed,
    }
    source = "a prototype by the specification's author, letters, 120 updates, mean of two seeds"
    study.provenance(config, {"accuracy": PROTOTYPE, "provenance": source})
    gradients(study)
    try:
        front_end(study)
    except OptionError as error:
        for name, wanted in (("4 letters", "margins"), ("5 tau_m", "> 0.02"), ("6 utterances", "390 and 1014")):
            study.unmeasured(name, wanted, str(error).partition(";")[0])
        return
    letters(study)
    if not study.quick:
        learning(study, "digits", {arm: ARMS[arm] for arm in (FORWARD, SCSR, BIP)}, RUNS, MARKS[:2])

"""Perceptrons of signs and of a few bits, from training to bits and chips (Hubara et al. 2018); recurrent ones are the study `quantised-recurrent`.

4,000 and 1,000 of MNIST's digits into 784-512-512-512-10, batch normalisation behind every sum, squared hinge, 25 epochs of Adam or shift-AdaMax. Controls: the same in floating point, and signs
of which the last layer alone was trained. The trained signs are folded into integer thresholds, run as packed bits and as a chip's integers. The specification's prototype is one run; the figures
wanted are its margins.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinspike.study import Study, curves

MINUTES = 12
RUNS, EPOCHS = 3, 25
RATE, FALL = 3e-3, 1e-3  # Adam's at the start, and its part at the end
FLOAT, SIGNS, SHIFTS, FOUR, CONTROL = (
    "float", "1 bit", "1 bit, shift-BN, shift-AdaMax", "4 bits", "1 bit, last layer only",
)  # fmt: skip


def weights(kind: str, **more: Any) -> dict[str, Any]:
    """Options of a quantiser whose codes stand for -1 to 1."""
    return {"weights": {"*": {"kind": kind, "fit": "unit", **more}}}


BINARY = {"quantise": weights("binary")}
ARMS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {  # options of the task and of the rule
    FLOAT: ({"bits": 0, "largest": 0.0}, {"learning_rate": 0.9e-3, "by_fan": False, "quantise": {}}),
    SIGNS: ({}, BINARY),
    "1 bit, shift-BN": ({}, {**BINARY, "normalisation": "shift"}),
    SHIFTS: ({}, {
        **BINARY, "normalisation": "shift", "optimiser": "shift-adamax", "learning_rate": 2.0**-9, "by_fan": False,
        "learning_rates": {"*.w": 2.0**-4, "feed_4.w": 2.0**-5},  # the powers of two nearest to what by_fan makes of 2^-9
        "optimiser_options": {"eps": 2.0**-27}, "scheduler": "step",
    }),
    "1 bit, stochastic": ({}, {**BINARY, "stochastic": "noise"}),
    "1 bit weights, 2 bits between": ({"bits": 2}, BINARY),
    FOUR: ({"bits": 4}, {"quantise": weights("linear", bits=4, symmetric=False)}),
    CONTROL: ({}, {**BINARY, "trainable": ("feed_4.w", "output.gamma", "output.beta")}),
}  # fmt: skip
PROTOTYPE = {
    FLOAT: 5.8, SIGNS: 5.8, "1 bit, shift-BN": 7.8, SHIFTS: 6.4, FOUR: 6.4, "1 bit weights, 2 bits between": 5.8,
}  # fmt: skip
MARGINS = {SIGNS: 2.0, SHIFTS: 3.0, FOUR: 1.5}  # points above float
SMALL = {"source": "digits", "hidden": (64, 64)}  # of a quick run


def options_of(task: Any, arm: str, epochs: int) -> dict[str, Any]:
    """The rule's options, its schedule over as many epochs."""
    given = {**task.settings.rules["layerwise"], "learning_rate": RATE, "scheduler": "exponential", **ARMS[arm][1]}
    updates = epochs * -(-len(task.data[1]) // task.settings.batch)
    halved = {"step_size": max(1, 8 * updates // EPOCHS), "gamma": 0.5}
    given["schedule_options"] = halved if given["scheduler"] == "step" else {"gamma": FALL ** (1 / updates)}
    if arm == CONTROL:
        given["trainable"] = task.readout
    return given


def trained(arm: str, seed: int, epochs: int, small: Mapping[str, Any]) -> dict[str, Any]:
    """One run on torch: test error in per cent after each epoch, the parameters at the end, seconds of the processor."""
    import time

    import torch

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    torch.set_num_threads(1)
    task: Any = tasks.get("quantised-images", **{**ARMS[arm][0], **small})
    begin = time.process_time()
    program: Any = backends.get("torch").compile(task.network(seed), **task.settings.for_backend("torch"))
    rule: Any = learning.get("layerwise", **options_of(task, arm, epochs))
    parameters, test, errors = values(program.network), task.test_batch(), list[float]()
    state = rule.init(program, parameters)
    for epoch in range(epochs):
        for batch in task.train_batches(streams.generator(seed, f"data/{epoch}"), task.settings.batch):
            parameters, state, _ = rule.step(program, parameters, state, batch, task)
        found = program.run(parameters, test.inputs, task.record())
        errors.append(100 * (1 - task.metric(found, test)))
    return {"error": errors, "parameters": parameters, "seconds": time.process_time() - begin}


def learning(study: Study) -> Mapping[str, Any]:
    """1: all arms, each run. Returns the parameters of the first network of signs."""
    import numpy as np
    from joblib import delayed

    arms = (FLOAT, SIGNS, FOUR) if study.quick else tuple(ARMS)
    runs, epochs, small = (1, 6, SMALL) if study.quick else (RUNS, EPOCHS, {})
    calls = [(arm, study.seed + k) for arm in arms for k in range(runs)]
    found: dict[str, list[Any]] = {arm: [] for arm in arms}
    with study.progress("images") as update:
        results = study.parallel(delayed(trained)(arm, seed, epochs, small) for arm, seed in calls)
        for done, ((arm, seed), run) in enumerate(zip(calls, results, strict=True), start=1):
            found[arm].append(run)
            study.array(f"error/{arm}/{seed}", run["error"])
            update(done, len(calls), f"{arm} {run['error'][-1]:.1f} %")
    last = {arm: np.array([r["error"][-1] for r in all_]) for arm, all_ in found.items()}
    rows = [
        (arm, " ".join(f"{e:.1f}" for e in last[arm]), float(last[arm].mean()), PROTOTYPE.get(arm, "-"), float(np.mean([r["seconds"] for r in all_])))
        for arm, all_ in found.items()
    ]  # fmt: skip
    study.table("test error [%]", ("network", "each run", "mean", "prototype", "processor s a run"), rows)
    study.figure("error", curves({arm: [r["error"] for r in all_] for arm, all_ in found.items()}, "epoch", "test error [%]"))  # fmt: skip
    for arm, margin in MARGINS.items():
        name, wanted = f"1 {arm}: points of error above float", f"<= {margin}"
        if arm in last:
            above = float(last[arm].mean() - last[FLOAT].mean())
            study.criterion(name, above, wanted, above <= margin, full=True)
        else:
            study.unmeasured(name, wanted)
    if study.quick:
        study.criterion(
            "1 signs, a quick run: error [%]", float(last[SIGNS][0]), "< 30 (chance 90)", last[SIGNS][0] < 30
        )
    return found[SIGNS][0]["parameters"]  # type: ignore[no-any-return]


def integers(study: Study, parameters: Mapping[str, Any]) -> None:
    """2, 3, 6, 7: thresholds, bits and a chip's integers of a trained network of signs, for all test images."""
    import h5py
    import numpy as np

    import backends
    import tasks
    from backends.native.binary import PackedNetwork
    from backends.native.binary_file import open_packed, write_packed
    from neuro.export import targets
    from neuro.export.quantisation.folding import fold
    from neuro.export.quantisation.normalised import normalised_layers
    from neuro.export.quantisation.threshold_network import threshold_network

    task: Any = tasks.get("quantised-images", **(SMALL if study.quick else {}))
    network, pixels = task.network(study.seed), task.data[2]
    folded = fold(normalised_layers(network, parameters))
    hidden = [f"hidden_{k}.x" for k in range(1, len(folded.layers) + 1)]
    names = (*hidden, "output.u")
    found = backends.get("native").compile(network).run(parameters, task.test_batch().inputs, names).traces
    answers = found["output.u"][:, 0].argmax(axis=1)
    differ = sum(int((found[n][:, 0] != s).sum()) for n, s in zip(hidden, folded.signs(pixels), strict=True))
    study.criterion("6 signs that the folded thresholds decide otherwise", differ, "0", differ == 0)
    same = float((folded.outputs(pixels).argmax(axis=1) == answers).mean())
    study.criterion("7 argmax of integers and of the trained network agree", same, "1", same == 1)
    packed = PackedNetwork.of(folded)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.h5"
        write_packed(path, packed)
        equal = np.array_equal(open_packed(path).run(pixels), folded.sums(pixels))
        with h5py.File(path) as file:
            stored = sum(file[f"layers/{k}/packed"].nbytes for k in range(len(packed.layers)))
        export = targets.get("loihi2").export((spiking := threshold_network(folded)).network, None, Path(folder) / "net")  # fmt: skip
    study.criterion("2 packed bits, read back from their file: integer sums equal", equal, "yes", equal)
    ratio = sum(4 * x.codes.size for x in packed.layers) / stored
    study.criterion("3 packed weights in the file: times smaller than float32", ratio, "32", ratio == 32)
    network_of_integers: Any = export.integers
    chip: Any = backends.get("native").compile(network_of_integers)
    raster = chip.run(export.integer_parameters, {"pixels": spiking.streamed(pixels)})
    plain = backends.get("native").compile(spiking.network).run(None, {"pixels": spiking.streamed(pixels)})
    differ = sum(int((plain.spikes[n] != z).sum()) for n, z in raster.spikes.items())
    study.criterion("7 Loihi 2's integers, an image a step: spikes that differ", differ, "0", differ == 0)
    sums = spiking.sums({n: z[0, spiking.latency :] for n, z in raster.spikes.items()})
    equal = np.array_equal(sums, folded.sums(pixels))
    study.criterion("7 sums of the last layer from Loihi 2's spikes equal", equal, "yes", equal)
    rows = [(k, int(a), b) for k, (a, b) in enumerate(zip(folded.largest, folded.bits, strict=True), start=1)]
    study.table("accumulators", ("layer", "largest sum", "bits with sign"), rows)


def normalisations(study: Study) -> None:
    """6: random batch normalisations, gains of both signs and 0 among them, folded: every possible sum."""
    import numpy as np

    from neuro.export.quantisation.folding import NormalisedLayer, folded
    from neuro.export.quantisation.quantisers import sign

    random, wrong, count = np.random.default_rng(study.seed), 0, 64
    for _ in range(20):
        gamma = random.normal(size=count) * (random.random(count) > 0.1)
        codes = random.choice([-1, 1], (33, count))
        mean, beta = 5 * random.normal(size=count), random.normal(size=count)
        layer = NormalisedLayer(codes, 1.0, gamma, mean, random.uniform(0.05, 2, count), beta)
        whole, turned = folded(layer), np.where(gamma < 0, -1, 1)
        sums = np.arange(-33, 34, 2)[:, None]
        wrong += int((sign(layer.outputs(sums)) != sign(turned * sums - whole.threshold)).sum())
    study.criterion("6 random normalisations: signs that thresholds decide otherwise", wrong, "0", wrong == 0)


def run(study: Study) -> None:
    """Thresholds of random layers, training, integers, recurrent networks."""
    from neuro.options import OptionError

    config = {
        "arms": {n: [dict(o) for o in options] for n, options in ARMS.items()},
        "epochs": EPOCHS, "runs": RUNS, "seed": study.seed,
    }  # fmt: skip
    provenance = "the specification's prototype, one run of 25 epochs on another split of the same images"
    study.provenance(config, {"error": PROTOTYPE, "provenance": provenance})
    normalisations(study)
    try:
        integers(study, learning(study))
    except OptionError as error:
        study.unmeasured("1 to 3, 7 images", "margins", str(error).partition(";")[0])

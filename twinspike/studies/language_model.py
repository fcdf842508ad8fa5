"""Language models: gated cells against gated cells whose synapses modulate themselves, with as many parameters (Backpropamine's B4).

Miconi, Rawal, Clune & Stanley (2019), ICLR, arXiv 2002.10585. Each form learns a drawn chain of words, whose entropy is known, and, with `--data`, a text: the Penn Treebank
(a folder with train.txt, valid.txt, test.txt), or any text file, such as what `bible -f gen1:1-rev22:21` writes. Both forms have the same windows, optimiser and
learning rate. Controls: the frequencies of the words, and a frozen network with a fitted readout. A text of this size can't show
the published gap of 1.7 of 104, so it isn't asked for.
"""

from __future__ import annotations

from typing import Any

from twinspike.study import Study, curves

MINUTES = 9
DATA = "a folder with train.txt, valid.txt and test.txt, or a text file"
FORMS = ("static", "modulated")
RUNS = 3
CHAIN = {"parameters": 20_000, "epochs": 6}
TEXT = {"parameters": 300_000, "epochs": 4, "vocabulary": 2_000, "words": 100_000, "learning_rate": 5e-3}
PUBLISHED = {  # test perplexity on the Penn Treebank; 4.8 M parameters, 95 % confidence, 16 runs, and large ones, 5 runs
    "LSTM": "104.26 +- 0.22", "differentiable plasticity": "103.80 +- 0.25", "simple neuromodulation": "102.65 +- 0.30",
    "retroactive neuromodulation": "102.48 +- 0.28", "large LSTM, 24.22 M": "62.48 (62.40, 62.60)",
    "large LSTM, neuromodulation": "61.44 (61.37, 61.68)",
}  # fmt: skip


def learned(
    data: str,
    form: str,
    seed: int,
    epochs: int,
    learning_rate: float = 0.02,
    frozen: bool = False,
    updates: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """One run: loss of each update, perplexity of the validation words after each epoch, that of the test words at the best of these.

    frozen: the readout learns alone. updates: where to stop before the epochs are over.
    """
    import numpy as np

    import backends
    import tasks
    from neuro import learning
    from neuro.compiler import streams
    from neuro.compiler.parameters import values

    task = tasks.get("language-model", data=data, form=form, **options)
    program: Any = backends.get("native").compile(task.network(seed), threads=1)
    settings = {**task.settings.rules["bptt"], "learning_rate": learning_rate}
    rule = learning.get("bptt", **(settings | ({"trainable": task.readout} if frozen else {})))
    parameters: Any = values(program.network)
    trained = sum(np.size(parameters[n]) for n in rule.names(program))
    state, losses, valid, best = rule.init(program), [], [], parameters
    for epoch in range(epochs):
        for batch in task.train_batches(streams.generator(seed, f"data/{epoch}"), task.settings.batch):
            parameters, state, found = rule.step(program, parameters, state, batch, task)
            losses.append(found["loss"])
            if len(losses) == updates:
                return {"loss": np.array(losses), "trained": trained}
        valid.append(task.perplexity(program, parameters, "valid"))
        best = parameters if valid[-1] == min(valid) else best
    test = task.perplexity(program, best)
    return {"loss": np.array(losses), "trained": trained, "valid": np.array(valid), "test": test}


def runs(study: Study, title: str, data: str, count: int, **options: Any) -> dict[str, list[dict[str, Any]]]:
    """All runs of both forms, and one of the frozen network."""
    from joblib import delayed

    calls = [(form, study.seed + k, form) for form in FORMS for k in range(count)]
    calls += [] if study.quick else [("static", study.seed, "readout only")]
    found: dict[str, list[dict[str, Any]]] = {arm: [] for *_, arm in calls}
    with study.progress(title) as update:
        results = study.parallel(
            delayed(learned)(data, form, seed, frozen=arm not in FORMS, **options) for form, seed, arm in calls
        )
        for k, ((_, seed, arm), run) in enumerate(zip(calls, results, strict=True)):
            found[arm].append(run)
            for name, value in run.items():
                study.array(f"{title}/{arm}/{seed}/{name}", value)
            update(k + 1, len(calls), f"{arm} loss {run['loss'][-20:].mean():.3f}")
    return found


def counted(study: Study, found: dict[str, list[dict[str, Any]]], parameters: int, title: str) -> None:
    """Both forms have as many parameters, and their losses fall."""
    trained = {form: found[form][0]["trained"] for form in FORMS}
    off = max(abs(n - parameters) / parameters for n in trained.values())
    shown = ", ".join(f"{form} {n:,}" for form, n in trained.items())
    study.criterion(f"B4 {title}: trained parameters", shown, f"{parameters:,} +- 0.1 %", off <= 1e-3)
    falls = [float(run["loss"][-20:].mean() - run["loss"][:5].mean()) for form in FORMS for run in found[form]]
    study.criterion(
        f"B4 {title}: change of the loss, smallest of all runs, nats", max(falls), "< -0.2", max(falls) < -0.2
    )


def chain(study: Study) -> None:
    """Words of a drawn chain: how near the forms come to its entropy."""
    import numpy as np

    import tasks
    from tasks.corpora import chain_entropy

    limits = {"updates": 40} if study.quick else {}
    found = runs(study, "chain", "chain", 1 if study.quick else RUNS, **CHAIN, **limits)
    counted(study, found, CHAIN["parameters"], "chain")
    if study.quick:
        study.unmeasured("B4 chain: worst run over the better control", "< 1")
        return
    corpus = tasks.get("language-model").corpus
    best = float(np.exp(chain_entropy(corpus.vocabulary[k] for k in corpus.test)))
    compared(study, found, "chain", corpus, [("who knows the chain", best)])


def compared(
    study: Study, found: dict[str, list[dict[str, Any]]], title: str, corpus: Any, more: list[tuple[str, float]]
) -> dict[str, float]:
    """Test perplexities of all runs, of the words' frequencies, and of whom else there is to compare with; means by arm."""
    import numpy as np

    often = (
        np.bincount(corpus.train, minlength=len(corpus.vocabulary)) + 0.5
    )  # a word of the test that training doesn't have
    by_frequency = float(np.exp(-np.log(often[corpus.test] / often.sum()).mean()))
    rows = [(arm, " ".join(f"{run['test']:.3f}" for run in all_)) for arm, all_ in found.items()]
    rows += [(name, f"{value:.3f}") for name, value in [("frequencies", by_frequency), *more]]
    study.table(f"B4 {title}: test perplexity at the best epoch of validation", ("model", "runs"), rows)
    losses = {arm: [run["loss"] for run in all_] for arm, all_ in found.items()}
    study.figure(title, curves(losses, "update", "nats a word", over=20, title=title))
    means = {arm: float(np.mean([run["test"] for run in all_])) for arm, all_ in found.items()}
    worst = max(run["test"] for form in FORMS for run in found[form])
    level = min(by_frequency, means["readout only"])
    study.criterion(f"B4 {title}: worst run over the better control", worst / level, "< 1", worst < level)
    return means


def text(study: Study) -> None:
    """A text of the user's: modulated against static."""
    import tasks

    wanted = "<= 1.01"
    if study.quick or not study.data:
        lacks = "" if study.quick else "needs a text: --data"
        study.unmeasured("B4 text: perplexity, modulated over static, means", wanted, lacks)
        return
    options = {n: TEXT[n] for n in ("parameters", "vocabulary", "words")}
    found = runs(study, "text", study.data, RUNS, epochs=TEXT["epochs"], learning_rate=TEXT["learning_rate"], **options)
    counted(study, found, int(TEXT["parameters"]), "text")
    corpus = tasks.get("language-model", data=study.data, **options).corpus
    means = compared(study, found, "text", corpus, [])
    ratio = means["modulated"] / means["static"]
    study.criterion("B4 text: perplexity, modulated over static, means", ratio, wanted, ratio <= 1.01)


def published(study: Study) -> None:
    """What the publication gives for the Penn Treebank, and the sizes of ours that would be compared with it."""
    from tasks.language_model import count, sizes

    study.table("published test perplexity, Penn Treebank", ("model", "perplexity"), list(PUBLISHED.items()))
    made = {form: sizes(4_800_000, 10_000, 2, form) for form in FORMS}
    numbers = {form: count(10_000, *made[form], 2, form) for form in FORMS}
    off = abs(numbers["modulated"] - numbers["static"]) / numbers["static"]
    shown = ", ".join(f"{form} {made[form][0]} columns, 2 x {made[form][1]} cells" for form in FORMS)
    study.criterion(f"B4 4.8 M parameters: {shown}; differ by", off, "<= 0.001", off <= 1e-3)
    source = "Miconi et al. (2019) by a third party's transcription"
    config = {"chain": CHAIN, "text": TEXT, "data": study.data, "seed": study.seed}
    study.provenance(config, {"published": PUBLISHED, "provenance": source})


def run(study: Study) -> None:
    """Sizes, the chain, and a text where one is given."""
    published(study)
    chain(study)
    text(study)

"""Language models: torch's LSTM by the same numbers, windows that carry the state, equal numbers of parameters; what texts are refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import backends
import tasks
from neuro import learning
from neuro.compiler.parameters import values
from neuro.options import OptionError
from tasks import corpora
from tasks.corpora import CHAIN, Corpus, chain_entropy, corpus
from tasks.gated_networks import GATES
from tasks.language_model import FORMS, count, sizes

SMALL = {"parameters": 8_000, "words": 2_000, "test_words": 400}
REFUSED = (OptionError, tasks.UnknownTaskError)


def surprise_of_torch(task: Any, text: np.ndarray) -> torch.Tensor:
    """Nats for each word [1, words] of one piece of text by torch's own layers, with the numbers of the task's network."""
    v = values(task.network(0))
    known = {n: torch.as_tensor(a) for n, a in v.items()}
    words = torch.as_tensor(text)[None]
    heard = known["look_up.w"][words]
    for k in range(task.layers):
        size = known[f"layer{k}.b_i"].shape[0]
        lstm = torch.nn.LSTM(heard.shape[-1], size, batch_first=True, dtype=torch.float64)
        own = {n: torch.cat([known[f"layer{k}_{n}_{g}.w"].T for g in GATES]) for n in "xh"}
        bias = torch.cat([known[f"layer{k}.b_{g}"] for g in GATES])
        ours = {"weight_ih_l0": own["x"], "weight_hh_l0": own["h"], "bias_ih_l0": bias, "bias_hh_l0": 0 * bias}
        lstm.load_state_dict(ours)
        # what a layer is before the first word: our layers run on a table of zeros, and each begins a step after the one below
        still = torch.zeros(1, 1, heard.shape[-1], dtype=torch.float64)
        heard = lstm(torch.cat([still, heard], 1))[0]
    scores = heard[:, task.layers - 1 : -1] @ known["readout.w"] + known["output.b"]
    return torch.nn.functional.cross_entropy(scores.transpose(1, 2), words[:, : scores.shape[1]], reduction="none")


@pytest.mark.parametrize("layers", [1, 2])
def test_a_static_model_is_torch_s(layers: int) -> None:
    task = tasks.get("language-model", layers=layers, **SMALL)
    text = task.corpus.test[:120]
    program = backends.get("native").compile(task.network(0))
    whole = (
        surprise_of_torch(task, text).detach().numpy()[0, : len(text) - layers + 1]
    )  # what is heard by the last step
    (window,) = task.windows(text, 1, len(text))
    found = program.run(inputs=window.inputs, record=task.record())
    assert -task.metric(found, window) == pytest.approx(whole.mean(), rel=1e-12)
    task.corpus = replace(task.corpus, test=text)
    assert np.log(task.perplexity(program, None, batch=1, steps=30)) == pytest.approx(whole.mean(), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("parameters", "vocabulary", "layers"), [(4_800_000, 10_000, 2), (300_000, 2_000, 1)])
def test_forms_have_equally_many_parameters(form: str, parameters: int, vocabulary: int, layers: int) -> None:
    columns, hidden = sizes(parameters, vocabulary, layers, form)
    assert count(vocabulary, columns, hidden, layers, form) == pytest.approx(parameters, rel=1e-3)
    assert abs(columns - hidden) <= 0.1 * hidden


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_trained_is_what_is_counted(form: str, layers: int) -> None:
    task = tasks.get("language-model", form=form, layers=layers, **SMALL)
    network = task.network(0)
    rule = learning.get("bptt", **task.settings.rules["bptt"])
    held, columns, hidden = values(network), network.population("embedding").size, network.population("layer0").size
    trained = sum(np.size(held[n]) for n in rule.names(backends.get("native").compile(network)))
    assert trained == count(len(task.corpus.vocabulary), columns, hidden, layers, form)


@pytest.mark.parametrize("form", FORMS)
def test_it_learns_beyond_what_the_frequencies_say(form: str) -> None:
    task = tasks.get("language-model", form=form, test_words=1_000)
    program: Any = backends.get("native").compile(task.network(0))
    rule = learning.get("bptt", **task.settings.rules["bptt"])
    state, parameters = rule.init(program), values(program.network)
    for epoch in range(2):
        for batch in task.train_batches(np.random.default_rng(epoch), 20):
            parameters, state, _ = rule.step(program, parameters, state, batch, task)
    often = np.bincount(task.corpus.train) / len(task.corpus.train)
    by_frequency = float(np.exp(-np.log(often[task.corpus.test]).mean()))
    best = float(np.exp(chain_entropy(task.corpus.vocabulary[k] for k in task.corpus.test)))
    assert best < task.perplexity(program, parameters) < 0.3 * by_frequency


def test_the_chain_is_as_surprising_as_its_entropy() -> None:
    """Counted pairs of a long text, and the words' own probabilities."""
    words = [w for line in corpora.chain()[0] for w in (*line, corpora.END)]
    inside = [(a, b) for a, b in pairwise(words) if corpora.END not in (a, b)]
    pairs, first = Counter(inside), Counter(a for a, _ in inside)
    from_counts = -np.mean([np.log(pairs[p] / first[p[0]]) for p in inside])
    share = len(inside) / len(words)
    starts = words.count(corpora.END) / len(words) * np.log(50)
    assert chain_entropy(words) == pytest.approx(share * from_counts + starts, rel=0.02)


def test_a_folder_of_three_files(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text(" the cat sat \n the <unk> sat N times \n")
    (tmp_path / "valid.txt").write_text(" the cat \n")
    (tmp_path / "test.txt").write_text(" a cat sat \n")
    found = corpus(str(tmp_path), 10_000, 0)
    assert found.vocabulary[:3] == ("<eos>", "sat", "the") and set(found.vocabulary[3:]) == {
        "cat",
        "times",
        "<unk>",
        "N",
    }
    assert [found.vocabulary[k] for k in found.test] == ["<unk>", "cat", "sat", "<eos>"]
    small = corpus(str(tmp_path), 3, 4)
    assert small.vocabulary == ("<eos>", "cat", "<unk>") and len(small.train) == 4


def test_a_text_of_verses(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(f"1Sa{k}:3 And God's word, {k} times: so." for k in range(1, 41)) + "\n\n", "utf-8")
    found = corpus(str(path), 1_000, 0)
    line = [found.vocabulary[k] for k in found.train[:10]]
    assert line == ["and", "god's", "word", ",", "1", "times", ":", "so", ".", "<eos>"]
    assert [len(p) for p in (found.train, found.valid, found.test)] == [360, 20, 20]
    assert found.vocabulary[found.test[4]] == "<unk>"  # a number that training doesn't have


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (None, "can't be read"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"", "no words for train"),
        (b"one\n", "no words"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, given: bytes | None, wrong: str) -> None:
    path = tmp_path / "text.txt"
    if given is not None:
        path.write_bytes(given)
    with pytest.raises(REFUSED, match=wrong):
        tasks.get("language-model", data=str(path)).network(0)


def test_too_long_and_incomplete_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.txt").write_text("a b c\n")
    with pytest.raises(REFUSED, match=r"valid\.txt can't be read"):
        corpus(str(tmp_path), 10, 0)
    monkeypatch.setattr(corpora, "LARGEST", 3)
    with pytest.raises(REFUSED, match="give a shorter text"):
        corpus(str(tmp_path / "train.txt"), 10, 0)


@pytest.mark.parametrize(
    "options",
    [{"form": "plastic"}, {"vocabulary": 1}, {"parameters": 100}, {"parameters": 10**12}, {"words": -1}, {"steps": 0}],
)
def test_options_that_do_not_fit(options: dict[str, Any]) -> None:
    with pytest.raises(REFUSED, match=next(iter(options))):
        tasks.get("language-model", **options).network(0)


def test_a_batch_larger_than_the_text() -> None:
    task = tasks.get("language-model", **SMALL)
    with pytest.raises(REFUSED, match="batch=200, steps=20: 1983 words"):
        list(task.train_batches(np.random.default_rng(0), 200))


def test_vocabularies_are_the_same_for_the_same_text() -> None:
    assert corpus(CHAIN, 30, 0).vocabulary == corpus(CHAIN, 30, 0).vocabulary
    assert isinstance(corpus(CHAIN, 30, 0), Corpus)


def test_another_text_is_another_version(tmp_path: Path) -> None:
    """Also of as many words in as many sentences."""
    versions = []
    for last in ("mat", "rug", "mat"):
        (tmp_path / "text.txt").write_text("the cat sat on the mat\n" * 59 + f"the cat sat on the {last}\n")
        versions.append(tasks.get("language-model", data=str(tmp_path / "text.txt")).version)
    assert versions[0] == versions[2] != versions[1]
    assert tasks.get("language-model").version == 1


def test_a_text_of_one_line_is_told_what_a_sentence_is(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat " * 2000)
    with pytest.raises(REFUSED, match=r"no words for train; .* one sentence a line, of which it has 1"):
        tasks.get("language-model", data=str(tmp_path / "text.txt")).network(0)


def test_every_window_has_words_that_count(tmp_path: Path) -> None:
    """Of an answer that has heard nothing there is no mean."""
    with pytest.raises(REFUSED, match="steps=2: the answer of 3 layers"):
        tasks.get("language-model", layers=3, steps=2)
    for words in (3, 4, 7, 35):
        task = tasks.get("language-model", layers=3, test_words=words)
        assert task.test_batch().mask.any(axis=1).all() and task.valid_batch().mask.any()
    with pytest.raises(REFUSED, match="2 words of validation or test are too few"):
        tasks.get("language-model", layers=3, test_words=2).test_batch()

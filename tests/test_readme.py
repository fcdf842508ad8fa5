"""The README's example runs and does what it prints; `make wheel` runs it from the wheel."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuro.compiler.parameters import parameters, values
from neuro.io.results import Run
from neuro.io.serialisation import read_network, to_json
from tests.packaging.readme_example import example, output
from tests.tasks.own_data import examples, spiking

README = Path(__file__).parents[1] / "README.md"


def test_example_runs_and_backends_agree() -> None:
    count, same, error = output(example(README))
    assert count > 20
    assert same
    assert error < 1e-9


def test_your_own_data() -> None:
    """The lines of the section, with what they speak of."""
    code = README.read_text("utf-8").partition("## Your own data")[2].split("```")[1].removeprefix("python\n")
    x, labels = examples(10)
    pairs = [(a[: 5 + k], y) for k, (a, y) in enumerate(zip(x, labels, strict=True))]
    times = [np.nonzero(a)[0] * 1e-3 for a in x]
    names: dict[str, Any] = {"network": spiking(), "labels": labels, "images": x.mean(axis=1), "dataset": pairs}
    names |= {"times": times, "channels": [np.nonzero(a)[1] for a in x]}
    exec(code, names)
    np.testing.assert_array_equal(np.asarray(names["events"]), x)
    assert names["spikes"].shape == x.shape and names["task"].test.x["x"].shape[1] == 14


def test_modules_linked_by_a_text(tmp_path: Path) -> None:
    """The text as it stands, with a run and a file of the names in it."""
    text = (
        README.read_text("utf-8").partition("which every command takes as a network:\n")[2].partition("\n`program.")[0]
    )
    cells = replace(spiking().populations[0], name="hidden")
    low = replace(spiking(), populations=(cells,), projections=(), inputs=())
    run = Run.create(tmp_path / "low.h5", model=to_json(low), semantics={}, config={}, seed=0, metrics=())
    run.finish(values(low), parameters(low), 0)
    (tmp_path / "third.toml").write_text('dt = "1 ms"\n[populations.units]\nneuron = "lif"\nsize = 3\n')
    (tmp_path / "linked.toml").write_text(textwrap.dedent(text))
    found = read_network(tmp_path / "linked.toml")
    assert [p.name for p in found.populations] == ["low_hidden", "third_units"] and found.populations[0].frozen
    assert [(p.pre, p.post) for p in found.projections] == [("low_hidden", "third_units")]

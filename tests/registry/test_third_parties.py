"""A package of somebody else with one thing of each kind, through the public functions and through the scripts."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import backends
import tasks
from neuro import learning
from neuro.compiler.parameters import values
from neuro.export import ExportError, targets
from neuro.export.quantisation import quantisers
from neuro.export.quantisation.calibration import Scheme, options_of
from neuro.io.results import open_run
from tests.export import test_target_conformance as conformance
from tests.export.networks import profiles
from tests.registry.packages import install
from tests.scripts.test_mistakes import called

NAME = "acme_spikes"
ENTRY_POINTS = {
    "neuro.backends": {"acme": f"{NAME}.backend:Backend"},
    "neuro.tasks": {"acme-digits": f"{NAME}.task:Task"},
    "neuro.rules": {"acme-descent": f"{NAME}.rule:SignDescent"},
    "neuro.targets": {"acme-chip": f"{NAME}.target:TARGET"},
    "neuro.quantisers": {"fives": f"{NAME}.quantiser:FIVES"},
}
MODULES = {
    "backend": """
from backends.pytorch.program import TorchBackend

class Backend(TorchBackend):
    name = "acme"
""",
    "task": """
from tasks.digits import Digits

class Task(Digits):
    name = "acme-digits"

    def __init__(self, hidden: int = 6) -> None:
        super().__init__(hidden=hidden, steps=8)
""",
    "rule": """
from dataclasses import dataclass

import numpy as np

from neuro.learning.gradient.bptt import gradient_of
from neuro.learning.gradient.gradient_rule import GradientRule
from neuro.options import OptionError

@dataclass(frozen=True)
class SignDescent(GradientRule):  # signs, times the gradient's mean size: it keeps its SI unit
    optimiser: str = "sgd"
    learning_rate: float = 100.0
    size: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if self.size <= 0:
            raise OptionError(f"size={self.size}; it is positive")

    def estimate(self, program, parameters, batch, task, memory, draw):
        loss, slopes = gradient_of(self, program, parameters, batch, task)
        return loss, {n: self.size * np.abs(g).mean() * np.sign(g) for n, g in slopes.items()}
""",
    "target": """
import json

from neuro.export.layers import latency, read
from neuro.export.profile import Profile
from neuro.export.targets import Export, Target
from neuro.io.files import replaced_text

PROFILE = Profile("acme-chip", "Acme's chip", ".acme", ("lif",), recurrence=False, hidden=40)

def export(network, parameters, path):
    layers = read(network, parameters, PROFILE).chain()
    replaced_text(path, json.dumps({x.name: (x.feed / 1e-9).tolist() for x in layers}))
    return Export(PROFILE.name, (path,), latency(layers, PROFILE))

TARGET = Target(PROFILE, export)
""",
    "quantiser": """
import numpy as np

from neuro.export.quantisation.quantisers import Codebook

class Fives(Codebook):
    def levels(self, q):
        return -2, 2

    def scale(self, q, x):
        return float(np.abs(x).max()) / 2

FIVES = Fives(bits=(3, 3), usual=3)
""",
}
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    install(place, NAME, ENTRY_POINTS, **MODULES)
    yield
    for module in [m for m in sys.modules if m.partition(".")[0] == NAME]:
        del sys.modules[module]


def test_all_are_listed_behind_ours() -> None:
    lists = (backends.names(), tasks.names(), learning.names(), targets.names(), quantisers.names())
    for found, theirs in zip(lists, ENTRY_POINTS.values(), strict=True):
        assert len(found) > 3 and found[-1] == next(iter(theirs))


def test_backend_and_task() -> None:
    task = tasks.get("acme-digits", hidden=5)
    network, inputs = task.network(0), {"pixels": np.asarray(task.test_batch().inputs["pixels"][:5])}
    ours = backends.get("reference").compile(network).run(inputs=inputs)
    theirs = backends.get("acme").compile(network).run(inputs=inputs)
    assert network.population("hidden").size == 5 and ours.spikes["hidden"].sum() > 10
    np.testing.assert_array_equal(theirs.spikes["hidden"], ours.spikes["hidden"])
    with pytest.raises(tasks.UnknownTaskError, match="task 'acme-digits': hidden='x'; it takes a whole number"):
        tasks.get("acme-digits", hidden="x")
    with pytest.raises(backends.UnknownBackendError, match="did you mean 'acme'"):
        backends.get("acmee")


def test_rule() -> None:
    rule, task = learning.get("acme-descent", size=2.0), tasks.get("acme-digits")
    program, batch = backends.get("torch").compile(task.network(0)), task.test_batch()
    start = values(program.network)
    truth = learning.get("bptt").gradient(program, start, batch, task)
    found = rule.gradient(program, start, batch, task)
    for name, slope in truth.items():
        np.testing.assert_array_equal(found[name], 2 * np.abs(slope).mean() * np.sign(slope))
    assert any(np.ptp(slope) > 0 for slope in found.values())
    with pytest.raises(learning.UnknownRuleError, match=r"rule 'acme-descent': size=-1\.0; it is positive"):
        learning.get("acme-descent", size=-1.0)
    with pytest.raises(learning.UnknownRuleError, match="no option 'sizes'; did you mean 'size'"):
        learning.get("acme-descent", sizes=1.0)


def test_rule_learns() -> None:
    """A gradient in SI: signs alone, of a weight in nA, would be a step a thousand million times too small."""
    rule, task = learning.get("acme-descent"), tasks.get("acme-digits", hidden=20)
    program, batch = (
        backends.get("torch").compile(task.network(0)),
        next(iter(task.train_batches(np.random.default_rng(0), 100))),
    )
    state, parameters, losses = rule.init(program), values(program.network), []
    for _ in range(40):
        parameters, state, metrics = rule.step(program, parameters, state, batch, task)
        losses.append(metrics["loss"])
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_target(tmp_path: Path) -> None:
    network = tasks.get("acme-digits").network(0)
    export = targets.get("acme-chip").export(network, None, tmp_path / "net.acme")
    feed = np.array(json.loads(export.files[0].read_text())["hidden"])
    np.testing.assert_allclose(feed, values(network)["pixels_to_hidden.w"] / 1e-9, rtol=1e-12)
    with pytest.raises(ExportError, match="41 hidden cells; acme-chip has 40"):
        targets.get("acme-chip").export(tasks.get("acme-digits", hidden=41).network(0), None, tmp_path / "wide.acme")


def test_the_suite_is_not_empty() -> None:
    assert len(conformance.CHECKS) >= 6


@pytest.mark.parametrize("check", conformance.CHECKS)
def test_target_passes_the_conformance_suite(check: str, tmp_path: Path) -> None:
    getattr(conformance, check)("acme-chip", tmp_path / "out")


DEFECTS = {
    "writes before it looks": ("    layers = read(", "    path.write_text('half')\n    layers = read(", "not_hold_is_refused"),
    "half a file in a side file": ("    replaced_text(", "    path.with_name('side').touch()\n    replaced_text(", "fits_is_written"),
    "other bytes in another folder": ("json.dumps({x.name", "json.dumps({x.name + str(path.parent)", "same_bytes"),
    "own parameters only": ("read(network, parameters,", "read(network, None,", "wrong_parameters"),
    "another name": ("(PROFILE.name, (path", "('nir', (path", "fits_is_written"),
    "a layer's latency lacks": ("latency(layers, PROFILE)", "{}", "fits_is_written"),
    "another latency than its profile's": ("latency(layers, PROFILE)", "{x.name: 1 for x in layers}", "fits_is_written"),
    "errors of its own": ("    layers = read(network, parameters, PROFILE).chain()", "    from neuro.export import ExportError\n"
     "    try:\n        layers = read(network, parameters, PROFILE).chain()\n"
     "    except ExportError:\n        raise ValueError('no')", "not_hold_is_refused"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defective_target_does_not_pass(defect: str, tmp_path: Path) -> None:
    old, new, check = DEFECTS[defect]
    module = tmp_path / "site" / NAME / "target.py"
    assert old in module.read_text()
    module.write_text(module.read_text().replace(old, new))
    (name,) = (n for n in conformance.CHECKS if check in n)
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        getattr(conformance, name)("acme-chip", tmp_path / "out")


def test_a_target_that_breaks_leaves_the_others_their_suite(tmp_path: Path) -> None:
    """Networks for targets are made of the profiles that can be had; the suite fails by name on the others."""
    assert "acme-chip" in profiles()
    for module in [m for m in sys.modules if m.startswith(f"{NAME}.")]:
        del sys.modules[module]
    (tmp_path / "site" / NAME / "target.py").write_text("1/0\n")
    importlib.invalidate_caches()
    assert set(profiles()) == set(targets.names()) - {"acme-chip"} and len(profiles()) >= 8
    with pytest.raises(targets.UnknownTargetError, match=r"target 'acme-chip'.*ZeroDivisionError"):
        conformance.test_profile("acme-chip", tmp_path)


def test_quantiser() -> None:
    found = quantisers.Quantiser("fives").quantise([0.0, 0.3, -0.9, 1.0])
    assert (found.codes.tolist(), float(found.scale), found.bits) == ([0, 1, -2, 2], 0.5, 3)
    assert Scheme.of(options_of("fives")).weights == {"*": quantisers.Quantiser("fives", 3)}
    with pytest.raises(quantisers.QuantiseError, match="did you mean 'fives'"):
        quantisers.Quantiser("five")
    with pytest.raises(quantisers.QuantiseError, match="quantiser 'fives': 4 bits; it takes 3"):
        Scheme.of(options_of("fives4"))


def test_all_of_them_in_the_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = tmp_path / "run.h5", tmp_path / "config.toml"
    config.write_text('batch = 512\nepochs = 1\n[rule_options]\nsize = 0.5\ntrainable = ["*.w"]\n')
    chosen = ("--task", "acme-digits", "--rule", "acme-descent", "--backend", "acme", "--quantise", "fives")
    code, _, error = called(capsys, monkeypatch, "train", *chosen, "--config", config, "--out", run)
    assert code == 0, error
    codes = open_run(run).group("quantisation")["codes"]["pixels_to_hidden.w"]["codes"]
    assert set(np.unique(codes)) == {-2, -1, 0, 1, 2}
    code, shown, error = called(
        capsys,
        monkeypatch,
        "export_weights",
        run,
        "--target",
        "acme-chip",
        "--out",
        tmp_path / "out",
        "--budget",
        "100",
    )
    assert code == 0, error
    assert "accuracy" in shown and (tmp_path / "out" / "digits.acme").is_file()
    code, shown, error = called(capsys, monkeypatch, "quantise", run, "--to", "fives")
    assert code == 0, error
    code, _, error = called(capsys, monkeypatch, "train", *chosen[:3], "acme-descend", "--out", tmp_path / "none.h5")
    assert code == 2 and "there is no rule 'acme-descend'; did you mean 'acme-descent'" in error


def test_a_broken_target_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path / "site", "acme_broken", {"neuro.targets": {"broken-chip": "acme_broken.chip:TARGET"}}, chip="1/0\n"
    )
    importlib.invalidate_caches()
    code, shown, error = called(capsys, monkeypatch, "export_weights", "--list")
    assert code == 0 and all(f" {name} " in shown for name in targets.names() if name != "broken-chip")
    assert error.startswith(
        "note: target 'broken-chip' of the package 'acme_broken' (acme_broken.chip:TARGET) can't be imported"
    )
    code, _, error = called(capsys, monkeypatch, "export_weights", tmp_path / "run.h5", "--target", "broken-chip")
    assert code == 2 and "ZeroDivisionError" in error and error.count("\n") == 1

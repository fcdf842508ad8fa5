"""Benchmarks on a device: peers by hand are our network, goals are judged on a GPU alone, what can't run is left out by name; the GPU's check."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import gpu_installed
import numpy as np
import pytest
import torch

from backends.native import devices
from neuro import UnsupportedError
from twinspike import fuzz
from twinspike.benches import on_device, training
from twinspike.benches.on_device import es, measuring
from twinspike.benches.peers import by_hand
from twinspike.benchmark import Bench
from twinspike.device import Device
from twinspike.fuzzing.networks import generate
from twinspike.fuzzing.oracles import outcome
from twinspike.timing import CONTROL

ROOT = Path(__file__).parents[2]
X, LABELS = training.data(batch=4, steps=40)


class Card(Device):
    """A GPU that isn't there, whose calls take a whole second."""

    turn = count()

    @property
    def cuda(self) -> bool:
        return True

    def clock(self) -> float:
        return float(next(self.turn))

    def stream_seconds(self, function: Any, calls: int) -> float:
        return 0.25


@pytest.mark.parametrize("layers", [(24,), (20, 16)])
@pytest.mark.parametrize("name", ["torch by hand", "JAX by hand"])
def test_our_network_by_hand_has_our_loss_and_gradients(name: str, layers: tuple[int, ...]) -> None:
    if name.startswith("JAX"):
        pytest.importorskip("jax")
    model = training.network(layers)
    step, weights = training.step_of("torch", model, X.transpose(0, 1), LABELS)
    wanted = float(step())
    loss, found = by_hand.BY_HAND[name][1](X, LABELS, training.weights_of(model))()
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
    assert {f"{n}.w" for n in found} == set(weights)
    for n, slope in found.items():
        ours = weights[f"{n}.w"].grad
        assert ours.abs().max() > 0
        np.testing.assert_allclose(1e9 * np.asarray(slope), ours, rtol=0, atol=1e-3 * float(ours.abs().max()))


def test_a_graph_by_hand_is_left_out_where_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    weights = training.weights_of(training.network((8,)))
    makers = {
        name: lambda b=build: b(X, LABELS, weights) for name, (_, build) in by_hand.BY_HAND.items() if "torch" in name
    }
    found = measuring.built(makers, Device("cpu"))
    assert list(found) == ["torch by hand"]
    assert (
        "left out: torch by hand, graph (on cpu: RuntimeError: a CUDA graph needs a CUDA device)"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("device", [Device("cpu"), Card("card")])
def test_goals_are_judged_on_a_gpu_alone(device: Device, tmp_path: Path) -> None:
    bench = Bench("some", tmp_path, backends=("native",))
    goal = measuring.Goal(1e-9, {"theirs": 5.0})
    measuring.measure(bench, device, "work", {"native": float, "theirs": float}, goal, float)
    against, alone = bench.figures
    assert (against.against, against.theirs != "") == ("theirs", True)
    assert (against.target, alone.target) == ((5.0, 1e-9) if device.cuda else (None, None))
    assert alone.reached is not device.cuda
    (table,) = bench.tables.values()
    assert ("on torch's stream, median ms" in table["header"]) is device.cuda
    assert set(bench.arrays) == {f"work/{n}" for n in ("native", "native" + CONTROL, "theirs")}


def test_a_backend_of_ours_that_is_left_out_is_no_success(tmp_path: Path) -> None:
    bench = Bench("some", tmp_path, backends=("native", "torch"))
    measuring.measure(bench, Card("card"), "work", {"torch": float, "theirs": float}, measuring.Goal(1.0), float)
    assert [c.holds for c in bench.criteria] == [False]
    assert {f.target for f in bench.figures} == {None}


def test_counts_of_candidates_are_the_same_from_lists_and_from_tensors() -> None:
    candidates = np.random.default_rng(0).normal(0.0, 0.02, (3, 100, 100))
    listed, tensors = (es.counts(es.ours(name, candidates, 300, Device("cpu"))()) for name in ("native", "torch"))
    assert listed.shape == (3, 100) and listed.sum() > 50
    np.testing.assert_array_equal(listed, tensors)
    by_hand_ = es.PEERS[es.es.BY_HAND][1](es.METHOD, candidates, 300, "cpu")()
    np.testing.assert_array_equal(es.counts(by_hand_), tensors)


def test_only_some_benchmarks_run_on_a_device() -> None:
    assert on_device.names() == ("eprop", "es", "training")
    command = [sys.executable, "scripts/bench.py", "coba", "--device", "cpu"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (
        found.returncode == 2
        and "there is no benchmark 'coba' with --device cpu; known: eprop, es, training" in found.stderr
    )


def test_the_fuzzer_takes_a_device_in_place_of_the_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    case = generate(3)
    assert outcome.cuda_twice() == ("native on cuda-emulated", "native on cuda-checked")
    assert outcome.has_blocks(case, 3) and not outcome.has_blocks(case, 4)
    monkeypatch.setenv(outcome.DEVICE, "cuda:1")
    first, second = outcome.cuda_twice()
    assert (first, second) == ("native on cuda:1", "native on cuda:1 again") and outcome.has_blocks(case, 4)
    if not torch.cuda.is_available():
        for name in (first, second):
            assert "device 'cuda:1'" in str(outcome.compiled(name, case)) or "cuda:1" in str(
                outcome.compiled(name, case)
            )


def test_what_is_missing_on_a_machine_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_installed, "NEEDED", ("numpy", "torch"))
    assert gpu_installed.main("cpu") == 0 and "all there" in capsys.readouterr().out
    monkeypatch.setattr(gpu_installed, "NEEDED", ("numpy", "nowhere_to_be_found"))
    assert gpu_installed.main("cpu") == 1
    assert "needed and missing: nowhere_to_be_found" in capsys.readouterr().out


def test_a_gpu_that_native_can_not_use_is_no_machine_to_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its tests would be skipped, and so none fail."""
    for name, value in {"is_available": True, "mem_get_info": (1, 2), "get_device_name": "a card"}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    monkeypatch.setattr(gpu_installed, "NEEDED", ("numpy", "torch"))
    monkeypatch.setattr(gpu_installed, "ON_CUDA", ())
    monkeypatch.setattr(devices, "lacking", lambda device: "launching a kernel needs cuda-bindings")
    assert gpu_installed.main("cuda") == 1 and "kernels (launching a kernel needs" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["", "pytest", "es", "goal", "installed"])
def test_the_check_of_a_gpu_says_which_part_failed(broken: str, tmp_path: Path) -> None:
    """With a Python that only says that it was called; conformance fails, a benchmark, a goal alone, or something is missing."""
    fake = tmp_path / "python"
    fake.write_text(
        '#!/bin/sh\necho "written: $*"\n'
        f'case "{broken}:$*" in\n'
        'pytest:*"-m pytest"*) echo "1 failed in 0.1s"; exit 1;;\nes:*" es "*) echo "does NOT hold: ours runs";;\n'
        'goal:*" es "*) echo "│ ES │ <= 2 │ NO │";;\ninstalled:*installed*) echo "needed and missing: pint"; exit 1;;\nesac\n'
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "PYTHON": str(fake),
        "OUT": str(tmp_path / "out"),
        "WHEELS": str(tmp_path / "none"),
        "DEVICE": "cuda",
    }
    found = subprocess.run(
        ["bash", "scripts/gpu_check.sh"], cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    rows = {line.split()[0]: line for line in (tmp_path / "out" / "table.txt").read_text().splitlines() if line}
    wrong = {"pytest": "conformance", "es": "es", "installed": "installed"}.get(broken)
    assert found.returncode == (wrong is not None)
    assert [name for name, line in rows.items() if " FAILED " in line] == ([wrong] if wrong else [])
    assert list(rows) == (
        ["installed"] if broken == "installed" else ["installed", "conformance", "fuzzing", "training", "es", "eprop"]
    )
    if broken == "goal":
        assert "goals: 0 reached, 1 missed" in rows["es"]


@pytest.mark.parametrize(("given", "said"), [({"DEVICE": "cuda:1"}, "CUDA_VISIBLE_DEVICES"), ({"OUT": "/dev/null/x"}, "can't be written to")])  # fmt: skip
def test_the_check_of_a_gpu_refuses_what_it_would_not_do(given: dict[str, str], said: str, tmp_path: Path) -> None:
    """Not the tiny version in place of another device's, and nothing beside OUT."""
    environment = {**os.environ, "PYTHON": "false", "OUT": str(tmp_path), **given}
    found = subprocess.run(
        ["bash", "scripts/gpu_check.sh"], cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    assert found.returncode == 2 and said in found.stderr and not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_the_fuzzer_refuses_a_device_that_is_not_there() -> None:
    """Each network would be refused, and no failure be found."""
    with pytest.raises(UnsupportedError, match="device 'cuda'"):
        fuzz.main(networks=1, oracle="forward", device="cuda")

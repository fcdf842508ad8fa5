"""Mistakes at the command line end in one line and exit code 2."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from neuro.export import targets
from twinspike import cli
from twinspike.__main__ import main
from twinspike.commands import COMMANDS

ROOT = Path(__file__).parents[2]


SKIP = """
dt = "1 ms"
inputs = [{name = "x", size = 4}]
populations = [{name = "a", neuron = "lif", size = 3}, {name = "b", neuron = "lif", size = 2}]
projections = [
    {name = "xa", pre = "x", post = "a", synapse = "pulse", weights = "1 nA"},
    {name = "ab", pre = "a", post = "b", synapse = "pulse", weights = "1 nA"},
    {name = "xb", pre = "x", post = "b", synapse = "pulse", weights = "1 nA"},
]
"""


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, f"scripts/{arguments[0]}", *arguments[1:]]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.py", "--nope"], "No such option: --nope"),
        (["train.py", "--task", "digitz", "--out", "{tmp}/a.h5"], "did you mean 'digits'"),
        (["train.py", "--backend", "troch", "--out", "{tmp}/a.h5"], "did you mean 'torch'"),
        (["train.py", "--backend", "reference", "--out", "{tmp}/a.h5"], "gives no gradients"),
        (["train.py", "--config", "{config}", "--out", "{tmp}/a.h5"], "unknown key 'epoch'"),
        (["train.py", "--rule", "bppt", "--out", "{tmp}/a.h5"], "did you mean 'bptt'"),
        (["train.py", "--quantise", "linear99", "--out", "{tmp}/a.h5"], "99 bits; it takes 2 to 32"),
        (["train.py", "--quantise", "loihi", "--out", "{tmp}/a.h5"], "did you mean 'loihi2'"),
        (["train.py", "--config", "{tmp}/none.toml"], "there is no file"),
        (["train.py", "--out", "/proc/none/a.h5"], "can't write"),
        (["train.py", "--out", "{tmp}/none.h5", "--resume"], "there is no run"),
        (["compare_backends.py", "{tmp}/none.h5"], "there is no file"),
        (["export_weights.py", "README.md", "--target", "chip"], "there is no target 'chip'"),
        (["export_weights.py", "README.md", "--target", "lohi2"], "did you mean 'loihi2'"),
        (["export_weights.py"], "name a run file, or use --list"),
        (["export_weights.py", "{skip}", "--target", "nir", "--check"], "nir can't hold this network: 1 misfits"),
        (["inspect_run.py", "README.md"], "not a readable HDF5 file"),
        (["lyapunov.py", "{skip}"], "give --steps for a free run"),
        (["lyapunov.py", "{skip}", "--steps", "20"], "input 'x' has no rate to draw spikes from"),
        (
            [
                "train.py",
                "--floss",
                "2",
                "--task",
                "rflo",
                "--backend",
                "brian2",
                "--rule",
                "es",
                "--out",
                "{tmp}/a.h5",
            ],
            "form='local'",
        ),
        (["lyapunov.py", "{skip}", "--plot", "{skip}"], "not the run itself"),
        (["train.py", "--control", "--floss", "2", "--out", "{tmp}/a.h5"], "leave one out"),
        (["bench.py", "speed"], "there is no benchmark 'speed'"),
    ],
)
def test_one_line_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    config = tmp_path / "plain.toml"
    config.write_text("epoch = 3\n")
    skip = tmp_path / "skip.toml"
    skip.write_text(SKIP)
    found = call(*(a.format(tmp=tmp_path, config=config, skip=skip) for a in arguments))
    assert found.returncode == 2
    assert message in found.stderr
    assert found.stderr.count("\n") == 1 and "Traceback" not in found.stderr


@pytest.mark.parametrize(
    "name",
    ["train", "compare_backends", "export_weights", "bench", "inspect_run", "quantise", "import_weights", "lyapunov"],
)
def test_help(name: str) -> None:
    assert "Usage" in call(f"{name}.py", "--help").stdout


def test_bench_lists_what_it_knows() -> None:
    said = call("bench.py").stdout
    assert {"training", "cuba", "scaling", "'all'"} <= set(said.split()) and "One training step" in said


def test_targets_are_listed_and_a_network_checked_before_training(tmp_path: Path) -> None:
    listed = call("export_weights.py", "--list").stdout
    assert all(f" {name} " in listed for name in targets.names())
    network = tmp_path / "net.toml"
    network.write_text(SKIP)
    found = call("export_weights.py", str(network), "--target", "nir", "--check")
    assert "error: projection 'xb', layers: from 'x' to 'b', past the chain x -> a -> b" in found.stdout
    network.write_text("\n".join(line for line in SKIP.splitlines() if "xb" not in line))
    found = call("export_weights.py", str(network), "--target", "nir", "--check")
    assert (found.returncode, found.stdout) == (0, "nir holds this network\n")


def test_an_interrupt_that_python_swallows_is_not_lost() -> None:
    """As where it comes while a finaliser runs, whose exceptions are only reported; and where somebody else, as Brian2, handles it."""
    heard: list[int] = []
    first = signal.getsignal(signal.SIGINT)
    try:
        for before in (signal.default_int_handler, lambda number, frame: heard.append(number)):
            signal.signal(signal.SIGINT, before)
            with cli.interruptible() as check:
                check()
                with suppress(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
                with pytest.raises(KeyboardInterrupt):
                    check()
            assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, first)
    assert heard == [signal.SIGINT]


def test_one_command_for_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every subcommand explains itself under the command's name, which a run then records."""
    for name in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["/bin/twinspike", name, "--help"])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0 and f"Usage: twinspike {name} " in capsys.readouterr().out
        assert cli.command_line() == f"twinspike {name} --help" and cli.arguments() == ["--help"]
    monkeypatch.setattr(sys, "argv", ["/bin/twinspike", "tarin"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and "No such command 'tarin'" in capsys.readouterr().err


def test_scripts_stand_for_subcommands() -> None:
    """One for each that had a script before there was a command; `doctor` is for those who have none."""
    said = {p.stem: p.read_text() for p in (ROOT / "scripts").glob("*.py")}
    for name, module in COMMANDS.items():
        assert name == "doctor" or f'main("{name}")' in said[module]


def test_a_package_that_lacks_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "twinspike.commands", raising=False)
    with pytest.raises(SystemExit, match=r"needs the package 'typer'; install it: pip install 'twinspike\[cli\]'"):
        main()
    assert cli.is_user_error(ModuleNotFoundError("No module named 'sklearn'", name="sklearn"))
    assert not cli.is_user_error(ModuleNotFoundError("No module named 'mine'", name="mine"))


def test_the_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What works, what lacks with the command that brings it, and exit code 1 for what is there and fails."""
    monkeypatch.setattr(sys, "argv", ["twinspike", "doctor", "--json"])
    found = json.loads(_out(capsys, 0))
    states = {what: state for what, state, _ in found["backends"]}
    assert states["reference"].startswith("works") and states["brian2"].startswith("works")
    assert found["extras"] and all((state == "complete") != bool(what) for _, state, what in found["extras"])

    def broken(*given: object) -> None:
        raise RuntimeError("it broke\nhere")

    monkeypatch.setattr("backends.reference.ReferenceBackend.compile", broken)
    found = json.loads(_out(capsys, 1))
    assert ["reference", "fails: RuntimeError", "it broke"] in found["backends"]


def _out(capsys: pytest.CaptureFixture[str], code: int) -> str:
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    return capsys.readouterr().out

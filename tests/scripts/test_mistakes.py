"""Every script with every wrong file: one line that names it, exit code 2, no traceback."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import backends
import neuro
import tasks
from neuro import Input, Network, Neuron, Population, Projection, library
from neuro.compiler.parameters import parameters, values
from neuro.compiler.semantics import semantics
from neuro.export.nir.importer import import_nir
from neuro.io.results import Run, open_run
from neuro.io.serialisation import read_network, to_json
from tests.export.hostile import HUGE, NIR, whole, zipped
from tests.io.test_hostile_runs import HOSTILE
from tests.io.test_hostile_runs import whole as recorded
from twinspike import cli
from twinspike.commands import COMMANDS

# Errors that other errors take the place of before they reach a user.
INNER = {
    "ArrayError",
    "DegenerateError",
    "Hdf5Error",
    "InUseError",
    "LayoutError",
    "Lost",
    "MethodError",
    "NoSummedInput",
    "NotLeakyError",
    "NpzError",
    "NumberError",
    "NumbersError",
    "TsError",
    "WorkerTraceback",
    "MovedOn",
    "_NeedsPlace",
}
READERS = ("compare_backends", "export_weights", "quantise", "inspect_run", "import_weights", "audit_gradients")
DRAWN = """
dt = "1 ms"
inputs = [{name = "x", size = 4, kind = "poisson", rate = "50 Hz"}]
populations = [{name = "a", neuron = "lif", size = 3}]
projections = [{name = "xa", pre = "x", post = "a", synapse = "pulse", weights = "3 nA"}]
"""


def called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, script: str, *arguments: Any
) -> tuple[int, str, str]:
    """Exit code, what was printed, what the error says."""
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.run(import_module(f"twinspike.{script}").main)
    found = capsys.readouterr()
    return int(left.value.code or 0), found.out, found.err


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    return lambda script, *arguments: called(capsys, monkeypatch, script, *arguments)


def run_of(network: Network, path: Path, config: Any = None) -> Path:
    """A complete run without a task."""
    run = Run.create(
        path, model=to_json(network), semantics=semantics(network).to_data(), config=config or {}, seed=0, metrics=()
    )
    run.finish(values(network), parameters(network), 1)
    return path


def drawn(folder: Path) -> tuple[Path, Path]:
    """A network whose inputs are drawn, and a run of it that names no task."""
    file = folder / "net.toml"
    file.write_text(DRAWN)
    return file, run_of(read_network(file), folder / "run.h5")


def cut(path: Path, part: float) -> None:
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FILES: dict[str, Callable[[Path], Any]] = {
    "missing": Path.unlink,
    "a folder": folder,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR."),
    "an npz": zipped(a=HUGE),
    "cut at 1 %": lambda path: cut(path, 0.01),
    "cut at 50 %": lambda path: cut(path, 0.5),
    "cut at 99 %": lambda path: cut(path, 0.99),
    "a foreign file": lambda path: (path.unlink(), h5py.File(path, "w").close()),
    "the network elsewhere": HOSTILE["the network elsewhere"][0],
    "config is no JSON": HOSTILE["config is no JSON"][0],
    "config nested deeply": HOSTILE["config nested deeply"][0],
    "not complete": lambda path: h5py.File(path, "r+").attrs.__setitem__("complete", False),
    "a NIR file": lambda path: (path.unlink(), whole(path)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("script", READERS)
def test_a_wrong_run_file(script: str, name: str, tmp_path: Path, call: Any) -> None:
    path = recorded(tmp_path)
    FILES[name](path)
    if (script, name) in (("inspect_run", "not complete"), ("import_weights", "a NIR file")):
        return  # that they read
    code, _, error = call(script, path)
    assert code == 2 and error.count("\n") == 1 and error.startswith("error: ")
    assert "run.h5" in error


NETWORKS = {
    "no TOML": "a = ",
    "a list": "[1]",
    "unknown key": 'size = 1\ndt = "1 ms"\n',
    "no populations": 'dt = "1 ms"\n',
    "sizes of text": 'dt = "1 ms"\npopulations = [{name = "a", neuron = "lif", size = "3"}]\n',
    "an unknown neuron": 'dt = "1 ms"\npopulations = [{name = "a", neuron = "lift", size = 3}]\n',
    "itself": 'dt = "1 ms"\n[parts.a]\nfile = "net.toml"\n',
    "not UTF-8": "\udcff",
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("script", ["compare_backends", "export_weights", "quantise"])
def test_a_wrong_network_file(script: str, name: str, tmp_path: Path, call: Any) -> None:
    path = tmp_path / "net.toml"
    path.write_bytes(NETWORKS[name].encode("utf-8", "surrogateescape"))
    options = {"compare_backends": ("--steps", "5"), "export_weights": ("--check",)}.get(script, ())
    code, _, error = call(script, path, *options)
    assert code == 2 and error.startswith("error: ") and "Traceback" not in error


@pytest.mark.parametrize("kind", ["network", "run"])
def test_without_a_task_the_error_prints_a_call_that_works(
    kind: str, tmp_path: Path, call: Any, monkeypatch: Any
) -> None:
    network, run = drawn(tmp_path)
    path = network if kind == "network" else run
    for script, options in (
        ("compare_backends", ()), ("compare_backends", ("--export", "nir")), ("export_weights", ("--out", tmp_path / "out")),
    ):  # fmt: skip
        code, _, error = call(script, path, *options)
        what = f"'{path}' is a network, not a run" if kind == "network" else f"run '{path}' names no task"
        assert code == 2 and error.startswith(f"error: {what}, so there is no test set")
        again = error.partition("use: twinspike ")[2].split()
        code, out, error = call(COMMANDS[again[0]], *again[1:])
        assert code == 0, error
        assert out
    assert len(import_nir(tmp_path / "out" / "network.nir").populations) == 1
    code, out, _ = call("quantise", path)
    assert code == 0 and "names no task: there is no test set" in out


def test_a_network_alone_is_compared(tmp_path: Path, call: Any) -> None:
    network, run = drawn(tmp_path)
    for path in (network, run):
        code, out, error = call(
            "compare_backends", path, "--steps", "300", "--trials", "2", "--backends", "brian2,torch,reference"
        )
        assert code == 0, error
        assert "brian2 against reference: spikes" in out and "torch against reference: values" in out
    assert open_run(run).recording().spike_count() > 20
    pairs = open_run(run).group("comparison")["pairs"]
    assert {n: p["identical_spikes"] for n, p in pairs.items()} == {"brian2": True, "torch": True}
    assert next(r[2] for r in open_run(run).contents() if r[0] == "traces/a/v").startswith("axes=trial, time, neuron")
    assert call("inspect_run", run)[0] == 0


def test_an_input_without_a_rate_is_named(tmp_path: Path, call: Any) -> None:
    feed = Projection("xa", "x", "a", library.get("pulse"), weights="3 nA")
    run = run_of(
        Network([Population("a", library.get("lif"), 3)], [feed], [Input("x", 4)], dt="1 ms"), tmp_path / "run.h5"
    )
    code, _, error = call("compare_backends", run, "--steps", "5")
    assert (
        code == 2
        and "input 'x' has no rate to draw spikes from: make it Input('x', 4, kind='poisson', rate='20 Hz'), or call"
        in error
    )


def test_units_of_traces_are_those_of_the_variables(tmp_path: Path, call: Any) -> None:
    cells = Neuron(
        "n", "dv/dt = (2*volt - v)/(10*ms) : volt\ndu/dt = -u/(5*ms) : amp", "v > 1*volt", "v = 0*volt", method="exact"
    )
    run = run_of(Network([Population("a", cells, 2)], dt="1 ms"), tmp_path / "run.h5")
    assert call("compare_backends", run, "--steps", "50", "--backends", "torch,reference")[0] == 0
    with h5py.File(run) as file:
        assert [file[f"report/a.{n}/data"].attrs["units"] for n in "vu"] == ["volt", "amp"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"task": 3}, "names the task 3"),
        ({"task": "digits", "task_options": [1]}, "names the task 'digits' with"),
        ({"task": "digitz", "task_options": {}}, "did you mean 'digits'"),
        ({"task": "digits", "task_options": {"nope": 1}}, "task 'digits'"),
    ],
)
def test_a_task_that_is_none(config: Any, message: str, tmp_path: Path, call: Any) -> None:
    run = run_of(read_network(drawn(tmp_path)[0]), tmp_path / "other.h5", config)
    code, _, error = call("compare_backends", run)
    assert code == 2 and message in error


@pytest.mark.parametrize("name", ["a packed bomb", "all nodes in another file", "a loop of weights"])
def test_a_hostile_nir_file(name: str, tmp_path: Path, call: Any) -> None:
    path = whole(tmp_path / "net.nir")
    NIR[name][0](path)
    code, _, error = call("import_weights", path)
    assert code == 2 and error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dt", "fast"), "dt: 'fast' is no step of time; give one like '0.1 ms'"),
        (("--dt", "1 ms"), "leave `dt` and `time_constants` out"),
        (("--time-constants", "rk4"), "'rk4' is not one of 'exact', 'euler'"),
        (("--convention", "sinab"), "did you mean 'sinabs'"),
        (("--out", "/proc/none/net.json"), "can't write"),
    ],
)
def test_wrong_options_of_an_import(options: tuple[str, ...], message: str, tmp_path: Path, call: Any) -> None:
    code, _, error = call("import_weights", whole(tmp_path / "net.nir"), *options)
    assert code == 2 and message in error


def test_a_foreign_file_is_imported_with_its_clock(tmp_path: Path, call: Any) -> None:
    from tests.export.test_nir_names import written

    path, out = written(tmp_path / "theirs.nir", "in", "if"), tmp_path / "net.json"
    code, shown, error = call("import_weights", path, "--dt", "1 ms", "--time-constants", "exact", "--out", out)
    assert (code, error) == (0, "")
    assert "the import calls it 'if_'" in shown
    network = read_network(out)
    assert float(network.dt.value) == 1e-3
    np.testing.assert_allclose(float(network.populations[0].neuron.parameters["tau_m"].value), 0.02, rtol=1e-9)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('batch = "x"', "batch: 'x' is not a whole number"),
        ("epochs = 0", "epochs: 0 is not positive"),
        ("workers = -1", "workers: -1 is not positive"),
        ("seed = true", "seed: True is not a whole number"),
        ("task = 3", "task: 3 is not text"),
        ("rule_options = 3", "rule_options: 3 is not a table: [rule_options]"),
        ("[rule_options]\ntrainable = 3", "rule 'bptt': trainable=3; it takes a list of texts"),
        (
            '[rule_options]\nlearning_rate = "fast"',
            "rule 'bptt': learning_rate='fast'; it takes a number",
        ),
        ("[rule_options]\nlearning_rate = -1", "Invalid learning rate: -1"),
        (
            '[rule_options]\nscheduler = "step"\nschedule_options = {nope = 1}',
            "rule 'bptt': schedule_options of 'step': there is no option 'nope'; known",
        ),
        ("[rule_options]\nquantise = 3", "rule 'bptt': quantise=3; it takes a table"),
        ("workers = 1", "needs gradients, which processes don't share"),
        ("\udcff", "is not TOML"),
    ],
)
def test_wrong_settings_of_training(config: str, message: str, tmp_path: Path, call: Any) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(config.encode("utf-8", "surrogateescape"))
    code, _, error = call("train", "--config", path, "--out", tmp_path / "run.h5")
    assert code == 2 and message in error and "Traceback" not in error
    assert not (tmp_path / "run.h5").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rules", ""), "--rules is empty"),
        (("--backend", "reference"), "use --backend native or torch"),
        (("--task", "x"), "no task 'x'"),
    ],
)
def test_wrong_options_of_an_audit(options: tuple[str, ...], message: str, call: Any) -> None:
    code, _, error = call("audit_gradients", *options)
    assert code == 2 and message in error


def test_every_error_of_the_packages_ends_in_one_line() -> None:
    found = {}
    for package in (neuro, backends, tasks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, item in vars(import_module(module.name)).items():
                if isinstance(item, type) and issubclass(item, Exception) and item.__module__ == module.name:
                    found[name] = item
    outer = {name for name, item in found.items() if not issubclass(item, Warning) and name not in INNER}
    assert len(outer) > 20 and set(found) >= INNER
    assert {name for name in outer if not cli.is_user_error(found[name].__new__(found[name]))} == set()


def test_a_run_that_continues_keeps_its_settings(tmp_path: Path) -> None:
    """Other settings are refused, the same ones are taken, however they are given."""
    from twinspike import run_settings

    config = tmp_path / "c.toml"
    config.write_text("epochs = 2\n[rule_options]\nlearning_rate = 0.01\n")
    given = {"task": "pattern", "seed": 3, "rule": None, "backend": "torch"}
    settings = run_settings.settings_of(config, given)
    run_settings.unchanged(settings, None, {}, {})
    run_settings.unchanged(settings, config, given, {})
    run_settings.unchanged(
        settings, config, given | {"workers": 2, "engine": "ray"}, {}
    )  # whoever computes, the numbers are the same
    for other in ({"epochs": 3}, {"seed": 4}, {"task": "digits"}, {"backend": "reference"}):
        (name,) = other
        with pytest.raises(cli.UserError, match=f"has {name} .*leave {name} out, or start another run with --out"):
            run_settings.unchanged(settings, config, given | other, {})
    with pytest.raises(cli.UserError, match="leave rule_options out"):
        run_settings.unchanged(settings, None, {}, {"trainable": ["readout.w"]})
    config.write_text("[rule_options]\nlearning_rate = 0.02\n")
    with pytest.raises(cli.UserError, match=r"has rule_options .*0\.01.*, not .*0\.02"):
        run_settings.unchanged(settings, config, {}, {})


def test_a_run_that_is_refused_in_its_first_update_leaves_no_file(tmp_path: Path, call: Any) -> None:
    out = tmp_path / "run.h5"
    code, _, error = call("train", "--task", "language-model", "--rule", "es", "--out", out)
    assert code == 2 and "a part of longer trials" in error
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_named(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    out, asked = tmp_path / "run.h5", ("--task", "delayed-match", "--backend", "torch", "--epochs", "1")
    code, _, said = call("train", *asked, "--device", "cuda:77", "--out", out)
    assert code == 2 and "device 'cuda:77'" in said and "use 'cpu'" in said and not out.exists()

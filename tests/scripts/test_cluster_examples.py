"""What docs/clusters.md and its examples name exists: files, scripts, options, extras. None of it runs here."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from twinspike.sweeping.drawing import listed, suggested
from twinspike.sweeping.spec import check, read

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PAGE = (ROOT / "docs" / "clusters.md").read_text("utf-8")
BATCH = sorted(EXAMPLES.glob("*.sbatch"))


def commands(text: str) -> Iterator[list[str]]:
    """The words of each line, continued lines as one; lines that are no shell are left out."""
    for line in text.replace("\\\n", " ").splitlines():
        try:
            yield shlex.split(
                re.sub(r'"?\$\{begin\[@\]\}"?|[()]', " ", line).replace("begin=", "scripts/train.py "), comments=True
            )
        except ValueError:
            continue


def options_of(script: str) -> set[str]:
    app = typer.Typer()
    app.command()(import_module(f"twinspike.{Path(script).stem}").main)
    found: set[str] = set()
    for parameter in typer.main.get_command(app).params:
        found |= {*parameter.opts, *parameter.secondary_opts}
    return found


def misfits(text: str) -> Iterator[str]:
    """Scripts that aren't there, and options that they don't have."""
    for words in commands(text):
        places = [k for k, word in enumerate(words) if re.fullmatch(r"scripts/\w+\.py", word)]
        for place in places:
            script = words[place]
            if not (ROOT / script).exists():
                yield script
                continue
            known = options_of(script)
            yield from (
                f"{script} {w}" for w in words[place + 1 :] if w.startswith("--") and w.partition("=")[0] not in known
            )


def test_scripts_and_options_exist() -> None:
    texts = [PAGE, *(p.read_text("utf-8") for p in BATCH)]
    called = [w for t in texts for words in commands(t) for w in words if re.fullmatch(r"scripts/\w+\.py", w)]
    assert {"scripts/train.py", "scripts/sweep.py", "scripts/merge.py", "scripts/inspect_run.py"} <= set(called)
    assert [m for text in texts for m in misfits(text)] == []
    assert list(misfits("python scripts/sweep.py x --outt y\nscripts/none.py \\\n --out")) == [
        "scripts/sweep.py --outt",
        "scripts/none.py",
    ]
    assert list(misfits("    begin=(--task digits --nope)")) == ["scripts/train.py --nope"]


def test_files_exist() -> None:
    named = set(re.findall(r"docs/examples/[\w.]+", PAGE)) | {f"docs/{n}" for n in re.findall(r"\]\(([\w./]+)\)", PAGE)}
    for path in EXAMPLES.iterdir():
        named |= set(re.findall(r"docs/examples/[\w.]+", path.read_text("utf-8")))
    assert {f"docs/examples/{p.name}" for p in EXAMPLES.iterdir()} <= named
    assert [n for n in sorted(named) if not (ROOT / n).exists()] == []


@pytest.mark.parametrize("path", BATCH, ids=lambda p: p.stem)
def test_batch_files_are_bash(path: Path) -> None:
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    lines = path.read_text("utf-8").splitlines()
    directives = [k for k, line in enumerate(lines) if line.startswith("#SBATCH ")]
    first = next(k for k, line in enumerate(lines) if line and not line.startswith("#"))
    assert lines[0].startswith("#!") and directives and max(directives) < first  # Slurm reads none after a command
    assert f"sbatch docs/examples/{path.name}" in lines[1] and "set -euo pipefail" in lines


def test_what_torchrun_and_ray_are_told() -> None:
    from torch.distributed.run import get_args_parser

    text = "\n".join(p.read_text("utf-8") for p in BATCH)
    known = {option for action in get_args_parser()._actions for option in action.option_strings}
    (torchrun,) = (words for words in commands(text) if any(w.endswith("torchrun") for w in words))
    given = torchrun[torchrun.index(".venv/bin/torchrun") : torchrun.index("scripts/train.py")]
    assert {w for w in given if w.startswith("--")} <= known and "--nnodes" in given
    start = pytest.importorskip("ray.scripts.scripts").start
    known = {option for parameter in start.params for option in parameter.opts}
    starts = [words[words.index("start") :] for words in commands(text) if "start" in words]
    assert len(starts) == 2 and {w.partition("=")[0] for words in starts for w in words if w.startswith("--")} <= known


def test_the_dockerfile() -> None:
    parse = pytest.importorskip("dockerfile_parse").DockerfileParser
    found = parse(fileobj=io.BytesIO((EXAMPLES / "Dockerfile").read_bytes())).structure
    steps: dict[str, list[str]] = {}
    for step in found:
        steps.setdefault(step["instruction"], []).append(step["value"])
    assert steps["FROM"] == ["python:3.11-slim"] and steps["ENTRYPOINT"] == ['["python"]']
    copied = [source for value in steps["COPY"] for source in value.split()[:-1]]
    assert [c for c in copied if not (ROOT / c).exists()] == [] and {"neuro", "backends", "tasks", "scripts"} <= set(
        copied
    )
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (install,) = (value for value in steps["RUN"] if "pip install" in value)
    (asked,) = re.findall(r"\.\[([\w,]+)\]", install)
    assert set(asked.split(",")) <= set(extras) and "distributed" in asked
    before = [s["instruction"] + " " + s["value"] for s in found]
    assert before.index(f"RUN {install}") > before.index("COPY tasks ./tasks")  # what is installed is there by then
    (command,) = steps["CMD"]
    assert list(misfits(" ".join(eval(command, {})))) == []


def specs() -> list[str]:
    return [block for block in re.findall(r"```toml\n(.*?)```", PAGE, re.S) if "[" in block]


def test_sweeps_on_the_page_fit(tmp_path: Path) -> None:
    blocks: list[Any] = specs()
    assert len(blocks) == 3
    for text in [*blocks, (EXAMPLES / "sweep.toml").read_text("utf-8")]:
        path = tmp_path / "sweep.toml"
        path.write_text(text)
        spec = read(path)
        chosen = [suggested(spec.search, spec.best, [], 0)] if spec.search else list(listed(spec))
        assert len(chosen) >= 1
        check(spec, spec.settings(chosen[0]), "")

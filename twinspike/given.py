"""What the scripts are given to work on: a run, or a network alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinspike import cli


@dataclass(frozen=True)
class Given:
    """reader: None for a network's own file. task: None where nothing names one. parameters: SI, as far as they are trained."""

    path: Path
    reader: Any
    task: Any
    network: Any
    parameters: Any


def read(path: Path, *, trained: bool = True, code: str = "") -> Given:
    """A run, or a network's .toml or .json. trained: of a run, only a complete one. code: the "module:Class" that a run may name as its task."""
    from neuro.compiler.parameters import values
    from neuro.io.results import open_run
    from neuro.io.serialisation import from_json, read_network

    if cli.existing(path).suffix in (".toml", ".json"):
        network = read_network(path)
        return Given(path, None, None, network, values(network))
    reader = open_run(path)
    parameters = reader.parameters() if trained or reader.complete else None
    network = from_json(reader.model)
    return Given(path, reader, _task(reader, code), network, values(network) if parameters is None else parameters)


def with_task(path: Path, purpose: str, instead: str, code: str = "") -> Given:
    """A complete run of a task. purpose: what its test set is for; instead: the call that needs none; code: see `read`. Raises UserError."""
    found = read(path, code=code)
    if found.task is None:
        what = f"'{path}' is a network, not a run" if found.reader is None else f"run '{path}' names no task"
        raise cli.UserError(f"{what}, so there is no test set {purpose}; use: {instead}")
    return found


def task_of(settings: Mapping[str, Any], code: str, whose: str) -> Any:
    """The task of a run's settings. A file is data: what it names of somebody's own code is imported only where the caller names it too. Raises UserError."""
    import tasks

    name = settings["task"]
    if ":" not in name:
        return tasks.get(name, **settings["task_options"])
    if name != code:
        raise cli.UserError(
            f"{whose} names the task '{name}', code that no file may ask for; if it is yours, give --task {name}"
        )
    return tasks.of_code(name, **settings["task_options"])


def _task(reader: Any, code: str) -> Any:
    config = reader.config if isinstance(reader.config, dict) else {}
    options = config.get("task_options", {})
    if "task" not in config:
        return None
    if not isinstance(config["task"], str) or not isinstance(options, dict):
        raise cli.UserError(f"run '{reader.path}' names the task {config['task']!r} with {options!r}, which is none")
    found = task_of({"task": config["task"], "task_options": options}, code, f"run '{reader.path}'")
    if (differs := other_version(config, found)) is not None:
        cli.note(f"run '{reader.path}': {differs}; its numbers and ours don't compare")
    return found


def other_version(config: Mapping[str, Any], task: Any) -> str | None:
    """What is to say where a run learned another version of its task; runs that kept no version say nothing."""
    own = config.get("task_version", task.version)
    return (
        None
        if own == task.version
        else f"it learned version {own} of task '{task.name}', this is version {task.version}"
    )

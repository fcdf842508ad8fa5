"""What the scripts are given to work on: a run, or a network alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cli


@dataclass(frozen=True)
class Given:
    """reader: None for a network's own file. task: None where nothing names one. parameters: SI, as far as they are trained."""

    path: Path
    reader: Any
    task: Any
    network: Any
    parameters: Any


def read(path: Path, *, trained: bool = True) -> Given:
    """A run, or a network's .toml or .json. trained: of a run, only a complete one."""
    from neuro.compiler.parameters import values
    from neuro.io.results import open_run
    from neuro.io.serialisation import from_json, read_network

    if cli.existing(path).suffix in (".toml", ".json"):
        network = read_network(path)
        return Given(path, None, None, network, values(network))
    reader = open_run(path)
    parameters = reader.parameters() if trained or reader.complete else None
    network = from_json(reader.model)
    return Given(path, reader, _task(reader), network, values(network) if parameters is None else parameters)


def with_task(path: Path, purpose: str, instead: str) -> Given:
    """A complete run of a task. purpose: what its test set is for; instead: the call that needs none. Raises UserError."""
    found = read(path)
    if found.task is None:
        what = f"'{path}' is a network, not a run" if found.reader is None else f"run '{path}' names no task"
        raise cli.UserError(f"{what}, so there is no test set {purpose}; use: python {instead}")
    return found


def _task(reader: Any) -> Any:
    import tasks

    config = reader.config if isinstance(reader.config, dict) else {}
    options = config.get("task_options", {})
    if "task" not in config:
        return None
    if not isinstance(config["task"], str) or not isinstance(options, dict):
        raise cli.UserError(f"run '{reader.path}' names the task {config['task']!r} with {options!r}, which is none")
    found = tasks.get(config["task"], **options)
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

"""Settings of a training run: from a file, from the command line, from what its task recommends; and whether a run has the ones that are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinspike import cli, spreading

DEFAULTS: dict[str, Any] = {
    "task": "digits",
    "backend": "auto",
    "rule": "bptt",
    "seed": 0,
    "threads": 2,
    "task_options": {},
}
TEXTS, COUNTS = (
    ("task", "backend", "rule", "confirm", "engine", "address"),
    ("threads", "epochs", "batch", "workers", "processes", "floss", "patience"),
)
TABLES = ("task_options", "backend_options", "rule_options", "floss_options")
KEYS = (*TEXTS, *COUNTS, *TABLES, "seed")


def tables(path: Path) -> dict[str, Any]:
    """What a TOML file holds, or a JSON file of the same tables. Raises UserError."""
    import json
    import tomllib

    kind, read = ("JSON", json.loads) if path.suffix == ".json" else ("TOML", tomllib.loads)
    try:
        found = read(cli.existing(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # what both readers' own errors are, and those of the text
        raise cli.UserError(f"'{path}' is not {kind}: {error}") from None
    if not isinstance(found, dict):
        raise cli.UserError(f"'{path}' holds no settings by their names")
    return found


def read_config(path: Path) -> dict[str, Any]:
    """A file's settings. Raises UserError naming the key."""
    found = tables(path)
    check_settings(found, f"'{path}'")
    return found


def check_settings(found: dict[str, Any], where: str) -> None:
    """Raises UserError naming the key that isn't one, or whose value isn't of its kind."""
    for name, value in found.items():
        if name not in KEYS:
            raise cli.UserError(f"{where} has the unknown key '{name}'; known: {', '.join(KEYS)}")
        kind: type[Any]
        kind, wanted = (
            (str, "text")
            if name in TEXTS
            else (dict, f"a table: [{name}]")
            if name in TABLES
            else (int, "a whole number")
        )
        if type(value) is not kind:
            raise cli.UserError(f"{where}, {name}: {value!r} is not {wanted}")
        if name in COUNTS and value < 1:
            raise cli.UserError(f"{where}, {name}: {value!r} is not positive")


@contextmanager
def fitting(what: str, options: dict[str, Any]) -> Iterator[None]:
    """Values that don't fit fail where they are first used; the error names all options that were given."""
    from neuro.options import OptionError

    try:
        yield
    except OptionError as error:
        raise cli.UserError(f"{what}: {error}") from None
    except ValueError as error:
        if not options:
            raise
        raise cli.UserError(f"{what} can't be had with the options {options}: {error}") from error


def asked(config: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """Defaults, then the TOML file, then the options."""
    import backends

    read = {} if config is None else read_config(config)
    chosen = DEFAULTS | read | {name: value for name, value in given.items() if value is not None}
    chosen["backend"] = backends.resolved(chosen["backend"])
    chosen["task_options"] = {**read.get("task_options", {}), **(given.get("task_options") or {})}
    return chosen


def recommended(chosen: dict[str, Any], task: Any) -> dict[str, Any]:
    """What is asked for, and for all else what the task recommends for this backend and rule."""
    found = {
        "epochs": task.settings.epochs,
        "batch": task.settings.batch,
        "backend_options": task.settings.for_backend(chosen["backend"]),
        "rule_options": dict(task.settings.rules.get(chosen["rule"], {})),
    }
    return found | chosen


def settings_of(config: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run. Raises UserError."""
    from twinspike.given import task_of

    chosen = asked(config, given)
    return recommended(chosen, task_of(chosen, given.get("task") or "", "the settings"))


def unchanged(settings: dict[str, Any], config: Path | None, given: dict[str, Any], added: dict[str, Any]) -> None:
    """Raises UserError where a run that continues is asked for other settings than its own. added: to the rule's options."""
    asked = ({} if config is None else read_config(config)) | {n: v for n, v in given.items() if v is not None}
    for name in ("processes", *spreading.NAMES):  # whoever computes, the numbers are the same
        asked.pop(name, None)
    asked["rule_options"] = {**asked.get("rule_options", {}), **added}
    if (differs := differing(settings, asked)) is not None:
        name, own, value = differs
        raise cli.UserError(
            f"the run that continues has {name} {own!r}, not {value!r}; leave {name} out, or start another run with --out"
        )


def own_data(task: str | None, network: Path | None, data: Path | None, answer: str | None) -> dict[str, Any] | None:
    """Options of task "arrays", None where nobody gives data. Raises UserError."""
    if network is None and data is None and answer is None:
        return None
    if task not in (None, "arrays"):
        raise cli.UserError(f"--network, --data and --answer make a task of your own data; leave --task {task} out")
    if network is None or data is None:
        raise cli.UserError("--network and --data belong together; give both")
    files = {"network": str(cli.existing(network).resolve()), "data": str(cli.existing(data).resolve())}
    return {**files, **({"output": answer} if answer else {})}


def differing(settings: dict[str, Any], asked: dict[str, Any]) -> tuple[str, Any, Any] | None:
    """The first of the settings asked for that a run has otherwise, with its own value and the other; of tables, what is asked for."""
    import json

    import backends

    if "backend" in asked:
        asked = {**asked, "backend": backends.resolved(asked["backend"])}
    for name, value in json.loads(json.dumps(asked, default=str)).items():
        own = settings.get(name)
        if own != ({**(own or {}), **value} if name in TABLES else value):
            return name, own, value
    return None

"""A sweep as its file says it: settings of train.py, and which of them take many values.

The file is one for `train.py --config` with one or two tables more: `[grid]`, `[samples]`, `[search]`. Options of the command line are settings too
(`quantise = "linear4"`, `control = true`). A setting's name has dots: "rule_options.learning_rate". What has dots itself is in quotes there, as in TOML:
"rule_options.learning_rates.'hidden.w'".
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from twinspike import cli, run_settings, train

OWN = {"out", "config", "resume", "overwrite"}  # of train.py, and the sweep's own business
OPTIONS = {n: k for n, k in get_type_hints(train.main).items() if n not in (*run_settings.KEYS, *OWN, "return")}
PLACES = {n for n, kind in OPTIONS.items() if Path in get_args(kind)}  # that name files
THREADS = 1  # of a run whose file doesn't say: jobs fill the processors
KINDS = ("uniform", "loguniform", "int", "choice")
LONGEST = 100_000  # trials
_PART = r"""[^.'"]+|'[^']+'|"[^"]+\""""  # of a setting's name


@dataclass(frozen=True)
class Best:
    """What trials are compared by: a metric's `value` ("final" or "best" of the run), in this direction; the table of the best has so many rows."""

    metric: str = "test_accuracy"
    direction: Literal["maximize", "minimize"] = "maximize"
    value: Literal["final", "best"] = "final"
    rows: int = 5

    def key(self, final: float, least: float, largest: float) -> float:
        """Of a run with these values of the metric."""
        return final if self.value == "final" else largest if self.direction == "maximize" else least

    def order(self, values: Sequence[float]) -> list[int]:
        """Indices from the best on; those without a number are left out."""
        known = [i for i, v in enumerate(values) if v == v]
        return sorted(known, key=lambda i: values[i], reverse=self.direction == "maximize")


@dataclass(frozen=True)
class Samples:
    """So many trials, whose settings `over` are drawn from the stream of this seed."""

    count: int
    over: Mapping[str, Mapping[str, Any]]
    seed: int = 0


@dataclass(frozen=True)
class Search:
    """So many trials, each chosen by a sampler of Optuna's that knows the trials up to `at_once` before it."""

    trials: int
    over: Mapping[str, Mapping[str, Any]]
    sampler: str = "tpe"
    seed: int = 0
    at_once: int = 4
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """What a file asks for. data: the file's content as JSON has it."""

    path: Path
    data: Mapping[str, Any]
    base: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]
    samples: Samples | None
    search: Search | None
    best: Best

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the settings that take many values."""
        over = self.samples or self.search
        return (*self.grid, *(over.over if over else ()))

    def settings(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """All settings of the trial with these. Raises UserError."""
        found = deepcopy(dict(self.base))
        for name, value in chosen.items():
            *above, last = parts(name)
            table = found
            for part in above:
                table = table.setdefault(part, {})
                if not isinstance(table, dict):
                    raise cli.UserError(
                        f"'{self.path}' sweeps over {name}, and its {part} is no table; name {part} itself"
                    )
            table[last] = value
        return {"threads": THREADS} | found

    def files(self) -> list[Path]:
        """Those that exist of all that a trial may be asked to read: its network, its data, and what its task's options name."""
        chosen = [(n, list(v)) for n, v in self.grid.items()]
        for over in (self.samples, self.search):
            chosen += [(n, how.get("choice", [])) for n, how in over.over.items()] if over else []
        asked = [v for n, v in (*self.base.items(), *chosen) if n in PLACES or n.partition(".")[0] == "task_options"]
        return sorted({path for text in _texts(asked) if (path := Path(text)).name and _is_file(path)})


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, list | dict):
        for value in data.values() if isinstance(data, dict) else data:
            yield from _texts(value)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # what no file could be called
        return False


def parts(name: str) -> list[str]:
    """What a setting's name leads through, from the outermost table on. Raises UserError."""
    if not re.fullmatch(rf"({_PART})(\.({_PART}))*", name):
        raise cli.UserError(
            f"\"{name}\" is no setting's name; write table.option, and what has dots itself in quotes: table.'a.b'"
        )
    return [part.strip("'\"") for part in re.findall(_PART, name)]


def _part(key: str) -> str:
    """A table's key within a setting's name."""
    if re.fullmatch(r"""[^.'"]+""", key):
        return key
    return f'"{key}"' if "'" in key else f"'{key}'"


def label(settings: Mapping[str, Any]) -> str:
    """What names a trial: a checksum of its settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]


def read(path: Path) -> Spec:
    """Raises UserError naming the key."""
    data = run_settings.tables(path)
    where = f"'{path}'"
    try:
        data = json.loads(json.dumps(data))
    except TypeError as error:
        raise cli.UserError(
            f"{where} has a value that is neither text, number, flag, list nor table: {error}"
        ) from None
    base = {k: v for k, v in data.items() if k not in ("grid", "samples", "search", "best")}
    grid = {n: _values(where, n, v) for n, v in _flat(where, "grid", data, list).items()}
    samples = _made(Samples, where, "samples", data)
    search = _made(Search, where, "search", data)
    best = _made(Best, where, "best", data) or Best()
    found = Spec(path, data, base, grid, samples, search, best)
    if search and (grid or samples):
        raise cli.UserError(f"{where}: a search chooses all settings itself; leave [grid] and [samples] out")
    if not found.swept:
        raise cli.UserError(f"{where} sweeps over nothing; give it a table [grid], [samples] or [search]")
    count = search.trials if search else (samples.count if samples else 1)
    for values in grid.values():
        count *= len(values)
    if count > LONGEST:
        raise cli.UserError(f"{where} asks for {count} trials, more than {LONGEST}; sweep over fewer values")
    _check_names(where, found.swept)
    return found


def check(spec: Spec, settings: Mapping[str, Any], code: str) -> None:
    """Raises an error that names the setting where train.py would refuse these by their names and types. code: the "module:Class" that they may name as their
    task."""
    import backends
    import tasks
    from neuro import learning
    from neuro.options import OptionError, checked

    where = f"'{spec.path}'"
    config, options = split(settings)
    run_settings.check_settings(config, where)
    try:
        checked(train.main, options)
    except OptionError as error:
        raise cli.UserError(f"{where}: {error}") from None
    chosen = run_settings.DEFAULTS | config
    backends.resolved(chosen["backend"])
    own = run_settings.own_data(config.get("task"), options.get("network"), options.get("data"), options.get("answer"))
    name = "arrays" if own else chosen["task"]
    if ":" in name and name != code:
        raise cli.UserError(
            f"{where} names the task '{name}', code that no file may ask for; if it is yours, give --task {name}"
        )
    things = [(tasks.REGISTRY, "task", name, chosen["task_options"] | (own or {}))] if ":" not in name else []
    things += [(learning.REGISTRY, "rule", chosen["rule"], config.get("rule_options", {}))]
    for registry, kind, name, given in things:
        try:
            checked(registry.maker(name), given)
        except OptionError as error:
            raise cli.UserError(f"{where}: {kind} '{name}': {error}") from None


def split(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file for train.py may say, and what its command line must."""
    config = {n: v for n, v in settings.items() if n not in OPTIONS}
    options = {n: Path(v) if n in PLACES and isinstance(v, str) else v for n, v in settings.items() if n in OPTIONS}
    return config, options


def _check_names(where: str, names: Sequence[str]) -> None:
    from neuro.options import hint

    found = {name: parts(name) for name in names}
    for name, (first, *rest) in found.items():
        if first not in run_settings.KEYS and first not in OPTIONS:
            raise cli.UserError(
                f"{where} sweeps over '{name}', which is no setting; {hint(first, (*run_settings.KEYS, *OPTIONS))}"
            )
        if rest and first not in run_settings.TABLES:
            raise cli.UserError(
                f"{where} sweeps over '{name}', and {first} has no parts; {', '.join(run_settings.TABLES)} have"
            )
        if whole := [n for n, path in found.items() if path == [first, *rest][: len(path)] and n != name]:
            raise cli.UserError(f"{where} sweeps over {whole[0]} and over a part of it, {name}; leave one of them out")
        if names.count(name) > 1:
            raise cli.UserError(f"{where} sweeps over {name} twice; leave one of them out")


def _values(where: str, name: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise cli.UserError(f"{where}, [grid], {name}: {values!r} is no list of values")
    return values


def _made(make: Any, where: str, table: str, data: Mapping[str, Any]) -> Any:
    """The table as such an object, None where there is none."""
    from neuro.options import OptionError, checked

    if table not in data:
        return None
    if not isinstance(data[table], dict):
        raise cli.UserError(f"{where}, {table}: {data[table]!r} is not a table: [{table}]")
    given = dict(data[table])
    try:
        if "over" in inspect.signature(make).parameters:
            given["over"] = _flat(f"{where}, [{table}]", "over", given, dict)
            _check_drawn(f"{where}, [{table}.over]", given["over"])
        found = make(**checked(make, given))
    except OptionError as error:
        raise cli.UserError(f"{where}, [{table}]: {error}") from None
    for name in ("count", "trials", "at_once", "rows"):
        if getattr(found, name, 1) < 1:
            raise cli.UserError(f"{where}, [{table}], {name}: {getattr(found, name)} is not positive")
    return found


def _flat(where: str, table: str, data: Mapping[str, Any], leaf: type) -> dict[str, Any]:
    """Settings by their names with dots, whether these stand in quotes or as the tables that TOML makes of them."""
    given = data.get(table, {})
    if not isinstance(given, dict):
        raise cli.UserError(f"{where}, {table}: {given!r} is not a table: [{table}]")

    def walk(found: Mapping[str, Any], above: Sequence[str]) -> Iterator[tuple[str, Any]]:
        for key, value in found.items():
            path = [*above, key] if above else parts(key)
            if isinstance(value, dict) and not (leaf is dict and _is_drawn(value)):
                yield from walk(value, path)
            else:
                yield ".".join(map(_part, path)), value

    flat: dict[str, Any] = {}
    for name, value in walk(given, []):
        if name in flat:
            raise cli.UserError(f"{where}, [{table}]: {name} stands there twice; leave one of them out")
        flat[name] = value
    return flat


def _is_drawn(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and isinstance(next(iter(value.values())), list)


def _check_drawn(where: str, over: Mapping[str, Any]) -> None:
    from neuro.options import hint

    for name, value in over.items():
        if not isinstance(value, dict):
            raise cli.UserError(
                f"{where}, {name}: {value!r}; write {name} = {{uniform = [0.0, 1.0]}}, or one of {', '.join(KINDS)}"
            )
        ((kind, given),) = value.items()
        if kind not in KINDS:
            raise cli.UserError(f"{where}, {name}: there is no '{kind}'; {hint(kind, KINDS)}")
        numbers = int if kind == "int" else (int, float)
        if kind == "choice" and not given:
            raise cli.UserError(f"{where}, {name}: choice among nothing")
        if kind != "choice" and not (
            len(given) == 2
            and all(isinstance(v, numbers) and not isinstance(v, bool) for v in given)
            and given[0] < given[1]
        ):
            what = "two whole numbers" if kind == "int" else "two numbers"
            raise cli.UserError(f"{where}, {name}: {kind} {given!r}; it takes {what}, the lower one first")
        if kind == "loguniform" and given[0] <= 0:
            raise cli.UserError(f"{where}, {name}: loguniform {given!r}; its numbers are positive")

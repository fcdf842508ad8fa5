"""A user's Brian2 script, executed up to its first run."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import brian2
from brian2.core.network import Network as BrianNetwork

from backends.brian.devices import NEW_CLOCK, preferences


@dataclass(frozen=True)
class FirstRun:
    """What a script's first `run` of some length would have computed.

    network    Brian2's network with the objects as they stood at the call; `objects` keeps them alive.
    duration   what the script asked for, in seconds.
    namespace  the caller's globals and locals, in which Brian2 would have looked names up.
    """

    network: BrianNetwork
    objects: tuple[Any, ...]
    duration: float
    namespace: dict[str, Any]

    @property
    def clock(self) -> Any:
        """That of the first group of cells."""
        return next(o.clock for o in self.objects if isinstance(o, brian2.NeuronGroup | brian2.PoissonGroup))


_MAGIC = 3  # frames of Brian2's own run() between the caller and Network.run, which it counts in its `level`


class NoRun(Exception):
    """The script ended, or failed, before it ran anything."""


class _Reached(BaseException):
    """Ends a script at its first run; no `except Exception` of the script's own stops it."""

    times = 0  # more than one where the script caught the first

    def __init__(self, found: FirstRun) -> None:
        super().__init__("first run")
        self.found = found
        _Reached.times += 1


def first_run(path: Path, *, arguments: tuple[str, ...] = ()) -> FirstRun:
    """Execute a script, which is its author's code, until it runs a network, and give that network.

    The runtime device with numpy's target builds its objects, whatever device the script sets; figures are drawn
    nowhere; a pool of processes is this process.

    Raises:
        NoRun: the script ended or failed before, or went on behind it.
    """
    path = path.resolve()
    _Reached.times = 0
    try:
        with _surroundings(path, arguments):
            runpy.run_path(str(path), run_name="__main__")
    except _Reached as reached:
        if _Reached.times == 1:
            return reached.found
    except (SystemExit, Exception) as error:
        if not _Reached.times:
            raise _before(path, error) from error
    if _Reached.times:
        raise NoRun(
            f"{path.name} goes on behind its first run, since an `except:` of its own catches what ends it there; "
            "let it name what it catches, such as `except Exception:`"
        )
    raise NoRun(f"{path.name} runs no network")


def _before(path: Path, error: BaseException) -> NoRun:
    if isinstance(error, SystemExit):
        return NoRun(f"{path.name} exits with {error.code!r} before it runs anything")
    return NoRun(f"{path.name} fails before it runs anything: {type(error).__name__}: {error}")


@contextmanager
def _surroundings(path: Path, arguments: tuple[str, ...]) -> Iterator[None]:
    """What a script sees while it is executed: its folder, its arguments, no windows, no second process, no device."""
    before = sys.argv, list(sys.path), os.getcwd(), os.environ.get("MPLBACKEND", "")
    sys.argv, os.environ["MPLBACKEND"] = [str(path), *arguments], "Agg"
    brian2.defaultclock.dt = NEW_CLOCK  # and it keeps what the script sets: the network runs later
    sys.path.insert(0, str(path.parent))
    os.chdir(path.parent)
    try:
        with _replaced(), preferences({"codegen.target": "numpy"}):
            yield
    finally:
        sys.argv, sys.path[:], os.environ["MPLBACKEND"] = before[0], before[1], before[3]
        os.chdir(before[2])


@contextmanager
def _replaced() -> Iterator[None]:
    run = BrianNetwork.run

    def reached(self: BrianNetwork, duration: Any, *args: Any, **options: Any) -> None:
        if float(duration) == 0:
            run(self, duration, *args, **{**options, "namespace": options.get("namespace") or _caller(self, options)})
            return
        namespace = options.get("namespace", args[2] if len(args) > 2 else None)
        objects = tuple(self.sorted_objects)
        raise _Reached(
            FirstRun(
                self, objects, float(duration), dict(namespace) if namespace is not None else _caller(self, options)
            )
        )

    places = [
        (BrianNetwork, "run", reached),
        (brian2, "set_device", _ignored),
        (import_module("brian2.devices.device"), "set_device", _ignored),
        (multiprocessing, "Pool", _HerePool),
    ]
    before = [(place, name, getattr(place, name)) for place, name, _ in places]
    for place, name, value in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def _caller(network: BrianNetwork, options: Mapping[str, Any]) -> dict[str, Any]:
    """The globals and locals of the caller whom run() asks: the nearest that belongs neither to Brian2 nor to this module, or `level` further up."""
    frame: FrameType | None = sys._getframe(1)
    root = str(Path(str(brian2.__file__)).parent)
    while frame is not None and (frame.f_code.co_filename == __file__ or frame.f_code.co_filename.startswith(root)):
        frame = frame.f_back
    given = int(options.get("level", 0)) - (_MAGIC if isinstance(network, brian2.MagicNetwork) else 0)
    for _ in range(given):
        frame = frame.f_back if frame is not None else None
    return {} if frame is None else {**frame.f_globals, **frame.f_locals}


def _ignored(*args: Any, **options: Any) -> None:
    """Instead of `set_device`: objects are those of the runtime device."""


class _HerePool:
    """As much of multiprocessing's Pool as scripts use, in this process."""

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __enter__(self) -> _HerePool:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def map(self, function: Any, items: Any, *args: Any) -> list[Any]:
        return [function(item) for item in items]

    imap = imap_unordered = map

    def starmap(self, function: Any, items: Any, *args: Any) -> list[Any]:
        return [function(*item) for item in items]

    def close(self) -> None:
        pass

    join = terminate = close

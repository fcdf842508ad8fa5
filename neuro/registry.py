"""Names of backends, tasks, rules, targets and quantisers: ours, and what other packages register as entry points."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from neuro.language.foreign import shown
from neuro.options import OptionError, checked, hint

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_OURS = ("neuro", "backends", "tasks", "twinspike")
EXTRAS = {
    "brian2": "brian2",
    "torch": "torch",
    "snntorch": "snntorch",
    "cma": "cma",
    "nir": "nir",
    "nirtorch": "nir",
    "tonic": "events",
}
EXTRAS |= dict.fromkeys(("typer", "rich", "packaging"), "cli")
EXTRAS |= dict.fromkeys(("elephant", "neo", "quantities"), "analysis")
EXTRAS |= dict.fromkeys(("joblib", "cloudpickle"), "workers")
EXTRAS |= {"matplotlib": "plots", "scikit-learn": "tasks"}
EXTRAS |= dict.fromkeys(("gymnasium", "mujoco", "imageio"), "control")
EXTRAS |= {"bokeh": "report", "tensorboardX": "tensorboard", "pandas": "pandas", "pynwb": "nwb"}
EXTRAS |= dict.fromkeys(("ray", "optuna"), "distributed")
EXTRAS |= dict.fromkeys(("cuda-bindings", "nvidia-cuda-nvrtc"), "cuda")


class MissingPackageError(Exception):
    """A package that something needs is not installed; the message names both, and the command that installs it."""


def package_of(error: ModuleNotFoundError) -> str:
    """The package whose module wasn't found."""
    module = (error.name or "").partition(".")[0]
    return "scikit-learn" if module == "sklearn" else module


def missing(what: str, package: str) -> str:
    """The message for a package that isn't installed."""
    return f"{what} needs the package '{package}'; install it: {command(package)}"


@contextmanager
def needed_by(what: str) -> Iterator[None]:
    """Around imports of packages that not every installation has. Raises MissingPackageError, with the command that installs the absent one."""
    try:
        yield
    except ModuleNotFoundError as error:
        if package_of(error) in _OURS:
            raise
        raise MissingPackageError(missing(what, package_of(error))) from None


def needed(what: str, package: str) -> Any:
    """A package that not every installation has, as a module. what: needs it. Raises MissingPackageError."""
    with needed_by(what):
        return import_module(package)


def command(package: str) -> str:
    """What installs a package: with the versions of our extra, where one of ours brings it."""
    return f"pip install 'twinspike[{EXTRAS[package]}]'" if package in EXTRAS else f"pip install {package}"


@dataclass(frozen=True)
class Registry:
    """Things of one kind by name, each imported when somebody asks for it.

    kind: what they are called. ours: name -> "module:attribute". error: what is raised. group: the entry point group in which other
    packages register theirs, none where it is empty. needs: attributes of every such thing; `name` is the registered one. words: names that the caller reads
    itself, listed with the others. absent: how the message about a name that isn't there begins.
    """

    kind: str
    ours: Mapping[str, str]
    error: type[Exception]
    group: str = ""
    needs: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    absent: str = ""

    def names(self) -> tuple[str, ...]:
        """All names, ours first."""
        return tuple(dict.fromkeys((*self.ours, *(p.name for p in self._points()))))

    def check(self, name: Any) -> None:
        """Raises `error` on a name that isn't there, and on one that two packages claim; imports nothing."""
        if not isinstance(name, str):
            raise self.error(f"{shown(name)} names no {self.kind}; {hint(name, (*self.names(), *self.words))}")
        claims = self._claims(name)
        claimants = " and ".join(f"'{_package(p)}' ({p.value})" for p in claims)
        if claims and (name in self.ours or name in self.words):
            why = f"the package {claimants} registers this name in the group '{self.group}', and it is one of ours"
            raise self.error(f"{self.kind} '{name}': {why}; remove the package, or ask its authors for another name")
        if len(claims) > 1:
            why = f"the packages {claimants} register the same name in the group '{self.group}'"
            raise self.error(f"{self.kind} '{name}': {why}; remove one of them")
        if not claims and name not in self.ours and name not in self.words:
            begin = self.absent or f"there is no {self.kind}"
            raise self.error(f"{begin} '{name}'; {hint(name, (*self.names(), *self.words))}")

    def get(self, name: Any) -> Any:
        """What is registered under that name. Raises `error`."""
        return self._fit(name, self._imported(name))

    def maker(self, name: Any) -> Any:
        """What makes it, a class or function; imported, not called. Raises `error`."""
        return self._imported(name)

    def make(self, name: Any, options: Mapping[str, Any]) -> Any:
        """The same called with these options. Raises `error`; of a maker's own defects, whatever they raise, with a note of the options."""
        return self._fit(name, self._made(name, self._imported(name), options))

    def make_of(self, place: str, options: Mapping[str, Any]) -> Any:
        """What "module:attribute" makes, which nobody registered: somebody's own code, found in the working folder too. Raises as `make` does."""
        module, _, attribute = place.partition(":")
        what, here = f"{self.kind} '{place}'", os.getcwd()
        if not all(part.isidentifier() for part in (*module.split("."), attribute)):
            raise self.error(f"{what} names no module and class; write module:Class")
        if here not in sys.path:
            sys.path.append(here)
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in (module, module.partition(".")[0]):
                self._refuse_missing(place, error)
                raise
            raise self.error(f"{what}: there is no module '{module}' here or in {here}; write module:Class") from None
        if not hasattr(found, attribute):
            raise self.error(f"{what}: '{module}' has no '{attribute}'; {hint(attribute, vars(found))}")
        return self._complete(place, self._made(place, getattr(found, attribute), options))

    def _made(self, name: str, maker: Any, options: Mapping[str, Any]) -> Any:
        if not callable(maker):
            raise self.error(f"{self._called(name)} is {shown(maker)}, no class or function")
        try:
            made = maker(**checked(maker, options))
        except OptionError as error:
            raise self.error(f"{self.kind} '{name}': {error}") from None
        except ModuleNotFoundError as error:
            self._refuse_missing(name, error)
            raise
        except Exception as error:
            if options:
                error.add_note(f"raised by {self._called(name)}, made with {dict(options)}")
            raise
        return made

    # -- where things are -----------------------------------------------------------------------------------------

    def _points(self) -> tuple[EntryPoint, ...]:
        return _entry_points(self.group, _search_path()) if self.group else ()

    def _claims(self, name: str) -> tuple[EntryPoint, ...]:
        return tuple(p for p in self._points() if p.name == name)

    def _called(self, name: str) -> str:
        """The thing as messages about another package call it."""
        claims = () if name in self.ours else self._claims(name)
        whose = f" of the package '{_package(claims[0])}' ({claims[0].value})" if claims else ""
        return f"{self.kind} '{name}'{whose}"

    def _imported(self, name: Any) -> Any:
        self.check(name)
        return self._of_ours(name) if name in self.ours else self._of_others(name)

    def _of_ours(self, name: str) -> Any:
        module, _, attribute = self.ours[name].partition(":")
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            self._refuse_missing(name, error)
            raise
        if not hasattr(found, attribute):
            why = (
                f"'{module}' has no '{attribute}'; {hint(attribute, [n for n in vars(found) if not n.startswith('_')])}"
            )
            raise self.error(f"{self.kind} '{name}' ({self.ours[name]}): {why}")
        return getattr(found, attribute)

    def _of_others(self, name: str) -> Any:
        (point,) = self._claims(name)
        try:
            return point.load()
        except Exception as error:  # whatever another package raises while it is imported
            if isinstance(error, ModuleNotFoundError):
                self._refuse_missing(name, error, own=point.value)
            why = f"can't be imported: {type(error).__name__}: {error}"
            raise self.error(f"{self._called(name)} {why}; ask its authors, or remove the package") from error

    def _refuse_missing(self, name: str, error: ModuleNotFoundError, own: str = "") -> None:
        """Raises `error` where somebody's package is missing. own: a module that can't be installed by another command."""
        package = package_of(error)
        if package in _OURS:
            where = f" ({self.ours[name]})" if name in self.ours else ""
            why = (
                f"there is no module '{error.name}' in this installation; mend the line, or install all of the package"
            )
            raise self.error(f"{self._called(name)}{where}: {why}") from error
        if package and package != own.partition(":")[0].partition(".")[0]:
            raise self.error(missing(self._called(name), package)) from error

    def _fit(self, name: str, found: Any) -> Any:
        self._complete(name, found)
        if "name" in self.needs and found.name != name:
            why = f"is registered under this name, but calls itself {found.name!r}; make both the same"
            raise self.error(f"{self._called(name)} {why}")
        return found

    def _complete(self, name: str, found: Any) -> Any:
        lacking = [a for a in self.needs if not hasattr(found, a)]
        if lacking:
            raise self.error(f"{self._called(name)} gives {shown(found)}, which has no {', '.join(lacking)}")
        return found


def _package(point: EntryPoint) -> str:
    name = getattr(point.dist, "name", None)
    return name or point.value.partition(":")[0]


def _search_path() -> tuple[tuple[str, int], ...]:
    """Where packages are installed, and when that last changed."""
    return tuple((place, os.stat(place or ".").st_mtime_ns) for place in sys.path if os.path.exists(place or "."))


@lru_cache(maxsize=16)
def _entry_points(group: str, path: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))

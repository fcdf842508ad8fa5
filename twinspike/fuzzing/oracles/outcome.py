"""What an oracle found, and the compiled programs that oracles share."""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import backends
from neuro.compiler.parameters import parameters
from neuro.language.equations import ModelError
from neuro.language.scope import is_index
from neuro.model import Network
from neuro.protocols import RunError, UnsupportedError
from twinspike.fuzzing.networks import Case

_PARTICULAR = re.compile(r"'[^']*'|‘[^’]*’|\d+")
PATIENCE = 4.0  # seconds of processor time
ALL = ("reference", "native", "torch", "brian2")
DEVICE = "TWINSPIKE_FUZZ_DEVICE"  # of the environment: a CUDA device in place of the emulation
AGAIN = " again"  # ends the name of a second run


def own_values(network: Network) -> dict[str, Any]:
    """SI values of all parameters, but for those that are always another's, and for numbers of cells."""
    declared = parameters(network).items()
    return {n: p.value for n, p in declared if not p.shares and not is_index(n.partition(".")[2])}


@dataclass(frozen=True)
class Failure:
    """oracle: which one. kind: short and stable, so that a shrunk network can be asked for the same. detail: what differs."""

    oracle: str
    kind: str
    detail: str

    @property
    def signature(self) -> str:
        """What a smaller case must share: for errors their text without names, too."""
        text = f"{self.oracle}, {self.kind}"
        return (
            f"{text}: {_PARTICULAR.sub('_', self.detail)[:110]}"
            if "raises" in self.kind or "refuses" in self.kind
            else text
        )

    def __str__(self) -> str:
        return f"{self.oracle}, {self.kind}: {self.detail}"


@dataclass
class Outcome:
    """refusals: (backend, reason). notes: other things that are counted, such as ties."""

    failures: list[Failure] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spikes: int = 0

    def add(self, other: Outcome) -> None:
        self.failures += other.failures
        self.refusals += other.refusals
        self.notes += other.notes
        self.spikes = max(self.spikes, other.spikes)


def cuda_twice() -> tuple[str, str]:
    """CUDA's text, twice, which must give the same bits: on the CPU with its threads in one order and in the other, or on a device."""
    device = os.environ.get(DEVICE)
    first, second = (device, device + AGAIN) if device else ("cuda-emulated", "cuda-checked")
    return f"native on {first}", f"native on {second}"


def has_blocks(case: Case, turn: int) -> bool:
    """Whether it is this case's turn for CUDA's text: every n-th one's where it is emulated, which is slow."""
    return DEVICE in os.environ or case.seed % turn == 0


class Programs:
    """A case's network, compiled and run by each backend once. Expected errors are kept as values."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._programs: dict[tuple[Any, ...], Any] = {}
        self._runs: dict[str, Any] = {}

    def get(self, backend: str, **options: Any) -> Any:
        """The program; or the exception that compiling raised."""
        key = (backend, *sorted(options.items()))
        if key not in self._programs:
            self._programs[key] = compiled(backend, self.case, **options)
        return self._programs[key]

    def run(self, backend: str) -> Any:
        """The recording of everything; or the exception that compiling or running raised."""
        if backend not in self._runs:
            self._runs[backend] = attempt(lambda: self._run(backend))
        return self._runs[backend]

    def _run(self, backend: str) -> Any:
        program = self.get(backend)
        if isinstance(program, Exception):
            raise program
        with limited(backend):
            return self.case.run(program)


class _TooLong(BaseException):
    """Not an Exception: nobody on the way may take it for one of Brian2's."""


@contextmanager
def limited(backend: str) -> Iterator[None]:
    """A refusal where Brian2 takes longer, of the processor's time: sympy's exponential of three coupled states takes minutes."""
    if backend != "brian2":
        yield
        return

    def stop(*_: Any) -> None:
        raise _TooLong

    def unraisable(found: sys.UnraisableHookArgs) -> None:
        if found.exc_type is not _TooLong:
            report(found)

    # In a finaliser, or while garbage is collected, Python swallows what is raised and reports it: the timer comes again.
    report, sys.unraisablehook = sys.unraisablehook, unraisable
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE, 0.5)
    try:
        yield
    except _TooLong:
        why = f"sympy needs longer than {PATIENCE:g} s for it"
        raise UnsupportedError("brian2", "this network", why, ("reference", "torch", "native")) from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        sys.unraisablehook = report


def compiled(backend: str, case: Case, **options: Any) -> Any:
    """The program; or the exception that compiling raised."""

    def compile_() -> Any:
        with limited(backend):
            return made(backend, case.network, case, **options)

    return attempt(compile_)


def made(backend: str, network: Network, case: Case, **options: Any) -> Any:
    """A network compiled by a backend; its device follows " on " in its name."""
    name, _, device = backend.partition(" on ")
    on = {"device": device.removesuffix(AGAIN)} if device else {}
    return backends.get(name).compile(network, **{**hints(name, case), **on, **options})


def hints(backend: str, case: Case) -> dict[str, Any]:
    """Options that change nothing but the time that a backend takes: Brian2 builds a network once for each number of trials.

    Threads share the cells of one that is taken for large.
    """
    options = {"brian2": {"trials": case.batch}, "native": {"threads": 2} if case.large else {}}
    return options.get(backend, {})


def attempt(action: Any) -> Any:
    """The value, or the exception as a value."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return action()
        except Exception as error:
            return error


def expected(error: Any) -> bool:
    """True for the errors that users are meant to see."""
    return isinstance(error, UnsupportedError | ModelError | RunError)


def summary(error: BaseException) -> str:
    """Its type, place and first line, without what is particular to one network."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/neuro/" in file or "/backends/" in file:
            place = f" in {file.rsplit('/', 1)[-1]}:{trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    lines = str(error).strip().splitlines() or [""]
    cause = f" because {summary(error.__cause__)}" if error.__cause__ is not None else ""
    return f"{type(error).__name__}{place}: {lines[0][:300]}{cause}"

"""Brian2's process-wide state, used and put back: its import, log, preferences and active device."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

with warnings.catch_warnings():  # Brian2 calls deprecated functions of its dependencies
    warnings.simplefilter("ignore")
    import brian2
    from brian2.codegen import translation
    from brian2.codegen.generators import base as generators
    from brian2.codegen.generators import numpy_generator
    from brian2.codegen.runtime import numpy_rt
    from brian2.core import network as networks
    from brian2.core.base import BrianObjectException
    from brian2.core.functions import DEFAULT_FUNCTIONS
    from brian2.core.namespace import DEFAULT_UNITS
    from brian2.devices.cpp_standalone.device import CPPStandaloneDevice
    from brian2.devices.device import Device, reset_device, set_device
    from brian2.equations.codestrings import Expression as StringExpression
    from brian2.equations.equations import SingleEquation
    from brian2.parsing.sympytools import sympy_to_str
    from brian2.stateupdaters import explicit
    from brian2.stateupdaters.base import StateUpdateMethod, UnsupportedEquationsException
    from brian2.stateupdaters.exact import get_linear_system

__all__ = [
    "DEFAULT_FUNCTIONS", "DEFAULT_UNITS", "BrianObjectException", "CPPStandaloneDevice", "Device", "SingleEquation", "StateUpdateMethod", "StringExpression", "UnsupportedEquationsException", "activated", "brian2",
    "get_linear_system", "numpy_generator", "numpy_rt", "settings", "sympy_to_str",
]  # fmt: skip

brian2.BrianLogger.suppress_name("unused_brian_object")  # a network may be built only to learn what Brian2 says of it

# Brian2's default has -ffast-math, under which NaN goes unnoticed and targets differ in the last digits.
_FLAGS = ["-w", "-O2", "-std=c++11", "-ffp-contract=off"]

NEW_CLOCK = 0.1 * brian2.ms  # the time step of the default clock in a new process

DEPTH = 5000  # of calls: Brian2 walks through expressions by recursion, and an integrator's may be deeper than Python's 1,000


_NO_GARBAGE = SimpleNamespace(collect=lambda: 0)
_split = cache(explicit.split_expression)  # of the few texts that describe integrators; sympy needs 0.1 s for each


@contextmanager
def _quickened() -> Iterator[None]:
    """Integrators' descriptions are split once, and Brian2's table of statements made before is left aside: its key holds every
    variable and function, and costs more than they do. Nor does it collect garbage before each run, which takes longer than many a run.
    """
    made, split, collector = translation.make_statements, explicit.split_expression, networks.gc
    for module in (translation, generators):
        module.make_statements = made.__wrapped__
    explicit.split_expression, networks.gc = _split, _NO_GARBAGE
    try:
        yield
    finally:
        for module in (translation, generators):
            module.make_statements = made
        explicit.split_expression, networks.gc = split, collector


@contextmanager
def preferences(wanted: Mapping[str, Any]) -> Iterator[None]:
    """Brian2 with these preferences."""
    before = {name: brian2.prefs[name] for name in wanted}
    try:
        for name, value in wanted.items():
            brian2.prefs[name] = value
        yield
    finally:
        for name, value in before.items():
            brian2.prefs[name] = value


@contextmanager
def fresh_clock() -> Iterator[None]:
    """Brian2's default clock with the time step that a new process finds; afterwards with what it had before."""
    before = float(brian2.defaultclock.dt)
    brian2.defaultclock.dt = NEW_CLOCK
    try:
        yield
    finally:
        brian2.defaultclock.dt = before * brian2.second


@contextmanager
def settings(target: str) -> Iterator[None]:
    """Brian2 with this code generation target, IEEE arithmetic, room for deep expressions, and without log, warnings or traces left behind."""
    wanted: Mapping[str, Any] = {
        "codegen.target": "numpy" if target == "numpy" else "cython",
        "codegen.cpp.extra_compile_args": _FLAGS,
    }
    log = logging.getLogger("brian2")
    level = log.level
    log.setLevel(logging.CRITICAL)
    calls = sys.getrecursionlimit()
    sys.setrecursionlimit(max(calls, DEPTH))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), _quickened(), preferences(wanted):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        sys.setrecursionlimit(calls)


@contextmanager
def activated(device: CPPStandaloneDevice) -> Iterator[None]:
    """Brian2 with this device active."""
    set_device(device, build_on_run=False)
    try:
        yield
    finally:
        reset_device()

"""Fair times on a shared machine: interleaved rounds, CPU time, medians, and a control; memory in a process of its own."""

from __future__ import annotations

import gc
import math
import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

# seconds: what takes less is called more often a round; what takes more isn't tried twice, or not warmed up
SHORTEST, LONG, SHORT = 0.05, 5.0, 1.0
CONTROL = " again"  # the same function under this name's ending shows what a ratio of 1 looks like here

_ONE_CPU = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def limit_threads(threads: int) -> None:
    """Tell numpy's, torch's and JAX's thread pools their size; to be called before any of them is imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):
        os.environ[name] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = _ONE_CPU


def interleaved(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    update: Callable[[int, int, str], None] = lambda done, total, text: None,
    clock: Callable[[], float] | None = None,
) -> dict[str, list[float]]:
    """Seconds a call of each function in each round; every round calls all, in an order of its own. clock: default cpu_seconds.

    What takes less than a second is called once uncounted before, so that nobody pays for what another left in the caches.
    Objects made before are set aside (gc.freeze), or a library that collects garbage would look through the others' each time.
    """
    now = clock or cpu_seconds
    names = list(functions)
    first = {name: _seconds(function, 1, now) for name, function in functions.items()}  # compiles and fills caches
    gc.collect()
    gc.freeze()
    calls = {name: 1 if first[name] > LONG else _calls(function, now) for name, function in functions.items()}
    found: dict[str, list[float]] = {name: [] for name in names}
    order = random.Random(0)
    for i in range(rounds):
        for name in order.sample(names, len(names)):
            if first[name] < SHORT:
                functions[name]()
            found[name].append(_seconds(functions[name], calls[name], now))
        update(i + 1, rounds, "")
    gc.unfreeze()
    return found


def _seconds(function: Callable[[], Any], calls: int, now: Callable[[], float]) -> float:
    """Mean of so many calls."""
    start = now()
    for _ in range(calls):
        function()
    return (now() - start) / calls


def _calls(function: Callable[[], Any], now: Callable[[], float]) -> int:
    return max(1, math.ceil(SHORTEST / max(_seconds(function, 1, now), 1e-6)))


def cpu_seconds() -> float:
    """CPU time of this process, all its threads, and the children it waited for."""
    import resource

    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a module's function returns in a new interpreter, where nothing has used memory yet."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def forget_peak() -> None:
    """Let the peak be what is held now, where the system can (Linux): what only preparing took doesn't count."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def peak_memory() -> int:
    """Most bytes of physical memory that this process has held.

    Linux's own figure of this program: getrusage's is at least that of the process which started it.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except FileNotFoundError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

"""A failure of a seed, made small and written as a script."""

from __future__ import annotations

import os
import tempfile

from twinspike.fuzzing.campaign import choose_flags
from twinspike.fuzzing.corpus import Entry
from twinspike.fuzzing.examination import ORACLES, examine_case
from twinspike.fuzzing.networks import Case, generate
from twinspike.fuzzing.oracles import forward
from twinspike.fuzzing.oracles.outcome import ALL, Failure, Programs, cuda_twice
from twinspike.fuzzing.shrinking import shrink
from twinspike.fuzzing.sizes import as_if_large
from twinspike.fuzzing.source import script


def reproduce(seed: int, failure: Failure, seconds: float = 60.0) -> str:
    """A script that shows the failure, with the line for the corpus at its end; without either where a process died."""
    if failure.oracle not in ORACLES:
        return f"# {failure}: twinspike fuzz --networks 1 --seed {seed}\n"
    small = smallest(generate(seed), failure, seconds)
    again = [f for f in examine_case(small, [failure.oracle]).failures if f.signature == failure.signature]
    title = f"seed {seed}, {again[0] if again else failure}"
    return script(small, title) + f"\n# corpus: {Entry(small, failure.oracle, str(failure.kind)).line()}\n"


def smallest(case: Case, failure: Failure, seconds: float) -> Case:
    """The case shrunk as far as the time allows."""
    with tempfile.TemporaryDirectory(prefix="twinspike-fuzz-") as folder:
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = folder
        choose_flags(case.seed)
        try:
            return shrink(case, lambda c: _fails(c, failure), seconds)
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if before is not None:
                os.environ["XDG_CACHE_HOME"] = before


def _fails(case: Case, failure: Failure) -> bool:
    if failure.oracle == forward.NAME:  # others than the one that failed would only take time
        differs = max((n for n in (*ALL, *cuda_twice()) if failure.kind.startswith(n)), key=len, default="reference")
        names = dict.fromkeys(("reference", differs))
        with as_if_large(case.large):
            found = forward.check(case, Programs(case), tuple(names))
    else:
        found = examine_case(case, [failure.oracle])
    return any(f.signature == failure.signature for f in found.failures)

"""What runs in a worker process: a message comes in as bytes, its answer goes out as bytes.

Nothing here knows which engine carries them. What many calls share comes once, by its digest, and is kept.
"""

from __future__ import annotations

import pickle
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from neuro.protocols import RunError
from neuro.registry import needed_by

KEPT = 12  # shared things that a worker keeps, and that who sends them keeps ready for it
_held: OrderedDict[str, Any] = OrderedDict()


def dumps(value: Any) -> bytes:
    """Pickled; functions and classes of `__main__` by value. Raises RunError naming what can't be."""
    with needed_by("several workers"):
        import cloudpickle

    try:
        found: bytes = cloudpickle.dumps(value)
        return found
    except Exception as error:  # whatever somebody's object raises
        *_, why = str(error).strip('\n"').splitlines() or [type(error).__name__]
        raise RunError(f"what worker processes get or give can't be pickled ({why}); use one worker") from error


def answer(message: bytes, places: Mapping[str, Any], fetch: Callable[[Any], bytes]) -> bytes:
    """Make the call of a message. places: digest -> where that shared thing is, which `fetch` reads.

    Gives, pickled, whether it went well, result or error with its traceback, and seconds.
    """
    start = time.perf_counter()
    try:
        function, digests, item = pickle.loads(message)
        shared = [_shared(digest, places[digest], fetch) for digest in digests]
        return dumps((True, function(*shared, *item), "", time.perf_counter() - start))
    except Exception as error:  # raised again where the call came from
        text, seconds = traceback.format_exc(), time.perf_counter() - start
        if not _travels(error):
            error = RunError(f"{type(error).__name__}: {error}")
        return dumps((False, error, text, seconds))


def _travels(error: Exception) -> bool:
    """Whether an error comes out of a pickle saying what it said."""
    try:
        return str(pickle.loads(dumps(error))) == str(error)
    except Exception:  # whatever its class makes of that
        return False


def _shared(digest: str, place: Any, fetch: Callable[[Any], bytes]) -> Any:
    if digest not in _held:
        _held[digest] = pickle.loads(fetch(place))
    _held.move_to_end(digest)
    while len(_held) > KEPT:
        _held.popitem(last=False)
    return _held[digest]

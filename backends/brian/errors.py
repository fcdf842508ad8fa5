"""Brian2's own objections to a network, as ours, in the user's names. Whatever it does not state as a limit of its own passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from backends.brian.devices import BrianObjectException, UnsupportedEquationsException  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.names import Names
from neuro.model import Network
from neuro.protocols import RunError, UnsupportedError

OTHERS = ("reference", "torch", "native")
_LIMITS = {  # what Brian2 says -> what that means here
    "contains complex values": "variables that turn around each other have a solution of complex numbers, which Brian2 does not "
    "implement; use method='rk4'",
}


@contextmanager
def objections(names: Names) -> Iterator[None]:
    """Raises UnsupportedError for what Brian2 can't do, RunError for a division by zero, which its Cython code stops at."""
    try:
        yield
    except BrianObjectException as error:
        owner, cause = names.owner(error._brian_objname), error.__cause__
        what = described(names.network, owner or "")
        if isinstance(cause, ZeroDivisionError):
            raise RunError(f"{what}: a division by zero; keep its divisors away from 0") from error
        if isinstance(cause, RecursionError):
            why = "an expression of its integrator is nested too deeply for Brian2; give parts of it a state or a name of their own"
            raise UnsupportedError("brian2", what, why, OTHERS) from error
        if not isinstance(cause, UnsupportedEquationsException | NotImplementedError):
            raise
        reason = names.translated(str(cause).strip().splitlines()[-1], owner or "")
        meant = next((ours for theirs, ours in _LIMITS.items() if theirs in reason), f"Brian2 says: {reason}")
        raise UnsupportedError("brian2", what, meant, OTHERS) from error


def described(network: Network, owner: str) -> str:
    """A population or projection, and how it is integrated."""
    for population in network.populations:
        if population.name == owner:
            return f"population '{owner}', method '{population.neuron.method}'"
    for projection in network.projections:
        if projection.name == owner:
            return f"projection '{owner}', method '{projection.synapse.method}'"
    return f"'{owner}'" if owner else "this network"

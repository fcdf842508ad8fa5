"""Which backends a test is for: all that are registered, but for what some are documented not to do.

A new backend, another package's too, is in every suite at once. What it can't do it says by its program's capabilities and by
UnsupportedError, and its line here documents it: `test_conformance.py` compares both.
"""

from __future__ import annotations

from typing import Any

import pytest

import backends
from neuro import Network, UnsupportedError
from neuro.protocols import Program
from tests.backends.networks import networks

NETWORKS = networks()
# Networks of tests.backends.networks that a backend doesn't compile; one that isn't here compiles all.
REFUSED: dict[str, set[str]] = {
    "snntorch": set(NETWORKS)
    - {"feed-forward", "recurrent", "readout", "poisson", "no self-connections", "heterogeneous"}
}
# Capabilities that its programs don't have; one that isn't here has all.
LACKING: dict[str, set[str]] = {
    "reference": {"gradients"},
    "brian2": {"gradients"},
    "snntorch": {"gradients", "plasticity", "populations", "delays", "noise", "state"},
}


def able(*capabilities: str) -> tuple[str, ...]:
    """Names of the backends whose programs have all of these."""
    return tuple(b for b in backends.names() if not LACKING.get(b, set()) & set(capabilities))


def compiled(backend: str, network: Network | str, **options: Any) -> Program:
    """A network, or the one of NETWORKS of that name; a skip where the backend is one that refuses some."""
    found = NETWORKS[network] if isinstance(network, str) else network
    try:
        return backends.get(backend).compile(found, **options)
    except UnsupportedError as error:
        assert backend in REFUSED, f"{error}; if that is meant, document it in {__name__}.REFUSED"
        pytest.skip(str(error))

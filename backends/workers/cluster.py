"""The connection to Ray: to the cluster that this process is in already, to one at an address, or to one of its own on this machine. Nothing calls home."""

from __future__ import annotations

import os
import socket
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from neuro.protocols import RunError
from neuro.registry import MissingPackageError, missing

LOCAL = "local"  # the address of a cluster that starts by itself, and ends with this process
STORE = 256 * 2**20  # bytes: of such a cluster, for what calls share
KNOCK = 10.0  # seconds


def check_installed(who: str) -> None:
    """Raises MissingPackageError naming who needs it."""
    if find_spec("ray") is None:
        raise MissingPackageError(missing(who, "ray"))


def connected(address: str, processors: int | None = None) -> tuple[Any, bool]:
    """Ray, and whether the connection is ours, which we then end. processors: of a local cluster, None for all that this machine has. Raises RunError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray: Any = import_module("ray")
    if ray.is_initialized():
        if address not in ("", LOCAL, "auto", found := ray.get_runtime_context().gcs_address):
            raise RunError(
                f"this process is in the cluster of Ray at '{found}' already, not at '{address}'; leave the address out"
            )
        return ray, False
    options: dict[str, Any] = {"address": address}
    if address in ("", LOCAL):
        own = {"include_dashboard": False, "num_cpus": processors, "object_store_memory": STORE}
        options = {"address": LOCAL, **own}
    try:
        _knock(address)
        ray.init(**options, log_to_driver=False, logging_level="ERROR", configure_logging=True)
    except (OSError, RuntimeError, ValueError) as error:
        what = f"at the address '{address}'" if address else "on this machine"
        why = str(error).strip().partition("\n")[0]
        raise RunError(
            f"there is no cluster of Ray {what}: {why}; start one with 'ray start --head', or leave the address out"
        ) from error
    return ray, True


def modules() -> dict[str, str]:
    """Environment of a worker: it finds modules where they are found here."""
    return {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray would ask for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK).close()

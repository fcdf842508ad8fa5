"""Options of scripts that spread runs over worker processes: --workers, --engine, --address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cli

NAMES = ("workers", "engine", "address")


def check_workers(settings: Mapping[str, Any]) -> None:
    """Raises UserError on an engine that isn't there, and where nothing says how many workers there are."""
    from backends.parallel import ENGINES
    from neuro.options import hint

    engine, address = settings.get("engine"), settings.get("address")
    if engine and engine not in ENGINES:
        raise cli.UserError(f"there is no engine '{engine}'; {hint(engine, ENGINES)}")
    if address and engine == "joblib":
        raise cli.UserError(f"--address {address} is of a cluster of Ray; use --engine ray, or leave --address out")
    if (engine or address) and not settings.get("workers"):
        raise cli.UserError("--engine and --address say where workers are, and nothing says how many; give --workers")


def spread_program(backend: str, network: Any, options: Mapping[str, Any], settings: Mapping[str, Any], **more: Any) -> Any:
    """A program whose runs are spread as the settings say. more: of ParallelProgram. Raises as compiling does."""
    from backends.parallel import ParallelProgram

    address = settings.get("address") or ""
    engine = settings.get("engine") or ("ray" if address else "joblib")
    return ParallelProgram(
        backend, network, workers=settings["workers"], options=options, engine=engine, address=address, **more
    )

"""Options of scripts that spread runs over worker processes: --workers, --engine, --address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinspike import cli

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


def check_rule(name: str, rule: Any, workers: int) -> None:
    """Raises UserError where a rule makes no runs that processes could share, or fewer than there are workers."""
    runs = getattr(rule, "runs_at_once", 0)
    if "gradients" in getattr(rule, "needs", ()):
        raise cli.UserError(f"rule '{name}' needs gradients, which processes don't share; leave --workers out")
    if not runs:
        raise cli.UserError(
            f"rule '{name}' runs one parameter set at a time, which no workers could share; leave --workers out"
        )
    if workers > runs:
        raise cli.UserError(
            f"rule '{name}' makes {runs:g} runs an update, so that others of {workers} workers would stand idle; use --workers {runs:g}"
        )


def moved(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a run that continues has from here on: other workers, which give the same numbers."""
    found = {n: given[n] for n in NAMES if given.get(n) is not None}
    if "address" in found:
        return {"engine": "ray", **found}
    return {**found, "address": ""} if "engine" in found else found


def spread_program(
    backend: str, network: Any, options: Mapping[str, Any], settings: Mapping[str, Any], **more: Any
) -> Any:
    """A program whose runs are spread as the settings say. more: of ParallelProgram. Raises as compiling does."""
    from backends.parallel import ParallelProgram

    address = settings.get("address") or ""
    engine = settings.get("engine") or ("ray" if address else "joblib")
    return ParallelProgram(
        backend, network, workers=settings["workers"], options=options, engine=engine, address=address, **more
    )

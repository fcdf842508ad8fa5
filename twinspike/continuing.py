"""A stopped run goes on as what it was: what of it may be other from here on, and what is refused. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twinspike import cli

OF_A_RUN = {"model", "config", "metrics", "parameters", "checkpoint"}  # groups of a file of which nothing was measured
PLACES = ("network", "data")  # options of task "arrays" that say where files are, not what is in them


def continued(
    out: Path, epochs: int | None, own: Mapping[str, Any] | None, shared: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header of a run that goes on, and those of its settings that are others from here on. own: see `run_settings.own_data`. shared: see `launching.shared`.
    Raises UserError, ResultsError, FinishedError."""
    from neuro.io.results import Run, finished

    done, (header, _, _) = Run.stopped(out)
    changes = _longer(out, header["config"], epochs)
    if done and not changes:
        raise finished(out)
    changes |= _moved(header["config"], own)
    changes |= {n: v for n, v in shared.items() if header["config"].get(n, 1) != v}
    return {**header, "config": header["config"] | changes}, changes


def _longer(out: Path, own: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    """What changes in a run that is asked for more epochs than it has; nothing in another one. Raises UserError."""
    if epochs is None or not epochs > own.get("epochs", epochs):
        return {}
    rule = own["rule_options"]
    if rule.get("scheduler") == "cosine" and "schedule_options" not in rule:
        raise cli.UserError(
            f"the learning rate of run '{out}' falls to 0 over its {own['epochs']} epochs, so more of them are another run; start it with --out"
        )
    return {"epochs": epochs}


def _moved(own: Mapping[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Files that lie elsewhere now; that they hold the same, `same_version` and `same_network` say."""
    if given is None or own.get("task") != "arrays":
        return {}
    options = {**own["task_options"], **{n: given[n] for n in PLACES}}
    return {} if options == own["task_options"] else {"task_options": options}


def say_what_leaves(out: Path) -> None:
    """A note of what was measured of a complete run, and isn't true of it any more."""
    from neuro.io.results import ResultsError, open_run

    try:
        reader = open_run(out)
    except ResultsError:  # cut off, or missing; then nothing was measured
        return
    measured = {path.partition("/")[0] for path, *_ in reader.contents()} - OF_A_RUN
    if reader.complete and measured:
        cli.note(
            f"what was measured of '{out}' ({', '.join(sorted(measured))}) is of its parameters until now, and leaves the file"
        )


def same_version(settings: Mapping[str, Any], task: Any) -> None:
    """Raises UserError where a run that continues has learned another version of its task."""
    from twinspike.given import other_version

    if (differs := other_version(settings, task)) is not None:
        raise cli.UserError(f"the run that continues: {differs}; start another run with --out")


def same_network(model: str, network: Any, task: Any) -> None:
    """Raises UserError where a run that continues has trained another network than its task makes now. model: of the run, as JSON text."""
    from neuro.io.serialisation import content_hash, network_in

    own = network_in(model)
    if own is None or content_hash(own) != content_hash(network):
        raise cli.UserError(
            f"the run that continues has trained another network than task '{task.name}' makes now; give it the network as it was, or start another run with --out"
        )

"""Networks for targets, as their profiles ask for them."""

from __future__ import annotations

from typing import Any

import tasks
from neuro import Network
from neuro.export import targets
from neuro.export.lint import lint
from neuro.export.profile import Profile


def profiles() -> dict[str, Profile]:
    """Target -> profile, of all that are registered and can be imported; the conformance suite fails by name on the others."""
    found = {}
    for name in targets.names():
        try:
            found[name] = targets.get(name).profile
        except Exception:  # whatever its module raises
            continue
    return found


def holding(network: Network) -> list[str]:
    """Names of the targets that hold a network."""
    return [name for name, profile in profiles().items() if all(p.warning for p in lint(network, profile))]


def digits_task(profile: Profile, **changes: Any) -> Any:
    """The digits task whose network the profile holds: cells with currents where it has them, recurrent where it can."""
    kinds = [kind for kind in ("cuba_lif", "lif") if kind in profile.neurons]
    resets = [reset for reset in ("zero", "subtract") if reset in profile.resets]
    assert kinds and resets, f"{profile.name} holds no network of this task: give the suite one that it holds"
    options: dict[str, Any] = {
        "neuron": kinds[0],
        "reset": resets[-1],
        "recurrent": profile.recurrence,
        "hidden": min(24, profile.hidden or 24),
        "pixels": 64 if profile.inputs is None or profile.inputs >= 64 else 16,
        "classes": min(10, profile.outputs or 10),
    }
    return tasks.get("digits", **{**options, **changes})

"""Names of a file's nodes as names that a network takes: what is legal stays, the rest is fitted around it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from neuro.checks.common import check_name


def fitted(wanted: Mapping[str, str]) -> dict[str, str]:
    """Key -> a legal name, no two the same, whatever the order of the keys that are legal. wanted: key -> any text."""
    found: dict[str, str] = {}
    for key, text in wanted.items():
        if _legal(text) and text not in found.values():
            found[key] = text
    for key, text in wanted.items():
        if key not in found:
            found[key] = unused(text, found.values())
    return {key: found[key] for key in wanted}


def unused(text: str, taken: Collection[str] = ()) -> str:
    """The legal name nearest to a text that is not taken: "if" -> "if_", "a b" -> "a_b", "0" -> "n0"."""
    name = re.sub(r"[\W_]+", "_", text, flags=re.ASCII).strip("_") or "node"
    name = name if name[0].isalpha() else f"n{name}"
    name = name if _legal(name) else f"{name}_"
    first, number = name.rstrip("_"), 1
    while name in taken or not _legal(name):
        number += 1
        name = f"{first}_{number}"
    return name


def _legal(name: str) -> bool:
    return not list(check_name(name, ""))

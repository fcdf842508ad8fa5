"""Generated names: one injective function, which no user's name can meet.

A user's name is an ASCII identifier that doesn't begin with "_" and holds no "__" (it may end with "_"). Joined by "__", such
names can be told apart again: within a run of underscores the last two are the joint. So two different tuples never give one
name, and every generated name holds "__", which no user's name and no word of a prelude does.
"""

from __future__ import annotations

_JOINT = "__"


def mangled(role: str, *names: str) -> str:
    """The identifier of what plays a role for these names, such as ("spikes", "hidden").

    role: a word of letters, one for each kind of thing that a generated text names.
    """
    return _JOINT.join((role, *names))


def unmangled(name: str) -> tuple[str, ...]:
    """Inverse of `mangled`: (role, *names)."""
    parts: list[str] = []
    head, joint, tail = name.rpartition(_JOINT)
    while joint:
        parts.append(tail)
        head, joint, tail = head.rpartition(_JOINT)
    return (tail, *reversed(parts))

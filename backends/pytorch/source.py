"""The text of one group of populations, while it is written and put together."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass, field

from backends.common.torch_printer import code
from backends.pytorch.constants import Constants
from backends.pytorch.groups import Group
from neuro.language.mangling import mangled


@dataclass
class Source:
    """lines: the step's statements. observing: those of what is only recorded. arriving: expressions of what has
    arrived at inputs. setup: statements that make the constants in `extra`, besides the expressions in `constants`.
    """

    constants: Constants
    lines: list[str] = field(default_factory=list)
    observing: list[str] = field(default_factory=list)
    arriving: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    def assemble(self, group: Group, parameters: Set[str]) -> str:
        """Four functions: constants of the parameters, one step, what is observed after it, what arrived at inputs in it."""
        names = [*self.constants.table.values(), *self.extra]
        free = {s.name for e in self.constants.table for s in e.free_symbols} | self._words()
        given = sorted(free & parameters)
        zeros = [mangled("zeros", n) for n in group.populations]
        arrivals = [a.name for a in group.arrivals]
        arguments = [*given, *names, *group.states, *arrivals, *group.drives, *group.noise, *group.due, *zeros, "t"]
        results = [*group.states, *(mangled("z", n) for n in group.spiking), *group.observed]
        constants = [*(f"{name} = {code(expr)}" for expr, name in self.constants.table.items()), *self.setup]
        return "\n\n".join(
            (
                _function("constants", given, constants, [*given, *names]),
                _function("step", arguments, self.lines, results),
                _function("observe", [*given, *names, *group.observed, *zeros, "t"], self.observing, group.derived),
                _function("sums", [*given, *names, *group.states, *arrivals, *group.drives], [], self.arriving),
            )
        )

    def _words(self) -> set[str]:
        return set(re.findall(r"\b[A-Za-z]\w*__\w+\b", "\n".join([*self.lines, *self.observing, *self.setup])))


def _function(name: str, arguments: list[str], body: list[str], results: list[str] | tuple[str, ...]) -> str:
    text = "\n    ".join(body or ["pass"])
    return f"def {name}({', '.join(arguments)}):\n    {text}\n    return ({''.join(n + ', ' for n in results)})\n"

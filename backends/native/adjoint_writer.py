"""What the operations of the adjoint are written with: names of adjoints and gradients, and loops over cells and synapses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from backends.native.kernel import Kernel, Slot
from backends.native.lines import Line, Reversed, reverse
from backends.native.operations import count
from neuro.compiler.step import Cells, Synapses
from neuro.language.mangling import mangled

BOTH = "ij"  # ends of a synapse


class Writer:
    """kernel: the one whose backward function is written. at: number of the operation at hand."""

    def __init__(self, kernel: Kernel) -> None:
        assert kernel.training is not None
        self.kernel, self.step, self.layout, self.training = kernel, kernel.step, kernel.layout, kernel.training
        self.at, self.dialect = len(self.step.operations), kernel.dialect

    # -- names ---------------------------------------------------------------------------------------------

    def adjoint(self, owner: str, variable: str) -> str:
        return self.layout.room(mangled("A", owner, variable), self.kernel.tile * self.kernel.size(owner))

    def arrived(self, slot: Slot) -> str:
        return self.kernel.waiting("B", slot)

    def spikes(self, population: str, late: str = "0") -> str:
        """Adjoints of a tile's spikes, some steps ago."""
        depth, size = self.kernel.reach[population], self.kernel.size(population)
        name = self.layout.room(mangled("Z", population), depth * self.kernel.tile * size)
        return name if depth == 1 else f"{name} + wrapped(k - {late}, {depth})*TILE*{size}"

    def gradient(self, name: str, index: str, cell: str = "") -> str:
        """C of a constant's gradient. Cells have one sum each, even where the constant is one number; so have a synapse's cells where threads
        own them. cell: the one at hand.
        """
        constant = self.kernel.constants.table[name]
        place, size = index, self.kernel.size(constant.owner)
        if constant.one and constant.owner not in self.kernel.populations:
            place, size = "0", 1
            if self.dialect.owners:
                place, size = cell, max(self.step.projection(constant.owner).ends)
        return f"{self.layout.filled(mangled('G', name), ('lanes', size))}[lane*{size} + {place}]"

    def wanted(self, name: str) -> bool:
        """Whether a constant's gradient is asked for."""
        return bool(self.kernel.constants.parameters_of(name) & self.training.wrt)

    def weighed(self, synapses: Synapses, amounts: str) -> bool:
        """Whether somebody wants the gradient of a coupling's weights, or of the feedback weights that get the same."""
        return self.wanted(amounts) or f"{synapses.name}.feedback" in self.training.wrt

    def frozen(self, cells: Cells) -> str:
        return self.layout.filled(
            mangled("frozen", cells.name), ("units", "span", self.kernel.tile, cells.size), "byte", inner=True
        )

    def outside(self, name: str, row: str, index: str = "i") -> str:
        """The loss's gradient at cell i, or at another index; its array may have any strides, as a mean over time gives them."""
        given, steps = self.layout.given(mangled("D", name)), self.layout.given(mangled("strides", name), "long")
        return f"{given}[(trial + b)*{steps}[0] + ({row})*{steps}[1] + {index}*{steps}[2]]"

    def adjoint_mask(self, population: str) -> str:
        """Which cells of a tile fired in this step."""
        return self.layout.room(mangled("fired", population), self.kernel.tile * self.kernel.size(population), "int")

    def marked(self, population: str) -> list[str]:
        """Fills that mask from the lists."""
        size, z = self.kernel.size(population), self.adjoint_mask(population)
        loop = self.kernel.own_spikes_of(population, [f"{z}[b*{size} + i] = 1;"])
        return [
            f"{self.dialect.cleared(z, f'TILE*{size}', 'int')};", "for (long b = 0; b < active; b++) {", *loop, "}"
        ]  # fmt: skip

    # -- lines ---------------------------------------------------------------------------------------------

    def over_cells(self, cells: Cells, body: Iterable[str], head: Iterable[str] = ()) -> list[str]:
        """A loop over trials b and their cells i. head: what comes first in each trial."""
        return [
            f"for (long b = 0; b < active; b++) {{ const long o = b*{cells.size}, q = {self.kernel.row(cells.name)};", *head,
            f"VECTOR {self.dialect.loop('i', '0', str(cells.size))} {{", *body, "} }",
        ]  # fmt: skip

    def of_cells(self, cells: Cells, lines: Sequence[Line], seeds: dict[str, str]) -> list[str]:
        """Adjoint statements of lines over a population, in a loop over its cells i."""
        variables = cells.variables
        names = self.kernel.cell_names(cells, self.at)
        constants = self.kernel.constants.table
        found = reverse(lines, names, seeds, lambda n: n in variables or (n in constants and self.wanted(n)))
        body = list(found.statements)
        changed = {line.target for line in lines if line.target}
        for name in variables:
            at = f"{self.adjoint(cells.name, name)}[o + i]"
            if name in changed:
                body.append(f"{at} = {found.adjoints.get(name, '0')};")
            elif name in found.adjoints:
                body.append(f"{at} += {found.adjoints[name]};")
        for name in sorted(n for n in found.adjoints if n in constants):
            body.append(self.dialect.summed(self.gradient(name, "i"), found.adjoints[name]))
        if found.gate:
            body.append(f"({self.spikes(cells.name)})[o + i] += {found.gate};")
        return body

    def of_synapses(
        self, synapses: Synapses, lines: Sequence[Line], seeds: dict[str, str], ends: str = BOTH, cell: str = "j"
    ) -> tuple[list[str], Reversed]:
        """Adjoint statements of lines over trial b's synapses s from i to j. ends: of what they are added to: a source "i", a target and the
        synapse itself "j"; none where nothing is. cell: which of the two is known, where one is.
        """
        constants = self.kernel.constants.table
        places = {n: (synapses.name, n, f"b*{count(synapses)} + s") for n in synapses.states}
        for end, suffix, index in ((synapses.pre, "_pre", "i"), (synapses.post, "_post", "j")):
            cells = self.kernel.populations.get(end)
            if cells is not None and not (suffix == "_pre" and synapses.name in self.training.backward.detached):
                places |= {n + suffix: (end, n, f"b*{cells.size} + {index}") for n in cells.variables}
        names = self.kernel.synapse_names(synapses, self.at)
        found = reverse(lines, names, seeds, lambda n: n in places or (n in constants and self.wanted(n)))
        body = list(found.statements)
        changed = {line.target for line in lines if line.target}
        before = len(body)
        for name, (owner, variable, index) in places.items():
            if ("i" if name.endswith("_pre") else "j") not in ends:
                continue
            if name in changed:
                body.append(f"{self.adjoint(owner, variable)}[{index}] = {found.adjoints.get(name, '0')};")
            elif name in found.adjoints:
                body.append(f"{self.adjoint(owner, variable)}[{index}] += {found.adjoints[name]};")
        for name in sorted(n for n in found.adjoints if n in constants and "j" in ends):
            body.append(self.dialect.summed(self.gradient(name, "s", cell), found.adjoints[name]))
        return body if ends == BOTH or len(body) > before else [], found

    def over_synapses(self, synapses: Synapses, text: Callable[[str], list[str]]) -> list[str]:
        """A loop over all synapses s from i to j. text: of what is added to which ends, see `of_synapses`.

        Where threads own cells, what is added to sources comes first: it reads the adjoints of synapses, which the rest changes.
        """
        if not self.dialect.owners:
            return self.kernel.each_synapse(synapses, text(BOTH))
        first, rest = text("i"), text("j")
        found = self.kernel.by_source(synapses, first) if first else []
        found += self.dialect.between() if first and rest else []
        return found + (self.kernel.each_synapse(synapses, rest) if rest else [])

    def over_trials(self, synapses: Synapses, body: Iterable[str]) -> list[str]:
        """A loop over trials b, with the rows of their tapes."""
        rows = [f"q_own = {self.kernel.row(synapses.name)}"]
        rows += [
            f"q{suffix} = {self.kernel.row(end)}"
            for end, suffix in ((synapses.pre, "_pre"), (synapses.post, "_post"))
            if end in self.kernel.populations
        ]
        return [f"for (long b = 0; b < active; b++) {{ const long {', '.join(rows)};", *body, "}"]

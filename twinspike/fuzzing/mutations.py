"""Defects planted one at a time in a copy of the code: the budget of `make test` must notice them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PARTS = ("neuro", "backends", "tasks", "twinspike")


@dataclass(frozen=True)
class Mutation:
    """A text of a file that stands there once, and what is put in its place."""

    name: str
    file: str
    right: str
    wrong: str

    def plant(self, root: Path) -> None:
        """Into the tree there. Raises ValueError where the text doesn't stand there once: the code has changed since."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.right) != 1:
            raise ValueError(f"{self.file} holds {self.right!r} {text.count(self.right)} times, not once")
        path.write_text(text.replace(self.right, self.wrong), encoding="utf-8")


MUTATIONS = (
    Mutation(
        "a coefficient of rk4", "neuro/compiler/integrators.py", "(_SIXTH, 2 * _SIXTH, 2 * _SIXTH,", "(2 * _SIXTH, _SIXTH, 2 * _SIXTH,"
    ),
    Mutation(
        "a negative power printed without parentheses", "backends/common/code_printer.py",
        'return f"({self.number(1.0)}/{self._atom(sp.Pow(base, -exponent, evaluate=False))})"',
        'return f"{self.number(1.0)}/" + "*".join([self._atom(base)] * max(1, int(-exponent)))',
    ),
    Mutation(
        "minimum and maximum swapped in C", "backends/native/functions.h",
        "{ return a <= b ? a : b < a ? b : a + b; }", "{ return a >= b ? a : b > a ? b : a + b; }",
    ),
    Mutation(
        "CUDA: an operation begins before all threads have ended the last one", "backends/native/cuda.py",
        'found.append("AGREED(k)" if agree else BARRIER)', "pass",
    ),
    Mutation(
        "the longest delay forgotten where spikes are looked up", "backends/native/delivery.py",
        "if (late > {synapses.max_delay}) break;", "if (late >= {synapses.max_delay}) break;",
    ),
    Mutation(
        "the adjoint of a value forgets its gate", "backends/native/adjoint.py", '"(gate ? g : 0)"', '"g"'
    ),
    Mutation(
        "a gate's adjoint to the wrong cell", "backends/native/adjoint.py",
        "({self.spikes(synapses.pre, late)})[b*{synapses.ends[0]} + i]", "({self.spikes(synapses.pre, late)})[b*{synapses.ends[0]}]",
    ),
    Mutation(
        "a receptor's name may be taken", "neuro/compiler/receptors.py", "free = readable not in self.taken and ", "free = "
    ),
    Mutation(
        "receptors of one name are one", "neuro/compiler/receptors.py", "if known == synapse)", "if known.name == synapse.name)"
    ),
    Mutation(
        "clip's slope outside its bounds", "neuro/language/elementary.py",
        "return greater_equal(a, b) if argindex == 1 else greater(b, a)", "return sp.Integer(1) if argindex == 1 else greater(b, a)",
    ),
    Mutation(
        "a delay of its own is one step short", "backends/reference.py",
        "slot = (self.k - delay.astype(np.int64)) %", "slot = (self.k + 1 - delay.astype(np.int64)) %",
    ),
    Mutation(
        "refractory periods are one step short", "neuro/compiler/lowering.py",
        "refractory=counted(neuron, resolved.network.dt)", "refractory=max(0, counted(neuron, resolved.network.dt) - 1)",
    ),
    Mutation(
        "refractory periods that a text gives are one step short", "neuro/compiler/refractory.py",
        "passed = floor_of((TIME - LAST) / DT + sp.Rational(1, 2))", "passed = floor_of((TIME - LAST) / DT + sp.Rational(3, 2))",
    ),
    Mutation(
        "a cell forgets its spike when its condition ends", "neuro/compiler/refractory.py",
        "closed(1 - (1 - FREE) * condition)", "closed(1 - condition)",
    ),
    Mutation(
        "sums at the end of a step miss the cells' statements", "neuro/compiler/lowering.py",
        """    operations += [u for p in network.populations for u in _block(resolved, p, "every_step")]
    operations += _synaptic_integration(resolved, "end")
    operations += gathers(resolved, "end")
""",
        """    operations += gathers(resolved, "end")
    operations += [u for p in network.populations for u in _block(resolved, p, "every_step")]
    operations += _synaptic_integration(resolved, "end")
""",
    ),
    Mutation(
        "synapses are integrated before the cells always", "neuro/compiler/lowering.py",
        "resolved.network.projections if p.integrated == place)", 'resolved.network.projections if place == "start")',
    ),
    Mutation(
        "what an event does happens without it", "neuro/compiler/lowering.py",
        "chosen(symbol(event), a.expr, symbol(a.target))", "chosen(sp.Integer(1), a.expr, symbol(a.target))",
    ),
    Mutation(
        "a synapse draws one number for all steps", "backends/native/synaptic.py",
        "first + b, u->run->start + k)", "first + b, u->run->start)",
    ),
    Mutation(
        "currents in other units", "backends/native/compiled.py",
        'found[mangled("current", name)], found[mangled("channels", name)] = value,', 'found[mangled("current", name)], found[mangled("channels", name)] = 1e3 * value,',
    ),
    Mutation(
        "a cell that fires just now counts as not refractory in the adjoint", "backends/native/adjoint.py",
        'f"({still} || {self.adjoint_mask(cells.name)}[o + i])"', "still",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """seconds: of the processor, until the budget noticed, or until it was through. what: the first failure; empty where there is none."""

    name: str
    seconds: float
    what: str


def _processor_time() -> float:
    """Seconds of the processes that have run."""
    return sum(os.times()[2:4])


def judged(mutation: Mutation | None) -> Verdict:
    """The budget against a copy of the code with this defect, or with none."""
    with tempfile.TemporaryDirectory(prefix="twinspike-mutation-") as folder:
        root = Path(folder)
        for part in _PARTS:
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        if mutation is not None:
            mutation.plant(root)
        start = _processor_time()
        found = subprocess.run(
            [sys.executable, "-m", "twinspike.fuzzing.budget"], cwd=root, capture_output=True, text=True, check=False,
            env={
                **os.environ, "PYTHONPATH": str(root), "XDG_CACHE_HOME": str(root / "cache"),
                "TWINSPIKE_NATIVE_FLAGS": "-O0",
            },
        )  # fmt: skip
    what = (found.stdout.strip() or found.stderr.strip()).splitlines()
    name = "none" if mutation is None else mutation.name
    return Verdict(name, _processor_time() - start, what[-1] if found.returncode and what else "")

"""A network as a Brian2 script: for whoever publishes in Brian2, reads it better, or wants to see what the backend tells it.

The objects are those that the backend makes (`export.builder`), printed (`export.printing`): a script and the backend can't mean different things. Numbers
that are drawn (noise, Poisson spikes, counts of drives) are those of one of our trials, so that the script gives its raster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from inspect import getsource
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.built import Built
from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.errors import OTHERS, objections
from backends.brian.exact import DegenerateError
from backends.brian.export.builder import ScriptBuilder, is_given_noise
from backends.brian.export.expressions import quantity_text
from backends.brian.export.names import ReadableNames
from backends.brian.export.printing import Printer
from backends.brian.functions import session
from backends.brian.given import Columns, Numbers, arrays
from backends.brian.plan import watched_by
from backends.brian.refusals import refuse
from backends.brian.traces import monitors
from backends.brian.zeros import with_units
from backends.common.arrays import Feed, check_parameters
from backends.common.recording import check_record
from backends.common.simulator import feed_of
from neuro.compiler.parameters import Parameter
from neuro.compiler.parameters import parameters as declared
from neuro.compiler.resolve import resolve
from neuro.io.files import replaced_text
from neuro.language import counts
from neuro.model import Network
from neuro.protocols import Inputs, Parameters, Record, Request, RunError, UnsupportedError

Array = npt.NDArray[Any]

_NO_WORD = re.compile(r"[^\w .,:;()-]")  # a network's name may hold anything, and a script runs
_FUNCTIONS = {  # as numpy has them, see backends.brian.functions
    "floor_of": "np.floor, 1",
    "ceil_of": "np.ceil, 1",
    "exponential_of": "np.exp, 1, plain=True",
    "magnitude_of": "np.abs, 1",
    "sign_of": "np.sign, 1, plain=True",
    "truth_of": "lambda condition: np.asarray(condition, float), 1, plain=True",
    "remainder_of": "np.mod, 2",
    "floor_ratio_of": "lambda a, b: np.floor(np.true_divide(a, b)), 2, plain=True",
    "truncated_of": "np.trunc, 1",
    "poisson_of": "poisson, 2, plain=True",
    "minimum_of": "np.minimum, 2",
    "maximum_of": "np.maximum, 2",
}
_OWN = '''\
def own(name, function, arguments, plain=False):
    """A function that means the same in all of Brian2's code, and that sympy knows to be real and leaves as it is."""
    known = {"is_real": True, "_eval_derivative": lambda self, s: sympy.Derivative(self, s, evaluate=False)}
    made = Function(
        function, sympy_func=type(name, (sympy.Function,), known), arg_units=[None]*arguments,
        return_unit=1 if plain else lambda *units: units[0],
    )
    made.implementations.add_implementation("numpy", code=function)
    DEFAULT_FUNCTIONS[name] = made
'''


@dataclass(frozen=True)
class BrianScript:
    """text: of the script. arrays: what it reads from a file of its name beside it, .npz; where there are none, it needs none.

    monitors: what it calls the SpikeMonitor of each population. traces: the StateMonitor of each recorded variable, and the variable.
    """

    text: str
    arrays: Mapping[str, Array]
    monitors: Mapping[str, str]
    traces: Mapping[str, tuple[str, str]]

    def __str__(self) -> str:
        return self.text

    def write(self, path: str | Path) -> tuple[Path, ...]:
        """Writes both. path: of the script, .py. Returns what was written."""
        path = Path(path)
        replaced_text(path, self.text)
        if not self.arrays:
            return (path,)
        data = path.with_suffix(".npz")
        np.savez_compressed(data, **self.arrays)  # type: ignore[arg-type]
        return path, data


def to_brian2_script(
    network: Network, parameters: Parameters | None = None, inputs: Inputs | None = None, record: Record = (), *,
    steps: int | None = None, trial: int = 0,
) -> BrianScript:  # fmt: skip
    """A script that Brian2 runs, with the spikes that a run of one trial has here.

    parameters, inputs, record, steps, trial: as in Program.run; inputs [1, time, channel]. Raises UnsupportedError naming what Brian2
    can't do or the script can't say, RunError for arguments that are none.
    """
    merged = with_units(resolve(network).network)
    refuse(merged, "numpy")
    feed = feed_of(Request(parameters, inputs, steps=steps, trial=trial), merged)
    if feed.batch != 1:
        raise RunError(f"a script has one trial, and the inputs are of {feed.batch}; give one: {{name: array[:1]}}")
    wanted = check_record(merged, record, 1)
    values, known = check_parameters(merged, parameters), declared(merged)
    with session("numpy"):
        noisy = {p.name for p in merged.populations if is_given_noise(p.neuron)}
        built, columns = _built(
            merged, known, values, feed, frozenset(noisy)
        )  # whose steps are written with the backend's names
        monitors(built, watched_by(merged, wanted, 1))
        return _Writer(merged, built, columns, arrays(merged, built, feed), feed).script(network.name)


def _built(
    network: Network, known: Mapping[str, Parameter], values: Mapping[str, Array], feed: Feed, numbered: frozenset[str] = frozenset()
) -> tuple[Built, Columns]:  # fmt: skip
    """The objects and their numbers, where need be with numbered names."""
    names = ReadableNames(network, numbered)
    numbers = Numbers(network, names, known)
    columns = numbers.columns(values, (1,))
    with objections(names):
        built = ScriptBuilder(network, names, feed).build()
        before = built.propagators
        ties = numbers.ties(columns, before)
        built = ScriptBuilder(network, names, feed, ties).build() if ties else built
    numbers.add_rates(columns, before, ties)
    wrong = {owner for owner, _ in numbers.wrong(columns, built.propagators)}
    if wrong - numbered:
        return _built(network, known, values, feed, numbered | wrong)
    try:
        numbers.check(columns, built.propagators)
    except DegenerateError as error:
        raise UnsupportedError("brian2", error.owner, str(error), OTHERS) from None
    return built, columns


def _poisson() -> str:
    """The text of counts that follow a mean."""
    constants = {name: getattr(counts, name) for name in ("MOST", "LARGE", "SHIFT", "TAIL")}
    given = f"{', '.join(constants)} = {', '.join(map(repr, constants.values()))}"
    return f"from typing import Any\n\n{given}\n\n\n{getsource(counts.poisson)}\n"


@dataclass(frozen=True)
class _Writer:
    """network: without receptors. tables: what comes from outside, by our names, [time, cell]."""

    network: Network
    built: Built
    columns: Columns
    tables: Mapping[str, Array]
    feed: Feed

    @property
    def names(self) -> ReadableNames:
        assert isinstance(self.built.names, ReadableNames)
        return self.built.names

    def script(self, title: str) -> BrianScript:
        printer = Printer(self.built.clock)
        parts = [("what comes from outside", [*self._outside(printer)])]
        for p in self.network.populations:
            parts.append((f"population {p.name}", [*printer.cells(self.built.groups[p.name], self._values(p.name))]))
        parts += [(f"projection {n}", [*self._synapses(printer, n)]) for n in self.built.synapses]
        parts.append(("what is recorded", [*self._monitors(printer)]))
        body = "\n\n".join("\n".join([f"# {of}", *lines]) for of, lines in parts if lines)
        text = f"{self._head(title, printer)}\n{body}\n\n{self._end()}"
        spikes = {name: monitor.name for name, monitor in self.built.spikes.items()}
        traces = {w.name: (m.name, self._variable(w.name)) for w, m in self.built.traces.items()}
        return BrianScript(text, printer.arrays, spikes, traces)

    def _variable(self, name: str) -> str:
        owner, _, variable = name.partition(".")
        return self.names[owner][variable]

    def _values(self, owner: str) -> dict[str, Array]:
        return self.columns.get(owner, {})

    def _outside(self, printer: Printer) -> Iterator[str]:
        for number, name in enumerate(self.built.feeds):
            yield printer.table(self.names.given(name, number), self.tables[name])
        for source in self.network.inputs:
            if source.sends:
                yield from printer.sources(self.built.groups[source.name])

    def _synapses(self, printer: Printer, name: str) -> Iterator[str]:
        projection = self.network.projection(name)
        source, target = (self.names.objects[end] for end in (projection.pre, projection.post))
        return printer.synapses(self.built.synapses[name], source, target, self._values(name))

    def _monitors(self, printer: Printer) -> Iterator[str]:
        for name, monitor in self.built.spikes.items():
            yield printer.monitor(monitor, monitor.name, self.names.objects[name])
        for monitor in dict.fromkeys(self.built.traces.values()):
            yield printer.monitor(monitor, monitor.name, monitor.source.name)

    # -- around it -----------------------------------------------------------------------------------------------------

    def _head(self, title: str, printer: Printer) -> str:
        lines = [
            f'"""{_NO_WORD.sub(" ", title)}: a network of twinspike {version("twinspike")}, for Brian2 {brian2.__version__}.',
            "",
            *self._notes(),
        ]
        lines += ['"""', "", "from brian2 import *", "import numpy as np"]
        if printer.arrays:
            lines.append("from pathlib import Path")
        functions = printer.functions()
        for name in (n for n in functions if n not in _FUNCTIONS):
            why = "a script has no text for it; run the network with backend 'brian2'"
            raise UnsupportedError("brian2", f"a script that calls {name}()", why, OTHERS)
        if functions:
            lines += ["import sympy", "from brian2.core.functions import DEFAULT_FUNCTIONS"]
        lines += ["", 'prefs.codegen.target = "numpy"', f"defaultclock.dt = {self._dt()}"]
        if printer.arrays:
            lines.append('data = np.load(Path(__file__).with_suffix(".npz"))')
        if functions:
            lines += [
                "",
                "",
                _OWN,
                *([_poisson()] if "poisson_of" in functions else ()),
                *(f'own("{name}", {_FUNCTIONS[name]})' for name in functions),
            ]
        return "\n".join([*lines, ""])

    def _dt(self) -> str:
        return quantity_text(float(self.network.dt.value), self.network.dt.dimension)

    def _notes(self) -> Iterator[str]:
        """How to read it."""
        yield f"{self.feed.steps} steps of trial {self.feed.trial}, seed {self.network.seed}: its spikes are those of every backend there."
        if any(p.neuron.scope.inputs for p in self.network.populations):
            yield fill(
                "An input `I` lives one step: `next_I` adds up what spikes bring, and at the start of the next step `I` takes it.",
                100,
            )
        if any("." in name for name in self.built.feeds):
            yield "The noise of each step is given, as `xi*sqrt(dt)`, in place of numbers that Brian2 would draw."
        for name, called in self.names.changed().items():
            yield f"`{name}` is called `{called}`."

    def _end(self) -> str:
        objects = [*self.names.objects.values()]
        made = {g.name for g in (*self.built.groups.values(), *self.built.synapses.values())}
        recorded = [m.name for m in (*self.built.spikes.values(), *dict.fromkeys(self.built.traces.values()))]
        listed = ", ".join([n for n in objects if n in made] + recorded)
        lines = [f"network = Network({listed})", f"network.run({self.feed.steps}*defaultclock.dt)"]
        for name, monitor in self.built.spikes.items():
            lines.append(f'print("{name}:", {monitor.name}.num_spikes, "spikes")')
        return "\n".join(lines) + "\n"

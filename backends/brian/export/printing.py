"""Brian2's objects as Python text that makes them again. What an object is, it says itself; only its numbers are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.devices import StateUpdateMethod, brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.export.expressions import array_text, dimension_of, functions_in, plain, quantity_text
from backends.brian.text import unit_text
from neuro.protocols import UnsupportedError

Array = npt.NDArray[Any]
# What groups and synapses have besides run_regularly. (Synapses with statements of their own are among their sources' objects.)
_PARTS = ("Thresholder", "Resetter", "StateUpdater", "SummedVariableUpdater", "SynapticPathway", "Synapses")
_SHORT = 10  # numbers that stand in the text


@dataclass
class Printer:
    """arrays: what the text reads. texts: all expressions and statements that were printed."""

    clock: Any
    arrays: dict[str, Array] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    # -- objects -------------------------------------------------------------------------------------------------------

    def cells(self, group: Any, values: Mapping[str, Array]) -> Iterator[str]:
        """A NeuronGroup. values: variable -> numbers."""
        method = group.method_choice
        known = method if isinstance(method, str) else ""
        lines = [self.equation(e, known or "given") for e in group.user_equations.values()]
        options = {"threshold": self.statements(group.events.get("spike") or "")}
        options |= {event: self.statements(code) for event, code in group.event_codes.items() if event == "spike"}
        options["reset"] = options.pop("spike", "")
        refractory = group._refractory
        given = [f"{name}={quoted(text)}" for name, text in options.items() if text]
        own = {event: self.statements(condition) for event, condition in group.events.items() if event != "spike"}
        if own:
            given.append(f"events={own!r}")
        if refractory is not False:
            given.append(f"refractory={self.refractory(refractory)}")
        if callable(method):
            yield from self.steps(group)
        given += [*self.integration(group.state_updater), f'name="{group.name}"']
        yield call(f"{group.name} = NeuronGroup", [str(len(group)), block(lines), *given])
        for event in own:
            code = quoted(self.statements(group.event_codes[event]))
            yield call(f"{group.name}.run_on_event", [f'"{event}"', code, f'when="{group.resetter[event].when}"'])
        for part, item in parts(group):
            if item.order:
                yield f"{group.name}.{part}.order = {item.order}"
        for variable in kept(group):
            yield f'{group.name}.variables["{variable}"].set_conditional_write({group.name}.variables["not_refractory"])'
        yield from self.variables(group.name, group, values)
        yield from self.regularly(group)

    def synapses(self, synapses: Any, source: str, target: str, values: Mapping[str, Array]) -> Iterator[str]:
        """Synapses, from and to objects of these names."""
        name, updater = synapses.name, synapses.state_updater
        method = updater.method_choice if updater else ""
        lines = [self.equation(e, method) for e in (*synapses.equations.values(), *event_driven(synapses))]
        for variable, updater_ in synapses.summed_updaters.items():
            text = self.expression(updater_.expression.code, "")
            lines.append(f"{variable} = {text} : {unit_text(dimension_of(synapses.variables[variable].dim))} (summed)")
        given = [f"{how}={code}" for how, code in self.pathways(synapses)]
        given += [*(self.integration(updater) if updater else ()), f'name="{name}"']
        yield call(f"{name} = Synapses", [source, target, block(lines), *given])
        yield from self.connections(synapses)
        for pathway in synapses._pathways:
            called = f"{name}.{pathway.objname}"
            yield f"{called}.order = {pathway.order}"
            if np.any(delays := np.asarray(pathway.variables["delay"].get_value())):
                yield f"{called}.delay = {self.numbers(f'{called}.delay', delays, dimension_of(brian2.second.dim))}"
        if updater:
            yield f"{name}.state_updater.order = {updater.order}"
        for variable, one in synapses.summed_updaters.items():
            called = f'{name}.summed_updaters["{variable}"]'
            yield f'{called}.when, {called}.order = "{one.when}", {one.order}'
        yield from self.variables(name, synapses, values)
        yield from self.regularly(synapses)

    def sources(self, group: Any) -> Iterator[str]:
        """A SpikeGeneratorGroup."""
        channels, times = (group.variables[n].get_value() for n in ("neuron_index", "spike_time"))
        steps = np.round(times / float(self.clock.dt)).astype(np.int64)
        channel, step = (self.whole(f"{group.name}.{n}", a) for n, a in (("channel", channels), ("step", steps)))
        arguments = [str(len(group)), channel, f"{step}*defaultclock.dt", f'name="{group.name}"']
        yield call(f"{group.name} = SpikeGeneratorGroup", arguments)

    def monitor(self, monitor: Any, name: str, source: str) -> str:
        """A SpikeMonitor or StateMonitor."""
        if isinstance(monitor, brian2.SpikeMonitor):
            return f'{name} = SpikeMonitor({source}, name="{name}")'
        whole = len(monitor.record) == len(monitor.source)
        record = "True" if whole else self.whole(f"{name}.record", np.asarray(monitor.record))
        variables = [str(v) for v in monitor.record_variables]
        return f'{name} = StateMonitor({source}, {variables!r}, record={record}, when="{monitor.when}", order={monitor.order}, name="{name}")'

    def table(self, name: str, values: Array) -> str:
        """A TimedArray of one value a step and cell."""
        self.arrays[name] = values
        return f'{name} = TimedArray(data["{name}"], dt=defaultclock.dt)'

    # -- parts of them -------------------------------------------------------------------------------------------------

    def equation(self, item: Any, method: str) -> str:
        left = f"d{item.varname}/dt" if item.type == "differential equation" else item.varname
        right = "" if item.expr is None else f" = {self.expression(item.expr.code, method)}"
        unit = unit_text(dimension_of(item.dim)) if item.var_type == "float" else item.var_type
        return f"{left}{right} : {unit}" + (f" ({', '.join(item.flags)})" if item.flags else "")

    def expression(self, text: str, method: str) -> str:
        self.texts.append(found := plain(text, method))
        return found

    def statements(self, text: str) -> str:
        return self.expression(text.strip(), "") if text else ""

    def refractory(self, given: Any) -> str:
        """A period, or the text that says how long or whether."""
        second = dimension_of(brian2.second.dim)
        return quoted(self.statements(given)) if isinstance(given, str) else quantity_text(float(given), second)

    def steps(self, group: Any) -> Iterator[str]:
        """A method that is given as a function: the statements that it writes."""
        code = StateUpdateMethod.apply_stateupdater(
            group.equations, group.variables, group.method_choice, group_name=group.name
        )
        self.texts.append(code)
        yield f"def steps_of_{group.name}(equations, variables, options=None):\n    return {block(code.splitlines())}\n"

    def integration(self, updater: Any) -> list[str]:
        if callable(updater.method_choice):
            return [f"method=steps_of_{updater.group.name}"]
        options = f", method_options={updater.method_options!r}" if updater.method_options else ""
        return [f'method="{updater.method_choice}"{options}']

    def pathways(self, synapses: Any) -> Iterator[tuple[str, str]]:
        for end in ("pre", "post"):
            found = {p.objname: self.statements(p.code) for p in synapses._pathways if p.prepost == end}
            if [*found] == [end]:
                yield f"on_{end}", quoted(found[end])
            elif found:
                yield f"on_{end}", "{" + ", ".join(f'"{n}": {quoted(code)}' for n, code in found.items()) + "}"

    def connections(self, synapses: Any) -> Iterator[str]:
        pre, post = (np.asarray(synapses.variables[f"_synaptic_{end}"].get_value()) for end in ("pre", "post"))
        sizes, name = (len(synapses.source), len(synapses.target)), synapses.name
        for text, count, ends in rules(*sizes):
            if len(pre) == count and all(map(np.array_equal, (pre, post), ends())):
                yield f"{name}.connect({text})"
                return
        yield f"{name}.connect(i={self.whole(f'{name}.i', pre)}, j={self.whole(f'{name}.j', post)})"

    def variables(self, name: str, group: Any, values: Mapping[str, Array]) -> Iterator[str]:
        for variable, given in values.items():
            held = group.variables[variable]
            if held.constant or not np.array_equal(given, held.get_value()):
                text = self.numbers(f"{name}.{variable}", given, dimension_of(group.variables[variable].dim))
                yield f"{name}.{variable} = {text}"

    def regularly(self, group: Any) -> Iterator[str]:
        """Statements of run_regularly. Raises UnsupportedError for what is another part than those that are written."""
        for item in group.contained_objects:
            kind = type(item).__name__
            if kind in _PARTS or item is getattr(group, "state_updater", None):
                continue
            if kind != "CodeRunner":
                what = f"a {kind} of '{group.name}'"
                raise UnsupportedError("brian2", what, "a script can't say it yet; run it with backend 'brian2'")
            often = (
                []
                if item.clock is self.clock
                else [f"dt={quantity_text(float(item.clock.dt), dimension_of(brian2.second.dim))}"]
            )
            code = quoted(self.statements(item.abstract_code))
            yield call(f"{group.name}.run_regularly", [code, *often, f'when="{item.when}"', f"order={item.order}"])

    # -- numbers -------------------------------------------------------------------------------------------------------

    def numbers(self, name: str, values: Array, dimension: Any) -> str:
        if np.all(values == values[0]):
            return quantity_text(float(values[0]), dimension)
        if len(values) <= _SHORT and np.isfinite(values).all():
            return array_text(values, dimension)
        self.arrays[name] = values
        unit = unit_text(dimension)
        return f'data["{name}"]' + ("" if unit == "1" else f"*{unit}")

    def whole(self, name: str, values: Array) -> str:
        if 0 < len(values) <= _SHORT:
            return f"np.array({values.tolist()})" if name.endswith("step") else f"{values.tolist()}"
        self.arrays[name] = values
        return f'data["{name}"]'

    def functions(self) -> list[str]:
        """The functions of ours that the texts call."""
        return functions_in(self.texts)


def rules(pre: int, post: int) -> Iterator[tuple[str, int, Callable[[], tuple[Array, ...]]]]:
    """Brian2's words for a connection between so many cells, the number of its synapses, and their ends."""
    yield "", pre * post, lambda: np.nonzero(np.ones((pre, post), bool))
    if pre == post:
        yield 'condition="i != j"', pre * (pre - 1), lambda: np.nonzero(~np.eye(pre, dtype=bool))
        yield 'j="i"', pre, lambda: np.nonzero(np.eye(pre, dtype=bool))


def parts(group: Any) -> Iterator[tuple[str, Any]]:
    """What a NeuronGroup has one of, and how a script names it."""
    yield "state_updater", group.state_updater
    for kind in ("thresholder", "resetter"):
        yield from ((f'{kind}["{event}"]', item) for event, item in getattr(group, kind).items())


def kept(group: Any) -> list[str]:
    """What a refractory cell keeps and no flag says: variables without an equation of their own."""
    variables = {n: v for n, v in group.variables.items() if n in group.equations.parameter_names}
    return [n for n, v in variables.items() if getattr(v, "conditional_write", None) is not None]


def event_driven(synapses: Any) -> list[Any]:
    """Differential equations that are solved between events."""
    found = synapses.event_driven
    return [] if found is None else [e for e in found.values() if e.type == "differential equation"]


def quoted(text: str) -> str:
    """A string of one line, or a block of several."""
    lines = text.splitlines()
    return f'"{text}"' if len(lines) == 1 else block(lines)


def block(lines: Iterable[str]) -> str:
    inner = "\n".join(f"    {line}" for line in lines)
    return f'"""\n{inner}\n"""' if inner else '""'


def call(what: str, arguments: Iterable[str]) -> str:
    return f"{what}({', '.join(arguments)})"

"""Random synapses between two given cells: events, graded values, receptors, plasticity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from neuro import Neuron, Synapse
from neuro.language.units import unit as unit_of
from twinspike.fuzzing.cells import SIZES, UNITS, Setting
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.expressions import SCALES, Atom, Grammar, put
from twinspike.fuzzing.names import Names

KINDS = {
    "event": 5,
    "several": 2,
    "plastic": 3,
    "short_term": 1,
    "graded": 3,
    "receptor": 3,
    "weightless": 1,
    "stepped": 1,
    "reading": 2,
}


@dataclass
class Draft:
    """A synapse while it is written. weight: its unit and usual size in it, None without one."""

    equations: list[str] = field(default_factory=list)
    on_pre: list[str] = field(default_factory=list)
    on_post: list[str] = field(default_factory=list)
    every_step: list[str] = field(default_factory=list)
    transmits: str = ""
    target: str = ""
    receptor: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    initial: dict[str, Any] = field(default_factory=dict)
    weight: str | None = None
    size: float = 1.0
    assigned: bool = False


def units_of(neuron: Neuron) -> dict[str, str]:
    """Variable -> unit as the grammar calls it, of what the neuron's text declares."""
    names = {unit_of(u).dimension: u for u in SCALES}
    return {n: names[d] for n, d in neuron.scope.dimensions.items() if d in names and n not in ("t", "dt")}


class SynapseMaker:
    """One random synapse. pre: None where spikes come from an input."""

    def __init__(self, dice: Dice, setting: Setting, name: str, pre: Neuron | None, post: Neuron) -> None:
        self.dice, self.setting, self.name, self.pre, self.post = dice, setting, name, pre, post
        self.names, self.draft = Names(dice, setting.names), Draft()
        self.names.taken |= {"w"}
        self.method = "euler" if setting.dyadic else dice.choose(("euler", "exact", "exponential_euler", "rk2", "rk4"))
        self.post_units = units_of(post)
        self.traces: list[Atom] = []
        self.expressions: list[Atom] = []
        self.times: set[str] = set()

    def make(self, kind: str = "") -> tuple[Synapse, Draft] | None:
        """None where these two cells can't have one of the kind that was drawn. kind: this one, where they can."""
        dice, post = self.dice, self.post.scope
        kinds: dict[str, float] = dict(KINDS)
        if self.pre is None or not (self.pre.scope.states or self.pre.scope.subexpressions) or not post.inputs:
            kinds.pop("graded")
        if self.pre is not None and not self.pre.threshold:
            kinds = {"graded": 1.0} if "graded" in kinds else {}
        if not post.inputs:
            kinds.pop("receptor", None)
        if self.setting.dyadic:
            kinds.pop("receptor", None), kinds.pop("short_term", None)
        if not kinds or not (post.inputs or post.states):
            return None
        getattr(self, kind if kind in kinds else dice.weighted(kinds))()
        d = self.draft
        return Synapse(
            self.name, "\n".join(d.equations), on_pre="\n".join(d.on_pre), on_post="\n".join(d.on_post), every_step="\n".join(d.every_step),
            transmits=d.transmits, target=d.target, receptor="\n".join(d.receptor), parameters=d.parameters, initial=d.initial, method=self.method,
        ), d  # fmt: skip

    # -- parts ---------------------------------------------------------------------------------------------

    def aim(self, inputs_only: bool = False) -> tuple[str, str]:
        """A variable of the target and its unit."""
        scope = self.post.scope
        states = () if inputs_only else scope.states
        name = (
            self.dice.choose(scope.inputs)
            if scope.inputs and (not states or self.dice.chance(0.65))
            else self.dice.choose(states)
        )
        return name, self.post_units[name]

    def declare_weight(self, unit: str) -> None:
        self.draft.weight, self.draft.size = unit, SIZES[unit]
        self.draft.equations.append(f"w : {unit}")

    def parameter(self, low: float, high: float) -> str:
        name = self.names.new()
        dice = self.dice
        value = dice.whole(int(low * 4), int(high * 4)) / 4 if self.setting.dyadic else dice.number(low, high)
        self.draft.parameters[name] = repr(value)
        return name

    def time_constant(self) -> str:
        name = self.names.new()
        steps = self.dice.choose((4, 8)) if self.setting.dyadic else self.dice.number(4, 20)
        self.draft.parameters[name] = self.setting.time(steps)
        self.times.add(name)
        return name

    def ends(self, *, written: tuple[str, ...] = ()) -> Grammar:
        """Expressions over the cells' variables; a block may not read what it adds to."""
        atoms = [
            Atom(f"{n}_post", u)
            for n, u in self.post_units.items()
            if n not in written and self.readable(n, written) and u != "second"
        ]
        if self.pre is not None:
            atoms += [Atom(f"{n}_pre", u) for n, u in units_of(self.pre).items() if u != "second"]
        return Grammar(self.dice, atoms, self.setting.dyadic)

    def readable(self, name: str, written: tuple[str, ...]) -> bool:
        """False for subexpressions of what the block adds to: the order of synapses would count."""
        table = {e.name: e.expression for e in self.post.scope.of_kind("subexpression")}
        expression = table.get(name)
        return expression is None or not any(n in written or not self.readable(n, written) for n in expression.names)

    def factor(self, written: tuple[str, ...] = ()) -> str:
        """Nothing, or something to multiply an amount by."""
        dice = self.dice
        kind = dice.choose(("none", "none", "number", "parameter", "cells", "subexpression"))
        if kind == "number":
            return "*0.5" if self.setting.dyadic else f"*{dice.number(-1, 1.5)}"
        if kind == "parameter":
            return f"*{self.parameter(0.25, 1.5)}"
        if kind == "cells":
            return f"*({self.ends(written=written).bounded('1', 1)})"
        if kind == "subexpression":
            return f"*{self.subexpression(written)}"
        return ""

    def subexpression(self, written: tuple[str, ...] = ()) -> str:
        """The name of an expression over the cells' variables and the synapse's own; it may read one that was written before."""
        return self.subexpression_of(self.ends(written=written))

    def subexpression_of(self, ends: Grammar) -> str:
        """The same over these variables of the cells."""
        own = [Atom(n) for n in self.draft.parameters if n not in self.times]
        grammar = ends.over(*own, *self.traces, *self.expressions)
        name = self.names.new()
        self.draft.equations.append(f"{name} = {grammar.bounded('1', 1)} : 1")
        self.expressions.append(Atom(name))
        return name

    def share(self, unit: str) -> str:
        """The weight as an amount in that unit, smaller where it moves a state at once."""
        weight = self.draft.weight
        if weight == unit:
            return "w"
        return f"w*({SCALES[unit]})/({SCALES[weight or '1']})" if weight else f"0.5*{SCALES[unit]}"

    # -- kinds ---------------------------------------------------------------------------------------------

    def event(self) -> None:
        name, unit = self.aim()
        self.declare_weight(unit)
        sign = "-=" if self.dice.chance(0.15) else "+="
        self.draft.on_pre.append(f"{name}_post {sign} w{self.factor((name,))}")

    def reading(self) -> None:
        """Adds to one variable a function of another, to which other projections may add before and after it."""
        name, unit = self.aim()
        self.declare_weight(unit)
        own = [
            Atom(f"{n}_post", u)
            for n, u in self.post_units.items()
            if n in (*self.post.scope.inputs, *self.post.scope.states)
        ]
        source = [a for a in own if a.text != f"{name}_post" and a.unit != "second"] or [Atom("0.5")]
        amount = Grammar(self.dice, source, self.setting.dyadic).bounded("1", 1)
        self.draft.on_pre.append(f"{name}_post += w*({amount})")

    def several(self) -> None:
        aims = [self.aim() for _ in range(self.dice.whole(2, 3))]
        written = tuple(n for n, _ in aims)
        self.declare_weight(aims[0][1])
        for name, unit in aims:
            op = self.dice.choose(("+=", "+=", "-="))
            self.draft.on_pre.append(f"{name}_post {op} {self.share(unit)}{self.factor(written)}")
        if self.post.threshold and self.dice.chance(0.25):
            name, unit = self.aim()
            self.draft.on_post.append(f"{name}_post += 0.1*({self.share(unit)})")

    def weightless(self) -> None:
        name, unit = self.aim()
        amount = self.dice.choose(("0.75", "0.5", "1")) if self.setting.dyadic else str(self.dice.number(0.3, 1.2))
        text = amount if unit == "1" else f"{amount}*{SCALES[unit]}"
        self.draft.on_pre.append(f"{name}_post += {text}{self.factor((name,)) if self.dice.chance(0.5) else ''}")

    def trace(self) -> str:
        """A synaptic variable that decays."""
        name = self.names.new()
        self.draft.equations.append(f"d{name}/dt = -{name}/{self.time_constant()} : 1")
        if self.dice.chance(0.4):
            self.draft.initial[name] = "0.5"
        self.traces.append(Atom(name))
        return name

    def plastic(self) -> None:
        dice, d = self.dice, self.draft
        name, unit = self.aim()
        self.declare_weight(unit)
        d.assigned = True
        x, y, scale = self.trace(), self.trace(), SCALES[unit]
        high = self.parameter(1, 2)
        ends = self.ends(written=(name,))
        change = {
            "w = clip(w - 0.125*Y*S, 0*S, H*S)": 3, "w += 0.25*Y*S": 1, "w = w*(1 - 0.125*Y)": 1, "w *= 0.75": 1, "w -= 0.125*S*Y": 1,
            "w = clip(w + 0.25*S*B, 0*S, H*S)": 2,
        }  # fmt: skip
        before = put(dice.weighted(change), Y=y, H=high, S=scale, B=f"({ends.bounded('1', 1)})")
        after = put(dice.weighted(change), Y=x, H=high, S=scale, B=f"({ends.bounded('1', 1)})")
        lines = [f"{name}_post += w{self.factor((name,))}", f"{x} {dice.choose(('+=', '='))} 1", before]
        d.on_pre += [lines[i] for i in dice.random.permutation(3)]
        if self.post.threshold:
            d.on_post += [f"{y} += 1", after] if dice.chance(0.5) else [after, f"{y} = 1"]
        if dice.chance(0.3):
            d.every_step.append(
                dice.choose(
                    (
                        f"w = clip(w + 0.0625*({scale})*{x}, 0*({scale}), 3*({scale}))",
                        f"{x} *= 0.5",
                        f"w -= 0.125*w*{y}",
                    )
                )
            )

    def short_term(self) -> None:
        d, dice = self.draft, self.dice
        name, unit = self.aim()
        self.declare_weight(unit)
        u, x, share = self.names.new(), self.names.new(), self.parameter(0.2, 0.7)
        d.equations += [f"d{u}/dt = -{u}/{self.time_constant()} : 1", f"d{x}/dt = (1 - {x})/{self.time_constant()} : 1"]
        d.initial[x] = "1"
        d.on_pre += [f"{u} += {share}*(1 - {u})", f"{name}_post += w*{u}*{x}{self.factor((name,))}", f"{x} -= {u}*{x}"]
        if dice.chance(0.2):
            d.every_step.append(f"{x} = clip({x}, 0.1, 1)")

    def stepped(self) -> None:
        """A synaptic variable updated and delivered in each step."""
        d, dice = self.draft, self.dice
        name, unit = self.aim()
        self.declare_weight("1")
        a = self.names.new()
        d.equations.append(f"{a} : 1")
        d.on_pre.append(f"{a} += w")
        d.every_step += [f"{a} *= 0.5", f"{name}_post += 0.25*{a}*{SCALES[unit]}"][:: dice.choose((1, -1))]

    def graded(self) -> None:
        d, dice = self.draft, self.dice
        name, unit = self.aim(inputs_only=True)
        d.target = name
        pre_inputs = {f"{n}_pre" for n in self.pre.scope.inputs} if self.pre else set()
        post_inputs = {f"{n}_post" for n in self.post.scope.inputs}
        followers = self.followers()
        ends = self.ends().without(*pre_inputs, *post_inputs, *followers)
        source = [a for a in ends.atoms if a.text.endswith("_pre")] or [Atom("0.5")]
        only_pre = Grammar(dice, source, self.setting.dyadic)
        if dice.chance(0.85):
            self.declare_weight(unit)
            weight = "w"
        else:
            weight = SCALES[unit]
        forms = {f"{weight}*(P)": 3, f"{weight}*(P)*(Q)": 1, f"{weight}*(B)": 2, f"(P)*{weight}": 1}
        form = dice.weighted(forms)
        own = self.parameter(0.25, 1.5) if dice.chance(0.3) else ""
        parts = {"P": only_pre.bounded("1", 1), "Q": ends.bounded("1", 1), "B": ends.bounded("1", 2)}
        d.transmits = "".join(
            f"({parts[c]})" if c in parts and form[i - 1 : i] == "(" else c for i, c in enumerate(form)
        ) + (f"*{own}" if own else "")
        if dice.chance(0.2) and source[0].text != "0.5":
            d.transmits += f"*{self.subexpression_of(ends)}"
        if dice.chance(0.2):
            x = self.trace()
            d.transmits += f"*(1 + {x})"
            if self.pre is not None and self.pre.threshold:
                d.on_pre.append(f"{x} += 0.5")

    def followers(self) -> set[str]:
        """Subexpressions of either cell that follow an input of the same step."""
        found = set()
        for neuron, end in ((self.pre, "pre"), (self.post, "post")):
            if neuron is None:
                continue
            table = {e.name: e.expression for e in neuron.scope.of_kind("subexpression")}
            inputs = set(neuron.scope.inputs)

            def follows(name: str, table: Any = table, inputs: set[str] = inputs) -> bool:
                expression = table.get(name)
                return name in inputs or (
                    expression is not None and any(follows(n, table, inputs) for n in expression.names)
                )

            found |= {f"{n}_{end}" for n in table if follows(n)}
        return found

    def receptor(self) -> None:
        d, dice = self.draft, self.dice
        name, unit = self.aim(inputs_only=True)
        pool = [n for n in self.names.pool if n not in self.post.scope.dimensions]
        local = Names(dice, pool)
        local.taken = self.names.taken
        g = local.new()
        voltage = next((n for n in self.post.scope.states if self.post_units[n] == "volt"), None)
        if unit == "amp" and voltage is not None and dice.chance(0.5):
            self.names.taken.add(voltage)  # a parameter of that name would be read instead
            self.declare_weight("siemens")
            tau, e = self.local_time(local), local.new()
            d.parameters[e] = "25 mV"
            d.receptor += [
                f"d{g}/dt = -{g}/{tau} : siemens",
                f"{name} = {g}*clip({e} - {voltage}, -30*mV, 40*mV) : amp",
            ]
            d.size = 8.0
        elif dice.chance(0.35):
            self.declare_weight(unit)
            h, tau = local.new(), self.local_time(local)
            d.receptor += [
                f"d{h}/dt = -{h}/{tau} : {unit}",
                f"d{g}/dt = ({h} - {g})/{tau} : {unit}",
                f"{name} = {g} : {unit}",
            ]
            g = h
        else:
            self.declare_weight(unit)
            tau, extra = self.local_time(local), f"*{self.parameter(0.5, 1.5)}" if dice.chance(0.3) else ""
            d.receptor += [f"d{g}/dt = -{g}/{tau} : {unit}", f"{name} = {g}{extra} : {unit}"]
        d.on_pre.append(f"{g}_post += w")
        if dice.chance(0.15):
            d.initial[g] = f"0.2 {UNITS[d.weight or '1']}".removesuffix(" 1")
        if dice.chance(0.2):
            d.receptor = d.receptor[::-1]
        if dice.chance(0.15):
            x = self.trace()
            d.on_pre += [f"{x} += 0.5"]
            d.every_step.append(f"{x} = clip({x}, 0, 1)")
            d.on_pre[0] += f"*(1 + {x})"

    def local_time(self, names: Names) -> str:
        name = names.new()
        self.draft.parameters[name] = self.setting.time(self.dice.number(3, 15))
        return name

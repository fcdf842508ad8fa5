"""Random neurons and populations whose dynamics stay bounded and that mostly fire."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

from neuro import Neuron, Normal, Population, Uniform, quantity
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.expressions import SCALES, Atom, Grammar, put
from twinspike.fuzzing.names import VARIABLES, Names

UNITS = {
    "1": "1",
    "volt": "mV",
    "amp": "nA",
    "siemens": "nS",
    "hertz": "Hz",
    "second": "ms",
}  # in which values are given
SIZES = {"1": 1.0, "volt": 10.0, "amp": 1.0, "siemens": 10.0, "hertz": 100.0}  # natural size in them
METHODS = {"euler": 0.37, "exact": 0.12, "exponential_euler": 0.17, "rk2": 0.17, "rk4": 0.17}


@dataclass(frozen=True)
class Setting:
    """What a network's parts share. dyadic: dt is a power of two seconds, so that euler steps of suitable numbers are exact.

    names: the pool that variables are drawn from.
    """

    dt: float
    dyadic: bool = False
    names: tuple[str, ...] = VARIABLES

    def time(self, steps: float) -> str:
        """So many steps as a quantity."""
        return f"{steps * self.dt!r} s" if self.dyadic else f"{float(f'{steps * self.dt * 1e3:.6g}')!r} ms"


@dataclass
class Draft:
    """A neuron while it is written."""

    equations: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    initial: dict[str, Any] = field(default_factory=dict)
    states: list[Atom] = field(default_factory=list)
    inputs: list[Atom] = field(default_factory=list)
    constants: list[Atom] = field(default_factory=list)
    subexpressions: list[Atom] = field(default_factory=list)

    def atoms(self) -> list[Atom]:
        return [*self.states, *self.inputs, *self.constants, *self.subexpressions]


class CellMaker:
    """One random neuron."""

    def __init__(self, dice: Dice, setting: Setting, name: str) -> None:
        self.dice, self.setting, self.name = dice, setting, name
        self.names, self.draft = Names(dice, setting.names), Draft()
        self.unit = "1" if setting.dyadic or dice.chance(0.6) else "volt"
        self.method = "euler" if setting.dyadic else dice.weighted(METHODS)
        self.spiking = dice.chance(0.88)

    def make(self) -> Neuron:
        dice, draft = self.dice, self.draft
        self.declare()
        grammar = Grammar(dice, draft.atoms(), self.setting.dyadic)
        linear = self.method == "exact"
        if not linear:
            grammar = grammar.over(Atom("t", "second")) if dice.chance(0.3) and not self.setting.dyadic else grammar
            grammar = self.add_subexpressions(grammar, dice.weighted({0: 3, 1: 3, 2: 2, 3: 1}))
        refractory = dice.choose((0, 0, 0, 1, 2, 3, 5)) if self.spiking else 0
        flags = self.flags(refractory)
        for number, state in enumerate(draft.states):
            draft.equations.append(f"d{state.text}/dt = {self.rate(grammar, number)} : {state.unit}{flags[state.text]}")
        if linear:
            grammar = self.add_subexpressions(grammar, dice.weighted({0: 2, 1: 1, 2: 1}))
        grammar = self.add_discrete(grammar)
        every_step = self.every_step(grammar)
        threshold, reset = self.threshold(grammar), ""
        if threshold:
            reset = self.reset(grammar) if dice.chance(0.92) else ""
        order = (
            [draft.equations[i] for i in dice.random.permutation(len(draft.equations))]
            if dice.chance(0.5)
            else draft.equations
        )
        return Neuron(
            self.name, "\n".join(order), threshold=threshold, reset=reset, every_step=every_step, parameters=draft.parameters,
            initial=draft.initial, refractory=self.setting.time(refractory) if refractory else "0 ms", method=self.method,
        )  # fmt: skip

    # -- declarations --------------------------------------------------------------------------------------

    def declare(self) -> None:
        """States, inputs and parameters."""
        dice, draft = self.dice, self.draft
        for number in range(dice.weighted({1: 4, 2: 4, 3: 2})):
            unit = self.unit if number == 0 or self.unit == "1" else dice.choose((self.unit, "1", "amp"))
            draft.states.append(Atom(self.names.new(), unit))
            self.add_initial(draft.states[-1])
        for number in range(dice.weighted({0: 1, 1: 5, 2: 2})):
            unit = ("amp" if dice.chance(0.5) else "volt") if self.unit == "volt" else "1"
            preferred = self.names.this("I") if number == 0 and dice.chance(0.3) else None
            draft.inputs.append(Atom(preferred or self.names.new(), unit))
            draft.equations.append(f"{draft.inputs[-1].text} : {unit}")
        for _ in range(dice.whole(0, 3)):
            self.parameter(dice.choose(("1", "1", self.unit)), -1.5, 1.5)
        if dice.chance(0.1) and draft.inputs:  # names that merging a receptor makes today
            name = self.names.this(f"{draft.inputs[0].text}_in")
            if name:
                draft.parameters[name] = f"0.3 {UNITS[draft.inputs[0].unit]}".removesuffix(" 1")

    def parameter(self, unit: str, low: float, high: float) -> str:
        """A new parameter of natural size; its name."""
        name, value = self.names.new(), self.value(low, high)
        scaled = float(f"{value * SIZES[unit]:.6g}")
        self.draft.parameters[name] = f"{scaled!r} {UNITS[unit]}".removesuffix(" 1")
        self.draft.constants.append(Atom(name, unit))
        return name

    def value(self, low: float, high: float) -> float:
        return self.dice.whole(int(low * 4), int(high * 4)) / 4 if self.setting.dyadic else self.dice.number(low, high)

    def add_initial(self, state: Atom) -> None:
        dice, size, unit = self.dice, SIZES[state.unit], UNITS[state.unit]
        if not dice.chance(0.6):
            return
        if self.setting.dyadic or dice.chance(0.6):
            self.draft.initial[state.text] = quantity(self.value(-1, 1) * size, unit)
        elif dice.chance(0.5):
            self.draft.initial[state.text] = Normal(quantity(0.1 * size, unit), quantity(0.4 * size, unit))
        else:
            self.draft.initial[state.text] = Uniform(quantity(-0.5 * size, unit), quantity(0.6 * size, unit))

    def time_constant(self) -> str:
        """A time of some steps: a parameter, or a number in the text."""
        dice = self.dice
        steps = dice.choose((2, 4, 8)) if self.setting.dyadic else dice.number(2.5, 15)
        if self.setting.dyadic or dice.chance(0.75):
            name = self.names.new()
            self.draft.parameters[name] = self.setting.time(steps)
            return name
        return f"({steps * self.setting.dt * 1e3:.4g}*ms)"

    def flags(self, refractory: int) -> dict[str, str]:
        """Which states a refractory cell keeps; other integrators than Euler's keep all of them or none."""
        states = [s.text for s in self.draft.states]
        flag, dice = " (unless refractory)", self.dice
        if not refractory and not dice.chance(0.1):
            kept: list[str] = []
        elif self.method in ("euler", "exponential_euler"):
            kept = dice.some(states, dice.whole(0, len(states)))
        else:
            kept = states if dice.chance(0.6) else []
        return {s: flag if s in kept else "" for s in states}

    # -- equations -----------------------------------------------------------------------------------------

    def add_subexpressions(self, grammar: Grammar, count: int) -> Grammar:
        for _ in range(count):
            unit, name = self.dice.choose(("1", self.unit)), self.names.new()
            text = (
                grammar.constant()
                if unit == "1" and self.dice.chance(0.12)
                else grammar.bounded(unit, self.dice.whole(1, 2))
            )
            self.draft.equations.append(f"{name} = {text} : {unit}")
            self.draft.subexpressions.append(Atom(name, unit))
            grammar = grammar.over(self.draft.subexpressions[-1])
        return grammar

    def add_discrete(self, grammar: Grammar) -> Grammar:
        """Variables that only statements change."""
        if self.dice.chance(0.3):
            name = self.names.new()
            self.draft.equations.append(f"{name} : 1")
            self.discrete: str | None = name
            return grammar.over(Atom(name))
        self.discrete = None
        return grammar

    def arriving(self, unit: str) -> str:
        """Sum of the inputs in this unit."""
        terms = []
        for item in self.draft.inputs:
            if item.unit == unit:
                terms.append(item.text)
            elif (unit, item.unit) == ("volt", "amp"):
                terms.append(f"{self.resistance()}*{item.text}")
        return "".join(f" + {t}" for t in terms)

    def resistance(self) -> str:
        if not hasattr(self, "_resistance"):
            self._resistance = self.names.new()
            self.draft.parameters[self._resistance] = f"{self.dice.number(5, 20)!r} Mohm"
        return self._resistance

    def rate(self, grammar: Grammar, number: int) -> str:
        """Leaky relaxation towards a bounded value, as the integrator can take it."""
        dice, state, tau = self.dice, self.draft.states[number], self.time_constant()
        x, unit = state.text, state.unit
        drive = self.arriving(unit) if number == 0 or dice.chance(0.4) else ""
        base = f"{dice.number(0.8, 2.2)}*{SCALES[unit]}" if number == 0 else "0*" + SCALES[unit]
        if unit == "1":
            base = (
                (str(dice.choose((1, 1.5, 2))) if self.setting.dyadic else str(dice.number(0.8, 2.2)))
                if number == 0
                else "0.25"
            )
        if self.method == "exact":
            return self.linear_rate(number, base, drive, tau)
        if self.method == "exponential_euler":
            free = grammar.without(x, *(s.text for s in self.draft.subexpressions))
            target, gate = free.bounded(unit), "" if dice.chance(0.5) else f"*(1 + abs({free.number(1)}))"
            return f"({base} + 0.6*({target}){drive} - {x}{gate})/{tau}"
        target = grammar.bounded(unit, dice.whole(1, 3))
        share = "0.5" if self.setting.dyadic else str(dice.number(0.3, 0.9))
        rate = f"({base} + {share}*({target}){drive} - {x})/{tau}"
        if self.method == "euler" and not self.setting.dyadic and dice.chance(0.2):
            rate += self.noise(unit, tau)
        return rate

    def linear_rate(self, number: int, base: str, drive: str, tau: str) -> str:
        dice, state = self.dice, self.draft.states[number]
        alike = [s for s in self.draft.states if s.unit == state.unit]
        coupled = alike[:2] if dice.chance(0.97) else alike  # Brian2's own `exact` takes minutes for three
        others = coupled[coupled.index(state) + 1 :] if state in coupled else []
        terms = [f" + {dice.number(-0.8, 0.8)}*{s.text}" for s in others if dice.chance(0.7)]
        if state in coupled[1:2] and dice.chance(0.15):
            terms.append(f" - {dice.number(0.1, 0.6)}*{coupled[0].text}")  # a loop
        terms += [f" + {c.text}" for c in self.draft.constants if c.unit == state.unit and dice.chance(0.3)]
        return f"({base}{''.join(terms)}{drive} - {state.text})/{tau}"

    def noise(self, unit: str, tau: str) -> str:
        name = "xi" if self.dice.chance(0.4) else self.dice.choose(("xi_a", "xi_1", "xi_z", "xi_left"))
        return f" + {self.dice.number(0.05, 0.4)}*{SCALES[unit]}*{name}/sqrt({tau})"

    # -- statements ----------------------------------------------------------------------------------------

    def every_step(self, grammar: Grammar) -> str:
        dice, lines, k = self.dice, [], self.discrete
        if k is not None:
            forms = (
                "{k} = 0.5*{k} + X",
                "{k} += 0.25*(X - {k})",
                "{k} = clip({k} + X, -3, 3)",
                "{k} = X",
                "{k} -= 0.5*{k} - X",
            )
            more = ("{k} = t/ms % 3.7183", "{k} *= 0.8", "{k} /= 1.25", "{k} = 0.97*t/dt")
            chosen = dice.some(forms if self.setting.dyadic else (*forms, *more), dice.whole(1, 2))
            lines += [f.format(k=k).replace("X", f"({grammar.bounded('1', 1)})") for f in chosen]
        if dice.chance(0.15):
            state = dice.choose(self.draft.states)
            lines.append(f"{state.text} = clip({state.text}, -3*{SCALES[state.unit]}, 3*{SCALES[state.unit]})")
        if not self.setting.dyadic and dice.chance(0.06):
            state = dice.choose(self.draft.states)
            lines.append(f"{state.text} += {dice.number(0.01, 0.2)}*{SCALES[state.unit]}*(rand() - 0.5)")
        return dice.choose(("\n", "; ")).join(lines)

    def threshold(self, grammar: Grammar) -> str:
        if not self.spiking:
            return ""
        dice, v = self.dice, self.draft.states[0]
        if self.setting.dyadic:
            level = dice.choose(("0.5", "0.75", "1", "0.25"))
        elif dice.chance(0.5):
            level = self.parameter(v.unit, 0.3, 0.9)
        else:
            level = f"{dice.number(0.3, 0.9)}*{SCALES[v.unit]}"
        other = grammar.condition(1)
        forms = {
            "v > T": 5, "v >= T": 2, "T < v": 1, "not (v < T)": 1, "v > T and (O or v > 2*T)": 1, "v >= T or (O and v > 0.5*T)": 1,
            "not (v <= T)": 1, "v - T > 0*S": 0.5, "v > T + 0.1*S*tanh(N)": 1,
        }  # fmt: skip
        if self.setting.dyadic:
            forms.pop("v > T + 0.1*S*tanh(N)")
        form = dice.weighted(forms)
        parts = {"v": v.text, "T": level, "O": f"({other})", "S": SCALES[v.unit], "N": grammar.number(1)}
        found = put(form, **parts)
        if dice.chance(0.12):
            escape = f"rand() < 1 - exp(-{dice.number(0.1, 2)}*relu({v.text}/{SCALES[v.unit]}))"
            found = (
                escape
                if dice.chance(0.5) and not self.setting.dyadic
                else f"({found}) and rand() < {dice.number(0.3, 1)}"
            )
        return found

    def reset(self, grammar: Grammar) -> str:
        dice, v = self.dice, self.draft.states[0]
        scale = SCALES[v.unit]
        kinds = {
            "v = 0*S": 3,
            "v = P": 2,
            "v -= 0.75*S": 2,
            "v *= 0.25": 1,
            "v /= 4": 1,
            "v = -0.5*S": 1,
            "v = clip(A, -S, 0*S)": 1,
        }
        form = dice.weighted(kinds)
        parts = {"v": v.text, "S": scale, "A": grammar.amount(v.unit, 1), "P": ""}
        if "P" in form:
            parts["P"] = self.parameter(v.unit, -1, 0.2)
        lines = [put(form, **parts)]
        for state in self.draft.states[1:]:
            if dice.chance(0.35):
                step = f"0.25*{SCALES[state.unit]}"
                lines.append(
                    dice.choose((f"{state.text} += {step}", f"{state.text} -= {step}", f"{state.text} = {step}"))
                )
        if self.discrete and dice.chance(0.4):
            lines.append(dice.choose((f"{self.discrete} += 0.5", f"{self.discrete} = 0.25")))
        if not self.setting.dyadic and dice.chance(0.06):
            lines.append(f"{v.text} -= {dice.number(0.01, 0.2)}*{scale}*log(rand() + 0.01)")
        return dice.choose(("\n", "; ")).join(lines)


def population(dice: Dice, setting: Setting, name: str, neuron: Neuron, size: int) -> Population:
    """Cells, some with values of their own."""
    parameters: dict[str, Any] = {}
    initial: dict[str, Any] = {}
    for key, value in neuron.parameters.items():
        if not setting.dyadic and dice.chance(0.2):
            parameters[key] = spread(dice, value, size)
    for state in neuron.scope.states:
        if not setting.dyadic and dice.chance(0.15):
            unit = next(e.unit for e in neuron.scope.equations if e.name == state)
            initial[state] = quantity(dice.random.normal(0, 0.3, size).round(3) * SIZES[unit], UNITS[unit])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Population(name, neuron, size, parameters, initial)


def spread(dice: Dice, value: Any, size: int) -> Any:
    """An array or a distribution around a value."""
    number, unit = float(value.to(value.unit)), value.unit
    factors = dice.random.uniform(0.8, 1.2, size).round(3)
    kind = dice.choose(("array", "normal", "uniform"))
    if kind == "array":
        return quantity(number * factors, unit)
    if kind == "normal":
        return Normal(quantity(number, unit), quantity(abs(number) * 0.03, unit))
    low, high = sorted((0.9 * number, 1.1 * number))
    return Uniform(quantity(low, unit), quantity(high, unit))

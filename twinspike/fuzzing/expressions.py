"""Random expressions with consistent units and values of moderate size.

Every function and operator of the language occurs; an argument that a function can't take is wrapped so that it can.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from twinspike.fuzzing.dice import Dice

# Natural size of a variable in each unit, as model text.
SCALES = {"1": "1.0", "volt": "10*mV", "amp": "nA", "siemens": "10*nS", "hertz": "100*Hz", "second": "5*ms"}

# X: any dimensionless expression. What floor and ceil round is a multiple, since sin, tanh and clip end at whole numbers.
_FUNCTIONS = {
    "exp": "exp(-abs(X))", "log": "log(1 + abs(X))", "log10": "log10(0.3 + X**2)", "log1p": "log1p(abs(X))",
    "expm1": "expm1(clip(X, -3, 1.5))", "exprel": "exprel(clip(X, -3, 2))", "sigmoid": "sigmoid(X)", "sin": "sin(X)", "cos": "cos(X)",
    "tan": "tan(tanh(X))", "sinh": "sinh(clip(X, -2, 2))", "cosh": "cosh(tanh(X))", "tanh": "tanh(X)",
    "arcsin": "arcsin(0.9*tanh(X))", "arccos": "arccos(0.9*sin(X))", "arctan": "arctan(X)", "abs": "abs(X)", "floor": "floor(1.37*X)",
    "ceil": "ceil(1.37*X)", "relu": "relu(X)", "sqrt": "sqrt(abs(X))", "sign": "sign(X)", "clip": "clip(X, -1.5, 0.7)",
    "straight_through": "straight_through(sign(X), clip(X, -1, 1))",
}  # fmt: skip
_FORMS = (
    "X + Y", "X - Y", "X*Y", "-X", "X - (Y - Z)", "-X**2", "X/(1 + abs(Y))", "1/(1 + X**2)**2", "X/(1 + Y**2)**3", "(0.5/(1 + abs(X)))**4",
    "1/(1 + exp(-X))**2", "X/(Y*Y + 0.7)/2", "X/((1 + abs(Y))/(2 + Z**2))", "(X**2)**0.5", "tanh(X)**3", "(1 + abs(X))**-1.5", "(1 + X**2)**-2",
    "abs(X)**0.7", "(1 + abs(X))**tanh(Y)", "2**tanh(X)", "(0.3 + X**2)**(1/3)", "(0.5 + abs(X))**(-1/2)", "X % 1.3", "X % (0.5 + abs(Y))",
    "(X*3) % -0.7", "clip(X, -inf, 1.1)", "clip(X, -0.8, inf)", "clip(X, Y - 1, Y + abs(Z))", "clip(tanh(X), -0.5, 0.5)*Y", "exp(-X**2)",
    "int(C)*X", "X*int(C) + Y*(1 - int(C))", "int(C)", "(X + Y)*(X - Y)/4", "X*(Y/(1 + Z**2))", "-(X - Y)", "+X", "tanh(X)**2*Y", "X**3/(1 + X**2)",
    "straight_through(X, Y)", "straight_through(floor(1.37*X), X)*Y",
)  # fmt: skip
_CONSTANTS = (
    "exp(1)", "exp(1.0)", "pi", "floor(-1.5)", "ceil(0.5)", "(-7 % 3)", "int(2.0 > 1.0)", "exprel(1.0)", "arctan(0.3)", "sqrt(2)", "2**0.5",
    "(1/3)", "sign(-2.0)", "abs(-0.5)", "clip(3, 0, 1)", "sin(pi/6)", "1e-3", "relu(-1)", "2", "1", "0.5", "-1", "log(2)", "sigmoid(0)", "7 % 3",
    "int(not (1 > 2) and 3 >= 3)", "tanh(0.3)", "expm1(0.1)", "log1p(0.5)", "3/4", "(-0.5)**2", "clip(0.5, -inf, inf)", "int(inf > 1)",
)  # fmt: skip
_CONDITIONS = (
    "X > Y", "X >= Y", "X < Y", "X <= 0.3", "X > 0.1 and Y < 0.5", "X >= Y or Z > 0.4", "not X < Y", "not (X > 0 and Y > 0)",
    "X > Y and (Y >= Z or not X < 0.2)", "0.2 < X", "X*Y >= Z - 0.5",
)  # fmt: skip
_DYADIC_FORMS = (
    "X + Y", "X - Y", "-X", "X - (Y - Z)", "X*0.5", "abs(X)", "relu(X)", "clip(X, -1.5, 0.75)", "floor(X)", "ceil(X)", "sign(X)", "int(C)",
    "int(C)*X", "X % 1.5", "clip(X, -inf, 1.25)", "X/2", "X*int(C) + Y*(1 - int(C))", "(X + Y)/4", "+X", "clip(X, -2, Y + 1)", "X % 0.25",
    "straight_through(X, Y)", "straight_through(sign(X), X)",
)  # fmt: skip
_DYADIC_CONSTANTS = (
    "2",
    "1",
    "0.5",
    "-1",
    "0.25",
    "0",
    "floor(-1.5)",
    "(-7 % 3)",
    "clip(3, 0, 1)",
    "int(2.0 > 1.0)",
    "(-0.5)**2",
    "3/4",
)
_DYADIC_CONDITIONS = tuple(c for c in _CONDITIONS if "0.3" not in c and "0.1" not in c and "*" not in c)


@dataclass(frozen=True)
class Atom:
    """A name in scope, with its unit."""

    text: str
    unit: str = "1"


class Grammar:
    """Expressions over atoms. dyadic: only operations that make multiples of powers of two from such, so that nothing is rounded."""

    def __init__(self, dice: Dice, atoms: Sequence[Atom], dyadic: bool = False) -> None:
        self.dice, self.atoms, self.dyadic = dice, tuple(atoms), dyadic

    def over(self, *atoms: Atom) -> Grammar:
        """The same with more names."""
        return Grammar(self.dice, (*self.atoms, *atoms), self.dyadic)

    def without(self, *names: str) -> Grammar:
        """The same without these names."""
        return Grammar(self.dice, [a for a in self.atoms if a.text not in names], self.dyadic)

    def number(self, depth: int = 2) -> str:
        """A dimensionless expression of moderate size."""
        return tidy(self._number(depth))

    def condition(self, depth: int = 1) -> str:
        """A condition."""
        return tidy(self._condition(depth))

    def amount(self, unit: str, depth: int = 2) -> str:
        """An expression in that unit, of its natural size."""
        return tidy(self._amount(unit, depth))

    def bounded(self, unit: str, depth: int = 2) -> str:
        """The same, limited to a few times the natural size."""
        x, scale = self._amount(unit, depth), SCALES[unit]
        if self.dyadic:
            return tidy(f"clip({x}, -2, 2)")
        if unit == "1":
            forms = {
                "tanh(X)": 3,
                "clip(X, -2, 2)": 3,
                "sin(X)": 1,
                "2*sigmoid(X) - 1": 1,
                "X/(1 + abs(X))": 1,
                "arctan(X)": 1,
            }
            return tidy(self.dice.weighted(forms).replace("X", f"({x})"))
        # what bounds an amount is no whole number of its scale, where floor() and % jump: Brian2 rounds 10*mV/(10*mV) otherwise
        forms = {"clip(X, -1.9*(S), 2.1*(S))": 3, "(S)*tanh(X/(S))": 3, "X/(1 + abs(X)/(S))": 1}
        return tidy(self.dice.weighted(forms).replace("X", f"({x})").replace("S", scale))

    def constant(self) -> str:
        """An expression of numbers alone."""
        return self.dice.choose(_DYADIC_CONSTANTS if self.dyadic else _CONSTANTS)

    # -- inside --------------------------------------------------------------------------------------------

    def _number(self, depth: int) -> str:
        dice = self.dice
        if depth <= 0 or dice.chance(0.15):
            return self._leaf()
        if self.dyadic:
            return self._filled(dice.choose(_DYADIC_FORMS), depth)
        if dice.chance(0.4):
            return self._filled(_FUNCTIONS[dice.choose(tuple(_FUNCTIONS))], depth)
        return self._filled(dice.choose(_FORMS), depth)

    def _leaf(self) -> str:
        dice = self.dice
        if self.atoms and dice.chance(0.75):
            return self._ratio(dice.choose(self.atoms))
        if dice.chance(0.5):
            return self.constant()
        return dice.choose(("0.5", "0.25", "1.5", "-0.75")) if self.dyadic else str(dice.number(-2, 2))

    def _ratio(self, atom: Atom) -> str:
        if atom.unit == "1":
            return atom.text
        alike = [
            a.text for a in self.atoms if a.unit == atom.unit and a.text != atom.text and a.text.startswith("SCALE")
        ]
        return f"{atom.text}/({self.dice.choose((*alike, SCALES[atom.unit]))})"

    def _filled(self, form: str, depth: int) -> str:
        parts = {x: self._number(depth - 1) for x in "XYZ" if x in form}
        if "C" in form:
            parts["C"] = self._condition(depth - 1)
        return "".join(f"({parts[c]})" if c in parts else c for c in form)

    def _condition(self, depth: int) -> str:
        return self._filled(self.dice.choose(_DYADIC_CONDITIONS if self.dyadic else _CONDITIONS), max(depth, 1))

    def _amount(self, unit: str, depth: int) -> str:
        if unit == "1":
            return self._number(depth)
        dice, alike = self.dice, [a.text for a in self.atoms if a.unit == unit]
        if alike and (depth <= 0 or dice.chance(0.3)):
            return dice.choose(alike)
        if depth <= 0:
            return f"{dice.number(0.2, 1.5)}*{SCALES[unit]}"
        a, b, n, s = (
            self._amount(unit, depth - 1),
            self._amount(unit, depth - 1),
            self._number(depth - 1),
            SCALES[unit],
        )
        forms = (
            f"({n})*{s}", f"({a}) + ({b})", f"({a}) - ({b})", f"abs({a})", f"relu({a})", f"clip({a}, -0.9*({s}), 1.1*({s}))", f"({a})*tanh({n})",
            f"({a}) % (1.5*{s})", f"sqrt(({a})**2 + ({s})**2)", f"(({a})**2)**0.5", f"-({a})", f"({a})/(1 + abs({n}))", f"sign({a})*({b})",
            f"int(({a}) > ({b}))*({a})", f"({a})*({b})/({s})", f"floor(1.37*({a})/({s}))*({s})", f"({n})*({s})", f"({a})**2/({s})",
            f"straight_through({a}, {b})",
        )  # fmt: skip
        return dice.choose(forms)


def put(form: str, **parts: str) -> str:
    """A form with these words replaced."""
    return re.sub(r"\b[A-Za-z]+\b", lambda m: parts.get(m[0], m[0]), form)


def tidy(text: str) -> str:
    """The same syntax tree with no more parentheses than it needs."""
    return ast.unparse(ast.parse(text, mode="eval"))

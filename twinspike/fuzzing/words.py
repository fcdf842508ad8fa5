"""Random networks whose text has indices, conditions as numbers, ==, !=, //, int(), timestep(), and variables that hold truth or whole numbers.

What they were made with is drawn before, so that a seed's network stays what it was but for this.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from neuro import ModelError, Network, Neuron, lower
from twinspike.fuzzing.dice import Dice
from twinspike.fuzzing.editing import Line, blocks, models, with_blocks, with_model
from twinspike.fuzzing.names import Names

# Factors of numbers in the text, about 1. I, J, N, M: indices and how many there are. B, K: variables that hold truth, a whole number.
_OF_CELLS = ("(0.6 + I/(2*N))", "(0.75 + 0.5*(I == 1))", "(1.2 - 0.4*(I // 2 != 1))", "(0.8 + 0.2*(I % 3))")
_OF_ENDS = (
    "(1 + 0.3*(I == J))",
    "(0.6 + J/(2*M))",
    "(0.5 + I/N)",
    "(1.1 - 0.4*(I // 2 == J // 3))",
    "(0.7 + 0.5*(I != J))",
)
_OF_TIME = (
    "(0.8 + 0.1*(timestep(t, 3*dt) % 4))",
    "(0.7 + 0.15*int(t/(2.37*dt)) % 3)",
    "(1.3 - 0.6*((t // (2.3*dt)) % 2 == 1))",
)
_OF_NUMBERS = ("(0.9 + 0.1*int(1.37*C))", "(0.9 - 0.2*(C > 0.3))", "(1.1 + 0.1*(C < 1) - 0.3*(C != 2))")
_OF_VARIABLES = ("(0.7 + 0.5*B)", "(0.8 + 0.1*K)", "(1.2 - 0.4*(K == 2))", "(0.6 + 0.8*(B and K > 1))")
_BOUNDED = ("arcsin", "arccos")  # whose arguments may not grow
_OF_A_CELL = {"I": "i", "N": "N"}
_LINEAR = ("exact", "exponential_euler")  # whose equations may depend on nothing more


def worded(network: Network, dice: Dice) -> Network:
    """With such words in some of its text; in most cases as it is."""
    if not dice.chance(0.3):
        return network
    names = Names(dice)
    for model in models(network):
        names.taken |= {*model.parameters, *model.scope.dimensions, "w"}
    for model in models(network):
        with suppress(ModelError):
            maker = _Cells if isinstance(model, Neuron) else _Synapses
            found = with_model(network, model, maker(network, model, dice, names).worded())
            lower(found)
            network = found
    return network


class _Words:
    """A neuron or synapse with other numbers in its text."""

    def __init__(self, network: Network, model: Any, dice: Dice, names: Names) -> None:
        self.network, self.model, self.dice, self.names = network, model, dice, names
        self.blocks = blocks(model)

    def worded(self) -> Any:
        for block, lines in self.blocks.items():
            self.blocks[block] = [self.line(block, x) if self.dice.chance(0.4) else x for x in lines]
        return with_blocks(self.model, self.blocks)

    def line(self, block: str, line: Line) -> Line:
        """A line with one of its numbers times a factor."""
        factors = self.factors(block, line)
        if not line.text or not factors:
            return line
        tree = ast.parse(f"({line.text})", mode="eval").body
        numbers = list(_numbers(tree))
        if not numbers:
            return line
        chosen, value = self.dice.choose(numbers), self.dice.number(0, 2)
        factor = _put(self.dice.choose(factors), C=str(value), **self.parts(block))
        return replace(line, text=ast.unparse(_Times(chosen, factor).visit(tree)))

    def factors(self, block: str, line: Line) -> tuple[str, ...]:
        raise NotImplementedError

    def parts(self, block: str) -> dict[str, str]:
        raise NotImplementedError


class _Cells(_Words):
    truth = whole = ""

    def worded(self) -> Any:
        neuron: Neuron = self.model
        if neuron.threshold and self.dice.chance(0.6):
            self.truth, self.whole = self.names.new(), self.names.new()
            tail = self.dice.choose(("B = not B", "B = K > 1 or not B", "B = B == (K == 0)"))
            self.blocks["reset"] += [
                _statement(_put(tail, **self.parts())),
                _statement(_put("K = (K + 1) % 4", **self.parts())),
            ]
            self.blocks["equations"] += [
                Line(self.truth, self.truth, None, " : boolean"),
                Line(self.whole, self.whole, None, " : integer"),
            ]
            if self.dice.chance(0.4):
                text = f"({neuron.threshold}) and ({_put('B or K != 1', **self.parts())})"
                self.blocks["threshold"] = [Line("", "", text)]
        if self.dice.chance(0.3):
            name = self.names.new()
            self.blocks["equations"].append(
                Line(name, f"{name} = ", self.dice.choose(("i // 2", "i != 1 and N > 2", "int(N/2)")), " : 1")
            )
        return super().worded()

    def factors(self, block: str, line: Line) -> tuple[str, ...]:
        own = (*_OF_CELLS, *_OF_NUMBERS)
        if block == "equations" and self.model.method in _LINEAR:
            return own
        return (*own, *_OF_TIME, *(_OF_VARIABLES if self.truth else ()))

    def parts(self, block: str = "") -> dict[str, str]:
        return {**_OF_A_CELL, "B": self.truth, "K": self.whole}


class _Synapses(_Words):
    def factors(self, block: str, line: Line) -> tuple[str, ...]:
        ends = [p.pre for p in self.network.projections if p.synapse is self.model]
        cells = all(end in self.network.parts["population"] for end in ends)
        if block == "receptor":
            return _OF_CELLS
        if block == "equations" and line.left.startswith("d"):
            return _OF_NUMBERS if self.model.method in _LINEAR else (*_OF_NUMBERS, *_OF_TIME)
        return (*(_OF_ENDS if cells else ("(0.6 + J/(2*M))",)), *_OF_NUMBERS, *_OF_TIME)

    def parts(self, block: str) -> dict[str, str]:
        return _OF_A_CELL if block == "receptor" else {"I": "i", "J": "j", "N": "N_pre", "M": "N_post"}


def _statement(text: str) -> Line:
    target, _, value = text.partition(" = ")
    return Line(target, f"{target} = ", value)


def _numbers(tree: ast.expr) -> Iterator[ast.Constant]:
    """Numbers that a factor may stand beside: no exponents, nothing within a function that is bounded."""
    match tree:
        case ast.Constant():
            yield tree
        case ast.BinOp(op=ast.Pow(), left=left):
            yield from _numbers(left) if not isinstance(left, ast.Constant) else ()
        case ast.Call(func=ast.Name(id=name)) if name in _BOUNDED:
            return
        case _:
            for child in ast.iter_child_nodes(tree):
                if isinstance(child, ast.expr):
                    yield from _numbers(child)


def _put(form: str, **parts: str) -> str:
    class Put(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            found = parts.get(node.id)
            return ast.parse(found, mode="eval").body if found else node

    head, op, value = form.rpartition(" = ")
    return f"{parts.get(head, head)}{op}{ast.unparse(Put().visit(ast.parse(value, mode='eval').body))}"


class _Times(ast.NodeTransformer):
    """One number times a factor."""

    def __init__(self, number: ast.Constant, factor: str) -> None:
        self.number, self.factor = number, factor

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if node is not self.number:
            return node
        return ast.BinOp(node, ast.Mult(), ast.parse(self.factor, mode="eval").body)

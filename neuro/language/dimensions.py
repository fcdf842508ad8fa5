"""Dimension of an expression: every operation's operands must fit."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

from neuro.language.equations import CONSTANTS, PLAIN_FUNCTIONS, Expression, Source, is_condition, literal, suggestion
from neuro.language.units import DIMENSIONLESS, Dimension, Truth, Whole, is_unit_name, unit

Zeros = list[tuple[ast.expr, Dimension]]


def dimension_of(expression: Expression, variables: Mapping[str, Dimension]) -> Dimension | Literal["boolean"]:
    """Dimension of an expression, or "boolean". Raises ModelError at the node that doesn't fit."""
    return _Dimensions(expression.source, variables).of(expression.tree)


def zeros(expression: Expression, variables: Mapping[str, Dimension], wanted: Dimension | None) -> Zeros:
    """Numbers 0 that stand for a quantity, and its dimension. wanted: of the whole expression; None for a condition."""
    found = _Dimensions(expression.source, variables)
    found.of(expression.tree)
    whole = [(expression.tree, wanted)] if wanted is not None and fits_all(expression.tree) else []
    return [(node, dimension) for node, dimension in (*found.zeros, *whole) if not dimension.dimensionless]


def is_whole(node: ast.expr, variables: Mapping[str, Dimension]) -> bool:
    """Whether an expression is a whole number, whatever its variables are."""
    match node:
        case ast.Constant(value=value):
            return float(value).is_integer()  # type: ignore[arg-type]
        case ast.Name(id=name):
            return isinstance(variables.get(name), Whole)
        case ast.BinOp(op=ast.FloorDiv()):
            return True
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Mod(), left=left, right=right):
            return is_whole(left, variables) and is_whole(right, variables)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            return is_whole(inner, variables)
        case ast.Call(func=ast.Name(id="abs" | "relu" | "clip"), args=args):
            return all(is_whole(a, variables) for a in args)
        case ast.Call(func=ast.Name(id=name)):
            return name in ("int", "floor", "ceil", "sign", "timestep", "poisson")
    return is_condition(node)


def fits_all(node: ast.expr) -> bool:
    """True for the number 0, which needs no unit."""
    return literal(node) == 0


class _Dimensions:
    def __init__(self, source: Source, variables: Mapping[str, Dimension]) -> None:
        self.source, self.variables = source, variables
        self.zeros: Zeros = []

    def of(self, node: ast.expr) -> Dimension | Literal["boolean"]:
        match node:
            case ast.Constant():
                return "boolean" if is_condition(node) else DIMENSIONLESS
            case ast.Name():
                found = self.name(node)
                return "boolean" if isinstance(found, Truth) else found
            case ast.UnaryOp(op=ast.Not()):
                return self.boolean(node.operand)
            case ast.UnaryOp():
                return self.number(node.operand)
            case ast.BoolOp():
                for value in node.values:
                    self.boolean(value)
                return "boolean"
            case ast.Compare():
                self.same(node.left, node.comparators[0], node, "compare")
                return "boolean"
            case ast.Call():
                return self.call(node)
            case ast.BinOp():
                return self.binary(node)
        raise self.source.fail("this can't be read", "use arithmetic and names", node)

    def name(self, node: ast.Name) -> Dimension:
        if node.id in self.variables:
            return self.variables[node.id]
        if node.id in CONSTANTS:
            return DIMENSIONLESS
        if is_unit_name(node.id):
            return unit(node.id).dimension
        close = suggestion(node.id, set(self.variables))
        known = ", ".join(sorted(self.variables)[:12])
        raise self.source.fail(f"unknown identifier '{node.id}'", close or f"define it, or use one of: {known}", node)

    def number(self, node: ast.expr) -> Dimension:
        found = self.of(node)
        if found == "boolean":
            raise self.source.fail("a number is needed, not a condition", "wrap the condition in int(...)", node)
        return found

    def operand(self, node: ast.expr) -> Dimension:
        """A number, or a condition as 0 or 1."""
        found = self.of(node)
        return DIMENSIONLESS if isinstance(found, str) else found

    def boolean(self, node: ast.expr) -> Literal["boolean"]:
        if self.of(node) != "boolean":
            raise self.source.fail("a condition is needed, not a number", "compare it, like 'v > v_th'", node)
        return "boolean"

    def same(self, left: ast.expr, right: ast.expr, node: ast.expr, verb: str) -> Dimension:
        kinds = [self.of(left), self.of(right)]
        if kinds == ["boolean"] * 2 and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            message = "a sum of two conditions is another number to each of Brian2's targets"
            raise self.source.fail(message, "wrap both in int(...), or write 'or'", node)
        a, b = (DIMENSIONLESS if isinstance(kind, str) else kind for kind in kinds)
        for zero, other in ((left, b), (right, a)):
            if a != b and fits_all(zero):
                self.zeros.append((zero, other))
                return other
        if a != b:
            left_text, right_text = ast.unparse(left), ast.unparse(right)
            raise self.source.fail(
                f"can't {verb} '{left_text}' ({a}) and '{right_text}' ({b})", "give both sides the same unit", node
            )
        return a

    def plain(self, node: ast.expr, what: str) -> None:
        found = self.number(node)
        if not found.dimensionless:
            raise self.source.fail(f"{what} must be dimensionless, not {found}", "divide by a quantity", node)

    def call(self, node: ast.Call) -> Dimension:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        first = node.args[0]
        if name in PLAIN_FUNCTIONS or name == "poisson":
            self.plain(first, f"the argument of {name}()")
            return DIMENSIONLESS
        if name == "int":
            if self.of(first) != "boolean":
                self.plain(first, "the argument of int()")
            return DIMENSIONLESS
        if name == "timestep":
            for argument in node.args:
                if (found := self.number(argument)) != unit("second").dimension:
                    raise self.source.fail(
                        f"timestep() takes two times, not {found}", "write timestep(t, dt)", argument
                    )
            return DIMENSIONLESS
        if name == "sqrt":
            return self.number(first) ** Fraction(1, 2)
        if name == "clip":
            bounds = [b for b in node.args[1:] if not (isinstance(b, ast.Name) and b.id == "inf")]
            return [self.same(first, bound, node, "clip") for bound in bounds][-1] if bounds else self.number(first)
        if name == "straight_through":
            return self.same(first, node.args[1], node, "give the slope of one to the other of")
        found = self.number(first)
        return DIMENSIONLESS if name == "sign" else found

    def binary(self, node: ast.BinOp) -> Dimension:
        if isinstance(node.op, ast.Add | ast.Sub | ast.Mod):
            verbs = {ast.Add: "add", ast.Sub: "subtract", ast.Mod: "take the remainder of"}
            return self.same(node.left, node.right, node, verbs[type(node.op)])
        left = self.operand(node.left)
        if isinstance(node.op, ast.Pow):
            self.plain(node.right, "an exponent")
            if left.dimensionless:
                return left
            power = literal(node.right)
            if power is None:
                raise self.source.fail(
                    "a quantity with a unit needs a constant exponent", "write a number after **", node.right
                )
            return left**power
        right = self.operand(node.right)
        if isinstance(node.op, ast.Div | ast.FloorDiv) and literal(node.right) == 0:
            raise self.source.fail("this divides by zero", "give a divisor that is not 0", node.right)
        return left * right if isinstance(node.op, ast.Mult) else left / right

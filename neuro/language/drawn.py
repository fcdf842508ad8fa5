"""Numbers that a text draws: each call of rand(), randn() or poisson(x) has a name, under which every backend finds its number for each cell, or
synapse, and step. poisson(x) is made of a uniform one.
"""

from __future__ import annotations

import ast
import re
from typing import TypeGuard

DRAWN = {  # functions that draw a number for each cell, or synapse, and step
    "rand": "rand(), a number from 0 to 1",
    "randn": "randn(), a number of mean 0 and standard deviation 1",
    "poisson": "poisson(x), a count of mean x",
}
_NAME = re.compile(
    rf"({'|'.join(DRAWN)})__(threshold|refractory|reset|every_step|regularly|held|event|on_event|on_pre|on_post)(_[0-9]+)+"
)


class Named(ast.NodeTransformer):
    """Each rand() and randn() by the name of its number, in the order of the text, each function's by themselves; poisson(x) with it."""

    def __init__(self, start: str, tree: ast.expr) -> None:
        self.names: dict[int, str] = {}
        for function in DRAWN:
            calls = sorted((n for n in ast.walk(tree) if _calls(n, function)), key=lambda node: node.col_offset)
            self.names |= {id(node): drawn_name(function, start, number) for number, node in enumerate(calls, start=1)}

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if id(node) not in self.names:
            return node
        name = ast.copy_location(ast.Name(self.names[id(node)], ast.Load()), node)
        return ast.copy_location(ast.Call(node.func, [*node.args, name], []), node) if node.args else name


def drawn_name(function: str, start: str, number: int) -> str:
    """The name of a number that a function draws, which no user's name is."""
    return f"{function}__{start}_{number}"


def drawn_by(name: str) -> str:
    """The function that draws the number of this name; nothing for other names."""
    found = _NAME.fullmatch(name)
    return found[1] if found else ""


def _calls(node: ast.AST, function: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function

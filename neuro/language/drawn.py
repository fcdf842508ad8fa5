"""Numbers that a text draws: each call of rand() or randn() is a name, under which every backend finds its number for each cell and step."""

from __future__ import annotations

import ast
from typing import TypeGuard

DRAWN = {
    "rand": "from 0 to 1",
    "randn": "of mean 0 and standard deviation 1",
}  # functions that draw a number for each cell and step


class Named(ast.NodeTransformer):
    """Each rand() and randn() by the name of its number, in the order of the text, each function's by themselves."""

    def __init__(self, start: str, tree: ast.expr) -> None:
        self.names = {}
        for function in DRAWN:
            calls = sorted((n for n in ast.walk(tree) if _calls(n, function)), key=lambda node: node.col_offset)
            self.names |= {id(node): drawn_name(function, start, number) for number, node in enumerate(calls, start=1)}

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if id(node) in self.names:
            return ast.copy_location(ast.Name(self.names[id(node)], ast.Load()), node)
        return self.generic_visit(node)


def drawn_name(function: str, start: str, number: int) -> str:
    """The name of a number that a function draws, which no user's name is."""
    return f"{function}__{start}_{number}"


def drawn_by(name: str) -> str:
    """The function that draws the number of this name; nothing for other names."""
    function = name.partition("__")[0]
    return function if function in DRAWN and function != name else ""


def _calls(node: ast.AST, function: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function

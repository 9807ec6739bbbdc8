"""The mutants of a module: each is the module with one small change."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import NamedTuple, cast

ROOT = Path(__file__).parents[2]

_OPERATORS: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.BitOr: [ast.BitAnd],
    ast.BitAnd: [ast.BitOr],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
}


class Mutant(NamedTuple):
    """A change of a module: in ``function``, the qualified name or "" for the module, at ``lines`` (the statement's)."""

    module: str
    function: str
    text: str
    change: str
    lines: range
    code: CodeType

    def __str__(self) -> str:
        where = f"{self.module}: {self.function}" if self.function else self.module
        return f"{where}: {self.text}: {self.change}"


def variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:  # noqa: C901 - a list
    """Yield the descriptions of the changes of a node, each with what replaces it."""
    for other in _OPERATORS.get(type(node), []):
        yield f"{type(node).__name__} becomes {other.__name__}", other()
    match node:
        case ast.Constant(value=bool() as value):
            yield f"{value} becomes {not value}", ast.Constant(not value)
        case ast.Constant(value=int() | float() as number):
            yield f"{number} becomes {number + 1}", ast.Constant(number + 1)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield f"without {type(node.op).__name__}", operand
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "returns None", ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield "left out", ast.Pass()
        case ast.Break():
            yield "continue", ast.Continue()
        case ast.Continue():
            yield "break", ast.Break()
        case ast.ExceptHandler(type=ast.expr()):
            yield "catches nothing", ast.ExceptHandler(ast.Tuple([], ast.Load()), node.name, node.body)
        case ast.If(test=ast.Name() | ast.Attribute() | ast.Call() | ast.NamedExpr() as test):
            yield "negated", ast.If(ast.UnaryOp(ast.Not(), test), node.body, node.orelse)
        case ast.IfExp(test=ast.Name() | ast.Attribute() | ast.Call() | ast.NamedExpr() as test):
            yield "negated", ast.IfExp(ast.UnaryOp(ast.Not(), test), node.body, node.orelse)


def is_equivalent(node: ast.AST) -> bool:
    """Whether each change of a node leaves the results as they are, by one of these rules.

    - ``gc=`` of a struct: whether the garbage collector tracks its objects, which is a matter of speed.
    - ``strict=`` of zip: states that two lists have the same length, which is true of all uses.
    - ``maxsize=`` of a cache, which is a matter of speed.
    - A message of level debug, which is no promise.
    """
    match node:
        case ast.keyword(arg="gc" | "maxsize" | "strict"):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="debug"))):
            return True
    return False


class Mutator(ast.NodeTransformer):
    """Makes the change with this number; ``applied`` describes it, or is None when there are fewer changes."""

    def __init__(self, number: int, ignored: set[int]) -> None:
        self.applied: tuple[int, str, range, str] | None = None
        self.seen = 0
        self._number = number
        self._ignored = ignored
        self._line = 0
        self._lines = range(0)
        self._scopes: list[str] = []

    def visit(self, node: ast.AST) -> ast.AST:
        """Return what replaces the node; annotations are not evaluated."""
        if isinstance(node, ast.arg) or is_equivalent(node):
            return node
        if isinstance(node, ast.AnnAssign):
            self._enter(node)
            node.value = node.value and cast("ast.expr", self.visit(node.value))
            return node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return self._visit_scope(node)
        self._enter(node)
        for change, replacement in variants(node) if self._line not in self._ignored and self.applied is None else ():
            if self.seen == self._number:
                self.applied = self._line, change, self._lines, ".".join(self._scopes)
                return ast.copy_location(replacement, node)
            self.seen += 1
        return super().generic_visit(node)

    def _enter(self, node: ast.AST) -> None:
        self._line = getattr(node, "lineno", self._line)
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
            body: list[ast.stmt] = getattr(node, "body", [])
            last = max(body[0].lineno - 1, first) if body else getattr(node, "end_lineno", first)
            self._lines = range(first, last + 1)

    def _visit_scope(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> ast.AST:
        self._enter(node)
        returns = None if isinstance(node, ast.ClassDef) else node.returns
        if not isinstance(node, ast.ClassDef):
            node.returns = None
        self._scopes.append(node.name)
        self.generic_visit(node)
        self._scopes.pop()
        if not isinstance(node, ast.ClassDef):
            node.returns = returns
        return node


def ignored_lines(tree: ast.AST, lines: Sequence[str]) -> set[int]:
    """Return the lines that are for type checkers only, and those that no test is meant to reach."""
    ignored = {number for number, line in enumerate(lines, 1) if "pragma: no cover" in line}
    for node in (one for one in ast.walk(tree) if isinstance(one, ast.stmt)):
        is_protocol = isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if is_protocol or is_for_types or isinstance(node, ast.Assert):
            ignored.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return ignored


def count_mutants(module: str) -> int:
    """Return the number of mutants of a module."""
    source = (ROOT / module).read_text()
    mutator = Mutator(sys.maxsize, ignored_lines(ast.parse(source), source.splitlines()))
    mutator.visit(ast.parse(source))
    return mutator.seen


def mutant_of(module: str, number: int) -> Mutant:
    """Return the mutant of a module with this number, from 0."""
    source = (ROOT / module).read_text()
    lines = source.splitlines()
    mutator = Mutator(number, ignored_lines(ast.parse(source), lines))
    tree = cast("ast.Module", mutator.visit(ast.parse(source)))
    if mutator.applied is None:
        raise IndexError(number)
    line, change, span, function = mutator.applied
    code = compile(ast.fix_missing_locations(tree), str(ROOT / module), "exec")
    return Mutant(module, function, lines[line - 1].strip(), change, span, code)

"""Find mutants that no test notices: ``python tests/mutation/run.py [--sample 100] [--seed 0] PACKAGE_OR_MODULE...``.

A mutant is a module with one small change: another operator or number, a negated condition, a value that is not returned, a
call that is left out, or an exception that is not caught. For each mutant a process is forked, in which the module is replaced
in memory and the tests of its package run until the first failure. ``--sample`` chooses so many mutants of each package.

Prints the survivors and the share of the mutants that were killed. ``explained.txt`` says of survivors why no test can or
should notice them. Exits with 1 if less than 90% were killed or explained.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple, cast

import pytest

ROOT = Path(__file__).parents[2]
GOAL = 0.9
# Run against the mutants of a package, after the tests of the mutated module itself.
TESTS = {
    "waiter/task.py": ["tests/test_task.py", "tests/api"],
    "waiter/api": ["tests/api", "tests/polling/test_resource_state.py"],
    "waiter/schedule": ["tests/schedule"],
    "waiter/polling": ["tests/polling", "tests/test_wait.py", "tests/test_events.py"],
    "waiter/ratelimit": ["tests/ratelimit"],
    "waiter/batch": ["tests/batch"],
    "waiter/sidecar/storage": ["tests/sidecar/storage"],
}
# What takes long to import and is not mutated, imported once.
PRELOADED = ["anyio", "freezegun", "httptools", "httpx", "hypothesis", "msgspec", "structlog", "tenacity", "trio"]
# A mutant whose tests take so many seconds more than usual has been noticed too.
PATIENCE = 30.0

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
    """A change of one line of a module."""

    module: str
    text: str
    change: str
    code: CodeType

    def __str__(self) -> str:
        return f"{self.module}: {self.text}: {self.change}"


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


class Mutator(ast.NodeTransformer):
    """Makes the change with this number; ``applied`` is its line and description, or None when there are fewer changes."""

    def __init__(self, number: int, ignored: set[int]) -> None:
        self.applied: tuple[int, str] | None = None
        self._left = number
        self._ignored = ignored
        self._line = 0

    def visit(self, node: ast.AST) -> ast.AST:
        """Return what replaces the node; annotations are not evaluated."""
        if isinstance(node, ast.arg):
            return node
        if isinstance(node, ast.AnnAssign):
            node.value = node.value and cast("ast.expr", self.visit(node.value))
            return node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            returns, node.returns = node.returns, None
            self.generic_visit(node)
            node.returns = returns
            return node
        self._line = getattr(node, "lineno", self._line)
        for change, replacement in variants(node) if self._line not in self._ignored and self.applied is None else ():
            if not self._left:
                self.applied = self._line, change
                return ast.copy_location(replacement, node)
            self._left -= 1
        return super().generic_visit(node)


def ignored_lines(tree: ast.AST, lines: Sequence[str]) -> set[int]:
    """Return the lines that are for type checkers only, and those that no test is meant to reach."""
    ignored = {number for number, line in enumerate(lines, 1) if "pragma: no cover" in line}
    for node in (one for one in ast.walk(tree) if isinstance(one, ast.stmt)):
        is_protocol = isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if is_protocol or is_for_types or isinstance(node, ast.Assert):
            ignored.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return ignored


def mutants_of(module: str) -> Iterator[Mutant]:
    """Yield all mutants of a module."""
    source = (ROOT / module).read_text()
    lines = source.splitlines()
    ignored = ignored_lines(ast.parse(source), lines)
    number = 0
    while True:
        mutator = Mutator(number, ignored)
        tree = cast("ast.Module", mutator.visit(ast.parse(source)))
        if mutator.applied is None:
            return
        number += 1
        line, change = mutator.applied
        code = compile(ast.fix_missing_locations(tree), str(ROOT / module), "exec")
        yield Mutant(module, lines[line - 1].strip(), change, code)


class _Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant in place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = mutant.module.removesuffix(".py").replace("/", ".")
        self._mutant = mutant

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        file = str(ROOT / self._mutant.module)
        return importlib.util.spec_from_file_location(fullname, file, loader=self) if fullname == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._mutant.code, vars(module))


def tests_of(module: str) -> list[str]:
    """Return the tests that are run against a module's mutants: first those of the module."""
    path = Path(module)
    own = str(Path("tests", *path.parent.parts[1:], f"test_{path.name}"))
    package = next(tests for prefix, tests in TESTS.items() if module.startswith(prefix))
    return list(dict.fromkeys([*([own] if (ROOT / own).exists() else []), *package]))


def run_tests(mutant: Mutant | None, tests: list[str], timeout: float) -> tuple[bool, float]:
    """Return whether all tests pass with a mutant, and the seconds that they took."""
    began = time.monotonic()
    if not (child := os.fork()):
        _run_tests_here(mutant, tests)
    while time.monotonic() - began < timeout:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0, time.monotonic() - began
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False, timeout


def _run_tests_here(mutant: Mutant | None, tests: list[str]) -> None:
    code = 1
    try:
        os.setsid()
        random.seed(0)  # jitter must not make the difference
        if mutant is not None:
            silence = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(silence, descriptor)
            sys.meta_path.insert(0, _Loader(mutant))
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--assert=plain", "-m", "not slow", *tests])
    except BaseException:  # noqa: BLE001 - the parent must not run on in this process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def read_explained() -> dict[str, str]:
    """Return the explanations of ``explained.txt``, by the mutant: each line is ``module: line of code: change -> why``."""
    lines = (Path(__file__).with_name("explained.txt")).read_text().splitlines()
    return {mutant: why for mutant, _, why in (line.partition(" -> ") for line in lines if line and line[0] != "#")}


def survivors_of(mutants: list[Mutant]) -> Iterator[Mutant]:
    """Yield the mutants with which the tests pass."""
    usual: dict[str, float] = {}
    for mutant in mutants:
        tests = tests_of(mutant.module)
        if mutant.module not in usual:
            passed, usual[mutant.module] = run_tests(None, tests, 600)
            if not passed:
                sys.exit(f"the tests of {mutant.module} fail without a mutant: {' '.join(tests)}")
        if run_tests(mutant, tests, usual[mutant.module] * 2 + PATIENCE)[0]:
            yield mutant


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="PACKAGE_OR_MODULE", default=list(TESTS))
    parser.add_argument("--sample", type=int, default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    for name in PRELOADED:
        import_module(name)
    explained, worst = read_explained(), 1.0
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TEST_EXAMPLES": "10", "HYPOTHESIS_STORAGE_DIRECTORY": folder, "TMPDIR": folder}
        tempfile.tempdir = folder
        for name in arguments.names:
            files = [Path(name)] if name.endswith(".py") else sorted(Path(name).glob("*.py"))
            mutants = [mutant for file in files for mutant in mutants_of(str(file))]
            chosen = random.Random(arguments.seed).sample(mutants, min(len(mutants), arguments.sample))
            survived = []
            for mutant in survivors_of(chosen):
                survived.append(str(mutant))
                if str(mutant) not in explained:
                    print(mutant, flush=True)
            left = [one for one in survived if one not in explained]
            worst = min(worst, 1 - len(left) / len(chosen))
            killed, known = len(chosen) - len(survived), len(survived) - len(left)
            print(f"{name}: {killed} of {len(chosen)} mutants killed, {known} explained, {len(left)} survived", flush=True)
    return int(worst < GOAL)


if __name__ == "__main__":
    sys.exit(main())

"""Runs tests against mutants, each in a process of its own that is forked when everything is imported.

A mutant that changes the body of a function is forked from a process that has collected the tests: the function gets the
changed code there. Any other, such as a constant of a module, is forked before that, and imported in place of its module.
"""

from __future__ import annotations

import gc
import importlib.abc
import importlib.util
import inspect
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, NoReturn

import pytest
from coverage import Coverage
from mutants import ROOT, Mutant

ARGUMENTS = ["-x", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", "--assert=plain", "-m", "not slow"]
# A mutant was noticed too if its tests need so many times their usual processor time, and so many seconds more, or if they do
# next to nothing for IDLE seconds: they wait for what never comes.
PATIENCE, SECONDS, IDLE = 5, 20.0, 15.0


class Baseline(NamedTuple):
    """What the tests do without a mutant: the tests that execute each line of each module, and the seconds each test takes."""

    tests: dict[str, dict[int, list[str]]]
    seconds: dict[str, float]

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that execute the lines of a mutant; "" among them is an import."""
        lines = self.tests.get(mutant.module, {})
        return list(dict.fromkeys(test for line in mutant.lines for test in lines.get(line, [])))


class Seeded:
    """Seeds ``random`` before each test, so that jitter makes no difference between a mutant and the original."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        random.seed(0)


class Observed(Seeded):
    """Records which lines each test executes, and how long it takes."""

    def __init__(self, coverage: Coverage) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._coverage = coverage

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        began = time.process_time()
        self._coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self._coverage.switch_context("")
            self.seconds[item.nodeid] = time.process_time() - began

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


class Trials(Seeded):
    """In place of running the collected tests once, runs those that can notice a mutant for each of the mutants."""

    def __init__(self, mutants: Sequence[tuple[int, Mutant]], baseline: Baseline, jobs: int) -> None:
        self.verdicts: dict[int, str | None] = {}
        self._mutants = mutants
        self._baseline = baseline
        self._jobs = jobs
        self._kills: Counter[str] = Counter()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        started = ((number, self._start(mutant, items)) for number, mutant in self._mutants)
        for number, verdict in verdicts_of(started, self._jobs):
            self.verdicts[number] = verdict
            if verdict:
                self._kills[verdict] += 1
        return True

    def _start(self, mutant: Mutant, items: Mapping[str, pytest.Item]) -> Process:
        own = f"test_{Path(mutant.module).name}"
        tests = [test for test in self._baseline.tests_of(mutant) if test in items]
        tests.sort(key=lambda test: (-self._kills[test], own not in test, self._baseline.seconds[test]))
        usual = sum(self._baseline.seconds[test] for test in tests)
        return start(lambda: _run_items(mutant, [items[test] for test in tests]), usual)


def _run_items(mutant: Mutant, items: Sequence[pytest.Item]) -> str | None:
    """Return the first test that fails with a mutant, or None."""
    patch(mutant)
    for item, following in zip(items, [*items, None][1:], strict=True):
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except (KeyboardInterrupt, pytest.exit.Exception):
            return item.nodeid
        if item.session.testsfailed:
            return item.nodeid
    return None


def functions_of(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of the functions and methods that a module or class defines, without those within functions."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & inspect.CO_OPTIMIZED:
                yield constant
            else:
                yield from functions_of(constant)


def _shape(code: CodeType) -> object:
    """Return what a module and its classes do when they are imported, without what its functions do when they are called."""
    constants: list[object] = []
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            constants.append((type(constant), constant))
        elif not constant.co_flags & inspect.CO_OPTIMIZED:
            constants.append(_shape(constant))
    return code.co_code, constants, code.co_names


def changed_function(mutant: Mutant) -> CodeType | None:
    """Return the changed code of the function in which the change of a mutant is, or None if it is in no function."""
    path = ROOT / mutant.module
    original = compile(path.read_text(), str(path), "exec")
    if _shape(original) != _shape(mutant.code):
        return None
    pairs = zip(functions_of(original), functions_of(mutant.code), strict=True)
    changed = [after for before, after in pairs if before != after]
    return changed[0] if len(changed) == 1 else None


def live_functions(code: CodeType) -> list[FunctionType]:
    """Return the function objects of this process that have the original of a changed code."""
    functions = [one for one in gc.get_objects() if isinstance(one, FunctionType)]
    return [one for one in functions if _place(one.__code__) == _place(code)]


def _place(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def patch(mutant: Mutant) -> None:
    """Replace the code of the function in this process by the changed code."""
    code = changed_function(mutant)
    functions = live_functions(code) if code else []
    if code is None or not functions:
        message = f"not in this process: {mutant}"
        raise RuntimeError(message)
    for function in functions:
        function.__code__ = code


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


class Process:
    """A process that runs tests: ``output`` is a pipe with the JSON of what it found."""

    def __init__(self, pid: int, output: int) -> None:
        self.pid = pid
        self.output = output
        self._since, self._busy = time.monotonic(), 0

    def seems_stuck(self) -> bool:
        """Record how busy the process is; return whether it was idle for a while. Waiting for a processor is no idleness."""
        now = time.monotonic()
        if now - self._since < IDLE:
            return False
        busy = 0
        for file in Path(f"/proc/{self.pid}/task").glob("*/schedstat"):
            with suppress(OSError):  # the thread has ended
                busy += sum(map(int, file.read_text().split()[:2]))
        was_busy, elapsed = abs(busy - self._busy) / 1e9, now - self._since
        self._since, self._busy = now, busy
        return was_busy < elapsed / 50


def start(run: Callable[[], object], usual: float) -> Process:
    """Fork a process that writes what ``run`` returns, and whose tests take ``usual`` seconds of processor time."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        _be_child(run, writer, usual)
    os.close(writer)
    return Process(pid, reader)


# The pipe to which this process writes. A child must not keep it open, because its end is the end of the result.
_own_output: list[int] = []


def _be_child(run: Callable[[], object], writer: int, usual: float) -> NoReturn:
    try:
        os.setsid()
        for inherited in _own_output:
            os.close(inherited)
        _own_output[:] = [writer]
        limit = int(SECONDS + usual * PATIENCE)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2) if "MUTATION_DEBUG" not in os.environ else ():
            os.dup2(silence, descriptor)
        found = json.dumps(run())
    except BaseException:  # noqa: BLE001 - the parent must not run on in this process
        found = json.dumps({"error": traceback.format_exc()})
    with os.fdopen(writer, "w") as output:
        output.write(found)
    os._exit(0)


def result_of(process: Process) -> Any:
    """Return what a process found, "" if it was killed; exits if it is an error of this runner."""
    with os.fdopen(process.output, "rb") as output:
        text = output.read()
    found = json.loads(text) if text else ""
    if isinstance(found, dict) and "error" in found:
        sys.exit(found["error"])
    return found


def wait_for(process: Process) -> Any:
    """Return what a process found when it has ended."""
    found = result_of(process)
    os.waitpid(process.pid, 0)
    return found


def verdicts_of(processes: Iterator[tuple[int, Process]], jobs: int) -> Iterator[tuple[int, str | None]]:
    """Yield the number of each mutant with the test that fails, "" when its tests did not come to an end, None if none does."""
    running: dict[int, tuple[int, Process]] = {}
    while True:
        while len(running) < jobs and (following := next(processes, None)):
            running[following[1].pid] = following
        if not running:
            return
        for number, process in list(running.values()):
            ended, _ = os.waitpid(process.pid, os.WNOHANG)
            if not ended and process.seems_stuck():
                os.killpg(process.pid, signal.SIGKILL)
                os.waitpid(process.pid, 0)
                ended = process.pid
            if ended:
                del running[process.pid]
                yield number, result_of(process)
        time.sleep(0.01)


def measure(tests: Sequence[str], modules: Sequence[str]) -> Baseline:
    """Run the tests without a mutant, and return what they do; exits if one fails."""
    found = wait_for(start(lambda: _measure_here(tests, modules), 1200))
    if found["failed"]:
        sys.exit(f"fail without a mutant: {' '.join(found['failed'])}")
    lines = {file: {int(line): names for line, names in by_line.items()} for file, by_line in found["tests"].items()}
    return Baseline(lines, found["seconds"])


def _measure_here(tests: Sequence[str], modules: Sequence[str]) -> dict[str, object]:
    paths = [str(ROOT / module) for module in modules]
    coverage = Coverage(data_file=None, config_file=False, include=paths)
    coverage.start()
    observed = Observed(coverage)
    code = pytest.main([*ARGUMENTS, *tests], plugins=[observed])
    coverage.stop()
    failed = observed.failed or ([] if code == 0 else [f"pytest ended with {code}"])
    data = coverage.get_data()
    lines = {module: data.contexts_by_lineno(path) for module, path in zip(modules, paths, strict=True)}
    return {"tests": lines, "seconds": observed.seconds, "failed": failed}


def try_mutants(mutants: Sequence[Mutant], tests: Sequence[str], baseline: Baseline, jobs: int) -> dict[int, str | None]:
    """Return for the number of each mutant the test that notices it, "" when no test ended, None when none notices it."""
    quick = [(number, mutant) for number, mutant in enumerate(mutants) if _is_quick(mutant, baseline)]
    slow = [(number, mutant) for number, mutant in enumerate(mutants) if not _is_quick(mutant, baseline)]

    def try_quick() -> dict[int, str | None]:
        for module in {mutant.module for _, mutant in quick}:  # some are imported later, when they are needed
            import_module(module.removesuffix(".py").replace("/", "."))
        trials = Trials(quick, baseline, jobs)
        pytest.main([*ARGUMENTS, *tests], plugins=[trials])
        if missing := [str(mutant) for number, mutant in quick if number not in trials.verdicts]:
            message = f"not tried: {'; '.join(missing)}"  # pytest hides the exception that ended its loop
            raise RuntimeError(message)
        return trials.verdicts

    found = wait_for(start(try_quick, 1e6)) if quick else {}
    usual = sum(baseline.seconds.values())
    started = ((number, start(_importing(mutant, tests), usual)) for number, mutant in slow)
    return {int(number): verdict for number, verdict in found.items()} | dict(verdicts_of(started, jobs))


def _is_quick(mutant: Mutant, baseline: Baseline) -> bool:
    """Whether the change is in a function that is not called when its module is imported."""
    return changed_function(mutant) is not None and "" not in baseline.tests_of(mutant)


def _importing(mutant: Mutant, tests: Sequence[str]) -> Callable[[], str | None]:
    own = Path("tests", *Path(mutant.module).parent.parts[1:], f"test_{Path(mutant.module).name}")
    first = [str(own)] if (ROOT / own).exists() else []

    def run() -> str | None:
        sys.meta_path.insert(0, _Loader(mutant))
        failed = _Failed()
        code = pytest.main([*ARGUMENTS, *first, *tests], plugins=[failed])
        return failed.test or (None if code == 0 else "")

    return run


class _Failed(Seeded):
    """Records the test that fails."""

    def __init__(self) -> None:
        self.test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.test = report.nodeid

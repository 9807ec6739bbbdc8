"""``waiter wait`` from arguments to exit code, and what comes after it."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from command_parts import BROKEN, EMPTY, ENDLESS, GOOD, Run, Terminal, a_task, seen

import waiter.__main__
import waiter.cli
from waiter.cli import app, follow, next_step
from waiter.cli import result as cli_result
from waiter.cli import wait as cli_wait
from waiter.cli.board import Board
from waiter.cli.progress import Progress
from waiter.console import signals, streams
from waiter.errors import TaskNotFoundError
from waiter.outcome import Outcome
from waiter.testing import SimulatedCloud, finishes


def test_lines_through_a_pipe(run: Run) -> None:
    """In CI each change is a line on standard error."""
    ran = run("wait", GOOD, "-o", "ids")
    assert ran == (0, "vm-1\ndisk-1\ndisk-2\n", f"waiter: create_vm {GOOD} is FINISHED (took 19s)\n")


def test_several_tasks(run: Run) -> None:
    """All are awaited, each failure is told once, and the worst gives the code."""
    ran = run("wait", GOOD, BROKEN, ENDLESS, "--timeout", "0.3", "-q", "-o", "ids")
    assert (ran.code, ran.out) == (1, "")
    assert sorted(line.partition(":")[2][:17] for line in ran.err.splitlines()) == [
        " create_vm failed",
        " not ended after ",
        " to go on waiting",
    ]
    assert ran.err.endswith(f"waiter wait --timeout 0.3 -q -o ids {ENDLESS}\n")


def test_return_when_any(run: Run) -> None:
    """The first task to end decides, and the others go on."""
    ran = run("wait", ENDLESS, GOOD, "--return-when", "any", "-q", "-o", "ids")
    assert ran == (
        0,
        "vm-1\ndisk-1\ndisk-2\n",
        f"waiter: to go on waiting: waiter wait --return-when any -q -o ids {ENDLESS}\n",
    )


def test_return_when_first_error(run: Run) -> None:
    """The first bad end ends the wait; good ones do not."""
    ran = run("wait", ENDLESS, GOOD, BROKEN, "--return-when", "first-error", "-q", "-o", "ids")
    assert (ran.code, ran.out) == (1, "")
    assert f"-o ids {ENDLESS}" in ran.err
    assert run("wait", GOOD, EMPTY, "--return-when", "first-error", "-q", "-o", "ids").code == 0


@pytest.mark.parametrize(
    ("return_when", "enough"),
    [("all", [False, False]), ("any", [True, True]), ("first-error", [False, True])],
)
def test_what_is_enough(return_when: str, enough: list[bool]) -> None:
    """``all`` waits for all, ``any`` for one, ``first-error`` for a bad one."""
    outcomes = [Outcome("a", task=a_task()), Outcome("b", error=TaskNotFoundError("no"))]
    assert [follow.is_enough(outcome, return_when) for outcome in outcomes] == enough


def test_tasks_are_awaited_together(run: Run, cloud: SimulatedCloud) -> None:
    """Ten tasks of half a second take not much longer than one."""
    ids = [cloud.add(finishes(0.5, {"instances": [f"vm{n}"]})) for n in range(10)]
    began = time.monotonic()
    assert run("wait", *ids, "-q", "-o", "ids", "--interval", "0.1").code == 0
    assert time.monotonic() - began < 3


def test_what_the_thread_raises_is_raised() -> None:
    """A fault in the thread of the wait reaches the main thread."""

    class Broken:
        def as_completed(self, _: object) -> Any:
            raise ZeroDivisionError

    inbox: follow.Inbox = SimpleQueue()
    follow.start(Broken(), ["a"], "all", inbox).join()  # type: ignore[arg-type]
    board = Board(["a"], 0.0)
    with pytest.raises(ZeroDivisionError):
        follow.follow(inbox, board, Progress(board))


def test_time_passes_while_nothing_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between events the progress is asked again and again what is due."""
    pauses = iter([0.001, 0.001])
    inbox: follow.Inbox = SimpleQueue()

    class Impatient(Progress):
        def pause(self) -> float:
            pause = next(pauses, None)
            if pause is None:
                inbox.put("a line\n")
                inbox.put(seen(a_task()))
                inbox.put(None)
            return pause or float("inf")

    said: list[str] = []
    board = Board([GOOD], 0.0)
    impatient = Impatient(board)
    monkeypatch.setattr(impatient, "say", said.append)
    follow.follow(inbox, board, impatient)
    assert said == ["a line\n"]
    assert board.rows[GOOD].state == "RUNNING"


def interrupted(monkeypatch: pytest.MonkeyPatch, *events: Any) -> None:
    """Let a signal come after some events, before the thread of the wait has begun."""

    def follow_until(_: object, board: Board, *__: object, **___: object) -> None:
        for event in events:
            board.rows[event.task_id].note(event, 0.0)
        raise signals.Interrupted(signal.SIGTERM)

    monkeypatch.setattr(follow, "start", lambda *_: threading.Thread())
    monkeypatch.setattr(follow, "follow", follow_until)


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the tasks that go on and the command that takes up the wait, and gives what is known."""
    interrupted(monkeypatch, seen(a_task(GOOD, "FINISHED", took=19)), seen(a_task(ENDLESS)))
    ran = run("wait", GOOD, ENDLESS, "-o", "text", "--", "true")
    assert (ran.code, ran.out) == (143, f"FINISHED  create_vm  {GOOD}  19s\nRUNNING   create_vm  {ENDLESS}\n")
    assert ran.err == (
        f"waiter: interrupted by SIGTERM; this task goes on: create_vm {ENDLESS} (RUNNING)\n"
        f"waiter: to go on waiting: waiter wait -o text {ENDLESS} -- true\n"
    )


def test_interrupted_with_many(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first few of many are named, and all of them are in the command that takes up the wait."""
    interrupted(monkeypatch)
    names = [f"t{n}" for n in range(7)]
    said = run("wait", *names, "-q").err.splitlines()
    named = ", ".join(f"t{n} (not seen yet)" for n in range(5))
    assert said == [
        f"waiter: interrupted by SIGTERM; these tasks go on: {named}, and 2 more",
        f"waiter: to go on waiting: waiter wait -q {' '.join(names)}",
    ]


@pytest.mark.parametrize("interrupt", [True, False])
def test_the_last_words_come_last(process: Run, run: Run, monkeypatch: pytest.MonkeyPatch, interrupt: bool) -> None:
    """The result comes first, so that it does not bury how to go on."""
    if interrupt:
        interrupted(monkeypatch, seen(a_task(ENDLESS)))
        order: list[str] = []
        monkeypatch.setattr(cli_result, "write_result", lambda _: order.append("result"))
        monkeypatch.setattr(cli_wait, "write_stderr", lambda text: order.append(text.split()[1]))
        run("wait", ENDLESS, "-q")
        assert order == ["result", "interrupted", "to"]
    else:
        ran = process("wait", ENDLESS, "-q", "-o", "text", "--timeout", "0.2", stderr=subprocess.STDOUT)
        assert f"waiter wait -q -o text --timeout 0.2 {ENDLESS}" in ran.out.splitlines()[-1]


def test_interrupted_again_while_the_result_is_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a reader that takes nothing does not keep waiter from saying what goes on."""

    def hang(_: str) -> None:
        raise signals.Interrupted(signal.SIGINT)

    interrupted(monkeypatch, seen(a_task(ENDLESS)))
    monkeypatch.setattr(cli_result, "write_result", hang)
    ran = run("wait", ENDLESS, "-q")
    assert ran.code == 130
    assert f"to go on waiting: waiter wait -q {ENDLESS}" in ran.err


def test_interrupted_when_all_had_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing goes on there is nothing to take up."""
    interrupted(monkeypatch, seen(a_task(GOOD, "FINISHED", took=19)))
    assert run("wait", GOOD, "-o", "ids") == (143, "", "waiter: interrupted by SIGTERM\n")


@pytest.mark.parametrize("raised", [signals.Interrupted(signal.SIGINT), KeyboardInterrupt()], ids=["ours", "Python's"])
def test_interrupted_before_anything_began(run: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    """Ctrl-C is no traceback at any moment."""

    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(app, "_run", fail)
    ran = run("wait", GOOD)
    assert (ran.code, ran.out) == (130, "")
    assert ran.err in {"", "waiter: interrupted\n"}


def test_an_unexpected_fault(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is owned up to in one line, whatever its message looks like; at level debug with the place."""

    def fail(*_: object) -> None:
        message = "two\nlines \x1b[2J"
        raise RuntimeError(message)

    monkeypatch.setattr(app, "_run", fail)
    line = "waiter: a fault in waiter itself: RuntimeError: two lines \\x1b[2J"
    assert run("wait", GOOD) == (70, "", f"{line}; WAITER_LOG_LEVEL=debug tells where\n")
    assert run("wait", GOOD, "--log-level", "debug").err.startswith(f"{line}\nTraceback (most recent call last)")


def test_a_fault_while_waiting_leaves_the_screen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is drawn is left in order before the fault is owned up to."""
    closed: list[bool] = []
    monkeypatch.setattr(follow, "start", lambda *_: threading.Thread())
    monkeypatch.setattr(follow, "follow", lambda *_, **__: 1 // 0)
    monkeypatch.setattr(Progress, "close", lambda _, *, keep: closed.append(keep))
    assert run("wait", GOOD, "-q").code == 70
    assert closed == [True]


def test_a_command_takes_the_place_of_waiter(process: Run) -> None:
    """Its output after the result that was asked for, its exit code, the IDs in its environment; nothing of an outer wait's."""
    env = {"INSTANCES": "outer", "IMAGES": "outer", "OTHER": "kept", "PATH_": "kept"}
    show = 'echo "$INSTANCES $VOLUMES ${IMAGES-none} $OTHER $PATH_ ${GCORE_API_KEY:+key}"; exit 7'
    ran = process("wait", GOOD, "-q", "-o", "ids", "--", "sh", "-c", show, env=env)
    assert ran == (7, "vm-1\ndisk-1\ndisk-2\nvm-1 disk-1,disk-2 none kept kept key\n", "")


def test_signals_reach_the_command(start: Callable[..., subprocess.Popen[str]]) -> None:
    """SIGTERM is the command's own, and a closed pipe ends it as it would without waiter."""
    script = "trap 'echo stopped; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    with start("wait", GOOD, "-q", "--", "sh", "-c", script) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.terminate()
        out, err = child.communicate(timeout=10)
    assert (child.returncode, out, err) == (9, "stopped\n", "")
    with start("wait", GOOD, "-q", "--", "yes") as endless:
        assert endless.stdout is not None
        endless.stdout.readline()
        endless.stdout.close()
        assert endless.wait(10) == -signal.SIGPIPE


def test_becoming_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be run after all is said, with the code that shells give it."""
    heeded = signal.getsignal(signal.SIGPIPE)
    became: list[Any] = []
    monkeypatch.setattr(os, "execvpe", lambda *how: became.append(how))
    next_step.run_command(["deploy", "now"], {"A": "b"})
    assert became == [("deploy", ["deploy", "now"], {"A": "b"})]

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "execvpe", refuse)
    assert next_step.run_command(["deploy"], {}) == 126
    assert capsys.readouterr().err == "waiter: cannot run deploy: Permission denied\n"
    signal.signal(signal.SIGPIPE, heeded)


def test_a_command_where_nothing_can_be_become(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the command runs as a child, and hands on its code all the same."""
    monkeypatch.setattr(next_step, "CAN_BECOME", False)
    assert next_step.run_command([sys.executable, "-c", "import os; exit(int(os.environ['A']))"], {"A": "5"}) == 5


def test_the_files_of_pipes_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are systems without SIGPIPE."""
    monkeypatch.delattr(signal, "SIGXFSZ")
    monkeypatch.delattr(signal, "SIGPIPE")
    next_step._heed_pipes()


def test_from_wait_to_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On success the command runs with the IDs, on failure it does not, and standard output stays its own."""
    ran_with: list[Any] = []

    def note(command: list[str], environ: dict[str, str]) -> int:
        ran_with.append((command, environ.get("INSTANCES"), environ["GCORE_API_KEY"]))
        return 7

    monkeypatch.setattr(cli_wait, "run_command", note)
    assert run("wait", GOOD, "-q", "--", "sh", "-c", "true") == (7, "", "")
    assert ran_with == [(["sh", "-c", "true"], "vm-1", "simulated$key")]
    assert run("wait", EMPTY, "-q", "--", "true", env={"INSTANCES": "outer"}) == (7, "", "")
    assert ran_with[1:] == [(["true"], None, "simulated$key")]
    assert run("wait", BROKEN, "-q", "--", "sh").out == ""
    assert len(ran_with) == 2


def test_a_result_that_cannot_be_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told in one line."""

    def fail(*_: object) -> None:
        message = "cannot write the result: No space left on device"
        raise streams.OutputError(message)

    monkeypatch.setattr(app, "_run", fail)
    assert run("wait", GOOD) == (70, "", "waiter: cannot write the result: No space left on device\n")


@pytest.mark.parametrize(("code", "left"), [(0, []), (130, [130]), (143, [143])])
def test_the_process_leaves(monkeypatch: pytest.MonkeyPatch, code: int, left: list[int]) -> None:
    """After a signal it does not wait for threads that cannot hear it."""
    gone: list[int] = []
    frozen: list[bool] = []
    monkeypatch.setattr(os, "_exit", gone.append)
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    monkeypatch.setattr(app, "run", lambda _: code)
    monkeypatch.setattr(sys, "argv", ["waiter", "wait"])
    assert waiter.cli.main() == code
    assert (gone, frozen) == (left, [True])


@pytest.mark.parametrize(("many", "thresholds"), [(1, [(10_000, 20, 10)]), (2, [])])
def test_many_tasks_have_garbage_collected_seldom(
    run: Run, monkeypatch: pytest.MonkeyPatch, many: int, thresholds: list[tuple[int, ...]]
) -> None:
    """A few have it collected as always, for the sake of memory."""
    told: list[tuple[int, ...]] = []
    monkeypatch.setattr(gc, "set_threshold", lambda *given: told.append(given))
    monkeypatch.setattr(cli_wait, "MANY", many)
    assert run("wait", GOOD, EMPTY, "-o", "ids").code == 0
    assert told == thresholds


def test_a_step_loads_nothing_that_it_does_not_need(environ: dict[str, str]) -> None:
    """Every pipeline pays the start, so one finished task takes no event loop, no log, no query and no drawing."""
    code = "import sys; from waiter.cli import main; main(sys.argv[1:]); print(sorted(NEEDLESS & set(sys.modules)))"
    needless = {"asyncio", "structlog", "jmespath", "shtab", "difflib", "secrets", "waiter.cli.live", "waiter.testing"}
    argv = [sys.executable, "-c", code.replace("NEEDLESS", repr(needless)), "wait", GOOD, "-o", "ids"]
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    assert ran.stdout == "vm-1\ndisk-1\ndisk-2\n[]\n"


def test_as_a_module() -> None:
    """``python -m waiter`` is the command."""
    assert vars(waiter.__main__)["main"] is waiter.cli.main


def test_text_on_a_terminal_is_not_said_twice(terminal: Callable[..., Terminal]) -> None:
    """The result on the screen tells how each task ended, so nothing else does."""
    assert terminal("wait", BROKEN, columns=100).finish() == (
        1,
        [
            f"ERROR     create_vm  {BROKEN}  0s",
            "  error: No valid host was found",
            "  volumes: disk-3",
        ],
    )


def test_a_summary_stays_when_the_result_goes_elsewhere(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """With the result in a form for programs, the last state of each task stays on the screen."""
    file = tmp_path / "outputs"
    code, screen = terminal("wait", GOOD, "-o", "github", env={"GITHUB_OUTPUT": str(file)}).finish()
    assert (code, screen) == (0, [f"✓ FINISHED     19s  create_vm  {GOOD}"])

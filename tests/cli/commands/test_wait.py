"""``waiter wait`` from arguments to exit code."""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from command_parts import BROKEN, EMPTY, ENDLESS, GOOD, UNKNOWN, Run, Terminal, event_of, interrupt_after, make_task

from waiter.cli.commands import wait as wait_command
from waiter.cli.output import writer as writer_module
from waiter.cli.progress.base import Progress
from waiter.cli.progress.model import ProgressModel
from waiter.cli.wait_thread import InboxReader
from waiter.console import signals
from waiter.errors import ApiUnavailableError, TaskNotFoundError
from waiter.outcome import Outcome
from waiter.testing import SimulatedCloud, ended, never_ends, resources_fail, resources_ready


def test_all_problems_are_reported_together(run: Run) -> None:
    """Bad IDs, a bad query, a missing command and a missing key are named in one message."""
    env = {"GCORE_API_KEY": " ", "GCORE_BASE_URL": "ftp://x"}
    ran = run("wait", BROKEN, "/x", "y z", "--query", "[", "--", "no-such-command", env=env)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "waiter: not a task ID: '/x' (@FILE reads a file); not a task ID: 'y z'; "
        "--query: Invalid jmespath expression: Incomplete expression:; "
        "the command after -- is not found: no-such-command; the API key is empty; "
        "the base URL 'ftp://x' must look like https://host\n"
    )


def test_changes_are_lines_on_standard_error(run: Run) -> None:
    """Without a terminal each change is a line."""
    ran = run("wait", GOOD, "-o", "ids")
    assert ran == (0, "vm-1\ndisk-1\ndisk-2\n", f"waiter: create_vm {GOOD} is FINISHED (took 19s)\n")


def test_several_tasks_are_awaited(run: Run) -> None:
    """Each failure is reported once, and the lowest code counts."""
    ran = run("wait", GOOD, BROKEN, ENDLESS, "--timeout", "0.3", "-q", "-o", "ids")
    assert (ran.code, ran.out) == (1, "vm-1\ndisk-1\ndisk-2\n")
    assert sorted(line.partition(":")[2][:17] for line in ran.err.splitlines()) == [
        " create_vm failed",
        " not ended after ",
        " to resume: waite",
    ]
    assert ran.err.endswith(f"waiter wait --timeout 0.3 -q -o ids {ENDLESS}\n")


def test_several_tasks_end_with_a_summary(run: Run) -> None:
    """It counts the ends and names the failures; ``--quiet`` and a log leave it out."""
    assert f"waiter: 1 finished, 1 failed: create_vm {BROKEN}\n" in run("wait", GOOD, BROKEN, "-o", "ids").err
    assert "1 finished" not in run("wait", GOOD, BROKEN, "-o", "ids", "-q").err
    assert "1 finished" not in run("wait", GOOD, BROKEN, "-o", "ids", "--log-level", "info").err


def test_return_when_any(run: Run) -> None:
    """The first task to end decides, and the others are still running."""
    ran = run("wait", ENDLESS, GOOD, "--return-when", "any", "-q", "-o", "ids")
    assert ran == (
        0,
        "vm-1\ndisk-1\ndisk-2\n",
        f"waiter: to resume: waiter wait --return-when any -q -o ids {ENDLESS}\n",
    )


def test_return_when_first_error(run: Run) -> None:
    """The first failure ends the wait; a success does not."""
    ran = run("wait", ENDLESS, GOOD, BROKEN, "--return-when", "first-error", "-q", "-o", "ids")
    assert ran.code == 1
    assert f"-o ids {ENDLESS}" in ran.err
    assert run("wait", GOOD, EMPTY, "--return-when", "first-error", "-q", "-o", "ids").code == 0


def test_interruption_names_the_running_tasks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that resumes, and the result has what is known."""
    interrupt_after(monkeypatch, event_of(make_task(GOOD, "FINISHED", took=19)), event_of(make_task(ENDLESS)))
    ran = run("wait", GOOD, ENDLESS, "-q", "-o", "text", "--", "true")
    assert (ran.code, ran.out) == (143, f"FINISHED  create_vm  {GOOD}  19s\nRUNNING   create_vm  {ENDLESS}\n")
    assert ran.err == (
        f"waiter: interrupted by SIGTERM; this task is still running: create_vm {ENDLESS} (RUNNING)\n"
        f"waiter: to resume: waiter wait -q -o text {ENDLESS} -- true\n"
    )


def test_interruption_names_the_first_five_tasks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that resumes has all of them."""
    interrupt_after(monkeypatch)
    names = [f"t{n}" for n in range(7)]
    message = run("wait", *names, "-q").err.splitlines()
    named = ", ".join(f"t{n} (not polled yet)" for n in range(5))
    assert message == [
        f"waiter: interrupted by SIGTERM; these tasks are still running: {named}, and 2 more",
        f"waiter: to resume: waiter wait -q {' '.join(names)}",
    ]


@pytest.mark.parametrize("interrupt", [True, False])
def test_resume_hint_follows_the_result(process: Run, run: Run, monkeypatch: pytest.MonkeyPatch, interrupt: bool) -> None:
    """A long result does not hide it."""
    if interrupt:
        interrupt_after(monkeypatch, event_of(make_task(ENDLESS)))
        order: list[str] = []
        monkeypatch.setattr(writer_module, "write_result", lambda _: order.append("result"))
        monkeypatch.setattr(wait_command, "write_stderr", lambda text: order.append(text.split()[1]))
        run("wait", ENDLESS, "-q")
        assert order == ["result", "interrupted", "to"]
    else:
        ran = process("wait", ENDLESS, "-q", "-o", "text", "--timeout", "0.2", stderr=subprocess.STDOUT)
        assert f"waiter wait -q -o text --timeout 0.2 {ENDLESS}" in ran.out.splitlines()[-1]


def test_resume_hint_survives_a_second_signal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal while the result is written does not suppress it."""

    def hang(_: str) -> None:
        raise signals.Interrupted(signal.SIGINT)

    interrupt_after(monkeypatch, event_of(make_task(ENDLESS)))
    monkeypatch.setattr(writer_module, "write_result", hang)
    ran = run("wait", ENDLESS, "-q")
    assert ran.code == 130
    assert f"to resume: waiter wait -q {ENDLESS}" in ran.err


def test_no_resume_hint_when_every_task_has_ended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to resume."""
    interrupt_after(monkeypatch, event_of(make_task(GOOD, "FINISHED", took=19)))
    assert run("wait", GOOD, "-q", "-o", "ids") == (143, "", "waiter: interrupted by SIGTERM\n")


def test_fault_closes_the_progress(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawing is finished before the fault is reported."""
    closed: list[bool] = []
    monkeypatch.setattr(wait_command, "start_wait_thread", lambda *_: threading.Thread())
    monkeypatch.setattr(InboxReader, "read_until_done", lambda _: 1 // 0)
    monkeypatch.setattr(Progress, "close", lambda _, *, keep: closed.append(keep))
    assert run("wait", GOOD, "-q").code == 70
    assert closed == [True]


def test_command_runs_only_on_success(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the IDs in its environment, and standard output to itself."""
    ran_with: list[Any] = []

    def note(command: list[str], environ: dict[str, str]) -> int:
        ran_with.append((command, environ.get("INSTANCES"), environ["GCORE_API_KEY"]))
        return 7

    monkeypatch.setattr(wait_command, "exec_command", note)
    assert run("wait", GOOD, "-q", "--", "sh", "-c", "true") == (7, "", "")
    assert ran_with == [(["sh", "-c", "true"], "vm-1", "simulated$key")]
    assert run("wait", EMPTY, "-q", "--", "true", env={"INSTANCES": "outer"}) == (7, "", "")
    assert ran_with[1:] == [(["true"], None, "simulated$key")]
    assert run("wait", BROKEN, "-q", "--", "sh").out == ""
    assert len(ran_with) == 2


@pytest.mark.parametrize(("many", "thresholds"), [(1, [(10_000, 20, 10)]), (2, [])])
def test_garbage_is_collected_seldom_with_many_tasks(
    run: Run, monkeypatch: pytest.MonkeyPatch, many: int, thresholds: list[tuple[int, ...]]
) -> None:
    """With few tasks the collector is unchanged."""
    told: list[tuple[int, ...]] = []
    monkeypatch.setattr(gc, "set_threshold", lambda *given: told.append(given))
    monkeypatch.setattr(wait_command, "MANY_TASKS", many)
    assert run("wait", GOOD, EMPTY, "-o", "ids").code == 0
    assert told == thresholds


def test_text_result_on_a_terminal_is_not_repeated(terminal: Callable[..., Terminal]) -> None:
    """The result shows how each task ended."""
    assert terminal("wait", BROKEN, columns=100).finish() == (
        1,
        [
            f"ERROR     create_vm  {BROKEN}  0s",
            "  error: No valid host was found",
            "  volumes: disk-3",
        ],
    )


def test_final_state_stays_when_the_result_goes_to_a_file(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    """The last state of each task stays on the screen."""
    file = tmp_path / "outputs"
    code, screen = terminal("wait", GOOD, "-o", "github", env={"GITHUB_OUTPUT": str(file)}).finish()
    assert (code, screen) == (0, [f"✓ FINISHED     19s  create_vm  {GOOD}"])


def test_failure_on_a_terminal_is_reported_immediately(terminal: Callable[..., Terminal]) -> None:
    """The message does not wait for the other tasks."""
    at = terminal("wait", ENDLESS, BROKEN, columns=120)
    at.until("create_vm failed")
    screen = at.until("RUNNING/NETWORK")
    assert screen[0] == f"waiter: create_vm failed: No valid host was found ({BROKEN}); it created volumes disk-3"
    assert "RUNNING/NETWORK" in "".join(screen[1:])


@pytest.mark.parametrize(
    ("error", "others", "return_when", "urgent"),
    [
        (TaskNotFoundError("no"), ["b"], "all", True),
        (TaskNotFoundError("no"), [], "all", False),
        (TaskNotFoundError("no"), ["b"], "first-error", False),
        (ApiUnavailableError("away"), ["b"], "all", False),
        (None, ["b"], "all", False),
    ],
)
def test_errors_reported_before_the_result(error: Any, others: list[str], return_when: str, urgent: bool) -> None:
    """Failures are, unless the result follows directly."""
    model = ProgressModel(["a", *others], 0.0)
    outcome = Outcome("a", task=None if error else make_task("a"), error=error)
    model.rows["a"].record_outcome(outcome, 0.0)
    assert wait_command._precedes_result(argparse.Namespace(return_when=return_when), model, outcome) == urgent


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("others", [[], [BROKEN, UNKNOWN]], ids=["one", "several"])
def test_signal_ends_the_wait(
    start: Callable[..., subprocess.Popen[str]], signum: signal.Signals, code: int, others: list[str]
) -> None:
    """The message names the running task and the command that resumes."""
    with start("wait", ENDLESS, *others, "--timeout", "1h", "-o", "ids") as child:
        assert child.stderr is not None
        while f"{ENDLESS} is RUNNING" not in child.stderr.readline():
            pass
        child.send_signal(signum)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (code, "")
    assert f"interrupted by {signum.name}; th" in err
    assert f"create_vm {ENDLESS} (RUNNING/NETWORK)" in err
    assert f"to resume: waiter wait --timeout 1h -o ids {ENDLESS}" in err


@pytest.mark.parametrize("others", [[], [BROKEN]], ids=["one", "several"])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_ends_the_events_of_each_wait(
    start: Callable[..., subprocess.Popen[str]], signum: signal.Signals, code: int, others: list[str]
) -> None:
    """Each wait that began has one end, and the result is the last line."""
    with start("wait", ENDLESS, *others, "-o", "events", stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        events = []
        for line in child.stdout:
            events.append(event := json.loads(line))
            if (event.get("task_id"), event.get("new")) == (ENDLESS, "RUNNING"):
                child.send_signal(signum)
    assert child.returncode == code
    started = [event["task_id"] for event in events if event["event"] == "wait.started"]
    over = {event["task_id"]: event for event in events if event["event"] == "wait.ended"}
    assert sorted(started) == sorted(over)
    assert len(started) == sum(event["event"] == "wait.ended" for event in events)
    assert over[ENDLESS]["outcome"] == "cancelled"
    assert over[ENDLESS]["task_type"] == "create_vm"
    assert over[ENDLESS]["waited"] >= 0
    assert [event["event"] for event in events].index("result") == len(events) - 1
    assert [task["status"] for task in events[-1]["tasks"] if task["id"] == ENDLESS] == ["waiting"]


IMPATIENT = (
    "import sys; from waiter.console import signals; signals.OUTPUT_GRACE = 0.2;from waiter.cli import main; sys.exit(main())"
)


@pytest.mark.parametrize("argv", [["wait", "-o", "events"], ["wait", "-o", "json"], ["list"]], ids=" ".join)
def test_full_pipe_does_not_delay_the_exit(argv: list[str], tmp_path: Path) -> None:
    """After a signal, output that nothing reads is given up; the exit code is that of the signal."""
    cloud = SimulatedCloud(strict=False)
    task_id = cloud.add(never_ends())
    reader, writer = full_pipe()
    with cloud.serve() as url, (tmp_path / "err").open("w+") as err:
        env = {"GCORE_BASE_URL": url, "GCORE_API_KEY": cloud.api_key, "PYTHONPATH": str(Path(__file__).parents[3])}
        command = [sys.executable, "-c", IMPATIENT, *argv, *([task_id] if argv[0] == "wait" else [])]
        with subprocess.Popen(command, env=env, stdout=writer, stderr=err) as child:
            while not cloud.requests and child.poll() is None:
                time.sleep(0.005)
            child.terminate()
            assert child.wait(60) == 143
        err.seek(0)
        told = err.read()
    os.close(reader)
    os.close(writer)
    assert "waiter: interrupted" in told
    if argv[0] == "wait":
        assert "waiter: cannot write the result: nothing reads it\n" in told
        assert f"to resume: waiter {' '.join(argv)} {task_id}" in told


def full_pipe() -> tuple[int, int]:
    """Return both ends of a pipe to which nothing can be written."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while os.write(writer, b"x" * 512):
            pass
    os.set_blocking(writer, True)
    return reader, writer


SLOW_RESOLVER = (
    "import ctypes, os, socket, sys;"
    "socket.getaddrinfo = lambda *a, **k: (os.write(1, b'.'), [ctypes.CDLL(None).pause() for _ in iter(int, 1)]);"
    "from waiter.cli import main; sys.exit(main())"
)


@pytest.mark.parametrize("others", [[], [BROKEN]], ids=["one", "several"])
def test_hanging_resolver_does_not_delay_the_exit(environ: dict[str, str], others: list[str]) -> None:
    """SIGTERM is handled while another thread hangs in C code."""
    argv = [sys.executable, "-c", SLOW_RESOLVER, "wait", ENDLESS, *others]
    # asyncio resolves no address that is one already.
    env = environ | {"GCORE_BASE_URL": environ["GCORE_BASE_URL"].replace("127.0.0.1", "localhost")}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == "."
        child.terminate()
        child.communicate(timeout=60)
    assert child.returncode == 143


def test_ctrl_c_on_a_terminal(terminal: Callable[..., Terminal]) -> None:
    """The screen shows the running task and the command that resumes."""
    at = terminal("wait", ENDLESS, columns=140)
    at.until("RUNNING")
    at.type(b"\x03")
    code, screen = at.finish()
    assert code == 130
    assert screen == [
        *(["^C"] if screen[0] == "^C" else []),
        f"RUNNING   create_vm  {ENDLESS}",
        f"waiter: interrupted by SIGINT; this task is still running: create_vm {ENDLESS} (RUNNING/NETWORK)",
        f"waiter: to resume: waiter wait {ENDLESS}",
    ]


def test_ready_waits_for_created_resources(run: Run, cloud: SimulatedCloud) -> None:
    """Each change of one is a line, and the result is printed once it is ready."""
    image = ended({"images": ["m-1"]}, task_type="create_image", starts_when_seen=True)
    task_id = cloud.add(resources_ready(0.3, image))
    ran = run("wait", task_id, "--ready", "-o", "ids")
    assert ran == (
        0,
        "m-1\n",
        (
            f"waiter: create_image {task_id} is FINISHED (took 19s)\n"
            f"waiter: create_image {task_id}: images m-1 is saving\n"
            f"waiter: create_image {task_id}: images m-1 is active\n"
        ),
    )


def test_failed_resource_is_a_failure(run: Run, cloud: SimulatedCloud) -> None:
    """The task keeps its shape in JSON, ``status`` and ``message`` say what failed, and nothing is handed on."""
    task_id = cloud.add(resources_fail(0, ended({"images": ["m-1"]})))
    ran = run("wait", task_id, "-q", "-o", "json", env={"WAITER_READY": "1"})
    message = f"images m-1 failed: deactivated; the task is FINISHED ({task_id})"
    assert (ran.code, ran.err) == (1, f"waiter: {message}\n")
    task = json.loads(ran.out)["tasks"][0]
    assert (task["state"], task["status"], task["message"], task["error"]) == ("FINISHED", "failed", message, None)
    assert task["created_resources"] == {"images": ["m-1"]}
    assert run("wait", task_id, "-q", "--ready", "-o", "ids").out == ""
    logged = run("wait", task_id, "--ready", "-o", "ids", "--log-format", "console").err
    assert ("resource.failed" in logged, message in logged) == (True, False)


def test_time_out_before_a_resource_is_ready_can_be_resumed(run: Run, cloud: SimulatedCloud) -> None:
    """The message says that the task is FINISHED, and the resources are not handed on."""
    task_id = cloud.add(resources_ready(1000, ended({"volumes": ["v-1"]})))
    ran = run("wait", task_id, "-q", "--ready", "--timeout", "0.3", "-o", "ids")
    assert (ran.code, ran.out) == (124, "")
    assert re.fullmatch(
        rf"waiter: not ready after \d+ s: volumes v-1 is creating; the task is FINISHED \({task_id}\)\n"
        rf"waiter: to resume: waiter wait -q --ready --timeout 0.3 -o ids {task_id}\n",
        ran.err,
    )


def test_interruption_names_resources_that_are_not_ready() -> None:
    """A wait that is interrupted after the end of the task can be resumed too."""
    model = ProgressModel([GOOD], 0.0)
    row = model.rows[GOOD]
    task = make_task(GOOD, "FINISHED", took=19)
    row.record_event(event_of(task, name="resource.state_changed", kind="images", resource_id="m-1", new="saving"), 1.0)
    args = argparse.Namespace(argv=["--ready", GOOD], task_ids=[GOOD], command=None)
    lines = wait_command.interruption_message(args, model, signals.Interrupted(signal.SIGINT))
    assert lines == [
        f"waiter: interrupted by SIGINT; this task is not ready: create_vm {GOOD} (FINISHED, images saving)\n",
        f"waiter: to resume: waiter wait --ready {GOOD}\n",
    ]

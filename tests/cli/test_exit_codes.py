"""Every row of the table of exit codes, with the real command through pipes and on a terminal."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from command_parts import BROKEN, ENDLESS, GOOD, UNKNOWN, Run, Terminal

from waiter import errors
from waiter.cli.exits import exit_code, goes_on, worst

ROWS: dict[str, tuple[int, list[str], dict[str, str], str]] = {
    "every task FINISHED": (0, ["wait", GOOD], {}, ""),
    "a task ended in ERROR": (1, ["wait", BROKEN], {}, f"create_vm failed: No valid host was found ({BROKEN})"),
    "wrong usage": (2, ["wait", GOOD, "--tiemout", "5"], {}, "did you mean --timeout?"),
    "wrong configuration": (2, ["wait", GOOD], {"GCORE_API_KEY": ""}, "waiter: the API key is empty"),
    "refused": (3, ["wait", GOOD], {"GCORE_API_KEY": "wrong"}, "the API key is not accepted (401)"),
    "no such task": (4, ["status", UNKNOWN], {}, "no such task for this account (404)"),
    "the API away": (
        5,
        ["wait", GOOD, "--max-outage", "0.2"],
        {"GCORE_BASE_URL": "http://127.0.0.1:9"},
        "no usable answer",
    ),
    "stalled": (6, ["wait", ENDLESS, "--stall-timeout", "0.2"], {}, "no change for 0 s"),
    "timed out": (124, ["wait", ENDLESS, "--timeout", "0.2"], {}, f"to go on waiting: waiter wait --timeout 0.2 {ENDLESS}"),
}


@pytest.mark.parametrize(("code", "argv", "env", "said"), ROWS.values(), ids=ROWS)
def test_a_pipe_gets_the_code(process: Run, code: int, argv: list[str], env: dict[str, str], said: str) -> None:
    """The code is that of the table, and standard error says why."""
    ran = process(*argv, env=env)
    assert ran.code == code
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(("code", "argv", "env", "said"), ROWS.values(), ids=ROWS)
def test_a_terminal_gets_the_code(
    terminal: Callable[..., Terminal], code: int, argv: list[str], env: dict[str, str], said: str
) -> None:
    """The code is that of the table, and the screen says why."""
    ran, screen = terminal(*argv, env=env, columns=200).finish()
    assert ran == code
    assert said.removeprefix("create_vm failed: ").partition(" (2222")[0] in "\n".join(screen)


FAULT = "import sys, waiter.cli.wait as w; w.Board = None; from waiter.cli import main; sys.exit(main(sys.argv[1:]))"


def test_a_fault_in_waiter_is_one_line_and_70(environ: dict[str, str]) -> None:
    """A fault of its own is owned up to in one line, without a traceback."""
    ran = subprocess.run([sys.executable, "-c", FAULT, "wait", GOOD], env=environ, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (70, "")
    assert ran.stderr == (
        "waiter: a fault in waiter itself: TypeError: 'NoneType' object is not callable; WAITER_LOG_LEVEL=debug tells where\n"
    )


def test_debug_tells_where_the_fault_is(environ: dict[str, str]) -> None:
    """Who asks for it is shown where the fault happened."""
    argv = [sys.executable, "-c", FAULT, "wait", GOOD, "--log-level", "debug"]
    ran = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 70
    assert "Traceback (most recent call last)" in ran.stderr


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("others", [[], [BROKEN, UNKNOWN]], ids=["one", "several"])
def test_a_signal_ends_it_at_once(
    start: Callable[..., subprocess.Popen[str]], signum: signal.Signals, code: int, others: list[str]
) -> None:
    """Within 200 ms it has said what goes on and how to take up the wait, and has ended."""
    with start("wait", ENDLESS, *others, "--timeout", "1h", "-o", "ids") as child:
        assert child.stderr is not None
        while f"{ENDLESS} is RUNNING" not in child.stderr.readline():
            pass
        sent_at = time.monotonic()
        child.send_signal(signum)
        out, err = child.communicate(timeout=10)
    assert time.monotonic() - sent_at < 0.2
    assert (child.returncode, out) == (code, "")
    assert f"interrupted by {signum.name}; th" in err
    assert f"create_vm {ENDLESS} (RUNNING/NETWORK)" in err
    assert f"to go on waiting: waiter wait --timeout 1h -o ids {ENDLESS}" in err


SLOW_RESOLVER = (
    "import socket, sys, time, ctypes; socket.getaddrinfo = lambda *a, **k: ctypes.PyDLL(None).usleep(10_000_000);"
    "from waiter.cli import main; sys.exit(main())"
)


@pytest.mark.parametrize("others", [[], [BROKEN]], ids=["one", "several"])
def test_a_hanging_resolver_does_not_hold_up_the_end(environ: dict[str, str], others: list[str]) -> None:
    """SIGTERM is heeded while the resolver hangs where Python has nothing to say."""
    code = SLOW_RESOLVER.replace("PyDLL", "CDLL")
    argv = [sys.executable, "-c", code, "wait", ENDLESS, *others]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        time.sleep(0.7)
        sent_at = time.monotonic()
        child.terminate()
        child.communicate(timeout=10)
    assert time.monotonic() - sent_at < 0.2
    assert child.returncode == 143


def test_ctrl_c_on_a_terminal(terminal: Callable[..., Terminal]) -> None:
    """Ctrl-C leaves a calm screen: what goes on, and the command that takes up the wait."""
    at = terminal("wait", ENDLESS, columns=120)
    at.until("RUNNING")
    at.type(b"\x03")
    code, screen = at.finish()
    assert code == 130
    assert screen == [
        *(["^C"] if screen[0] == "^C" else []),
        f"RUNNING   create_vm  {ENDLESS}",
        f"waiter: interrupted by SIGINT; this task goes on: create_vm {ENDLESS} (RUNNING/NETWORK)",
        f"waiter: to go on waiting: waiter wait {ENDLESS}",
    ]


def test_ignored_from_the_start_is_ignored(environ: dict[str, str]) -> None:
    """Under nohup and in the background of a script, SIGINT is not ours to heed."""
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
    code = ignore + "import sys; from waiter.cli import main; sys.exit(main())"
    argv = [sys.executable, "-c", code, "wait", ENDLESS, "--timeout", "0.5"]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        child.stderr.readline()
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=10)
    assert child.returncode == 124


def test_the_worst_of_several() -> None:
    """The lowest code other than 0 counts: a failure outweighs all, a wait that can be taken up again nothing but success."""
    refused, missing = errors.PermissionDeniedError("no"), errors.TaskNotFoundError("no")
    away = errors.ApiUnavailableError("no")
    late = errors.TaskTimeoutError("x", waited=1, last_task=None, last_error=None)
    assert worst([]) == 0
    assert worst([None, None]) == 0
    assert worst([None, late]) == 124
    assert worst([late, away]) == 5
    assert worst([missing, away]) == 4
    assert worst([missing, refused, late]) == 3


def test_errors_beyond_the_table() -> None:
    """An answer that nobody can use counts as none; what is none of the API's is configuration."""
    assert exit_code(errors.ApiError("418")) == 5
    assert exit_code(errors.InvalidResponseError("html")) == 5
    assert exit_code(errors.ConfigurationError("no key")) == 2


def test_what_goes_on() -> None:
    """A task goes on after a time-out and an outage, not after a refusal."""
    assert goes_on(errors.ApiUnavailableError("no"))
    assert not goes_on(errors.TaskNotFoundError("no"))
    assert not goes_on(None)

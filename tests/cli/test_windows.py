"""The command runs without the modules that Windows lacks, in a process that has lost them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from command_parts import BROKEN, ENDLESS, GOOD

# What the documentation marks as "Unix only", as far as no library that is needed there loads it when it runs here.
MODULES = ("fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")


NAMES = {
    "os": ("fork", "fchmod", "getpgid", "getuid", "killpg", "setsid", "get_terminal_size", "openpty", "register_at_fork"),
    "signal": ("SIGHUP", "SIGPIPE", "SIGXFSZ", "SIGWINCH", "SIGUSR1", "SIGCHLD", "SIGALRM", "pthread_sigmask", "setitimer"),
}


LOSS = f"""
import os, signal, sys
sys.modules.update(dict.fromkeys({MODULES}))
for module, names in {NAMES}.items():
    for name in names:
        delattr(sys.modules[module], name)
from waiter.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("argv", "code", "out"),
    [
        (["wait", GOOD, "-o", "ids"], 0, "vm-1\ndisk-1\ndisk-2\n"),
        (["wait", BROKEN, ENDLESS, "--timeout", "0.2", "-o", "ids", "--progress", "live"], 1, ""),
        (["wait", GOOD, "-o", "ids", "--log-format", "console"], 0, "vm-1\ndisk-1\ndisk-2\n"),
        (["completion", "powershell"], 0, None),
        (["--version"], 0, None),
    ],
    ids=["one", "live", "log", "completion", "version"],
)
def test_command_works_without_modules_that_windows_lacks(
    environ: dict[str, str], argv: list[str], code: int, out: str | None
) -> None:
    """It waits, draws, logs and helps as on other systems."""
    ran = subprocess.run([sys.executable, "-c", LOSS, *argv], env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == code, ran.stderr
    assert ran.stdout == out or out is None
    assert "Traceback" not in ran.stderr

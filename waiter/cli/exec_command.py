"""The command after ``--``, which replaces this process when the wait has succeeded.

As process 1 of a container, this process stays and starts it as a child, because most programs do not reap orphans.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

from waiter.console import stderr
from waiter.console.exit_codes import ExitCode
from waiter.console.formatting import printable
from waiter.console.init_process import is_init, supervise
from waiter.console.streams import write_result
from waiter.errors import ConfigurationError


class CommandError(ConfigurationError):
    """The command cannot be executed or is not found; ``.exit_code`` is 126 or 127, as in a shell."""

    def __init__(self, problem: str, exit_code: ExitCode) -> None:
        super().__init__(problem)
        self.exit_code = exit_code


# On Windows, os.exec starts another process and lets the parent's shell continue immediately.
CAN_EXEC = os.name != "nt"


def require_command(command: Sequence[str] | None, environ: Mapping[str, str]) -> None:
    """Raise CommandError if there is no such program, before the wait and not after it."""
    if not command:
        return
    import shutil  # noqa: PLC0415 - only needed with a command

    path, name = environ.get("PATH"), printable(command[0])
    if shutil.which(command[0], path=path) is not None:
        return
    if shutil.which(command[0], mode=os.F_OK, path=path) is not None:
        message = f"the command after -- cannot be executed: {name}"
        raise CommandError(message, ExitCode.NOT_EXECUTABLE)
    message = f"the command after -- is not found: {name}"
    raise CommandError(message, ExitCode.COMMAND_NOT_FOUND)


def exec_command(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Replace this process with the command, which so receives all signals.

    As process 1, and where a process cannot be replaced, run the command and return its exit code.
    """
    write_result("")
    try:
        if not CAN_EXEC:
            import subprocess  # noqa: PLC0415 - as above

            return subprocess.run(command, env=environ, check=False).returncode  # noqa: S603 - the user's command
        if is_init():
            import shutil  # noqa: PLC0415 - as above

            program = shutil.which(command[0], path=environ.get("PATH")) or command[0]
            return supervise(program, command, environ)
        _restore_signals()
        os.execvpe(command[0], list(command), environ)  # noqa: S606 - the user's command
    except OSError as error:
        stderr.error(f"cannot run {printable(command[0])}: {error.strerror}", "command.not_run")
        return ExitCode.NOT_EXECUTABLE


def _restore_signals() -> None:
    # Python ignores these, and a program inherits what is ignored: "yes | head" would never end.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)

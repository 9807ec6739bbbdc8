"""The command after ``--``, which takes this one's place when all went well."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

from waiter.console import stderr
from waiter.console.formatting import printable
from waiter.console.streams import write_result
from waiter.errors import ConfigurationError

NOT_EXECUTABLE = 126
# Windows has no exec: what goes by that name there lets the parent end at once.
CAN_BECOME = os.name != "nt"


def check_command(command: Sequence[str] | None, environ: Mapping[str, str]) -> None:
    """Raise ConfigurationError when there is no such command, before anybody waits for half an hour to learn that."""
    if not command:
        return
    import shutil  # noqa: PLC0415 - for commands only

    if shutil.which(command[0], path=environ.get("PATH")) is None:
        message = f"the command after -- is not found: {printable(command[0])}"
        raise ConfigurationError(message)


def run_command(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Become the command, so that its exit code and every signal are its own; where that cannot be, give its exit code."""
    write_result("")
    try:
        if not CAN_BECOME:
            import subprocess  # noqa: PLC0415 - as above

            return subprocess.run(command, env=environ, check=False).returncode  # noqa: S603 - it is what the user wants
        _heed_pipes()
        os.execvpe(command[0], list(command), environ)  # noqa: S606 - it is what the user wants
    except OSError as error:
        stderr.error(f"cannot run {printable(command[0])}: {error.strerror}", "command.not_run")
        return NOT_EXECUTABLE


def _heed_pipes() -> None:
    # Python ignores these, a program that it becomes would go on ignoring them, and "yes | head" would never end.
    for name in ("SIGPIPE", "SIGXFSZ"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)

"""The process of the command: ``waiter`` and ``python -m waiter`` start here.

Importing this module installs handlers of signals before anything else is imported, so no other module imports it.
"""

# Only modules that every interpreter has already loaded, which signal is not.
import _signal  # type: ignore[import-not-found]
import os
import sys

# These run until they are stopped, so a signal is their normal end.
_SERVERS = ("sidecar", "simulate")


def exit_on_signals() -> None:
    """Exit without output on signals before there is anything to report and after everything has been reported."""
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        # Windows has no SIGHUP.
        signum = getattr(_signal, name, None)
        # Under nohup, and in the background of a script, the signal stays ignored.
        if signum is not None and _signal.getsignal(signum) is not _signal.SIG_IGN:
            _signal.signal(signum, _exit)


def _exit(signum: int, _: object) -> None:
    os._exit(0 if sys.argv[1:2] and sys.argv[1] in _SERVERS else 128 + signum)


try:
    exit_on_signals()
except KeyboardInterrupt:  # pragma: no cover - in a process of its own: it arrived before there was a handler
    _exit(_signal.SIGINT, None)


def main() -> int:
    """Run the command with the arguments of the process and return its exit code."""
    from waiter.cli import main as run  # noqa: PLC0415 - its file must be read first, and signals are handled before

    return run()


if __name__ == "__main__":
    sys.exit(main())

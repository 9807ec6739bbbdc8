"""The command line: from arguments to an exit code.

``registry`` lists the commands, ``commands`` has one module for each, and a run imports only what it needs, because a
pipeline pays for the start of every step.
"""

# Only modules that every interpreter has already loaded (not even signal), so that handlers are installed immediately.
import _signal  # type: ignore[import-not-found]
import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

# These run until they are stopped, so a signal is their normal end.
_SERVERS = ("sidecar", "simulate")


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command and return its exit code; no exception leaves this function.

    Without arguments it takes those of the process, which is about to exit.
    """
    if argv is None:
        _exit_on_signals()
    try:
        # Imports create no garbage, so collecting it only takes time; the run itself has the collector enabled.
        gc.disable()
        from waiter.cli.app import run  # noqa: PLC0415 - slow to import, and signals must be handled before

        code = run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        code = 130
    finally:
        gc.enable()
    if argv is None:
        _prepare_exit(code)
    return code


def _exit_on_signals() -> None:
    """Exit without output on signals before there is anything to report and after everything has been reported."""
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        # Windows has no SIGHUP.
        signum = getattr(_signal, name, None)
        # Under nohup, and in the background of a script, the signal stays ignored.
        if signum is not None and _signal.getsignal(signum) is not _signal.SIG_IGN:
            _signal.signal(signum, _exit)


def _exit(signum: int, _: object) -> None:
    os._exit(0 if sys.argv[1:2] and sys.argv[1] in _SERVERS else 128 + signum)


def _prepare_exit(code: int) -> None:
    # The interpreter would collect once more at exit, although the process frees everything a moment later.
    gc.freeze()
    if code in {129, 130, 143}:
        # It would also join threads, and one that hangs in a resolver cannot be interrupted.
        os._exit(code)

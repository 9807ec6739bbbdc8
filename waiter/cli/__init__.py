"""The command: from arguments to an exit code.

``options`` and ``commands`` say what can be asked for, one module for each command does it, and nothing is imported that a run
does not need: a pipeline pays the start at every step.
"""

# Only what every interpreter has loaded is imported here (not even signal), so that Ctrl-C finds a handler at once.
import _signal  # type: ignore[import-not-found]
import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

# Stopping is how these end.
_SERVE = ("sidecar", "simulate")


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command and give its exit code; no traceback reaches the user, whatever happens.

    Without arguments it takes those of the process, which ends with it.
    """
    if argv is None:
        _leave_when_told()
    try:
        # Nothing of what imports make is garbage, so looking for it is time lost; the run itself has the collector on.
        gc.disable()
        from waiter.cli.app import run  # noqa: PLC0415 - it takes long, and signals must be heeded before

        code = run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        code = 130
    finally:
        gc.enable()
    if argv is None:
        _prepare_to_leave(code)
    return code


def _leave_when_told() -> None:
    """End without a word on a signal that comes before there is anything to tell, or after all has been told."""
    for signum in (_signal.SIGINT, _signal.SIGTERM):
        # Under nohup and in the background of a script it is not ours to heed.
        if _signal.getsignal(signum) is not _signal.SIG_IGN:
            _signal.signal(signum, _leave)


def _leave(signum: int, _: object) -> None:
    os._exit(0 if sys.argv[1:2] and sys.argv[1] in _SERVE else 128 + signum)


def _prepare_to_leave(code: int) -> None:
    # The interpreter collects once more on its way out, all that will be freed a moment later anyway.
    gc.freeze()
    if code in {130, 143}:
        # And it waits for threads; one that hangs in a resolver does not hear that the user wants to leave.
        os._exit(code)

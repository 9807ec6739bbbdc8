"""The command line: from arguments to an exit code.

``registry`` lists the commands, ``commands`` has one module for each, and a run imports only what it needs, because a
pipeline pays for the start of every step.
"""

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command and return its exit code; no exception leaves this function.

    Without arguments it takes those of the process, which is about to exit.
    """
    try:
        # Imports create no garbage, so collecting it only takes time; the run itself has the collector enabled.
        gc.disable()
        from waiter.cli.app import run  # noqa: PLC0415 - slow to import, and garbage must not be collected meanwhile

        code = run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        code = 130
    finally:
        gc.enable()
    if argv is None:
        _prepare_exit(code)
    return code


def _prepare_exit(code: int) -> None:
    # The interpreter would collect once more at exit, although the process frees everything a moment later.
    gc.freeze()
    if code in {129, 130, 143}:
        # It would also join threads, and one that hangs in a resolver cannot be interrupted.
        os._exit(code)

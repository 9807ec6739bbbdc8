"""The command: from arguments to an exit code.

``options`` and ``commands`` say what can be asked for, one module for each command does it, and nothing is imported that a run
does not need: a pipeline pays the start at every step.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code; no traceback reaches the user, whatever happens.

    Without arguments it takes those of the process, which ends with it.
    """
    try:
        # Nothing of what imports make is garbage, so looking for it is time lost; the run itself has the collector on.
        gc.disable()
        from waiter.cli.app import run  # noqa: PLC0415 - so that Ctrl-C during the import is no traceback either

        code = run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        code = 130
    finally:
        gc.enable()
    if argv is None:
        _prepare_to_leave(code)
    return code


def _prepare_to_leave(code: int) -> None:
    # The interpreter collects once more on its way out, all that will be freed a moment later anyway.
    gc.freeze()
    if code in {130, 143}:
        # And it waits for threads; one that hangs in a resolver does not hear that the user wants to leave.
        os._exit(code)

#!/opt/waiter/bin/python
"""Starts the command as process 1 of a container.

The kernel discards a signal for which process 1 has no handler, and loading the command takes a tenth of a second. Without the
handler, a SIGTERM in that time would be lost, and the container killed after its grace period.
"""

import os
import signal
import sys


def _end(*_: object) -> None:
    # The exit codes of waiter's own handlers, which are installed once they are loaded.
    os._exit(0 if "sidecar" in sys.argv[1:2] else 128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    from waiter.cli import main

    sys.exit(main())

#!/opt/waiter/bin/python
"""Starts the command as the first process of a container.

The kernel drops a signal that process 1 leaves at its default, and loading the command takes a tenth of a second. Without
this, a SIGTERM in that time would be lost, and the container killed after its grace period instead.
"""

import os
import signal
import sys


def _end(*_: object) -> None:
    # What waiter's own handlers answer, which take over as soon as they are loaded.
    os._exit(0 if "sidecar" in sys.argv[1:2] else 128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    from waiter.cli import main

    sys.exit(main())

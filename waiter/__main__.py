"""``python -m waiter`` is the command."""

import sys

from waiter.cli import main

if __name__ == "__main__":
    sys.exit(main())

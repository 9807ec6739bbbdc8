"""Wait for all tasks whose IDs are on standard input, one a line: ``python many.py < ids.txt``.

Environment: ``GCORE_API_KEY``.
"""

import gc
import sys

from waiter import Waiter


def main() -> int:
    """Print each task as it ends, and return how many did not finish, at most 1."""
    # The collector would examine the objects of all waits every few seconds.
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)
    failed = 0
    with Waiter(timeout=7200) as waiter:
        for outcome in waiter.as_completed(sys.stdin.read().split()):
            if outcome.task is not None:
                print(outcome.task_id, outcome.task.created_resources.as_dict())
            else:
                failed += 1
                print(outcome.task_id, outcome.error, file=sys.stderr)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())

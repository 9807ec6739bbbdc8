"""Wait for several tasks together under asyncio: ``python async_deploy.py TASK_ID...``.

Environment: ``GCORE_API_KEY``.
"""

import asyncio
import sys

from waiter import AsyncWaiter


async def main(task_ids: list[str]) -> int:
    """Print the outcome of each task as it ends, and return the exit code."""
    failed = False
    async with AsyncWaiter(timeout=1800) as waiter:
        async for outcome in waiter.as_completed(task_ids):
            if outcome.error is not None:
                failed = True
                print(f"{outcome.task_id}: {outcome.error}", file=sys.stderr)
            else:
                print(f"{outcome.task_id}: {outcome.result().created_resources.as_dict()}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))

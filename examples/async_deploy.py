"""Wait for several tasks at once without blocking: ``python async_deploy.py TASK_ID...``; it needs ``GCORE_API_KEY``."""

import asyncio
import sys

from waiter import AsyncWaiter


async def main(task_ids: list[str]) -> int:
    """Tell of each task as it ends, and give how many ended badly."""
    failed = 0
    async with AsyncWaiter(timeout=1800) as waiter:
        async for outcome in waiter.as_completed(task_ids):
            if outcome.error is not None:
                failed += 1
                print(f"{outcome.task_id}: {outcome.error}", file=sys.stderr)
            else:
                print(f"{outcome.task_id}: {outcome.result().created_resources.as_dict()}")
    return failed


if __name__ == "__main__":
    sys.exit(min(1, asyncio.run(main(sys.argv[1:]))))

"""One poll by the blocking and by the awaited client."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from waiter.config.options import Options
from waiter.config.settings import Settings, resolve
from waiter.http.async_client import AsyncClient
from waiter.http.client import Client

KEY = "1234$abcdef"
TASK = {"id": "t-1", "state": "FINISHED", "task_type": "create_vm", "created_resources": {"instances": ["i-1"]}}


def settings(**options: Any) -> Settings:
    return resolve(cast("Options", {"api_key": KEY, **options}), {})


def poll(url: str, *, timeout: float = 30.0, **options: Any) -> None:
    with Client(settings(base_url=url, **options)) as client:
        client.get_task("t-1", timeout=timeout)


def poll_async(url: str, *, timeout: float = 30.0, **options: Any) -> None:
    async def main() -> None:
        async with AsyncClient(settings(base_url=url, **options)) as client:
            await client.get_task("t-1", timeout=timeout)

    asyncio.run(main())


both = pytest.mark.parametrize("get", [poll, poll_async], ids=["blocking", "awaited"])

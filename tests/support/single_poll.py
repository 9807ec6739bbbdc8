"""One look by waiter's own clients, blocking and awaited."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from waiter.config.settings import Options, Settings, resolve
from waiter.http.client import AsyncClient, Client

KEY = "1234$abcdef"
TASK = {"id": "t-1", "state": "FINISHED", "task_type": "create_vm", "created_resources": {"instances": ["i-1"]}}


def settings(**options: Any) -> Settings:
    return resolve(cast("Options", {"api_key": KEY, **options}), {})


def look(url: str, *, timeout: float = 5.0, **options: Any) -> None:
    with Client(settings(base_url=url, **options)) as client:
        client.get_task("t-1", timeout=timeout)


def look_async(url: str, *, timeout: float = 5.0, **options: Any) -> None:
    async def main() -> None:
        async with AsyncClient(settings(base_url=url, **options)) as client:
            await client.get_task("t-1", timeout=timeout)

    asyncio.run(main())


both = pytest.mark.parametrize("get", [look, look_async], ids=["blocking", "awaited"])

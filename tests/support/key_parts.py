"""A planted key: the forms in which it may leak, and waits that raise while a server echoes it."""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from network_lab import request_head, serve

from waiter import AsyncWaiter, Waiter, WaiterError

KEY = "9137$" + "plantedsecretplantedsecret"
FORMS = [KEY, KEY.replace("$", "%24"), KEY.replace("$", r"\u0024"), b64encode(KEY.encode()).decode(), KEY[5:]]
# What a server answers or a user passes so that code of waiter, of the user or of a library raises.
LONG_KEY = KEY + "secret" * 40
TASK = json.dumps({"id": "t-1", "state": "RUNNING", "detailed_state": LONG_KEY, "error": f"apikey {LONG_KEY}"})
RAISING: dict[str, tuple[str, str, dict[str, Any]]] = {
    "refused": ("401 Unauthorized", f"apikey {LONG_KEY}", {}),
    "malformed body": ("200 OK", f'{{"id": "{LONG_KEY}", ', {"max_outage": 0.01}),
    "no HTTP": (f"200 apikey {LONG_KEY}\r\n{LONG_KEY}", "", {"max_outage": 0.01}),
    "time-out": ("200 OK", TASK, {"timeout": 0.01}),
    "strategy of the user": ("200 OK", TASK, {"wait": lambda _: 1 / 0}),
    "strategy that is no number": ("200 OK", TASK, {"wait": lambda _: math.nan}),
    "callback of the user": ("401 Unauthorized", "", {"on_event": lambda _: 1 / 0}),
    "bad option": ("", "", {"base_url": "ftp://host"}),
    "unknown option": ("", "", {"nonsense": 1}),
    "key of another type": ("", "", {"api_key": LONG_KEY.encode()}),
    "key that is no token": ("", "", {"api_key": f"{LONG_KEY} {LONG_KEY}"}),
    "function without a key": ("", "", {"api_key": lambda: [LONG_KEY]}),
    "environment": ("", "", {"api_key": None, "base_url": "ftp://host"}),
}


def leaks(text: str) -> list[str]:
    """Return the forms of the key in a text."""
    return [form for form in FORMS if form in text]


def blocking(**options: Any) -> object:
    with Waiter(**options) as waiter:
        return waiter.wait("t-1")


async def awaited(options: dict[str, Any]) -> object:
    async with AsyncWaiter(**options) as waiter:
        return await waiter.wait("t-1")


def under_asyncio(**options: Any) -> object:
    return asyncio.run(awaited(options))


def answer(status: str, body: str) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        while request_head(connection):
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nX-Echo: apikey {LONG_KEY}\r\n\r\n"
            connection.sendall(f"{head}{body}".encode())

    return behave


def blocking_many(**options: Any) -> object:
    with Waiter(**options) as waiter:
        return waiter.wait_all(["t-1"])  # the server has one connection at a time


def all_errors(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error with those that a traceback shows with it."""
    if error is not None:
        yield error
        yield from all_errors(error.__cause__)
        yield from () if error.__suppress_context__ else all_errors(error.__context__)
        for one in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            yield from all_errors(one)


def raised(driver: Callable[..., object], case: str, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """Return what a driver raises in a case of ``RAISING``."""
    status, body, options = RAISING[case]
    if options.get("api_key", KEY) is None:
        for name in [name for name in os.environ if name not in {"PATH", "HOME"}]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("GCORE_API_KEY", LONG_KEY)
        monkeypatch.setenv("GCORE_CUSTOM_HEADERS", f"X-Secret: {LONG_KEY}")
    defaults = {"api_key": LONG_KEY, "wait": lambda _: 0.01, "max_outage": 30.0}
    with serve(answer(status, body)) as port, pytest.raises((WaiterError, TypeError, ZeroDivisionError)) as caught:
        driver(**{"base_url": f"http://127.0.0.1:{port}"} | defaults | options)
    return caught.value

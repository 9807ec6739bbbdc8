"""Waits of the official SDK with waiter: ``install(client)``, and all ``*_and_poll`` helpers of the client wait with it.

    client = install(Gcore())
    server = client.cloud.instances.create_and_poll(...)

Each helper polls through ``client.cloud.tasks.poll``, which ``install`` replaces.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import msgspec

try:
    from gcore import AsyncGcore, Gcore
    from gcore.types.cloud import Task as SdkTask
except ImportError as error:
    message = "waiter.integrations.gcore_sdk needs the official SDK: pip install 'gcore-waiter[gcore-sdk]'"
    raise ImportError(message) from error

from waiter import AsyncWaiter, Limits, TaskError, Waiter

if TYPE_CHECKING:
    from waiter import Options, Task

_Client = TypeVar("_Client")
# The SDK has no public name for the httpx client that it was given or has made.
_http_client = attrgetter("_client")


class FailedTaskError(TaskError, ValueError):
    """A task that ended in ERROR. The SDK raises ValueError for it, so that existing handlers keep working."""


def install(client: _Client, /, **options: Unpack[Options]) -> _Client:
    """Make all ``*_and_poll`` helpers of a ``Gcore`` or ``AsyncGcore`` client wait with waiter, and return the client.

    Copies made with ``with_options`` wait with waiter too. Polls use the client's key, base URL and httpx client (proxies,
    certificates, transport); the ``options`` are those of :class:`waiter.Options`, and override these.
    ``polling_timeout_seconds`` of a call or of the client is the ``timeout`` of a wait, unless ``options`` have one;
    ``polling_interval_seconds`` and the ``extra_...`` arguments do not apply, as waiter has its own schedule and requests.

    ``tasks.poll`` returns the SDK's ``Task``, and raises FailedTaskError for a task in ERROR, and otherwise what
    ``Waiter.wait`` raises; TaskTimeoutError is a TimeoutError. Raises ConfigurationError, and TypeError for another client.
    """
    if not isinstance(client, Gcore | AsyncGcore):
        message = f"install() takes a Gcore or AsyncGcore client, not {type(client).__name__}"
        raise TypeError(message)
    connection: Options = {
        "api_key": client.api_key,
        "base_url": str(client.base_url),
        "client": _http_client(client),
    }
    poll = _async_poll if isinstance(client, AsyncGcore) else _blocking_poll
    client.cloud.tasks.poll = poll(client, connection | options)
    copy = type(client).copy.__get__(client)
    client.copy = client.with_options = lambda **changes: install(copy(**changes), **options)
    return client


def _blocking_poll(client: Gcore, options: Options) -> Callable[..., SdkTask]:
    waiter = Waiter(**options)

    def poll(task_id: str, *, polling_timeout_seconds: object = None, **_: object) -> SdkTask:
        """Wait until a task is FINISHED, and return it."""
        try:
            return _sdk_task(waiter.wait(task_id, **_limits(client, options, polling_timeout_seconds)))
        except TaskError as error:
            raise FailedTaskError(error.task) from None

    return poll


def _async_poll(client: AsyncGcore, options: Options) -> Callable[..., Any]:
    waiter = AsyncWaiter(**options)

    async def poll(task_id: str, *, polling_timeout_seconds: object = None, **_: object) -> SdkTask:
        """Wait until a task is FINISHED, and return it."""
        try:
            return _sdk_task(await waiter.wait(task_id, **_limits(client, options, polling_timeout_seconds)))
        except TaskError as error:
            raise FailedTaskError(error.task) from None

    return poll


def _limits(client: Gcore | AsyncGcore, options: Options, polling_timeout: object) -> Limits:
    """Return the time-out of one wait: of the call, else of the options, else of the client."""
    if isinstance(polling_timeout, int | float):  # the SDK passes an object of its own for an argument that was left out
        return {"timeout": polling_timeout}
    return {} if "timeout" in options else {"timeout": client.polling_timeout_seconds}


def _sdk_task(task: Task) -> SdkTask:
    """Return a task as the SDK's model, with times as the API writes them (UTC without a zone)."""
    fields: dict[str, Any] = {name: _plain(value) for name, value in msgspec.structs.asdict(task).items()}
    fields |= fields.pop("unknown_fields")
    fields |= {"state": str(task.state), "created_resources": task.created_resources.as_dict() or None}
    return SdkTask.construct(**fields)


def _plain(value: object) -> object:
    return value.replace(tzinfo=None).isoformat() if isinstance(value, datetime) else value

"""The endpoints of the simulated API, and the errors that they respond with."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import msgspec

from waiter.testing import listing
from waiter.testing.response import RequestRejectedError, SimulatedResponse, encode_json, error_body
from waiter.testing.task import TaskStore, make_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from waiter.testing.faults import Target
    from waiter.testing.script import Script

_TASKS = "/cloud/v1/tasks"


class Cloud(Protocol):
    """What the endpoints need of their cloud."""

    @property
    def api_key(self) -> str:
        """Return the key that is accepted."""

    def add(self, script: Script) -> str:
        """Add a task, and return its ID."""

    def record_unexpected(self, description: str) -> None:
        """Record a request that a correct client does not send."""

    def http_date(self, elapsed: float) -> str:
        """Return the server's time for the header `Date`."""

    def timestamp(self, elapsed: float) -> str:
        """Return the server's time as tasks show it."""

    def wall_time(self, elapsed: float) -> datetime:
        """Return the server's time."""


class CreateRoute(msgspec.Struct, kw_only=True):
    """An endpoint that starts tasks; `*` in its pattern stands for any text."""

    method: str
    pattern: str
    scripts: tuple[Script, ...]
    used: bool = False

    def matches(self, method: str, path: str) -> bool:
        """Return whether a request is for this endpoint."""
        return method == self.method and fnmatchcase(path, self.pattern)


class Endpoints:
    """Responds to requests as the API does when no fault occurs."""

    def __init__(self, cloud: Cloud, tasks: TaskStore) -> None:
        self.routes: list[CreateRoute] = []
        self._cloud = cloud
        self._tasks = tasks
        self._rng = random.Random(0)  # noqa: S311 - request IDs that repeat, not secrets

    def identify(self, target: str) -> tuple[str | None, Target | None]:
        """Return the ID of the task that a request is for, if any, and the endpoint, if faults can name it."""
        path = target.partition("?")[0]
        if path == _TASKS:
            return None, "listing"
        parent, _, name = path.rpartition("/")
        return (unquote(name), "task") if parent == _TASKS and name else (None, None)

    def respond(self, method: str, target: str, headers: Mapping[str, str], now: float) -> SimulatedResponse:
        """Return the response to a request at `now` seconds; report an unexpected one to the cloud."""
        request_id = make_id(self._rng)
        extra_headers: dict[str, str] = {}
        try:
            self._check_key(headers.get("authorization", ""))
            status, body = 200, encode_json(self._route(method, target, now))
        except RequestRejectedError as error:
            status, extra_headers = error.status, error.headers
            body = error_body(error.exception_class, error.message, request_id)
            if error.unexpected:
                self._cloud.record_unexpected(f"{method} {target}: {error}")
        usual_headers = {"Content-Type": "application/json", "Date": self._cloud.http_date(now)}
        return SimulatedResponse(status=status, body=body, headers=usual_headers | extra_headers, request_id=request_id)

    def record_delivery(self, response: SimulatedResponse, task_id: str | None, now: float) -> None:
        """Record that a client received a response; for a task, whether it shows the end of its script."""
        task = self._tasks.get(task_id)
        if task and response.status in (200, 404) and task.is_over(now):
            task.end_delivered = True

    def _check_key(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "apikey" or not token:
            message = "Authentication credentials were not provided"
            raise RequestRejectedError(401, "not_authenticated", message, unexpected=True)
        if token != self._cloud.api_key:
            # The API repeats the key in its message, so a client has to redact it.
            raise RequestRejectedError(401, "token_not_valid", f"Bad permanent token: {token}")

    def _route(self, method: str, target: str, now: float) -> object:
        path, _, query = target.partition("?")
        task_id, endpoint = self.identify(target)
        route = next((route for route in self.routes if route.matches(method, path)), None)
        if route:
            return self._create_tasks(route)
        if endpoint is None:
            raise RequestRejectedError(404, "NotFound", "no such path", unexpected=True)
        if method != "GET":
            message = f"method {method} is not allowed"
            allow = {"Allow": "GET"}
            raise RequestRejectedError(405, "MethodNotAllowed", message, unexpected=True, headers=allow)
        return self._get_task(task_id, query, now) if task_id else self._list_tasks(query, now)

    def _get_task(self, task_id: str, query: str, now: float) -> msgspec.Raw:
        if query:
            self._cloud.record_unexpected(f"GET {_TASKS}/{task_id}?{query}: unknown parameters")
        task = self._tasks.get(task_id)
        if task:
            self._tasks.start(task, now)
        if task is None or not task.is_visible(now):
            message = f"Task {task_id} was not found"
            raise RequestRejectedError(404, "NotFound", message, unexpected=task is None)
        return task.encode(now, self._cloud.timestamp)

    def _list_tasks(self, query: str, now: float) -> dict[str, Any]:
        filters, unknown = listing.parse(query)
        if unknown:
            self._cloud.record_unexpected(f"GET {_TASKS}?{query}: unknown parameters {', '.join(unknown)}")
        chosen = [task for task in self._tasks.oldest_first() if filters.match(task, now)]
        if filters.from_timestamp or filters.to_timestamp:
            chosen = [task for task in chosen if filters.cover(self._cloud.wall_time(task.created_at))]
        if filters.order_by == "desc":
            chosen.reverse()
        page = chosen[filters.offset : filters.offset + filters.limit]
        results = [task.encode(now, self._cloud.timestamp) for task in page]
        return {"count": len(chosen), "results": results}

    def _create_tasks(self, route: CreateRoute) -> dict[str, Any]:
        route.used = True
        return {"tasks": [self._cloud.add(script) for script in route.scripts]}

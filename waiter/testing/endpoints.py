"""The endpoints of the simulated API, and the errors that they respond with."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import msgspec

from waiter.testing import listing
from waiter.testing.resources import get_resource, is_resource
from waiter.testing.response import RequestRejectedError, SimulatedResponse, encode_json, error_body
from waiter.testing.script import KINDS
from waiter.testing.task import SimulatedTask, TaskStore, make_id
from waiter.testing.templates import compile_path, fill, names_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from waiter.testing.faults import Target
    from waiter.testing.script import Script

TASK_IDS = {"tasks": "{tasks}"}
# A request that creates something names a project and a region: /cloud/v2/instances/PROJECT/REGION.
_PLACE = re.compile(r"/cloud/v\d+/\w+/(\d{1,18})/(\d{1,18})(?:/.*)?", re.ASCII)

_TASKS = "/cloud/v1/tasks"
_ACKNOWLEDGE_ALL = f"{_TASKS}/acknowledge_all"
_ACKNOWLEDGE = "/acknowledge"


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


@dataclass(kw_only=True)
class CreateRoute:
    """An endpoint that starts tasks, or responds with JSON of its own.

    In its pattern, `*` matches any text and `{name}` captures a segment of the path. Placeholders in
    the strings of `json` are replaced (see `SimulatedCloud.on_request`); None sends no body.

    Raises ValueError for a placeholder that has no value, and for a status that does not exist.
    """

    method: str
    pattern: str
    scripts: tuple[Script, ...] = ()
    json: object = field(default_factory=TASK_IDS.copy)
    status: int = 200
    used: bool = False
    path: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        HTTPStatus(self.status)
        self.path = compile_path(self.pattern)
        known = {"tasks", *KINDS, *self.path.groupindex}
        unknown = sorted(set(names_in(self.json)) - known)
        if unknown:
            message = f"{self.method} {self.pattern}: unknown placeholder {', '.join(unknown)}"
            raise ValueError(message)


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
        parent, _, name = path.removesuffix(_ACKNOWLEDGE).rpartition("/")
        if parent != _TASKS or not name or path == _ACKNOWLEDGE_ALL:
            return None, "resource" if is_resource(path) else None
        return unquote(name), None if path.endswith(_ACKNOWLEDGE) else "task"

    def respond(self, method: str, target: str, headers: Mapping[str, str], now: float) -> SimulatedResponse:
        """Return the response to a request at `now` seconds; report an unexpected one to the cloud."""
        request_id = make_id(self._rng)
        extra_headers: dict[str, str] = {}
        try:
            self._check_key(headers.get("authorization", ""))
            status, content = self._route(method, target, now)
            body = b"" if content is None else encode_json(content)
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

    def _route(self, method: str, target: str, now: float) -> tuple[int, object]:
        """Return the status and the content of the response; None is no body."""
        path, _, query = target.partition("?")
        for route in self.routes:
            match = route.path.fullmatch(path) if method == route.method else None
            if match:
                return route.status, self._use(route, path, match.groupdict(), now)
        task_id, endpoint = self.identify(target)
        if endpoint == "listing":
            self._check_method("GET", method)
            return 200, self._list_tasks(query, now)
        if path == _ACKNOWLEDGE_ALL:
            self._check_method("POST", method)
            self._acknowledge_all(query, now)
            return 204, None
        if task_id is not None:
            self._check_method("GET" if endpoint else "POST", method)
            return 200, self._get_task(task_id, query, now) if endpoint else self._acknowledge(task_id, query, now)
        resource = get_resource(path, self._tasks, now)
        if resource is None:
            raise RequestRejectedError(404, "NotFound", "no such path", unexpected=True)
        self._check_method("GET", method)
        return 200, resource

    @staticmethod
    def _check_method(allowed: str, method: str) -> None:
        if method != allowed:
            message = f"method {method} is not allowed"
            headers = {"Allow": allowed}
            raise RequestRejectedError(405, "MethodNotAllowed", message, unexpected=True, headers=headers)

    def _get_task(self, task_id: str, query: str, now: float) -> msgspec.Raw:
        if query:
            self._cloud.record_unexpected(f"GET {_TASKS}/{task_id}?{query}: unknown parameters")
        task = self._tasks.get(task_id)
        if task:
            self._tasks.start(task, now)
        return self._require(task_id, now).encode(now, self._cloud.timestamp)

    def _require(self, task_id: str, now: float) -> SimulatedTask:
        task = self._tasks.get(task_id)
        if task is None or not task.is_visible(now):
            message = f"Task {task_id} was not found"
            raise RequestRejectedError(404, "NotFound", message, unexpected=task is None)
        return task

    def _acknowledge(self, task_id: str, query: str, now: float) -> msgspec.Raw:
        if query:
            self._cloud.record_unexpected(f"POST {_TASKS}/{task_id}{_ACKNOWLEDGE}?{query}: unknown parameters")
        task = self._require(task_id, now)
        task.acknowledge(self._cloud.timestamp(now))
        return task.encode(now, self._cloud.timestamp)

    def _acknowledge_all(self, query: str, now: float) -> None:
        filters, unknown = listing.parse(query, known=("project_id", "region_id"))
        if unknown:
            self._cloud.record_unexpected(f"POST {_ACKNOWLEDGE_ALL}?{query}: unknown parameters {', '.join(unknown)}")
        for task in self._tasks.oldest_first():
            if filters.match(task, now) and not task.is_acknowledged:
                task.acknowledge(self._cloud.timestamp(now))

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

    def _use(self, route: CreateRoute, path: str, captured: Mapping[str, str], now: float) -> object:
        """Start the tasks of a route, and return its JSON with the IDs filled in."""
        route.used = True
        started = [self._cloud.add(_placed(script, path)) for script in route.scripts]
        created = self._tasks.planned_ids(started) if started else self._tasks.created_ids(now)
        try:
            return fill(route.json, {**created, "tasks": started, **captured})
        except IndexError:
            message = "what the response refers to has not been created"
            raise RequestRejectedError(404, "NotFound", message) from None


def _placed(script: Script, path: str) -> Script:
    """Return the script in the project and the region of a request's path, unless it names others or the path none."""
    place = _PLACE.fullmatch(path)
    if place is None or (script.project_id, script.region_id) != (1, 1):
        return script
    return msgspec.structs.replace(script, project_id=int(place[1]), region_id=int(place[2]))

"""Who answers: the endpoints, and the errors instead of them."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import msgspec

from waiter.testing import listing
from waiter.testing.answer import Answer, Refusal, error_body, json
from waiter.testing.task import Tasks, new_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from waiter.testing.faults import Target
    from waiter.testing.script import Script

_TASKS = "/cloud/v1/tasks"


class Owner(Protocol):
    """What the desk needs of its cloud."""

    @property
    def api_key(self) -> str:
        """The key that is accepted."""

    def add(self, script: Script) -> str:
        """Add a task, and return its ID."""

    def unexpected(self, what: str) -> None:
        """Note a request that nobody should have sent."""

    def date(self, at: float) -> str:
        """The server's time, for the header `Date`."""

    def stamp(self, at: float) -> str:
        """The server's time, for a task."""

    def wall(self, at: float) -> datetime:
        """The server's time."""


class Door(msgspec.Struct, kw_only=True):
    """An endpoint that starts tasks."""

    method: str
    pattern: str
    scripts: tuple[Script, ...]
    used: bool = False

    def leads(self, method: str, path: str) -> bool:
        """Whether this request is for this endpoint."""
        return method == self.method and fnmatchcase(path, self.pattern)


class Desk:
    """Answers requests as the API does when nothing goes wrong on the way."""

    def __init__(self, cloud: Owner, tasks: Tasks) -> None:
        self.doors: list[Door] = []
        self._cloud = cloud
        self._tasks = tasks
        self._rng = random.Random(0)  # noqa: S311 - request IDs that repeat, not secrets

    def subject(self, target: str) -> tuple[str | None, Target | None]:
        """Which task a request is for, if it is for one, and which endpoint."""
        path = target.partition("?")[0]
        if path == _TASKS:
            return None, "listing"
        parent, _, name = path.rpartition("/")
        return (unquote(name), "task") if parent == _TASKS and name else (None, None)

    def answer(self, method: str, target: str, headers: Mapping[str, str], now: float) -> Answer:
        """Answer, or say why not; what nobody should have asked is reported to the cloud."""
        request_id = new_id(self._rng)
        extra: dict[str, str] = {}
        try:
            self._check_key(headers.get("authorization", ""))
            status, body = 200, json(self._route(method, target, now))
        except Refusal as refusal:
            status, extra = refusal.status, refusal.headers
            body = error_body(refusal.exception_class, refusal.message, request_id)
            if refusal.unexpected:
                self._cloud.unexpected(f"{method} {target}: {refusal}")
        usual = {"Content-Type": "application/json", "Date": self._cloud.date(now)}
        return Answer(status=status, body=body, headers=usual | extra, request_id=request_id)

    def note_delivery(self, answer: Answer, task_id: str | None, now: float) -> None:
        """Remember who has seen the end of a task, or that it is gone."""
        task = self._tasks.get(task_id)
        if task and answer.status in (200, 404) and task.over(now):
            task.met = True

    def _check_key(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "apikey" or not token:
            message = "Authentication credentials were not provided"
            raise Refusal(401, "not_authenticated", message, unexpected=True)
        if token != self._cloud.api_key:
            # The API quotes what it was given: whoever shows this message must hide the key.
            raise Refusal(401, "token_not_valid", f"Bad permanent token: {token}")

    def _route(self, method: str, target: str, now: float) -> object:
        path, _, query = target.partition("?")
        task_id, endpoint = self.subject(target)
        door = next((door for door in self.doors if door.leads(method, path)), None)
        if door:
            return self._start(door)
        if endpoint is None:
            raise Refusal(404, "NotFound", "no such path", unexpected=True)
        if method != "GET":
            message = f"method {method} is not allowed"
            allow = {"Allow": "GET"}
            raise Refusal(405, "MethodNotAllowed", message, unexpected=True, headers=allow)
        return self._task(task_id, query, now) if task_id else self._list(query, now)

    def _task(self, task_id: str, query: str, now: float) -> msgspec.Raw:
        if query:
            self._cloud.unexpected(f"GET {_TASKS}/{task_id}?{query}: unknown parameters")
        task = self._tasks.get(task_id)
        if task:
            self._tasks.start(task, now)
        if task is None or not task.known(now):
            message = f"Task {task_id} was not found"
            raise Refusal(404, "NotFound", message, unexpected=task is None)
        return task.answer(now, self._cloud.stamp)

    def _list(self, query: str, now: float) -> dict[str, Any]:
        filters, unknown = listing.parse(query)
        if unknown:
            self._cloud.unexpected(f"GET {_TASKS}?{query}: unknown parameters {', '.join(unknown)}")
        chosen = [task for task in self._tasks.oldest_first() if filters.choose(task, now)]
        if filters.from_timestamp or filters.to_timestamp:
            chosen = [task for task in chosen if filters.covers(self._cloud.wall(task.born))]
        if filters.order_by == "desc":
            chosen.reverse()
        page = chosen[filters.offset : filters.offset + filters.limit]
        results = [task.answer(now, self._cloud.stamp) for task in page]
        return {"count": len(chosen), "results": results}

    def _start(self, door: Door) -> dict[str, Any]:
        door.used = True
        return {"tasks": [self._cloud.add(script) for script in door.scripts]}

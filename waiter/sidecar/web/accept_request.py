"""The body of ``POST /v1/waits``: what names the tasks, and the limits of their waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TypeVar

import msgspec

from waiter.config.task_ids import task_ids
from waiter.errors import ConfigurationError
from waiter.sidecar.model import RequestLimits
from waiter.sidecar.web.access_control import RequestRefusedError
from waiter.sidecar.web.durations import read_limit

Result = TypeVar("Result")

_LIMITS = {"timeout", "max_outage", "ready", "webhook"}
# The members of the forms with a list of tasks; the API adds a count, and waiter's own output created_resources.
_LISTS = {"tasks": {"tasks", "count", "created_resources"} | _LIMITS, "results": {"results", "count"}}
# A resource and a task of the API have any members, and one of these; what has none of them was written for this request.
_OF_RESOURCES = {"id", "name", "instance_id", "cluster_id"}
_OF_TASKS = {"task_type"}


def read_accept_request(body: bytes) -> tuple[list[str], RequestLimits]:
    """Return the task IDs and the limits of a request. Raises RequestRefusedError."""
    try:
        content = msgspec.json.decode(body)
        _check_members(content)
        ids = task_ids({"tasks": content} if isinstance(content, list) else content)
        return ids, _read_limits(content if isinstance(content, dict) else {})
    except ConfigurationError as error:
        raise RequestRefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None
    except (ValueError, RecursionError) as error:
        raise RequestRefusedError(HTTPStatus.BAD_REQUEST, f"not JSON: {error}") from None


def _check_members(content: object) -> None:
    """Raise RequestRefusedError for members that would have no effect."""
    listed = content
    if isinstance(content, dict):
        name = next((name for name in _LISTS if name in content), None)
        if name is not None:
            _refuse(content.keys() - _LISTS[name])
            listed = content[name]
        else:
            listed = [content]
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict):
            _check_reference(item)


def _check_reference(item: Mapping[str, object]) -> None:
    known, of_api = ({"task_id"}, _OF_RESOURCES) if "task_id" in item else ({"id", "state"}, _OF_TASKS)
    _refuse(item.keys() & (_LIMITS | _LISTS.keys()) if item.keys() & of_api else item.keys() - known)


def _refuse(unknown: Iterable[str]) -> None:
    names = ", ".join(map(repr, sorted(unknown)))
    if names:
        raise RequestRefusedError(HTTPStatus.BAD_REQUEST, f"unknown member: {names}")


def _read_limits(content: Mapping[str, object]) -> RequestLimits:
    return RequestLimits(
        _read_seconds(content, "timeout"),
        _read_seconds(content, "max_outage"),
        _read_member(content, "webhook", str, "a URL"),
        _read_member(content, "ready", bool, "true or false"),
    )


def _read_seconds(content: Mapping[str, object], name: str) -> float | None:
    value = content.get(name)
    try:
        return None if value is None else read_limit(value)
    except ValueError as error:
        raise RequestRefusedError(HTTPStatus.BAD_REQUEST, f"{name} is {error}") from None


def _read_member(content: Mapping[str, object], name: str, kind: type[Result], expected: str) -> Result | None:
    """Return a member of this type, or None for null. Raises RequestRefusedError."""
    value = content.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise RequestRefusedError(HTTPStatus.BAD_REQUEST, f"{name} is not {expected}")

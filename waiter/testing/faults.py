"""The faults of the simulation: each changes a response, or how it is delivered."""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

import msgspec
from msgspec.structs import replace

from waiter.testing.response import SimulatedResponse, encode_json, error_body

Target = Literal["task", "listing", "resource"]

_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_OTHER_ID = "00000000-0000-4000-8000-000000000000"


class Fault(msgspec.Struct, frozen=True):
    """A name for messages, and a function from the regular response to the faulty one."""

    name: str
    change: Callable[[SimulatedResponse], SimulatedResponse]


class ScheduledFault(msgspec.Struct, kw_only=True):
    """A fault for the next `times` requests that come from `begins` to `ends` seconds.

    `task_id` and `on` restrict it to one task or one endpoint. `used` counts the requests so far.
    """

    fault: Fault
    times: float = 1
    task_id: str | None = None
    on: Target | None = None
    begins: float = -math.inf
    ends: float = math.inf
    used: int = 0

    def applies_to(self, now: float, task_id: str | None, on: Target | None) -> bool:
        """Return whether a request at `now` seconds gets the fault."""
        return (
            self.used < self.times
            and self.begins <= now < self.ends
            and self.task_id in (None, task_id)
            and self.on in (None, on)
        )

    @property
    def unused(self) -> str | None:
        """Return which fault was used too seldom and how often it is missing, or None."""
        missing = (1 if self.times == math.inf else self.times) - self.used
        return f"{self.fault.name}: {missing:g} more expected" if missing > 0 else None


def status(code: int, retry_after: object = None, message: str | None = None) -> Fault:
    """Respond with an error in the API's own form; `retry_after` is any value for `Retry-After`.

    Raises ValueError for a status that does not exist.
    """
    known = HTTPStatus(code)
    name = known.name.title().replace("_", "")

    def change(response: SimulatedResponse) -> SimulatedResponse:
        headers = {**response.headers, "Content-Type": "application/json"}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        body = error_body(name, message or known.phrase, response.request_id)
        return replace(response, status=code, body=body, headers=headers)

    return Fault(f"status {code}", change)


def html(code: int = 502) -> Fault:
    """Respond with a proxy's HTML page; ValueError for a status that does not exist."""
    page = _PAGE.format(f"{code} {HTTPStatus(code).phrase}").encode()

    def change(response: SimulatedResponse) -> SimulatedResponse:
        headers = {**response.headers, "Content-Type": "text/html"}
        return replace(response, status=code, body=page, headers=headers)

    return Fault(f"html {code}", change)


def empty(code: int = 200) -> Fault:
    """Respond without a body."""
    return Fault(f"empty {code}", lambda response: replace(response, status=code, body=b""))


def redirect(location: str, code: int = 302) -> Fault:
    """Respond with a redirect to `location`."""

    def change(response: SimulatedResponse) -> SimulatedResponse:
        headers = {**response.headers, "Location": location}
        return replace(response, status=code, body=b"", headers=headers)

    return Fault(f"redirect {code}", change)


def says(value: object, code: int = 200) -> Fault:
    """Respond with `value` as JSON."""
    return Fault("says", lambda response: replace(response, status=code, body=encode_json(value)))


def truncated() -> Fault:
    """Respond with half of the JSON, with a correct length."""
    return Fault("truncated", lambda response: replace(response, body=response.half))


def wrong_types() -> Fault:
    """Respond with the regular fields, some with values of wrong types."""
    wrong = {"state": 7, "created_resources": "none", "count": "many", "results": {}}

    def change(response: SimulatedResponse) -> SimulatedResponse:
        fields = msgspec.json.decode(response.body)
        return replace(response, body=encode_json(fields | {k: wrong[k] for k in wrong if k in fields}))

    return Fault("wrong_types", change)


def other_task(task_id: str = _OTHER_ID) -> Fault:
    """Respond with another task's ID."""

    def change(response: SimulatedResponse) -> SimulatedResponse:
        return replace(response, body=encode_json({**msgspec.json.decode(response.body), "id": task_id}))

    return Fault("other_task", change)


def hang(seconds: float = math.inf) -> Fault:
    """Send nothing for `seconds`, then the response."""
    return Fault("hang", lambda response: replace(response, pause=seconds))


def reset() -> Fault:
    """Break the connection before the response."""
    return Fault("reset", lambda response: replace(response, delivery="reset"))


def refuse() -> Fault:
    """Refuse the connection. A running server cannot do so: over HTTP the connection is reset."""
    return Fault("refuse", lambda response: replace(response, delivery="refused"))


def half_body() -> Fault:
    """Break the connection in the middle of the body."""
    return Fault("half_body", lambda response: replace(response, delivery="half"))


def drip(pace: float = 1.0, part: Literal["headers", "body"] = "headers") -> Fault:
    """Send the headers or the body, one byte every `pace` seconds."""
    delivery: Literal["drip_headers", "drip_body"] = "drip_headers" if part == "headers" else "drip_body"
    return Fault(f"drip {part}", lambda response: replace(response, delivery=delivery, byte_interval=pace))


FAULTS: dict[str, Callable[..., Fault]] = {
    make.__name__: make
    for make in (
        status,
        html,
        empty,
        redirect,
        says,
        truncated,
        wrong_types,
        other_task,
        hang,
        reset,
        refuse,
        half_body,
        drip,
    )
}

# The faults that `fault_rate` chooses from by default.
USUAL_FAULTS = (
    status(500),
    status(502),
    status(503, "1"),
    status(429, "1"),
    html(502),
    html(200),
    empty(200),
    truncated(),
    reset(),
    half_body(),
)

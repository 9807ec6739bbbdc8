"""What can go wrong between the API and its caller: each fault makes one answer another."""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

import msgspec
from msgspec.structs import replace

from waiter.testing.answer import Answer, error_body, json

Target = Literal["task", "listing"]

_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_STRANGER = "00000000-0000-4000-8000-000000000000"


class Fault(msgspec.Struct, frozen=True):
    """A name for messages, and what it makes of the answer that was due."""

    name: str
    change: Callable[[Answer], Answer]


class Armed(msgspec.Struct, kw_only=True):
    """A fault that waits for its requests: `times` of them, from `begins` to `ends` seconds."""

    fault: Fault
    times: float = 1
    task_id: str | None = None
    on: Target | None = None
    begins: float = -math.inf
    ends: float = math.inf
    used: int = 0

    def hits(self, now: float, task_id: str | None, on: Target | None) -> bool:
        """Whether this request, at `now` seconds, gets the fault."""
        return (
            self.used < self.times
            and self.begins <= now < self.ends
            and self.task_id in (None, task_id)
            and self.on in (None, on)
        )

    @property
    def unused(self) -> str | None:
        """What to complain of if it was scripted and never came."""
        missing = (1 if self.times == math.inf else self.times) - self.used
        return f"{self.fault.name}: {missing:g} more to come" if missing > 0 else None


def status(code: int, retry_after: object = None, message: str | None = None) -> Fault:
    """An error of the API's own form, with any text for a `Retry-After` if there is one.

    Raises ValueError for a status that does not exist.
    """
    known = HTTPStatus(code)
    name = known.name.title().replace("_", "")

    def change(answer: Answer) -> Answer:
        headers = {**answer.headers, "Content-Type": "application/json"}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        body = error_body(name, message or known.phrase, answer.request_id)
        return replace(answer, status=code, body=body, headers=headers)

    return Fault(f"status {code}", change)


def html(code: int = 502) -> Fault:
    """The page of a proxy in front of the API; ValueError for a status that does not exist."""
    page = _PAGE.format(f"{code} {HTTPStatus(code).phrase}").encode()

    def change(answer: Answer) -> Answer:
        headers = {**answer.headers, "Content-Type": "text/html"}
        return replace(answer, status=code, body=page, headers=headers)

    return Fault(f"html {code}", change)


def empty(code: int = 200) -> Fault:
    """No body at all."""
    return Fault(f"empty {code}", lambda answer: replace(answer, status=code, body=b""))


def redirect(location: str, code: int = 302) -> Fault:
    """The advice to ask elsewhere."""

    def change(answer: Answer) -> Answer:
        headers = {**answer.headers, "Location": location}
        return replace(answer, status=code, body=b"", headers=headers)

    return Fault(f"redirect {code}", change)


def says(value: object, code: int = 200) -> Fault:
    """Any other JSON."""
    return Fault("says", lambda answer: replace(answer, status=code, body=json(value)))


def truncated() -> Fault:
    """Half of the JSON, in an answer that is otherwise whole."""
    return Fault("truncated", lambda answer: replace(answer, body=answer.half))


def wrong_types() -> Fault:
    """The right fields with values of the wrong types."""
    wrong = {"state": 7, "created_resources": "none", "count": "many", "results": {}}

    def change(answer: Answer) -> Answer:
        fields = msgspec.json.decode(answer.body)
        return replace(answer, body=json(fields | {k: wrong[k] for k in wrong if k in fields}))

    return Fault("wrong_types", change)


def other_task(task_id: str = _STRANGER) -> Fault:
    """The answer, but for another task's ID."""

    def change(answer: Answer) -> Answer:
        return replace(answer, body=json({**msgspec.json.decode(answer.body), "id": task_id}))

    return Fault("other_task", change)


def hang(seconds: float = math.inf) -> Fault:
    """Nothing for so many seconds, and then the answer."""
    return Fault("hang", lambda answer: replace(answer, pause=seconds))


def reset() -> Fault:
    """A connection that breaks before the answer."""
    return Fault("reset", lambda answer: replace(answer, delivery="reset"))


def refuse() -> Fault:
    """A connection that is refused. A server that runs cannot: over HTTP it is a reset."""
    return Fault("refuse", lambda answer: replace(answer, delivery="refused"))


def half_body() -> Fault:
    """A connection that breaks in the middle of the body."""
    return Fault("half_body", lambda answer: replace(answer, delivery="half"))


def drip(pace: float = 1.0, part: Literal["headers", "body"] = "headers") -> Fault:
    """The headers, or the body, one byte every `pace` seconds."""
    delivery: Literal["drip_headers", "drip_body"] = "drip_headers" if part == "headers" else "drip_body"
    return Fault(f"drip {part}", lambda answer: replace(answer, delivery=delivery, pace=pace))


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

# What a bad day brings: the default of `fault_rate`.
USUAL = (
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

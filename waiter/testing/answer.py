"""An HTTP answer, and how it travels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, Protocol

import msgspec

Delivery = Literal["whole", "refused", "reset", "half", "drip_headers", "drip_body"]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says, and how the network brings it.

    `pause` is for how many seconds nothing comes at all, `pace` the seconds between two bytes
    of a part that drips.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    request_id: str = ""
    delivery: Delivery = "whole"
    pause: float = 0.0
    pace: float = 0.0

    @property
    def head(self) -> bytes:
        """The status line and the headers, as they stand on the wire."""
        known = {status.value: status.phrase for status in HTTPStatus}
        lines = [f"HTTP/1.1 {self.status} {known.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in self.wire_headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    @property
    def wire_headers(self) -> dict[str, str]:
        """The headers, with the length of the body."""
        return {**self.headers, "Content-Length": str(len(self.body))}

    @property
    def sent_status(self) -> int | None:
        """The status, or None where none arrives."""
        lost = self.delivery in ("refused", "reset") or self.pause == math.inf
        return None if lost else self.status

    @property
    def arrives(self) -> bool:
        """Whether all of it arrives, however slowly."""
        return self.sent_status is not None and self.delivery != "half"

    @property
    def half(self) -> bytes:
        """As much of the body as a broken connection brings."""
        return self.body[: len(self.body) // 2]


class Answers(Protocol):
    """What whoever brings requests needs of a cloud."""

    def answer(self, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        """Answer a request."""

    def unexpected(self, what: str) -> None:
        """Note a request that nobody should have sent."""


class Refusal(Exception):  # noqa: N818 - an answer, not a mistake
    """A request that gets an error for an answer.

    `unexpected` says whether a test should fail for having sent it.
    """

    def __init__(
        self,
        status: int,
        exception_class: str,
        message: str,
        *,
        unexpected: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.exception_class = exception_class
        self.message = message
        self.unexpected = unexpected
        self.headers = headers or {}


def error_body(exception_class: str, message: str, request_id: str) -> bytes:
    """The body of an error as the API writes it."""
    return json({"exception_class": exception_class, "message": message, "request_id": request_id})


def json(value: object) -> bytes:
    """Encode `value`."""
    return msgspec.json.encode(value)

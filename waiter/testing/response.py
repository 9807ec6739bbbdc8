"""A response of the simulation, and how the network delivers it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, Protocol

import msgspec

Delivery = Literal["whole", "refused", "reset", "half", "drip_headers", "drip_body"]


class SimulatedResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What the server sends, and how it arrives.

    Nothing arrives for the first `pause` seconds. Of a part that is delivered byte by byte, a
    byte arrives every `byte_interval` seconds.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    request_id: str = ""
    delivery: Delivery = "whole"
    pause: float = 0.0
    byte_interval: float = 0.0

    @property
    def head(self) -> bytes:
        """Return the status line and the headers as HTTP/1.1 sends them."""
        phrases = {status.value: status.phrase for status in HTTPStatus}
        lines = [f"HTTP/1.1 {self.status} {phrases.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in self.sent_headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    @property
    def sent_headers(self) -> dict[str, str]:
        """Return the headers together with the length of the body, which a 204 does not have."""
        length = {} if self.status == HTTPStatus.NO_CONTENT else {"Content-Length": str(len(self.body))}
        return self.headers | length

    @property
    def sent_status(self) -> int | None:
        """Return the status, or None if the client never receives it."""
        lost = self.delivery in ("refused", "reset") or self.pause == math.inf
        return None if lost else self.status

    @property
    def arrives(self) -> bool:
        """Return whether the whole response arrives, however slowly."""
        return self.sent_status is not None and self.delivery != "half"

    @property
    def half(self) -> bytes:
        """Return the part of the body that arrives over a connection that breaks."""
        return self.body[: len(self.body) // 2]


class RequestHandler(Protocol):
    """What the transport and the server need of a cloud."""

    def respond(self, method: str, target: str, headers: Mapping[str, str]) -> SimulatedResponse:
        """Return the response to a request."""

    def record_unexpected(self, description: str) -> None:
        """Record a request that a correct client does not send."""


class RequestRejectedError(Exception):
    """A request whose response is an error.

    `unexpected` says whether a test fails because the request was sent.
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
    """Return the body of an error in the API's own form."""
    return encode_json({"exception_class": exception_class, "message": message, "request_id": request_id})


def encode_json(value: object) -> bytes:
    """Return `value` as JSON."""
    return msgspec.json.encode(value)

"""Access control of the control listener: origin of a request, token, and size limits.

Any web page can make a browser on the same machine send requests to the sidecar. Three checks reject these: Host must name
this machine (a foreign name that resolves to 127.0.0.1 does not: DNS rebinding), Origin must be the sidecar's own, and so must
Sec-Fetch-Site, which browsers also send when they send no Origin. A valid token permits any Host, because a foreign page does
not have one.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from waiter.errors import ConfigurationError
from waiter.sidecar.web.description import PATH as DESCRIPTION
from waiter.sidecar.web.page import FILES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_SIZE = 256 * 2**10
# Bytes of all bodies that are being read. One of at most SMALL_BODY_SIZE is read also beyond that.
MAX_BODIES_SIZE = 8 * 2**20
SMALL_BODY_SIZE = 16 * 2**10
BODY_TIMEOUT = 10.0
MIN_TOKEN_LENGTH = 16

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]/@]+)(?::\d{1,5})?")
_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class RequestRefusedError(Exception):
    """A request that is answered with an error; ``response`` is the answer."""

    def __init__(self, status: HTTPStatus, reason: str, *, unknown: Sequence[str] = (), **headers: str) -> None:
        super().__init__(reason)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = {"error": reason} | ({"unknown": list(unknown)} if unknown else {})
        self.response = JSONResponse(content, status, headers=named)


class Token:
    """The token that clients must send; the file is read again when an unknown token arrives."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._token = self._read()

    def _read(self) -> bytes:
        try:
            token = self._file.read_bytes().strip()
        except OSError as error:
            message = f"cannot read the token from {self._file}: {error.strerror}"
            raise ConfigurationError(message) from error
        if re.fullmatch(rb"[!-~]{%d,}" % MIN_TOKEN_LENGTH, token):
            return token
        message = f"the token in {self._file} must have at least {MIN_TOKEN_LENGTH} ASCII characters and no spaces"
        raise ConfigurationError(message)

    def accepts(self, headers: Headers) -> bool:
        """Return whether a request has the header ``Authorization: Bearer <token>``; may read the file again."""
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        return self._matches(sent) or self._matches_after_reload(sent)

    def _matches(self, sent: str) -> bool:
        return hmac.compare_digest(self._token, sent.strip().encode())

    def _matches_after_reload(self, sent: str) -> bool:
        try:
            self._token = self._read()
        except ConfigurationError:
            return False
        return self._matches(sent)


class AccessControl:
    """Middleware that refuses requests from other sites or without the token, and adds security headers to responses."""

    def __init__(self, app: ASGIApp, token: Token | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or refuse it."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in _SECURITY_HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
        except RequestRefusedError as refusal:
            await refusal.response(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _check(self, path: str, headers: Headers) -> None:
        has_token = self._token is not None and self._token.accepts(headers)
        if not has_token and not is_local(headers.get("host", "")):
            reason = "Host must be localhost or an IP address when the request has no token"
            raise RequestRefusedError(HTTPStatus.MISDIRECTED_REQUEST, reason)
        if not _is_same_origin(headers.get("origin"), headers.get("host", "")):
            raise RequestRefusedError(HTTPStatus.FORBIDDEN, "requests from other origins are refused")
        is_navigation = path == "/" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not is_navigation:
            raise RequestRefusedError(HTTPStatus.FORBIDDEN, "requests from other sites are refused")
        # The page and the description contain no data, so they are served without a token; the page asks for one.
        if self._token is not None and not has_token and path not in {*FILES, DESCRIPTION}:
            reason = "a token is required: Authorization: Bearer <token>"
            raise RequestRefusedError(HTTPStatus.UNAUTHORIZED, reason, WWW_Authenticate="Bearer")


def is_local(host: str) -> bool:
    """Whether a Host header is an address or localhost; other names can be made to resolve to this machine."""
    found = _HOST.fullmatch(host)
    name = found[1].strip("[]").lower() if found else ""
    try:
        return bool(ip_address(name))
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _is_same_origin(origin: str | None, host: str) -> bool:
    return origin is None or origin.lower() in {f"http://{host.lower()}", f"https://{host.lower()}"}


class Slot:
    """The place of one open request; ``is_revoked`` is True once another request has it."""

    def __init__(self) -> None:
        self.taken_at = time.monotonic()
        self.is_revoked = False


class Slots:
    """A limit on the number of requests that are open at the same time.

    ``count`` is the limit. When none is free, the one that was taken first is revoked if that is longer ago than
    ``revocable_after`` seconds.
    """

    def __init__(self, count: int, *, revocable_after: float = inf) -> None:
        self.count = count
        self._revocable_after = revocable_after
        self._taken: dict[Slot, None] = {}

    def taken(self) -> int:
        """Return the number of open requests."""
        return len(self._taken)

    @contextmanager
    def take(self) -> Iterator[Slot]:
        """Hold a slot; raises RequestRefusedError when none is free."""
        if len(self._taken) >= self.count:
            self._revoke_first()
        slot = Slot()
        self._taken[slot] = None
        try:
            yield slot
        finally:
            self._taken.pop(slot, None)

    def _revoke_first(self) -> None:
        first = next(iter(self._taken))
        if time.monotonic() - first.taken_at < self._revocable_after:
            raise RequestRefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many open requests", Retry_After="5")
        first.is_revoked = True
        del self._taken[first]


class BodyReader:
    """Reads the bodies of requests, and limits the memory for those that are incomplete."""

    def __init__(self) -> None:
        self._size = 0

    async def read(self, request: Request) -> bytes:
        """Return the JSON body of a request; raises RequestRefusedError when it is too large, too slow, or one of too many."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            # A form on a foreign page cannot send this type.
            raise RequestRefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                async for chunk in request.stream():
                    body += chunk
                    self._size += len(chunk)
                    self._check(len(body))
        except ClientDisconnect:
            raise RequestRefusedError(HTTPStatus.BAD_REQUEST, "the body is incomplete", Connection="close") from None
        except TimeoutError:
            raise RequestRefusedError(HTTPStatus.REQUEST_TIMEOUT, "the body took too long", Connection="close") from None
        finally:
            self._size -= len(body)
        return bytes(body)

    def _check(self, size: int) -> None:
        if size > MAX_BODY_SIZE:
            reason = f"the body is larger than {MAX_BODY_SIZE} bytes"
            raise RequestRefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason, Connection="close")
        if size > SMALL_BODY_SIZE and self._size > MAX_BODIES_SIZE:
            reason = "too many large bodies are being sent"
            raise RequestRefusedError(HTTPStatus.SERVICE_UNAVAILABLE, reason, Retry_After="5", Connection="close")


async def answer_refusal(_: Request, refusal: Exception) -> Response:
    """Return the response of a RequestRefusedError; an exception handler for Starlette."""
    assert isinstance(refusal, RequestRefusedError)  # noqa: S101 - registered for these only
    return refusal.response


async def answer_http_error(_: Request, error: Exception) -> Response:
    """Return a 404 or 405 of Starlette as JSON; an exception handler for Starlette."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these only
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)

"""Who may ask, from where, and how much: the control listener lets nobody in whom it cannot account for.

A browser on the same machine can be made to send requests by any page that it shows. Three checks keep those out: Host must
name this machine (a foreign name that resolves to 127.0.0.1 does not: DNS rebinding), Origin must be the sidecar's own, and so
must Sec-Fetch-Site, which browsers also send where they send no Origin. A valid token makes Host free, since no foreign page
has one.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from waiter.errors import ConfigurationError
from waiter.sidecar.page import FILES

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 256 * 2**10
LONGEST_UPLOAD = 10.0
SHORTEST_TOKEN = 16
MOST_STREAMS = 256

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]/@]+)(?::\d{1,5})?")
_PROTECTION = {
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


class RefusedError(Exception):
    """A request that is not served, and why."""

    def __init__(self, status: HTTPStatus, why: str, **headers: str) -> None:
        super().__init__(why)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = JSONResponse({"error": why}, status, headers=named)


class Token:
    """The token that clients show; a file that was changed is read again when an unknown one comes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._token = self._read()

    def _read(self) -> bytes:
        try:
            token = self._file.read_bytes().strip()
        except OSError as error:
            message = f"cannot read the token from {self._file}: {error.strerror}"
            raise ConfigurationError(message) from error
        if re.fullmatch(rb"[!-~]{%d,}" % SHORTEST_TOKEN, token):
            return token
        message = f"the token in {self._file} must be {SHORTEST_TOKEN} characters or more, without spaces"
        raise ConfigurationError(message)

    def is_shown_by(self, headers: Headers) -> bool:
        """Whether a request carries it, as ``Authorization: Bearer <token>``."""
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        return self._is(shown) or self._is_by_now(shown)

    def _is(self, shown: str) -> bool:
        return hmac.compare_digest(self._token, shown.strip().encode())

    def _is_by_now(self, shown: str) -> bool:
        try:
            self._token = self._read()
        except ConfigurationError:
            return False
        return self._is(shown)


class Guard:
    """Middleware that refuses what must not reach the control API, and protects what leaves it."""

    def __init__(self, app: ASGIApp, token: Token | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or refuse it."""

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                protection = [(key.lower().encode(), value.encode()) for key, value in _PROTECTION.items()]
                message["headers"] = [*message["headers"], *protection]
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
        except RefusedError as refusal:
            await refusal.answer(scope, receive, protected)
        else:
            await self._app(scope, receive, protected)

    def _check(self, path: str, headers: Headers) -> None:
        is_known = self._token is not None and self._token.is_shown_by(headers)
        if not is_known and not is_local(headers.get("host", "")):
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "Host must be localhost or an address, unless a token is shown")
        if not _is_own(headers.get("origin"), headers.get("host", "")):
            raise RefusedError(HTTPStatus.FORBIDDEN, "requests from other origins are refused")
        is_visit = path == "/" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not is_visit:
            raise RefusedError(HTTPStatus.FORBIDDEN, "requests from other sites are refused")
        # The page itself holds no data, so it is shown to those who have no token yet.
        if self._token is not None and not is_known and path not in FILES:
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer <token>", WWW_Authenticate="Bearer"
            )


def is_local(host: str) -> bool:
    """Whether a Host header names an address or localhost: names can be made to lead anywhere, addresses cannot."""
    found = _HOST.fullmatch(host)
    name = found[1].strip("[]").lower() if found else ""
    try:
        return bool(ip_address(name))
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _is_own(origin: str | None, host: str) -> bool:
    return origin is None or origin.lower() in {f"http://{host.lower()}", f"https://{host.lower()}"}


class Slots:
    """How many requests may stay open at once."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self._free = most

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take one; raises RefusedError when all are taken."""
        if not self._free:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests are open already", Retry_After="5")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


async def read_body(request: Request) -> bytes:
    """Read the JSON of a request, not endless and not for ever; raises RefusedError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Forms of foreign pages cannot send this type.
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
    body = b""
    try:
        async with asyncio.timeout(LONGEST_UPLOAD):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY:
                    why = f"a body has at most {LARGEST_BODY} bytes"
                    raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, why, Connection="close")
    except TimeoutError:
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the body took too long", Connection="close") from None
    return body


async def refused(_: Request, refusal: Exception) -> Response:
    """Answer a request that was refused while it was served."""
    assert isinstance(refusal, RefusedError)  # noqa: S101 - registered for these only
    return refusal.answer

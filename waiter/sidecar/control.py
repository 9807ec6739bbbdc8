"""The control API: waits are asked for, seen, forgotten and listened to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import ExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from waiter.config.task_ids import task_ids
from waiter.console.formatting import parse_duration
from waiter.errors import ConfigurationError
from waiter.sidecar.guard import Guard, RefusedError, Slots, Token, read_body, refused
from waiter.sidecar.journal import StorageError
from waiter.sidecar.model import Status, Wait
from waiter.sidecar.page import page_routes
from waiter.sidecar.service import InUseError, TooManyError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from waiter.sidecar.journal import Journal
    from waiter.sidecar.service import Service
    from waiter.sidecar.stream import Stream

Result = TypeVar("Result")

LONGEST_POLL = 300.0
# The numbers of events are 64 bits wide in SQLite.
_DIGITS = 18


class Control:
    """The endpoints under ``/v1``."""

    def __init__(self, service: Service, journal: Journal, stream: Stream) -> None:
        self._service = service
        self._journal = journal
        self._stream = stream
        self._polls = Slots()
        self._listeners = Slots()

    def app(self, token: Token | None) -> ASGIApp:
        """Give the whole of the control listener's application."""
        routes = [
            Route("/v1/waits", self.accept, methods=["POST"]),
            Route("/v1/waits", self.list, methods=["GET"]),
            Route("/v1/waits/{wait_id}", self.get, methods=["GET"]),
            Route("/v1/waits/{wait_id}", self.delete, methods=["DELETE"]),
            Route("/v1/events", self.events, methods=["GET"]),
            *page_routes(),
        ]
        app = Starlette(routes=routes, exception_handlers={RefusedError: refused})
        app.router.redirect_slashes = False
        return Guard(app, token)

    async def accept(self, request: Request) -> Response:
        """POST /v1/waits: an ID, a list of IDs, or what the API answered; 202 once it is on disk."""
        ids = _read_ids(await read_body(request))
        waits = await _granted(self._service.accept(ids))
        return self._answer({"waits": self._service.show(waits)}, HTTPStatus.ACCEPTED)

    async def list(self, request: Request) -> Response:
        """GET /v1/waits?id=...&status=...&wait=30s: all waits, or those asked for; with wait, once they have ended."""
        ids, status = set(request.query_params.getlist("id")), request.query_params.get("status")
        if status is not None and status not in set(Status):
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"status is one of {', '.join(Status)}")

        def chosen() -> Iterable[Wait]:
            known = [wait for wait_id in ids if (wait := self._service.waits.get(wait_id))]
            return known if ids else self._service.waits.values()

        await self._poll(request, lambda: all(wait.ended for wait in chosen()))
        waits = [wait for wait in chosen() if status in {None, wait.status}]
        return self._answer({"waits": self._service.show(waits)})

    async def get(self, request: Request) -> Response:
        """GET /v1/waits/{id}?wait=30s: one wait; with wait, once it has ended or the time is up."""
        wait_id = request.path_params["wait_id"]
        await self._poll(request, lambda: (wait := self._service.waits.get(wait_id)) is None or wait.ended)
        if wait_id not in self._service.waits:
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such wait")
        return self._answer(self._service.show([self._service.waits[wait_id]])[0])

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/waits/{id}: forget a wait; its task goes on."""
        try:
            await _granted(self._service.delete(request.path_params["wait_id"]))
        except KeyError:
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such wait") from None
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def events(self, request: Request) -> Response:
        """GET /v1/events: everything that happens, from now on or after ``Last-Event-ID``, as server-sent events."""
        given = request.headers.get("last-event-id", "").strip()
        last = int(given) if given.isascii() and given.isdigit() and len(given) <= _DIGITS else None
        slot = ExitStack()
        slot.enter_context(self._listeners.one())
        return _Events(slot, self._stream.listen(self._journal, last))

    async def _poll(self, request: Request, is_over: Callable[[], bool]) -> None:
        given = request.query_params.get("wait")
        if given is None:
            return
        try:
            seconds = min(parse_duration(given), LONGEST_POLL)
        except ValueError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"wait is {error}") from None
        with self._polls.one():
            await self._stream.until(is_over, seconds)

    def _answer(self, said: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:  # noqa: ANN401 - JSON
        # Whoever listens after this event misses nothing that is not in the answer.
        headers = {"Last-Event-ID": str(self._stream.newest)}
        return Response(msgspec.json.encode(said), status, headers, media_type="application/json")


class _Events(StreamingResponse):
    """A stream that gives its slot back however it ends, even when it never began."""

    def __init__(self, slot: ExitStack, frames: AsyncIterator[bytes]) -> None:
        super().__init__(frames, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._slot = slot

    async def __call__(self, *asgi: Any) -> None:  # noqa: ANN401 - the three of ASGI
        with self._slot:
            await super().__call__(*asgi)


def _read_ids(body: bytes) -> list[str]:
    try:
        said = msgspec.json.decode(body)
        return task_ids({"tasks": said} if isinstance(said, list) else said)
    except ConfigurationError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None
    except (ValueError, RecursionError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"not JSON: {error}") from None


async def _granted(asked: Awaitable[Result]) -> Result:
    try:
        return await asked
    except StorageError as error:
        raise RefusedError(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from error
    except TooManyError as error:
        raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, str(error), Retry_After="60") from error
    except InUseError as error:
        raise RefusedError(HTTPStatus.CONFLICT, str(error)) from error

"""The control API: request, list and delete waits, and follow their events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import ExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from waiter.errors import ConfigurationError
from waiter.sidecar.service import InUseError, TooManyWaitsError
from waiter.sidecar.storage.write_queue import StorageError, StorageLostError
from waiter.sidecar.web.accept_request import read_accept_request
from waiter.sidecar.web.access_control import (
    AccessControl,
    BodyReader,
    RequestRefusedError,
    Slots,
    Token,
    answer_http_error,
    answer_refusal,
)
from waiter.sidecar.web.description import description_route
from waiter.sidecar.web.page import page_routes
from waiter.sidecar.web.queries import all_ended, check_parameters, read_long_poll, read_wait_query

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from waiter.sidecar.event_stream import EventStream
    from waiter.sidecar.service import Service
    from waiter.sidecar.storage.write_queue import WriteQueue

Result = TypeVar("Result")

# A stream that is older than this is ended when another client needs its slot: whether its client still reads is not known. A
# client that does reconnects with its last event and misses nothing.
MIN_STREAM_TIME = 30.0
_EVENTS = "text/event-stream"
# Event numbers are 64-bit integers in SQLite.
_EVENT_ID = re.compile(r"[0-9]{0,18}")


class ControlApi:
    """The endpoints under ``/v1``; ``long_polls`` and ``subscribers`` are the requests that stay open."""

    def __init__(self, service: Service, write_queue: WriteQueue, stream: EventStream, *, max_open_requests: int) -> None:
        self._service = service
        self._write_queue = write_queue
        self._stream = stream
        self._bodies = BodyReader()
        # Held for one turn of the event loop: a list of all waits takes milliseconds, and hundreds together would delay probes.
        self._listing = asyncio.Lock()
        self.long_polls = Slots(max_open_requests)
        self.subscribers = Slots(max_open_requests, revocable_after=MIN_STREAM_TIME)

    def routes(self) -> list[Route]:
        """Return all routes of the control listener."""
        return [
            _route("/v1/waits", GET=self.list, POST=self.accept),
            _route("/v1/waits/{wait_id}", GET=self.get, DELETE=self.delete),
            _route("/v1/events", GET=self.events),
            description_route(),
            *page_routes(),
        ]

    def app(self, token: Token | None) -> ASGIApp:
        """Return the application of the control listener."""
        handlers = {RequestRefusedError: answer_refusal, HTTPException: answer_http_error}
        app = Starlette(routes=self.routes(), exception_handlers=handlers)
        app.router.redirect_slashes = False
        return AccessControl(app, token)

    async def accept(self, request: Request) -> Response:
        """POST /v1/waits: an ID, a list of IDs, or a response of the API, with limits; 202 once they are on disk."""
        check_parameters(request.query_params)
        ids, limits = read_accept_request(await self._bodies.read(request))
        waits = await _as_http_errors(self._service.accept(ids, limits))
        return self._respond({"waits": self._service.as_json(waits)}, HTTPStatus.ACCEPTED)

    async def list(self, request: Request) -> Response:
        """GET /v1/waits: all waits or a selection, in pages if a limit is given; with wait, once they have ended."""
        query = read_wait_query(request.query_params)
        query.candidates(self._service.waits)  # an unknown ID is refused before the long poll, and after it when it was deleted
        await self._long_poll(request, all_ended(query, self._service.waits))
        async with self._listing:
            waits, next_cursor = query.page(self._service.waits)
            response = self._respond({"waits": self._service.as_json(waits), "next": next_cursor})
            await asyncio.sleep(0)
        return response

    async def get(self, request: Request) -> Response:
        """GET /v1/waits/{id}?wait=30s: one wait; with wait, once it has ended or the time is over."""
        check_parameters(request.query_params, "wait")
        wait_id = request.path_params["wait_id"]
        await self._long_poll(request, lambda: (wait := self._service.waits.get(wait_id)) is None or wait.has_ended)
        if wait_id not in self._service.waits:
            raise RequestRefusedError(HTTPStatus.NOT_FOUND, "no such wait")
        return self._respond(self._service.as_json([self._service.waits[wait_id]])[0])

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/waits/{id}: delete a wait; its task is not affected."""
        check_parameters(request.query_params)
        try:
            await _as_http_errors(self._service.delete(request.path_params["wait_id"]))
        except KeyError:
            raise RequestRefusedError(HTTPStatus.NOT_FOUND, "no such wait") from None
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def events(self, request: Request) -> Response:
        """GET /v1/events: server-sent events, only new ones or those after ``Last-Event-ID``."""
        check_parameters(request.query_params)
        header = request.headers.get("last-event-id", "").strip()
        if not _EVENT_ID.fullmatch(header):
            raise RequestRefusedError(HTTPStatus.BAD_REQUEST, f"Last-Event-ID is not the number of an event: {header!r}")
        last = int(header) if header else None
        if request.method == "HEAD":
            return Response(media_type=_EVENTS)
        with ExitStack() as stack:
            slot = stack.enter_context(self.subscribers.take())
            self._stream.wake()  # ends the stream whose slot was revoked
            frames = self._stream.subscribe(self._write_queue, last, is_over=lambda: slot.is_revoked)
            return _EventResponse(stack.pop_all(), frames)

    async def _long_poll(self, request: Request, is_over: Callable[[], bool]) -> None:
        seconds = read_long_poll(request.query_params)
        if seconds is not None:
            with self.long_polls.take():
                await _until_disconnected(request, self._stream.wait_until(is_over, seconds))

    def _respond(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:  # noqa: ANN401 - JSON
        # A client that subscribes after this event misses nothing that is not in the response.
        headers = {"Last-Event-ID": str(self._stream.newest)}
        return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def _route(path: str, **by_method: Callable[[Request], Awaitable[Response]]) -> Route:
    """Return one route for all methods of a path, so that a 405 names them all."""

    async def serve(request: Request) -> Response:
        return await by_method["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, serve, methods=list(by_method))


class _EventResponse(StreamingResponse):
    """A stream that releases its slot however it ends, even when it never started."""

    def __init__(self, slot: ExitStack, frames: AsyncIterator[bytes]) -> None:
        super().__init__(frames, media_type=_EVENTS, headers={"X-Accel-Buffering": "no"})
        self._slot = slot

    async def __call__(self, *asgi: Any) -> None:  # noqa: ANN401 - the three of ASGI
        with self._slot:
            await super().__call__(*asgi)


async def _until_disconnected(request: Request, waiting: Coroutine[Any, Any, None]) -> None:
    """Await a coroutine, but no longer than the client is connected."""

    async def disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(disconnect())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _as_http_errors(request: Awaitable[Result]) -> Result:
    try:
        return await request
    except ConfigurationError as error:
        raise RequestRefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
    except StorageLostError as error:
        raise RequestRefusedError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), Retry_After="5") from error
    except StorageError as error:
        raise RequestRefusedError(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from error
    except TooManyWaitsError as error:
        raise RequestRefusedError(HTTPStatus.TOO_MANY_REQUESTS, str(error), Retry_After="60") from error
    except InUseError as error:
        raise RequestRefusedError(HTTPStatus.CONFLICT, str(error)) from error

"""The OpenAPI description of both listeners, served as it is in the package."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

PATH = "/openapi.json"


def read_description() -> bytes:
    """Return the description as JSON."""
    return files("waiter.sidecar").joinpath("openapi.json").read_bytes()


def description_route() -> Route:
    """Return the route that serves the description."""
    body = read_description()

    async def serve(_: Request) -> Response:
        return Response(body, media_type="application/json")

    return Route(PATH, serve, methods=["GET"])

"""The page at ``/``: five files of this package; nothing is loaded from another host."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/live.js": ("live.js", "text/javascript"),
    "/view.js": ("view.js", "text/javascript"),
}


def page_routes() -> list[Route]:
    """Return the routes that serve the page."""
    return [_route(path, name, kind) for path, (name, kind) in FILES.items()]


def _route(path: str, name: str, kind: str) -> Route:
    body = files(__package__).joinpath(name).read_bytes()

    async def serve(_: Request) -> Response:
        return Response(body, media_type=kind)

    return Route(path, serve, methods=["GET"])

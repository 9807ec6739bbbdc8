"""The probes and the metrics: for the platform, which asks from anywhere, so nothing here names a resource."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from waiter.sidecar.metrics import Metrics


class Probes:
    """``/livez``, ``/readyz``, ``/startupz`` and ``/metrics``."""

    def __init__(self, metrics: Metrics, is_ready: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._is_ready = is_ready

    def app(self) -> Starlette:
        """Give the whole of the probe listener's application."""
        return Starlette(
            routes=[
                Route("/livez", self.live),
                Route("/readyz", self.ready),
                Route("/startupz", self.ready),
                Route("/metrics", self.metrics),
            ]
        )

    async def live(self, _: Request) -> Response:
        """Live means that the loop turns, as it does to answer this; the API may be away."""
        return PlainTextResponse("ok\n")

    async def ready(self, _: Request) -> Response:
        """Ready, and started, once every task of the command line is FINISHED."""
        if self._is_ready():
            return PlainTextResponse("ok\n")
        return PlainTextResponse("waiting for tasks\n", HTTPStatus.SERVICE_UNAVAILABLE)

    async def metrics(self, request: Request) -> Response:
        """Give the metrics as Prometheus or OpenMetrics reads them."""
        body, content_type = self._metrics.exposed(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

"""The probes and the metrics: open to every client of the platform, so no response names a resource."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from waiter.sidecar.web.access_control import answer_http_error

if TYPE_CHECKING:
    from starlette.requests import Request

    from waiter.sidecar.metrics import Metrics


class Probes:
    """``/livez``, ``/readyz``, ``/startupz`` and ``/metrics``.

    ``startup_problem`` returns why the sidecar is not ready, or None; ``warnings`` what does not work although it is.
    """

    def __init__(self, metrics: Metrics, startup_problem: Callable[[], str | None], warnings: Callable[[], list[str]]) -> None:
        self._metrics = metrics
        self._startup_problem = startup_problem
        self._warnings = warnings

    def app(self) -> Starlette:
        """Return the application of the probe listener."""
        return Starlette(
            routes=[
                Route("/livez", self.live),
                Route("/readyz", self.ready),
                Route("/startupz", self.ready),
                Route("/metrics", self.metrics),
            ],
            exception_handlers={HTTPException: answer_http_error},
        )

    async def live(self, _: Request) -> Response:
        """Answer 200 while the event loop runs; an outage of the API does not matter."""
        return PlainTextResponse("ok\n")

    async def ready(self, _: Request) -> Response:
        """Answer 200 once every task of the command line is FINISHED; the lines after the first are warnings."""
        problem = self._startup_problem()
        lines = [problem or "ok", *(f"warning: {warning}" for warning in self._warnings())]
        status = HTTPStatus.SERVICE_UNAVAILABLE if problem else HTTPStatus.OK
        return PlainTextResponse("".join(f"{line}\n" for line in lines), status)

    async def metrics(self, request: Request) -> Response:
        """Return the metrics in the format of Prometheus or OpenMetrics."""
        body, content_type = self._metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

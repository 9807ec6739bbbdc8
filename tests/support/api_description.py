"""Responses of the sidecar against its OpenAPI description."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
from openapi_core import Config, OpenAPI
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.testing import MockRequest, MockResponse

from waiter.sidecar.web.description import read_description

DESCRIPTION: dict[str, Any] = json.loads(read_description())


def _without_other_members(node: Any) -> Any:
    """Return a description in which no object may have a member that is not described."""
    if isinstance(node, list):
        return [_without_other_members(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {name: _without_other_members(value) for name, value in node.items()}
    if node.get("type") == "object" and "properties" in node:
        closed.setdefault("additionalProperties", False)
    return closed


def _strict_description() -> dict[str, Any]:
    description = copy.deepcopy(DESCRIPTION)
    schemas = description["components"]["schemas"]
    for name in ("Wait", "WaitList", "WaitPage", "Task", "Transition", "Error", "UnknownWaits"):
        schemas[name] = _without_other_members(schemas[name])
    return description


# Media types that the validator does not know.
TEXTS = ("text/css", "text/javascript", "text/event-stream", "application/openmetrics-text")
API = OpenAPI.from_dict(
    _strict_description(),
    config=Config(extra_media_type_deserializers={kind: lambda body, **_: body.decode() for kind in TEXTS}),
)


def operations() -> set[tuple[str, str]]:
    """Return the method and the path of each described operation."""
    return {
        (method.upper(), path)
        for path, item in DESCRIPTION["paths"].items()
        for method in item
        if method in {"get", "post", "delete"}
    }


async def check_response(response: httpx.Response) -> None:
    """Raise an error when a response, its status or its headers are not as described; every error must be JSON."""
    request, body = response.request, await response.aread()
    if request.method == "HEAD":
        return  # has no body, and is not described
    kind = response.headers.get("content-type", "").partition(";")[0]
    described = MockRequest(f"http://{request.url.netloc.decode()}", request.method.lower(), request.url.path)
    try:
        API.validate_response(described, MockResponse(body, response.status_code, dict(response.headers), kind))
    except PathError:
        assert response.status_code in {404, 405}
        assert list(json.loads(body)) == ["error"]

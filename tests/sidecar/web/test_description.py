"""The OpenAPI description: valid, the same as the code, and kept by every response."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from api_description import API, DESCRIPTION, check_response, operations
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest
from openapi_spec_validator import validate
from sidecar_parts import Sidecar, run
from starlette.routing import BaseRoute, Route

from waiter.outcome import WaitStatus
from waiter.sidecar.metrics import Metrics
from waiter.sidecar.model import Wait
from waiter.sidecar.web import durations
from waiter.sidecar.web.app import ControlApi
from waiter.sidecar.web.probes import Probes
from waiter.sidecar.web.queries import MAX_PAGE_SIZE


def test_description_is_valid() -> None:
    """By the specification of OpenAPI 3.1."""
    validate(DESCRIPTION)


def test_description_is_served_without_a_token(sidecar: Sidecar) -> None:
    """As it is in the repository."""

    async def test() -> None:
        async with sidecar.open(), sidecar.client() as client:
            response = await client.get("/openapi.json")
            assert (response.json(), response.headers["content-type"]) == (DESCRIPTION, "application/json")

    run(test())


SCHEMAS = DESCRIPTION["components"]["schemas"]


def test_patterns_of_durations_are_those_of_the_code() -> None:
    """And so is the largest number."""
    number, text, _ = SCHEMAS["Duration"]["anyOf"]
    assert (number["maximum"], text["pattern"]) == (durations.MAX_LIMIT, durations.LIMIT)
    assert DESCRIPTION["components"]["parameters"]["wait"]["schema"]["pattern"] == durations.LONG_POLL


@pytest.mark.parametrize("problem", [None, "waiting for tasks: 1 of 1 not finished"])
def test_responses_of_the_probes_are_as_described(problem: str | None) -> None:
    """Ready and not ready, and the metrics in both formats."""

    async def test() -> None:
        app: Any = Probes(Metrics(list), lambda: problem, lambda: ["the API refuses the key (HTTP 403)"]).app()
        url, hooks = "http://127.0.0.1:8081", {"response": [check_response]}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url, event_hooks=hooks) as client:
            ready = [(await client.get(path)).status_code for path in ("/livez", "/readyz", "/startupz", "/metrics")]
            assert ready == [200, *[503 if problem else 200] * 2, 200]
            openmetrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
            assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")

    run(test())


def routes_of(routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
    return {
        (method, route.path.replace("{wait_id}", "{id}"))
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or ())
        if method != "HEAD"
    }


def test_described_operations_are_the_routes() -> None:
    """Of both listeners; HEAD is permitted wherever GET is."""
    parts: Any = None
    control = ControlApi(parts, parts, parts, max_open_requests=1).routes()
    probes = Probes(Metrics(list), lambda: None, list).app().routes
    assert operations() == routes_of(control) | routes_of(probes)


def test_described_values_are_those_of_the_code() -> None:
    """The statuses and the size of a page."""
    schemas = DESCRIPTION["components"]["schemas"]
    assert schemas["Status"]["enum"] == list(WaitStatus)
    limit = next(one for one in DESCRIPTION["paths"]["/v1/waits"]["get"]["parameters"] if one.get("name") == "limit")
    assert limit["schema"]["maximum"] == MAX_PAGE_SIZE
    assert list(schemas["Wait"]["properties"]) == list(Wait(id="a", accepted_at=0.0).as_json(0.0))


@pytest.mark.parametrize(
    "body",
    [
        "a",
        ["a", {"task_id": "b"}, {"id": "c", "state": "NEW"}],
        {"tasks": ["a"], "count": 1},
        {"tasks": ["a"], "timeout": 1.5, "max_outage": "1m30s"},
        {"tasks": ["a"], "ready": True},
        {"tasks": ["a"], "timeout": None},
        {"results": [{"id": "a", "state": "RUNNING"}], "count": 1},
        {"id": "a", "state": "RUNNING", "task_type": "create_vm"},
        {"id": "volume", "name": "v", "task_id": None},
        {"task_id": "a"},
        {"id": "a", "state": "NEW"},
        {"tasks": [{"id": "a", "task_type": None, "state": None, "status": "waiting"}], "created_resources": {}},
        {"tasks": ["a"], "timeout": 1e-300, "max_outage": 1e14},
        {"tasks": ["a"], "timeout": "0.000000001", "max_outage": "999999999.999999999d"},
        [{"name": "v", "status": "available", "task_id": "a"}, {"id": "a", "state": "NEW", "task_type": "x", "more": 1}],
    ],
)
def test_described_requests_are_accepted(sidecar: Sidecar, body: Any) -> None:
    """Everything that names tasks."""

    async def test() -> None:
        request = MockRequest("http://127.0.0.1:8080", "post", "/v1/waits", data=json.dumps(body).encode())
        API.validate_request(request)
        async with sidecar.open(), sidecar.client() as client:
            assert (await client.post("/v1/waits", json=body)).status_code == 202

    run(test())


@pytest.mark.parametrize(
    "body",
    [
        5,
        ["../a"],
        {"tasks": ["a"], "timout": 5},
        {"tasks": ["a"], "timeout": 0},
        {"tasks": ["a"], "timeout": 1e15},
        {"tasks": ["a"], "timeout": 10**400},
        {"tasks": ["a"], "timeout": "0.0000000001"},
        {"tasks": ["a"], "timeout": "none"},
        {"tasks": ["a"], "results": ["b"]},
        {"tasks": None},
        {"tasks": [{"tasks": ["a"]}]},
        [{"results": ["a"]}],
        {"results": ["a"], "timeout": 5},
        {"results": ["a"], "next": None},
        {"task_id": "a", "timeout": 5},
        {"task_id": "a", "more": 1},
        {"id": "v", "task_id": "a", "ready": True},
        {"id": "a", "state": "NEW", "more": 1},
        {"id": "a", "state": "NEW", "task_type": "create_vm", "webhook": "https://a.example"},
        {"id": "a"},
    ],
    ids=repr,
)
def test_requests_that_are_not_described_are_refused(sidecar: Sidecar, body: Any) -> None:
    """The description is as strict as the code."""

    async def test() -> None:
        request = MockRequest("http://127.0.0.1:8080", "post", "/v1/waits", data=json.dumps(body).encode())
        with pytest.raises(OpenAPIError):
            API.validate_request(request)
        async with sidecar.open(), sidecar.client() as client:
            assert (await client.post("/v1/waits", json=body)).status_code == 400

    run(test())


def test_response_that_is_not_as_described_is_found() -> None:
    """The check of all responses in these tests can fail: an unknown member, a missing header, an undescribed status."""

    async def test() -> None:
        request = httpx.Request("GET", "http://127.0.0.1:8080/v1/waits")
        header = {"Last-Event-ID": "1"}
        await check_response(httpx.Response(200, json={"waits": [], "next": None}, headers=header, request=request))
        for response in (
            httpx.Response(200, json={"waits": [], "next": None, "more": 1}, headers=header, request=request),
            httpx.Response(200, json={"waits": [], "next": None}, request=request),
            httpx.Response(418, json={"error": "no"}, request=request),
        ):
            with pytest.raises(OpenAPIError):
                await check_response(response)

    asyncio.run(test())

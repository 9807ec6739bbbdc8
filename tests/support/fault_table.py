"""All faults of the simulation: the response that each one gives, and those that a wait survives."""

from __future__ import annotations

from waiter.testing import (
    Fault,
    drip,
    empty,
    half_body,
    hang,
    html,
    other_task,
    redirect,
    refuse,
    reset,
    says,
    status,
    truncated,
    wrong_types,
)

LATE = 5.0  # seconds; a response that is as late is valid

# The status, the body and the headers that replace the response {"id": "t", "state": "RUNNING", "created_resources": null}.
SAID: list[tuple[Fault, int, bytes, dict[str, str]]] = [
    (
        status(503),
        503,
        b'{"exception_class":"ServiceUnavailable","message":"Service Unavailable","request_id":"r"}',
        {"Content-Type": "application/json"},
    ),
    (
        status(429, retry_after=2, message="slowly"),
        429,
        b'{"exception_class":"TooManyRequests","message":"slowly","request_id":"r"}',
        {"Content-Type": "application/json", "Retry-After": "2"},
    ),
    (
        html(),
        502,
        b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>",
        {"Content-Type": "text/html"},
    ),
    (empty(), 200, b"", {"Content-Type": "application/json"}),
    (
        redirect("https://elsewhere.example/"),
        302,
        b"",
        {"Content-Type": "application/json", "Location": "https://elsewhere.example/"},
    ),
    (says([1]), 200, b"[1]", {"Content-Type": "application/json"}),
    (truncated(), 200, b'{"id":"t","state":"RUNNING', {"Content-Type": "application/json"}),
    (wrong_types(), 200, b'{"id":"t","state":7,"created_resources":"none"}', {"Content-Type": "application/json"}),
    (other_task("u"), 200, b'{"id":"u","state":"RUNNING","created_resources":null}', {"Content-Type": "application/json"}),
]
# The delivery, the pause, the interval between bytes, the status, and whether the whole response arrives.
BROUGHT: list[tuple[Fault, str, float, float, int | None, bool]] = [
    (hang(), "whole", float("inf"), 0, None, False),
    (hang(LATE), "whole", LATE, 0, 200, True),
    (reset(), "reset", 0, 0, None, False),
    (refuse(), "refused", 0, 0, None, False),
    (half_body(), "half", 0, 0, 200, False),
    (drip(2), "drip_headers", 0, 2, 200, True),
    (drip(part="body"), "drip_body", 0, 1, 200, True),
]
SURVIVED = [row[0] for row in SAID] + [row[0] for row in BROUGHT if row[2] != LATE]
SURVIVED += [status(code) for code in (408, 425, 500, 502, 504, 511)]
SURVIVED += [html(200), empty(204), other_task(), says([]), says({"id": "x"})]

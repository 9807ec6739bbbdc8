"""Listings of past tasks."""

from __future__ import annotations

import json

import pytest

from waiter import InvalidResponseError
from waiter.api.listings import read_history, read_page
from waiter.api.responses import Response


def listing(body: bytes) -> Response:
    return Response(200, {}, body, "https://api.gcore.com/cloud/v1/tasks")


def test_listing_keeps_its_order() -> None:
    """The tasks are in the order of the listing."""
    body = json.dumps({"count": 2, "results": [{"id": "b", "state": "NEW"}, {"id": "a", "state": "ERROR"}]}).encode()
    assert [task.id for task in read_history(listing(body), "create_vm")] == ["b", "a"]


def test_listing_is_filtered_by_type() -> None:
    """A server that does not know the parameter lists other types too, which say nothing about this one."""
    rows = [{"id": kind or "-", "state": "FINISHED", "task_type": kind} for kind in ("delete_vm", "create_vm", None)]
    body = json.dumps({"count": 3, "results": rows}).encode()
    assert [task.id for task in read_history(listing(body), "create_vm")] == ["create_vm", "-"]


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"count": 1, "results": [{}]}', b'{"count": 1, "results": null}'])
def test_malformed_listing_is_one_error(body: bytes) -> None:
    """A listing is read as a whole or not at all."""
    with pytest.raises(InvalidResponseError, match=r"invalid response: .* \(listing\)"):
        read_history(listing(body), "create_vm")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([{}], "Object missing required field `id`"),
        ([{"id": "a", "state": "NEW"}, {"id": "b"}], "Object missing required field `state`"),
        ([{"id": "../b", "state": "NEW"}], "not a task ID: '../b'"),
        ([{"id": "a\x1b[2J", "state": "NEW"}], "not a task ID: 'a [2J'"),
        ("x", "Expected `array`, got `str`"),
    ],
)
def test_page_with_a_task_that_is_none_is_one_error(rows: object, why: str) -> None:
    """Its ID would be shown, and become a part of a path."""
    with pytest.raises(InvalidResponseError) as caught:
        read_page(listing(json.dumps({"count": 1, "results": rows}).encode()))
    assert str(caught.value).startswith(f"invalid response: {why}")
    assert str(caught.value).endswith(" (listing)")

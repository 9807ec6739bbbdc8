"""Listings of past tasks."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest

from waiter import InvalidResponseError
from waiter.api.listings import MAX_VALUES, read_active, read_history, read_page
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


LARGEST = 16 * 2**20
# Small values that take much memory, and many of them.
HOSTILE = [
    b"{}",
    b'{"id":"ab","state":"cd"}',
    b'{"id":"a","state":"b","data":[{"a":0},[],{"b":[{}]}]}',
    b'{"id":"a","state":"b","error":"%s"}' % (b"x" * 8192),
]


@pytest.mark.parametrize("size", [LARGEST, 2**20])
@pytest.mark.parametrize("item", HOSTILE, ids=lambda item: item.decode()[:40])
@pytest.mark.parametrize(
    "read",
    [lambda response: read_active(response).bodies, lambda response: read_history(response, "create_vm"), read_page],
    ids=["active", "history", "page"],
)
def test_hostile_listing_needs_less_than_64_mib(read: Callable[[Response], object], item: bytes, size: int) -> None:
    """Whether it is read or refused, with the body itself."""
    count = (size - 100) // (len(item) + 1)
    response = listing(b'{"count":1,"results":[%s]}' % b",".join([item] * count))
    tracemalloc.start()
    try:
        read(response)
    except InvalidResponseError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak + len(response.body) < 64 * 2**20


def test_listing_of_large_tasks_is_read() -> None:
    """Their data is nested, and takes eight kilobytes each."""
    data = {f"key-{number}": {"values": [number] * 8, "text": "x" * 300} for number in range(20)}
    rows = [{"id": f"t-{number}", "state": "RUNNING", "task_type": "create_vm", "data": data} for number in range(400)]
    body = json.dumps({"count": 400, "results": rows}).encode()
    assert len(body) > 2 * 2**20
    assert len(read_history(listing(body), "create_vm")) == 400


def test_listing_with_too_many_values_is_refused() -> None:
    """Decoded, they would take hundreds of megabytes."""
    body = b'{"count":1,"results":[%s{}]}' % (b"{}," * 2**20)
    with pytest.raises(InvalidResponseError, match=f"more than {MAX_VALUES} values"):
        read_page(listing(body))

"""Listings of past tasks."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest

from waiter import InvalidResponseError
from waiter.api.listings import (
    MAX_PAGE,
    MAX_REQUESTS,
    MAX_VALUES,
    TaskListing,
    TaskPage,
    read_active,
    read_history,
    read_page,
)
from waiter.api.responses import Response
from waiter.task import Task, TaskSnapshot


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


def page(total: int, *ids: str) -> TaskPage:
    return TaskPage([TaskSnapshot(Task.from_mapping({"id": task_id, "state": "NEW"})) for task_id in ids], total)


def ids_of(tasks: TaskListing) -> list[str]:
    return [one.task.id for one in tasks.snapshots]


def test_listing_requests_one_page_if_all_tasks_fit() -> None:
    """One more than the limit is requested, as every later page begins with a known task."""
    tasks = TaskListing(3)
    assert (tasks.page_size, tasks.offset, tasks.is_complete) == (4, 0, False)
    tasks.add(page(2, "a", "b"))
    assert (ids_of(tasks), tasks.is_complete) == (["a", "b"], True)


def test_listing_ends_at_its_limit() -> None:
    """The newest are kept; a limit of none requests nothing."""
    tasks = TaskListing(2)
    tasks.add(page(9, "a", "b", "c"))
    assert (ids_of(tasks), tasks.is_complete) == (["a", "b"], True)
    assert [TaskListing(limit).is_complete for limit in (-1, 0, 1)] == [True, True, False]


def test_page_of_a_listing_overlaps_the_one_before() -> None:
    """Tasks that end move the others up: a page without a known task is requested again from further up."""
    tasks = TaskListing(2000)
    assert tasks.page_size == MAX_PAGE
    tasks.add(page(1000, *(f"t-{number}" for number in range(500))))
    assert (tasks.offset, tasks.is_complete) == (499, False)
    tasks.add(page(1000, *(f"t-{number}" for number in range(700, 900))))
    assert (tasks.offset, len(ids_of(tasks))) == (0, 500)


def test_first_page_without_tasks_is_requested_again() -> None:
    """The listing counts tasks that the page does not have, for example while it is made."""
    tasks = TaskListing(5)
    tasks.add(page(3))
    assert (tasks.offset, tasks.is_complete) == (0, False)


def test_count_of_active_tasks_is_not_bounded_by_their_page() -> None:
    """A large account has many pages; a negative count is malformed."""
    counts = [read_active(listing(b'{"count": %d, "results": []}' % count)).count for count in (0, 100_000)]
    assert counts == [0, 100_000]
    with pytest.raises(InvalidResponseError):
        read_active(listing(b'{"count": -1, "results": []}'))


def test_page_of_active_tasks_has_the_json_of_each() -> None:
    """With the fields that a listing is not asked for, in the order of the tasks."""
    rows = [b'{"id": "b", "state": "NEW", "error": null}', b'{"id": "a", "state": "RUNNING"}']
    shown = read_active(listing(b'{"count": 2, "results": [%s]}' % b", ".join(rows)))
    assert ([task.id for task in shown.tasks], [bytes(body) for body in shown.bodies]) == (["b", "a"], rows)


def test_listing_without_an_end_is_an_error() -> None:
    """A server that always counts more tasks is not asked for ever."""
    tasks = TaskListing(10**9)
    for number in range(MAX_REQUESTS):
        tasks.add(page(10**6, f"t-{number}", f"t-{number + 1}"))
    with pytest.raises(InvalidResponseError, match=f"more than {MAX_REQUESTS} pages"):
        tasks.add(page(10**6, f"t-{MAX_REQUESTS}"))


def test_later_pages_request_only_what_is_missing() -> None:
    """And the last task that is known."""
    tasks = TaskListing(5)
    tasks.add(page(9, "a", "b", "c"))
    assert (tasks.page_size, tasks.offset) == (3, 2)


def test_page_has_its_tasks_and_the_number_of_all() -> None:
    """In the order of the listing."""
    body = json.dumps({"count": 9, "results": [{"id": name, "state": "NEW"} for name in ("t-2", "t-1")]}).encode()
    tasks, total = read_page(listing(body))
    assert ([task.id for task in tasks], total) == (["t-2", "t-1"], 9)

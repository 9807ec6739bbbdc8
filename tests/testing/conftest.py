"""Fixtures of the simulation's tests: a cloud at a known time, and a way to send requests to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest

from waiter.testing import SimulatedCloud

TASKS = "/cloud/v1/tasks"


class Reply(msgspec.Struct, frozen=True):
    """A response with its body decoded."""

    status: int
    json: Any
    headers: dict[str, str]


Send = Callable[..., Reply]


@pytest.fixture
def make_cloud() -> Callable[..., SimulatedCloud]:
    """Return a function that makes a cloud on virtual time, which starts at a known moment."""

    def make(**options: Any) -> SimulatedCloud:
        return SimulatedCloud.virtual(**{"start": datetime(2026, 7, 1, 13, 37, 14), **options})  # noqa: DTZ001

    return make


@pytest.fixture
def cloud(make_cloud: Callable[..., SimulatedCloud]) -> SimulatedCloud:
    return make_cloud()


@pytest.fixture
def send() -> Send:
    """Return a function that sends a request for a path (or a task's ID), with the cloud's key by default."""

    def send(cloud: SimulatedCloud, target: str, method: str = "GET", key: str | None = None) -> Reply:
        path = target if target.startswith("/") else f"{TASKS}/{target}"
        authorization = f"apikey {cloud.api_key}" if key is None else key
        response = cloud.respond(method, path, {"authorization": authorization})
        return Reply(response.status, msgspec.json.decode(response.body), response.headers)

    return send


@pytest.fixture
def poll_at(send: Send) -> Callable[..., list[str | int]]:
    """Return a function that polls a task at these seconds, and returns its states (or the status without a task)."""

    def poll_at(cloud: SimulatedCloud, task_id: str, *times: float) -> list[str | int]:
        states = []
        for at in times:
            cloud.sleep(at - cloud.elapsed)
            reply = send(cloud, task_id)
            states.append(reply.json["state"] if reply.status == 200 else reply.status)
        return states

    return poll_at

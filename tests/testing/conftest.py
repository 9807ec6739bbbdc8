"""What the tests of the simulation share: a cloud at a known time, and a way to ask it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest

from waiter.testing import SimulatedCloud

TASKS = "/cloud/v1/tasks"


class Reply(msgspec.Struct, frozen=True):
    """An answer, read."""

    status: int
    json: Any
    headers: dict[str, str]


Ask = Callable[..., Reply]


@pytest.fixture
def make_cloud() -> Callable[..., SimulatedCloud]:
    """Make a cloud on virtual time that starts at a known moment."""

    def make(**options: Any) -> SimulatedCloud:
        return SimulatedCloud.virtual(**{"start": datetime(2026, 7, 1, 13, 37, 14), **options})  # noqa: DTZ001

    return make


@pytest.fixture
def cloud(make_cloud: Callable[..., SimulatedCloud]) -> SimulatedCloud:
    return make_cloud()


@pytest.fixture
def ask() -> Ask:
    """Ask a cloud for a path (or a task's ID), with its own key unless told otherwise."""

    def ask(cloud: SimulatedCloud, target: str, method: str = "GET", key: str | None = None) -> Reply:
        path = target if target.startswith("/") else f"{TASKS}/{target}"
        authorization = f"apikey {cloud.api_key}" if key is None else key
        answer = cloud.answer(method, path, {"authorization": authorization})
        return Reply(answer.status, msgspec.json.decode(answer.body), answer.headers)

    return ask

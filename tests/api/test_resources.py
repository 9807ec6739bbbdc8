"""When a created resource is ready, failed or pending."""

from __future__ import annotations

from typing import Any

import pytest

from waiter.api.resources import BARE_METAL, RESOURCE_KINDS, Condition, kind_of, reason_of, status_text, targets_of
from waiter.task import CreatedResources, Task, TaskState


@pytest.mark.parametrize(
    ("name", "resource", "readiness"),
    [
        ("instances", {"status": "ACTIVE"}, "ready"),
        ("instances", {"status": "SHUTOFF"}, "ready"),
        ("instances", {"status": "BUILD"}, "pending"),
        ("instances", {"status": "ERROR"}, "failed"),
        ("images", {"status": "active", "size": 5}, "ready"),
        ("images", {"status": "active", "size": 0}, "pending"),
        ("images", {"status": "saving", "size": 0}, "pending"),
        ("images", {"status": "importing"}, "pending"),
        ("images", {"status": "killed"}, "failed"),
        ("volumes", {"status": "in-use"}, "ready"),
        ("volumes", {"status": "error"}, "failed"),
        ("volumes", {"status": "error_extending"}, "failed"),
        ("volumes", {"status": "attaching"}, "pending"),
        ("file_shares", {"status": "shrinking_error"}, "failed"),
        ("loadbalancers", {"provisioning_status": "ACTIVE", "status": "ERROR"}, "ready"),
        ("loadbalancers", {"provisioning_status": "PENDING_UPDATE"}, "pending"),
        ("floatingips", {"status": "DOWN"}, "ready"),
        ("k8s_clusters", {"status": "Provisioned"}, "ready"),
        ("postgresql_clusters", {"status": "FAILED"}, "failed"),
        ("networks", {}, "ready"),
        ("volumes", {}, "pending"),
        ("volumes", {"status": None}, "pending"),
        ("volumes", {"status": ["error"]}, "pending"),
    ],
)
def test_status_decides(name: str, resource: dict[str, Any], readiness: str) -> None:
    """The status of a resource is ready, failed, or (known or not) pending."""
    assert readiness == RESOURCE_KINDS[name].assess(resource)


@pytest.mark.parametrize("kind", [*RESOURCE_KINDS.values(), BARE_METAL])
def test_table_is_consistent(kind: Any) -> None:
    """Every kind has a path with three placeholders, and its statuses do not contradict each other."""
    assert kind.path.format(project_id=1, region_id=2, id="x").endswith("/1/2/x")
    for readiness, values in (("ready", kind.ready), ("pending", kind.pending)):
        for value in values:
            assert kind.assess({kind.field: value, **dict.fromkeys(kind.nonzero, 1)}) == readiness


def test_bare_metal_has_its_own_endpoint() -> None:
    """The instances of a bare metal task are asked for at their own endpoint; an unknown kind has none."""
    assert kind_of("instances", "create_bm") is BARE_METAL
    assert kind_of("instances", "create_vm") is kind_of("instances", None) is RESOURCE_KINDS["instances"]
    assert kind_of("volumes", "create_bm") is RESOURCE_KINDS["volumes"]
    assert kind_of("registry_users", "create_vm") is None


def test_what_a_task_created_is_polled_at_its_place() -> None:
    """Each resource with a known endpoint has a target, and the IDs of the others are returned by kind."""
    created = CreatedResources(instances=("a/b",), images=(".",), registry_users=("u",))
    task = Task(id="t", state=TaskState.FINISHED, task_type="create_bm", project_id=7, region_id=8, created_resources=created)
    targets, unknown = targets_of(task)
    assert [(one.path, one.label, one.kind, one.resource_id) for one in targets] == [
        ("/cloud/v1/bminstances/7/8/a%2Fb", "instances a/b", "instances", "a/b")
    ]
    assert unknown == {"images": ["."], "registry_users": ["u"]}


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({"status_reason": "no\nspace"}, "no space"),
        ({"fault": {"message": "No valid host"}}, "No valid host"),
        ({"fault": None, "error": "boom"}, "boom"),
        ({"fault": {}, "message": 7}, None),
        ({"error": " "}, None),
        (None, None),
    ],
)
def test_reason_is_what_the_resource_says(resource: dict[str, Any] | None, reason: str | None) -> None:
    """It is one line of text from the first field that has some."""
    assert reason_of(resource) == reason


@pytest.mark.parametrize(
    ("value", "text"), [("a\x1b[1mb", "a [1mb"), (None, None), ("", ""), (7, "7"), (True, "true"), (["x"], '["x"]')]
)
def test_status_is_shown_as_one_line(value: object, text: str | None) -> None:
    """Text is shown as it is without control characters, everything else as JSON."""
    assert status_text(value) == text


@pytest.mark.parametrize(
    ("value", "readiness"),
    [
        ("active", "ready"),
        ("Active", "pending"),
        ("in-use", "ready"),
        ("error", "failed"),
        ("x-in", "pending"),
        (None, "pending"),
    ],
)
def test_condition_compares_text_and_failures_come_first(value: object, readiness: str) -> None:
    """An asterisk matches any text; nothing else is interpreted."""
    condition = Condition(lambda resource: resource["status"], ["active", "in-*", "error"], ["err*"])
    assert condition.assess({"status": value}) == readiness


def test_condition_may_be_the_absence_of_the_resource() -> None:
    """A value of DELETED is as good as a 404."""
    gone = Condition(lambda resource: resource.get("status"), gone=True)
    assert [gone.assess(one) for one in (None, {"status": "DELETED"}, {"status": "deleted"}, {"status": "ACTIVE"}, {})] == [
        "ready", "ready", "ready", "pending", "pending",
    ]  # fmt: skip
    assert (gone.awaits_absence, gone.status(None), gone.status({})) == (True, "gone", "null")


def test_kind_without_a_status_is_ready_once_it_exists() -> None:
    """It has no status to show, and its absence is never awaited."""
    kind = RESOURCE_KINDS["networks"]
    assert (kind.status({"status": "ERROR"}), kind.assess({}), kind.awaits_absence) == (None, "ready", False)


def test_status_of_a_kind_without_one_is_none() -> None:
    """Nor has a resource that is gone."""
    network, instance = RESOURCE_KINDS["networks"], RESOURCE_KINDS["instances"]
    assert [network.status({"status": "x"}), instance.status(None), instance.status({"status": "BUILD"})] == [
        None,
        None,
        "BUILD",
    ]

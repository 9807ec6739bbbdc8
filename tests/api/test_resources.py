"""When a created resource is ready, failed or pending."""

from __future__ import annotations

from typing import Any

import pytest

from waiter.api.resources import BARE_METAL, RESOURCE_KINDS, kind_of


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

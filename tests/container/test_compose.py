"""The example for compose."""

from __future__ import annotations

import pytest
from container_parts import EXAMPLES, IMAGE, USER, parsed, read_all

(COMPOSE,) = read_all(EXAMPLES / "compose.yaml")
SERVICES = COMPOSE["services"]
WAITERS = [name for name, one in SERVICES.items() if "/waiter:" in one["image"]]


@pytest.mark.parametrize("name", SERVICES)
def test_is_restricted(name: str) -> None:
    """Every service runs with nothing that it does not need, and not as root."""
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert name in WAITERS or service["user"] == f"{USER}:{USER}"
    assert "environment" not in service


@pytest.mark.parametrize("name", WAITERS)
def test_arguments(name: str) -> None:
    """The command takes the arguments as they stand, and finds the key where compose puts it."""
    assert SERVICES[name]["image"] == IMAGE
    assert SERVICES[name]["secrets"] == list(COMPOSE["secrets"]) == ["gcore-api-key"]
    assert parsed(SERVICES[name]["command"]).api_key_file == "/run/secrets/gcore-api-key"


def test_state_is_kept() -> None:
    """The sidecar's waits outlive its container."""
    assert SERVICES["waiter"]["volumes"] == [f"waits:{parsed(SERVICES['waiter']['command']).state_dir}"]
    assert "waits" in COMPOSE["volumes"]


def test_who_waits_for_whom() -> None:
    """One service starts after the task, the other once the sidecar lives, in whose network it asks."""
    assert SERVICES["after-the-task"]["depends_on"] == {"wait": {"condition": "service_completed_successfully"}}
    assert SERVICES["app"]["depends_on"] == {"waiter": {"condition": "service_healthy"}}
    assert SERVICES["app"]["network_mode"] == "service:waiter"
    assert f"http://{parsed(['sidecar']).listen}/" in SERVICES["app"]["command"][-1]

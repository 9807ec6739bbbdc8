"""The example for Compose."""

from __future__ import annotations

import pytest
from container_parts import EXAMPLES, IMAGE, USER, parsed, read_all

(COMPOSE,) = read_all(EXAMPLES / "sidecar" / "compose.yaml")
SERVICES = COMPOSE["services"]
WAITERS = [name for name, one in SERVICES.items() if "/waiter:" in one["image"]]


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_restricted(name: str) -> None:
    """Every service runs without capabilities, on a read-only root and not as root."""
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert name in WAITERS or service["user"] == f"{USER}:{USER}"
    assert "environment" not in service


@pytest.mark.parametrize("name", WAITERS)
def test_arguments_are_valid(name: str) -> None:
    """The command accepts the arguments, and the key is the mounted secret."""
    assert SERVICES[name]["image"] == IMAGE
    assert SERVICES[name]["secrets"] == list(COMPOSE["secrets"]) == ["gcore-api-key"]
    assert parsed(SERVICES[name]["command"]).api_key_file == "/run/secrets/gcore-api-key"


def test_state_is_a_volume() -> None:
    """The waits survive the container."""
    assert SERVICES["waiter"]["volumes"] == [f"waits:{parsed(SERVICES['waiter']['command']).state_dir}"]
    assert "waits" in COMPOSE["volumes"]


def test_dependencies_between_services() -> None:
    """One service starts after the task, the other in the network of the sidecar once that is healthy."""
    assert SERVICES["after-the-task"]["depends_on"] == {"wait": {"condition": "service_completed_successfully"}}
    assert SERVICES["app"]["depends_on"] == {"waiter": {"condition": "service_healthy"}}
    assert SERVICES["app"]["network_mode"] == "service:waiter"
    assert f"http://{parsed(['sidecar']).listen}/" in SERVICES["app"]["command"][-1]

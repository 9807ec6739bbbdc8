"""The package: what it exports, and what an import costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import waiter
from waiter import testing
from waiter._lazy import loads_lazily

SLOW = {"httpx", "httpcore", "structlog", "tenacity", "msgspec", "asyncio", "rich", "anyio"}


def loaded_by(code: str) -> set[str]:
    program = f"import sys; before = set(sys.modules); {code}; print(*set(sys.modules) - before)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name for name in ran.stdout.split() if "." not in name}


@pytest.mark.parametrize("package", [waiter, testing], ids=lambda package: package.__name__)
def test_every_name_of_all_exists(package: object) -> None:
    """And no other name."""
    names: list[str] = package.__all__  # type: ignore[attr-defined]
    assert [name for name in names if getattr(package, name, None) is None] == []
    with pytest.raises(AttributeError, match="has no attribute 'wait_for_godot'"):
        _ = package.wait_for_godot  # type: ignore[attr-defined]


def test_module_is_loaded_like_any_other_name() -> None:
    """``waiter.aio`` needs no import statement."""
    assert loads_lazily("waiter", ["aio"], ["aio"])("aio") is waiter.aio


def test_importing_the_package_loads_nothing_slow() -> None:
    """Pytest imports it in every project, for the plugin."""
    assert loaded_by("import waiter, waiter.testing") & SLOW == set()


def test_importing_wait_for_task_loads_no_event_loop() -> None:
    """A blocking wait needs none, and a log line may never be written."""
    assert loaded_by("from waiter import wait_for_task") & SLOW == {"httpx", "tenacity", "msgspec"}


HOUR = """
import httpx, pathlib, waiter
from tenacity import wait_fixed
now = 0.0
def answer(request):
    task = {"id": "t", "state": "RUNNING" if now < 3600 else "FINISHED", "task_type": "create_vm"}
    return httpx.Response(200, json=task)
def sleep(seconds):
    global now
    now += seconds
client = httpx.Client(transport=httpx.MockTransport(answer))
waiter.wait_for_task("t", api_key="1$a", client=client, sleep=sleep, clock=lambda: now, wait=wait_fixed(3))
status = pathlib.Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is where it is measured")
def test_hour_of_polling_fits_into_35_megabytes() -> None:
    """Every 3 s, as the official SDK polls: no more memory at the end of the hour than a wait needs."""
    ran = subprocess.run([sys.executable, "-c", HOUR], capture_output=True, text=True, check=True)
    assert int(ran.stdout) * 1024 < 35e6

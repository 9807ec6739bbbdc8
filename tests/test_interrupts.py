"""A real Ctrl-C, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from math import inf

import pytest

from waiter.testing import SimulatedCloud, hang, never_ends

WAITS = """
import sys
from tenacity import wait_fixed
from waiter import Waiter
from waiter.polling import poll_state
# Only the interruption ends the wait.
poll_state.REQUEST_TIMEOUT = poll_state.MAX_REQUEST_TIMEOUT = 3600
url, key, call, *ids = sys.argv[1:]
with Waiter(base_url=url, api_key=key, learn=False, wait=wait_fixed(3600)) as waiter:
    if call == "wait":
        waiter.wait(ids[0])
    else:
        list(getattr(waiter, call)(ids))
"""


@pytest.fixture
def served() -> Iterator[tuple[SimulatedCloud, str]]:
    cloud = SimulatedCloud(strict=False)
    with cloud.serve() as url:
        yield cloud, url


@pytest.mark.parametrize("hangs", [False, True], ids=["between polls", "during a poll"])
@pytest.mark.parametrize(
    ("call", "note"),
    [
        ("wait", "the wait for task t-0 was interrupted; the task is still running"),
        ("wait_all", "the wait for 3 tasks was interrupted; the tasks are still running"),
        ("as_completed", "the wait for 3 tasks was interrupted; the tasks are still running"),
    ],
)
def test_ctrl_c_ends_the_process_with_one_traceback(
    served: tuple[SimulatedCloud, str], call: str, note: str, hangs: bool
) -> None:
    """A traceback of KeyboardInterrupt alone, whose last line says that the tasks are still running."""
    cloud, url = served
    ids = [cloud.add(never_ends(), task_id=f"t-{number}") for number in range(3)]
    if hangs:
        cloud.fault(hang(), times=inf)
    command = [sys.executable, "-c", WAITS, url, cloud.api_key, call, *ids]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        while len(cloud.requests) < (1 if call == "wait" else 3) and child.poll() is None:
            time.sleep(0.005)
        time.sleep(0.05)  # until the first answers have been read, usually: the end is the same
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=60)[1]
    assert child.returncode == -signal.SIGINT
    assert [line for line in said.splitlines() if not line.startswith(" ")] == [
        "Traceback (most recent call last):",
        "KeyboardInterrupt",
        note,
    ]

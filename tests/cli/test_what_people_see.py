"""The demo, as it is shown to somebody who has just installed waiter; it has been running beside the other tests."""

from __future__ import annotations

import subprocess

from command_parts import Ran


def finished(child: subprocess.Popen[str]) -> Ran:
    out, err = child.communicate(timeout=30)
    return Ran(child.returncode, out, err)


def test_demo(demonstration: subprocess.Popen[str]) -> None:
    """It shows three fates with their exit codes, in under 15 s, and ends well."""
    ran = finished(demonstration)
    assert ran.code == 0
    assert [line for line in ran.out.splitlines() if line.startswith("[exit")] == [
        "[exit code 0]",
        "[exit code 1]",
        "[exit code 124]",
    ]
    assert "the API answers again after" in ran.err
    assert "it leaves volumes" in ran.err
    assert int(ran.out.split("That took ")[1].split()[0]) < 15

"""The gate for Debian's packages in the image: it finds updates, and fails without data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from container_parts import ROOT

PROGRAM = ROOT / ".ci" / "container" / "security_updates.py"
# Recorded from Debian's security suite, less the fields that are not read.
LISTED = """\
Package: libssl3t64
Source: openssl
Version: 3.5.7-1~deb13u3
Architecture: amd64
Description: Secure Sockets Layer toolkit - shared libraries
 This package is part of the OpenSSL project's implementation.

Package: libexpat1
Source: expat
Version: 2.9.0-1~deb13u1
Architecture: amd64

Package: libexpat1
Source: expat
Version: 2.7.1-2
Architecture: amd64
"""
# By the order of `sort`, which is enough here; .ci/image uses dpkg itself.
DPKG = """\
#!/bin/sh
[ "$1 $3" = '--compare-versions lt' ] && [ "$2" != "$4" ] && [ "$(printf '%s\\n' "$2" "$4" | sort -V | head -n 1)" = "$2" ]
"""


def debian(name: str, version: str) -> dict[str, str]:
    return {"name": name, "purl": f"pkg:deb/debian/{name}@{version.replace('+', '%2B')}?arch=amd64&distro=debian-13"}


def run(tmp_path: Path, podman: str, *components: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the program with a bill; ``podman`` is what the container does."""
    (tmp_path / "bill.json").write_text(json.dumps({"components": components}), encoding="utf-8")
    (tmp_path / "list").write_text(LISTED, encoding="utf-8")
    for name, text in {"podman": f"#!/bin/sh\n{podman}\n", "dpkg": DPKG}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    args = [sys.executable, str(PROGRAM), str(tmp_path / "bill.json"), "localhost/base", "linux/amd64"]
    environ = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LIST": str(tmp_path / "list")}
    return subprocess.run(args, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("components", "findings"),
    [
        ([debian("libssl3t64", "3.5.7-1~deb13u3"), debian("libexpat1", "2.9.0-1~deb13u1")], []),
        ([debian("libssl3t64", "3.6.0-1"), debian("libc6", "2.41-12")], []),
        (
            [debian("libssl3t64", "3.5.7-1~deb13u2"), debian("libexpat1", "2.9.0-1~deb13u1")],
            ["libssl3t64 3.5.7-1~deb13u2 is vulnerable: Debian's security suite has 3.5.7-1~deb13u3"],
        ),
        (
            [debian("libexpat1", "2.7.1-2"), debian("libc6", "2.41-12")],
            ["libexpat1 2.7.1-2 is vulnerable: Debian's security suite has 2.9.0-1~deb13u1"],
        ),
    ],
    ids=["equal", "newer or not listed", "older", "older than one of two versions"],
)
def test_package_older_than_in_the_security_suite_is_a_finding(
    tmp_path: Path, components: list[dict[str, str]], findings: list[str]
) -> None:
    python = {"name": "libexpat1", "version": "0", "purl": "pkg:pypi/libexpat1@0"}
    done = run(tmp_path, 'cat "$LIST"', python, *components)
    assert (done.returncode, done.stderr.splitlines()) == (bool(findings), findings)
    assert done.stdout == f"2 Debian packages, 2 in the security suite, {len(findings)} to update\n"


@pytest.mark.parametrize("podman", ["exit 100", 'cat "$LIST"; exit 1', "true", "echo"])
def test_gate_fails_without_data(tmp_path: Path, podman: str) -> None:
    """An apt that cannot reach, verify or read the suite has an error; a list without packages proves nothing."""
    done = run(tmp_path, podman, debian("libc6", "2.41-12"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no data" in done.stderr


def test_gate_fails_for_a_bill_without_debian_packages(tmp_path: Path) -> None:
    done = run(tmp_path, 'cat "$LIST"', {"name": "python"})
    assert (done.returncode, done.stdout) == (2, "")

"""Retrieve Debian's security updates for the packages of an image: ``security_updates.py BILL BASE PLATFORM``.

BILL is the CycloneDX bill of the image. The list of Debian's security suite is read with apt in a container of the base, which
has the suite in its sources: apt checks the signature of the suite and that it has not expired. The exit code is 1 if a package
is older than in the suite, and 2 if there is no list. A vulnerability for which Debian has no update is not found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# Without the mode, apt ends with 0 when it cannot reach a suite.
READ_LIST = """
apt-get -o APT::Update::Error-Mode=any -o Acquire::Languages=none -o Acquire::Retries=3 --quiet=2 update >&2
apt-get indextargets --format '$(FILENAME)' 'Created-By: Packages' 'Label: Debian-Security' | while read -r list; do
    /usr/lib/apt/apt-helper cat-file "$list"
done
"""


def read_list(base: str, platform: str) -> str:
    """Return the package list of the security suite; empty, with apt's error on standard error, if it cannot be read."""
    run = ["podman", "run", "--rm", "--network=host", f"--platform={platform}", base, "sh", "-euc", READ_LIST]
    done = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=False)
    return "" if done.returncode else done.stdout


def updates_of(packages: str) -> dict[str, list[str]]:
    """Return the versions of each package in a list."""
    found: dict[str, list[str]] = {}
    for record in packages.split("\n\n"):
        fields = HeaderParser().parsestr(record)
        if fields["Package"] and fields["Version"]:
            found.setdefault(fields["Package"], []).append(fields["Version"])
    return found


def debian_packages(bill: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and version of each Debian package in a bill."""
    for component in bill["components"]:
        if component.get("purl", "").startswith("pkg:deb/"):
            name, _, version = urlsplit(component["purl"]).path.rpartition("/")[2].partition("@")
            yield unquote(name), unquote(version)


def is_older(version: str, other: str) -> bool:
    """Return whether a version is older than another one by Debian's order."""
    return subprocess.run(["dpkg", "--compare-versions", version, "lt", other], check=False).returncode == 0


def main(bill: Path, base: str, platform: str) -> int:
    """Print the findings and return the exit code."""
    installed = dict(debian_packages(json.loads(bill.read_bytes())))
    updates = updates_of(read_list(base, platform))
    if not installed or not updates:
        missing = (
            "no Debian packages in the bill" if not installed else "no data: the list of Debian's security suite is not there"
        )
        print(f"security updates: {missing}", file=sys.stderr)
        return 2
    findings = [
        f"{name} {version} is vulnerable: Debian's security suite has {update}"
        for name, version in installed.items()
        for update in updates.get(name, [])
        if is_older(version, update)
    ]
    print("\n".join(findings), file=sys.stderr, end="\n" if findings else "")
    print(f"{len(installed)} Debian packages, {len(updates)} in the security suite, {len(findings)} to update")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))

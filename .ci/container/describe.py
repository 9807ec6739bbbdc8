"""Writes what an image is made of beside it: ``describe.py IMAGE DIRECTORY``, from the root of the repository.

``sbom.cdx.json`` is a CycloneDX bill of the Debian and Python packages in the image, as their records there name them.
``provenance.json`` is an unsigned in-toto statement (https://slsa.dev/spec/v1.0/provenance) of its sources.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

INPUTS = ("Dockerfile", "requirements.lock", ".ci/container/build.lock")
LABEL = "org.opencontainers.image."


def podman(*args: str) -> str:
    """Return the output of podman."""
    return subprocess.run(["podman", *args], capture_output=True, text=True, check=True).stdout.strip()


def components(root: Path) -> Iterator[dict[str, Any]]:
    """Yield the packages below a root."""
    parser = HeaderParser()
    release = dict(re.findall(r'^(\w+)="?(.*?)"?$', (root / "usr/lib/os-release").read_text(encoding="utf-8"), re.MULTILINE))
    distribution = f"{release['ID']}-{release['VERSION_ID']}"
    for record in sorted((root / "var/lib/dpkg/status.d").iterdir()):
        fields = parser.parsestr(record.read_text(encoding="utf-8"))
        name, version = fields["Package"], fields["Version"]
        purl = f"pkg:deb/debian/{name}@{quote(version)}?arch={fields['Architecture']}&distro={distribution}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    for metadata in sorted(root.glob("opt/waiter/lib/python*/site-packages/*.dist-info/METADATA")):
        fields = parser.parsestr(metadata.read_text(encoding="utf-8"))
        name, version = re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"]
        purl = f"pkg:pypi/{name}@{quote(version)}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def bill(root: Path, digest: str, labels: dict[str, str], python: str) -> dict[str, Any]:
    """Return the CycloneDX bill of materials; the interpreter may come from the base and not from a package.

    Its serial number, without which a bill is not attested, is the same for each description of the image.
    """
    interpreter = {"type": "platform", "bom-ref": "python", "name": "python", "version": python.removeprefix("Python ")}
    image = {"type": "container", "bom-ref": "image", "name": "waiter", "version": labels["version"]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, digest).urn,
        "version": 1,
        "metadata": {"timestamp": labels["created"], "component": image},
        "components": [interpreter, *components(root)],
    }


def provenance(image: str, digest: str, labels: dict[str, str]) -> dict[str, Any]:
    """Return the statement: the digest of the image, and the revision, the base and the locks that it was made of."""
    source = {"uri": f"git+{labels['source']}", "digest": {"gitCommit": labels["revision"]}}
    inputs = [{"uri": path, "digest": {"sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}} for path in INPUTS]
    base = {"uri": f"docker://{labels['base.name']}"}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": image, "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://github.com/containers/buildah/blob/main/docs/buildah-build.1.md",
                "externalParameters": {"dockerfile": "Dockerfile", "created": labels["created"]},
                "resolvedDependencies": [source, base, *inputs],
            },
            "runDetails": {"builder": {"id": f"git+{labels['source']}#.ci/image"}},
        },
    }


def main(image: str, directory: Path) -> None:
    """Write both files."""
    (found,) = json.loads(podman("image", "inspect", image))
    labels = {name.removeprefix(LABEL): value for name, value in found["Labels"].items() if name.startswith(LABEL)}
    python = podman("run", "--rm", "--network=none", "--entrypoint=python", image, "--version")
    root = Path(podman("image", "mount", image))
    try:
        documents = {
            "sbom.cdx.json": bill(root, found["Digest"], labels, python),
            "provenance.json": provenance(image, found["Digest"], labels),
        }
    finally:
        podman("image", "unmount", image)
    for name, content in documents.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    names = {one["name"] for one in documents["sbom.cdx.json"]["components"]}
    print(f"{len(names)} components, subject {found['Digest']}")
    if missing := {"gcore-waiter", "httpx", "libc6", "libssl3t64"} - names:
        sys.exit(f"NOT OK: the bill of materials lacks {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
